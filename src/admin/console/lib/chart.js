// A chart of rates over time, with the same numbers as a table: a canvas says nothing to a screen reader.
import { html, useEffect, useRef } from "./view.js";
import { lang, rate, t, theme, zone } from "./state.js";
import { Table } from "./table.js";
import { absolute, zoneName } from "./time.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [1, 5], [14, 4]];

function ink(name) {
  const probe = document.createElement("span");
  probe.className = name;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// series: [{label, values}]; times: epoch ms, ascending.
export function Chart({ times, series, height = 180, caption, unit }) {
  const place = useRef(null), plot = useRef(null), names = series.map((of) => of.label).join("\n");
  useEffect(() => {
    const draw = () => {
      plot.current?.destroy();
      const muted = ink("muted"), line = ink("line"), name = zoneName();
      const grid = { stroke: line, width: 1 };
      plot.current = new window.uPlot({
        width: place.current.clientWidth, height, legend: { show: false }, cursor: { show: false },
        tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), name),
        scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
        axes: [{ stroke: muted, grid, ticks: grid, space: 70, incrs: [1, 2, 5, 10, 30, 60, 120, 300, 600], values: (_, at) => at.map((one) => absolute(one * 1000).slice(11)) }, { stroke: muted, grid, ticks: grid, size: 56 }],
        series: [{}, ...series.map((of, n) => ({ label: of.label, stroke: ink(`series${n % 6}`), width: 2, dash: DASHES[n % 6], points: { show: false }, spanGaps: true }))],
      }, [[], ...series.map(() => [])], place.current);
      plot.current.setData(data.current);
    };
    draw();
    const size = new ResizeObserver(() => plot.current && place.current?.clientWidth && plot.current.setSize({ width: place.current.clientWidth, height }));
    size.observe(place.current);
    dark.addEventListener("change", draw);
    return () => { size.disconnect(); dark.removeEventListener("change", draw); plot.current?.destroy(); plot.current = null; };
  }, [names, theme.value, zone.value, lang.value, height]);
  // uPlot wants ascending and unique seconds.
  const keep = times.map((at, n) => n).filter((n) => n === 0 || times[n] > times[n - 1]);
  const data = useRef(null);
  data.current = [keep.map((n) => times[n] / 1000), ...series.map((of) => keep.map((n) => of.values[n]))];
  useEffect(() => { plot.current?.setData(data.current); });
  return html`<figure class="chart"><figcaption>${caption}<span class="muted">${unit}</span></figcaption>
    <div ref=${place} class="plot" aria-hidden="true"></div>
    <ul class="legend">${series.map((of, n) => html`<li key=${of.label}><span class="series${n % 6}" aria-hidden="true"><svg width="22" height="6"><line x1="0" x2="22" y1="3" y2="3" stroke="currentColor" stroke-width="2" stroke-dasharray=${DASHES[n % 6].join(" ")} /></svg></span>${of.label} <b>${rate(of.values.at(-1))}</b></li>`)}</ul>
    <details><summary>${t("As a table", "以表格显示")}</summary><${Table} caption=${caption} rows=${keep.slice(-12).reverse()} id=${(n) => times[n]} columns=${[[t("Time", "时间"), (n) => absolute(times[n])], ...series.map((of) => [of.label, (n) => rate(of.values[n]), "num"])]} /></details>
  </figure>`;
}
