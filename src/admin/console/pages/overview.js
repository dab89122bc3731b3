// Is it flowing, how old is the oldest, what fails, where; and what needs a person now.
import { html } from "htm/preact";
import { Chart } from "../lib/chart.js";
import { failing, perSecond, sample, samples } from "../lib/flow.js";
import { Switch, oldest, sum } from "../lib/lane.js";
import { useLive } from "../lib/live.js";
import { link } from "../lib/route.js";
import { count, percent, rate, t } from "../lib/state.js";
import { Table } from "../lib/table.js";
import { Empty, Fed, Page, Section, Stat, State, Time, span } from "../lib/ui.js";
import { needs } from "../lib/needs.js";

const PLOTTED = 6;

function Needs({ of }) {
  if (!of.length) return html`<${Empty} good title=${t("Nothing needs a person now", "目前没有需要人处理的事项")}>${t("Lanes flow, partitions move on, and no dead letter is open.", "通道正常，分区持续推进，没有未处理的死信。")}<//>`;
  return html`<ul class="needs">${of.map((one) => html`<li key=${one.key} class=${one.tone}><span class="sign" aria-hidden="true">${one.tone === "bad" ? "■" : "▲"}</span>
    <div><strong>${one.title}</strong>${one.text && html`<p>${one.text}</p>`}</div>${one.to && html`<a class="button" href=${one.to}>${one.action}<span class="hidden"> ${one.title}</span></a>`}</li>`)}</ul>`;
}

const columns = () => [
  { key: "account", head: t("Account", "账户"), cell: (row) => html`<a href=${link(["lanes"], { account: row.account })}><strong>${row.account}</strong></a> <span class="muted">${row.platform}</span>` },
  { key: "state", head: t("State", "状态"), cell: (row) => html`<${State} of=${row.state} />` },
  { key: "since", head: t("Since", "起始"), cell: (row) => html`<${Time} ms=${row.since_ms} brief />` },
  { key: "rate", head: t("Delivered / s", "送达/秒"), num: true, cell: (row) => rate(perSecond(row.account, "delivered")) },
  { key: "errors", head: t("Errors", "错误率"), num: true, cell: (row) => percent(failing([row.account])) },
  { key: "oldest", head: t("Oldest open", "最早未完成"), num: true, cell: (row) => (oldest(row) < 0 ? "–" : span(oldest(row))) },
  { key: "open", head: t("Open", "未完成"), num: true, cell: (row) => count(sum(row, "open")) },
  { key: "parked", head: t("Parked", "停放"), num: true, cell: (row) => count(sum(row, "parked")) },
  { key: "do", head: t("Change", "操作"), cell: (row) => html`<${Switch} row=${row} />` },
];

function Figures({ rows, blocked, open }) {
  const names = rows.map((row) => row.account), errors = failing(names);
  const all = names.map((name) => perSecond(name, "delivered")), delivered = all.includes(null) ? null : all.reduce((sum, one) => sum + one, 0);
  const age = rows.reduce((most, row) => Math.max(most, oldest(row)), -1);
  const lag = blocked?.partitions.reduce((sum, row) => sum + Number(row.lag ?? 0), 0);
  return html`<dl class="stats">
    <${Stat} label=${t("Delivered per second", "每秒送达")} value=${rate(delivered)} />
    <${Stat} label=${t("Oldest undelivered", "最早未送达")} value=${age < 0 ? t("none", "无") : span(age)} tone=${age > 3600e3 ? "warn" : ""} />
    <${Stat} label=${t("Errors, last minute", "最近一分钟错误率")} value=${percent(errors)} tone=${errors > 0.2 ? "bad" : errors > 0.02 ? "warn" : ""} />
    <${Stat} label=${t("Open events", "未完成事件")} value=${count(rows.reduce((all, row) => all + sum(row, "open"), 0))} />
    <${Stat} label=${t("Lag in Kafka", "Kafka 积压")} value=${count(lag)} />
    <${Stat} label=${t("Open dead letters", "未处理死信")} value=${count(open)} tone=${open ? "warn" : ""} />
  </dl>`;
}

function Flow({ rows }) {
  const list = samples.value;
  if (list.length < 3) return html`<p class="note">${t("The chart begins with this page: a few seconds.", "图表从打开此页开始，请稍候几秒。")}</p>`;
  const total = (name) => list.at(-1).of.get(name) ?? new Map();
  const most = [...rows].sort((a, b) => [...total(b.account).values()].reduce((n, one) => n + (one.delivered ?? 0), 0) - [...total(a.account).values()].reduce((n, one) => n + (one.delivered ?? 0), 0)).slice(0, PLOTTED);
  const names = rows.map((row) => row.account).filter((name) => most.some((row) => row.account === name));
  return html`<${Chart} caption=${t("Delivered per account", "各账户送达")} unit=${t("events per second, since this page was opened", "事件/秒，自打开此页起")} times=${list.map((one) => one.at)}
    series=${names.map((name) => ({ label: name, values: list.map((_, at) => perSecond(name, "delivered", at)) }))} />`;
}

export function Overview({ status }) {
  const accounts = useLive("accounts"), blocked = useLive("blocked");
  if (accounts.data && accounts.at) queueMicrotask(() => sample(accounts.data, accounts.at));
  const open = undefined;
  return html`<${Page} title=${t("Overview", "总览")}>
    <${Fed} of=${accounts}>${(rows) => html`
      <${Figures} rows=${rows} blocked=${blocked.data} />
      <${Section} id="needs" title=${t("What needs a person now", "现在需要人处理")}><${Needs} of=${needs({ status: status.data, rows, blocked: blocked.data })} /><//>
      <${Section} id="flow" title=${t("Flow", "流量")}><${Flow} rows=${rows} /><//>
      <${Section} id="lanes" title=${t("Lanes", "通道")}><${Table} caption=${t("Lanes", "通道")} columns=${columns()} rows=${rows} id=${(row) => row.account} /><//>`}<//>
  <//>`;
}
