import { html, useEffect } from "./view.js";
import { refresh } from "./live.js";
import { link } from "./route.js";
import { count, isAbsent, t } from "./state.js";
import { absolute, relative, zoneName } from "./time.js";
import { refused } from "./fetch.js";

const STATES = {
  flowing: ["ok", "●", "flowing", "正常"], throttled: ["warn", "◐", "throttled", "限流"], broken: ["warn", "▲", "broken", "熔断"],
  halted: ["bad", "■", "halted", "停用"], paused: ["info", "❚❚", "paused", "暂停"],
  open: ["bad", "○", "open", "未处理"], replayed: ["ok", "↻", "replayed", "已重放"], discarded: ["info", "✕", "discarded", "已放弃"],
  planning: ["info", "…", "being planned", "计划中"], planned: ["info", "◇", "planned", "已计划"], running: ["run", "▶", "running", "运行中"],
  stopped_itself: ["bad", "▲", "stopped itself", "自动停止"], cancelled: ["warn", "■", "cancelled", "已取消"],
  completed: ["ok", "✓", "completed", "已完成"], failed: ["bad", "✕", "failed", "失败"],
  delivered: ["ok", "✓", "delivered", "已送达"], duplicate: ["info", "=", "duplicate", "重复"], suppressed: ["info", "–", "suppressed", "已抑制"],
  dead_lettered: ["bad", "✕", "dead letter", "死信"], up: ["ok", "●", "up", "正常"], down: ["bad", "■", "away", "不可用"],
};

export const stateName = (state) => { const of = STATES[state]; return of ? t(of[2], of[3]) : state; };

export function State({ of, children }) {
  const [tone, sign] = STATES[of] ?? ["info", "·"];
  return html`<span class="state ${tone}"><span class="sign" aria-hidden="true">${sign}</span>${children ?? stateName(of)}</span>`;
}

export const state = (of) => html`<${State} of=${of} />`;
export const code = (text) => html`<code>${text}</code>`;
export const muted = (text) => html`<span class="muted">${text}</span>`;
export const button = (label, onClick, tone) => html`<button type="button" class=${tone} onClick=${onClick}>${label}</button>`;
export const toLetter = (place, label) => (place ? html`<a href=${link(["dead-letters", ...place.split(":")])}>${label ?? place}</a>` : "–");
export const toLane = (account) => html`<a href=${link(["lanes"], { account })}>${account}</a>`;
export const toTrace = (id) => html`<a href=${link(["trace", id])}>${code(id)}</a>`;
export const whose = (row) => html`${row.account ?? "–"} ${muted(row.platform)}`;
export const dash = () => html`<span class="muted">–</span>`;
// The rows of an answer: an array, or the member that holds it.
export const rowsOf = (answer) => (Array.isArray(answer) ? answer : answer?.items ?? answer?.groups ?? []);
export const total = (counts) => Object.values(counts ?? {}).reduce((sum, n) => sum + n, 0);

function Time({ ms, brief }) {
  const full = absolute(ms);
  return html`<time datetime=${new Date(ms).toISOString()} title=${`${full} ${zoneName()}`}><span class="nowrap">${brief ? full.slice(5) : full}</span> <span class="muted nowrap">${relative(ms)}</span></time>`;
}
export const time = (ms, brief) => (isAbsent(ms) || ms === "" ? dash() : html`<${Time} ms=${Number(ms)} brief=${brief} />`);

export function Page({ title, sub, actions, children }) {
  useEffect(() => { document.title = `${title} · postback`; }, [title]);
  return html`<header class="page"><div><h1 tabindex="-1">${title}</h1>${sub && html`<p class="sub">${sub}</p>`}</div>${actions && html`<div class="actions">${actions}</div>`}</header>${children}`;
}

export const Section = ({ title, note, actions, children, id }) => html`<section class="panel" aria-labelledby=${id}>
  <header><div><h2 id=${id}>${title}</h2>${note && html`<p class="note">${note}</p>`}</div>${actions && html`<div class="actions">${actions}</div>`}</header>${children}</section>`;

export const stat = (label, value, tone = "", note) => html`<div class="stat ${tone}"><dt>${label}</dt><dd>${value}${note && html`<small>${note}</small>`}</dd></div>`;

export const Empty = ({ title, children, good }) => html`<div class="empty">${good && html`<span class="good" aria-hidden="true">✓</span>`}<strong>${title}</strong>${children && html`<p>${children}</p>`}</div>`;

export const Loading = () => html`<div class="empty" role="status"><span class="bars" aria-hidden="true"></span>${t("Loading…", "加载中…")}</div>`;

export const Warning = ({ title, children }) => html`<div class="trouble" role="alert"><strong>${title}</strong><p>${children}</p></div>`;

// What is wrong, and what to do.
export function Trouble({ error, again = refresh }) {
  const [title, advice] = wording(error);
  return html`<${Warning} title=${title}>${advice}<br />${button(t("Try again", "重试"), again)}<//>`;
}

function wording({ status, message }) {
  const meanwhile = t("Nothing is sent and nothing is lost meanwhile. The page asks again by itself.", "在此期间不发送，也不会丢失。页面会自动重试。");
  if (status === 0) return [t("The worker does not answer", "worker 没有响应"), t("See whether it runs and whether this address leads to it. The page asks again by itself.", "请检查其是否运行、此地址是否正确。页面会自动重试。")];
  if (status === 403) return [t("Not allowed from here", "此处不允许"), message];
  if (status === 404) return [t("There is no such thing here", "没有找到"), message];
  if (status === 503) return [t("Redis or Kafka does not answer", "Redis 或 Kafka 没有响应"), `${message}. ${meanwhile}`];
  return [t("The worker could not answer", "worker 无法回答"), message];
}

// Shows the data of a feed, or why there is none. Old data stays while an error is told above it.
export function Fed({ of, children }) {
  if (of.data === undefined) return of.error ? (refused.value ? null : html`<${Trouble} error=${of.error} />`) : html`<${Loading} />`;
  return html`${of.error && html`<p class="stale" role="status">${t("Not up to date", "数据不是最新的")}: ${wording(of.error)[0]} (${t("last answer", "最后一次响应")} ${relative(of.at)}).</p>`}${children(of.data)}`;
}

// How far a search has come.
export function Looked({ of, children }) {
  const text = t(`Looked at ${count(of.scanned)} of ${count(of.total)}`, `已查看 ${count(of.scanned)} / ${count(of.total)}`);
  return html`<div class="looked" role="status"><span>${text}</span><progress value=${of.scanned} max=${Math.max(of.total, 1)} aria-label=${text}></progress>${children}</div>`;
}

// Counts by name, largest first: 3 rejected, 1 invalid.
export function Counts({ of, name = (key) => key }) {
  const all = Object.entries(of ?? {}).filter(([, n]) => Number(n) > 0).sort((a, b) => b[1] - a[1]);
  return html`<ul class="counts">${all.map(([key, n]) => html`<li key=${key}><b>${count(n)}</b> ${name(key)}</li>`)}</ul>`;
}
