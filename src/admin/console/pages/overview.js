// Is it flowing, how old is the oldest, what fails, where; and what needs a person now.
import { failing, perSecond, samples, useAccounts } from "../lib/flow.js";
import { LaneTable, oldest, sum } from "../lib/lane.js";
import { needs } from "../lib/needs.js";
import { Chart, Empty, Fed, Page, Section, count, html, percent, rate, span, stat, rowsOf, t, useLive } from "../lib/all.js";

const PLOTTED = 6;

function Needs({ of }) {
  if (!of.length) return html`<${Empty} good title=${t("Nothing needs a person now", "目前没有需要人处理的事项")} />`;
  return html`<ul class="needs">${of.map((one) => html`<li key=${one.key} class=${one.tone}><span class="sign" aria-hidden="true">${one.tone === "bad" ? "■" : "▲"}</span>
    <div><strong>${one.title}</strong><p>${one.text}</p></div>${one.to && html`<a class="button" href=${one.to}>${t("Look", "查看")}<span class="hidden"> ${one.title}</span></a>`}</li>`)}</ul>`;
}

function Figures({ rows, blocked, open, partly }) {
  const names = rows.map((row) => row.account), errors = failing(names), all = names.map((name) => perSecond(name, "delivered"));
  const age = rows.reduce((most, row) => Math.max(most, oldest(row)), -1);
  return html`<dl class="stats">${[
    stat(t("Delivered per second", "每秒送达"), rate(all.includes(null) ? null : all.reduce((sum, one) => sum + one, 0))),
    stat(t("Oldest undelivered", "最早未送达"), age < 0 ? t("none", "无") : span(age), age > 3600e3 ? "warn" : ""),
    stat(t("Errors, last minute", "最近一分钟错误率"), percent(errors), errors > 0.2 ? "bad" : errors > 0.02 ? "warn" : ""),
    stat(t("Open events", "未完成事件"), count(rows.reduce((all, row) => all + sum(row, "open"), 0))),
    stat(t("Lag in Kafka", "Kafka 积压"), count(blocked?.partitions.reduce((sum, row) => sum + Number(row.lag ?? 0), 0))),
    stat(t("Open dead letters", "未处理死信"), `${count(open)}${partly ? "…" : ""}`, open ? "warn" : "")]}</dl>`;
}

function Flow({ rows }) {
  const list = samples.value;
  if (list.length < 3) return html`<p class="note">${t("The chart begins with this page: a few seconds.", "图表从打开此页开始，请稍候几秒。")}</p>`;
  const delivered = (name) => [...(list.at(-1).of.get(name)?.values() ?? [])].reduce((n, one) => n + (one.delivered ?? 0), 0);
  const most = new Set(rows.map((row) => row.account).sort((a, b) => delivered(b) - delivered(a)).slice(0, PLOTTED));
  return html`<${Chart} caption=${t("Delivered per account", "各账户送达")} unit=${t("events per second, since this page was opened", "事件/秒，自打开此页起")} times=${list.slice(1).map((one) => one.at)}
    series=${rows.filter((row) => most.has(row.account)).map(({ account }) => ({ label: account, values: list.map((_, at) => perSecond(account, "delivered", at)).slice(1) }))} />`;
}

export function Overview({ status }) {
  const accounts = useAccounts(), blocked = useLive("blocked"), letters = useLive("dead-letters/groups?state=open"), replays = useLive("replays");
  const groups = rowsOf(letters.data), open = letters.data && groups.reduce((sum, one) => sum + one.open, 0);
  return html`<${Page} title=${t("Overview", "总览")}>
    <${Fed} of=${accounts}>${(rows) => html`<${Figures} rows=${rows} blocked=${blocked.data} open=${open} partly=${letters.data?.done === false} />
      <${Section} id="needs" title=${t("What needs a person now", "现在需要人处理")}><${Needs} of=${needs({ status: status.data, rows, blocked: blocked.data, groups, replays: replays.data })} /><//>
      <${Section} id="flow" title=${t("Flow", "流量")}><${Flow} rows=${rows} /><//>
      <${Section} id="lanes" title=${t("Lanes", "通道")}><${LaneTable} rows=${rows} brief /><//>`}<//><//>`;
}
