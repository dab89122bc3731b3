// One replay: its plan and prediction, how far it is, and what came of what it published.
import { ActionDialog, Chips, Empty, Fed, Looked, Page, Section, Table, Warning, button, cause, change, code, count, encode, go, html, link, muted, refresh, span, stat, state, t, time, toLane, toLetter, total, useEffect, useLive, useRef, useState } from "../lib/all.js";
import { Entries } from "./audit.js";
import { BULK, tryTen } from "./decide.js";

const figures = (...all) => html`<dl class="stats">${all}</dl>`;

// Parts of a whole as one bar, and below it as text: [name, number, tone, note, text instead of the number].
function Parts({ parts, label }) {
  return html`<div class="bar" role="img" aria-label=${`${label}: ${parts.map(([name, n]) => `${name} ${n}`).join(", ")}`}>${parts.filter(([, n]) => n > 0).map(([name, n, tone]) => html`<span key=${name} class=${tone} style=${{ flexGrow: n }}></span>`)}</div>
    ${figures(parts.map(([name, n, tone, note, text = count(n)]) => stat(name, text, n ? tone : "", note)))}`;
}

function Causes({ title, counts, samples }) {
  const rows = Object.entries(counts ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  return rows.length > 0 && html`<h3>${title}</h3><${Table} caption=${title} rows=${rows} id=${([name]) => name} columns=${[
    [t("Cause", "原因"), ([name]) => html`${cause(name)} ${code(name)}`, "wide"], [t("Count", "数量"), ([, n]) => html`<b>${count(n)}</b>`, "num"], [t("Sample", "样本"), ([name]) => toLetter(samples?.[name])]]} />`;
}

function Asked({ of, what, close }) {
  const at = `replays/${encode(of.id)}`, { why } = of, doable = Math.max(0, of.left - total(of.refused)), takes = span((doable / of.rate) * 1000);
  const asked = {
    run: { title: t(`Run: ${count(of.selected)} selected`, `运行：选中 ${count(of.selected)} 条`), why, confirm: t("Run", "运行"), typed: of.selected > BULK ? of.selected : undefined,
      text: t(`About ${count(doable)} are published in ${takes}. Each is judged once more right before; what was delivered meanwhile is skipped.`, `约 ${count(doable)} 条，需 ${takes}。发布前再次判断，已送达的会跳过。`) },
    cancel: { title: t("Cancel this replay", "取消此重放"), confirm: t("Cancel the replay", "取消重放"), danger: true, text: t("Nothing more is published within a second. It can be resumed.", "一秒内停止发布。之后可恢复。") },
    resume: { title: t("Resume this replay", "恢复此重放"), confirm: t("Resume", "恢复"), text: t(`It goes on with the ${count(of.left)} that are left.`, `继续处理剩余 ${count(of.left)} 条。`) },
    ten: { title: t("Try ten first", "先试十条"), why, confirm: t("Replay ten", "重放十条"), onConfirm: (values) => tryTen(of.filter, { ...values, rate: of.rate }), text: t("A replay of its own, of the ten newest. This plan stays as it is.", "最新十条单独重放。本计划保持不变。") },
    rate: { title: t("Change the rate", "更改速率"), confirm: t("Change", "更改"), onConfirm: ({ rate, why }) => change("PATCH", at, { rate: Number(rate), why }), fields: [{ name: "rate", label: t("Per second, over all replicas", "每秒，所有副本合计"), value: String(of.rate), hint: t("It takes effect within a second.", "一秒内生效。"), extra: { type: "number", min: 1 } }] },
  }[what];
  return asked && html`<${ActionDialog} onClose=${close} onConfirm=${({ why }) => change("POST", `${at}/${what}`, { why })} ...${asked}>${asked.text && html`<p>${asked.text}</p>`}<//>`;
}

function Run({ of }) {
  const skipped = total(of.skipped), failed = total(of.failed), title = t("The run", "运行情况");
  return html`<${Section} id="run" title=${title} note=${t(`${count(of.selected)} selected = ${count(of.republished)} published + ${count(skipped)} skipped + ${count(failed)} failed + ${count(of.left)} left`, `选中 ${count(of.selected)} = 已发布 ${count(of.republished)} + 跳过 ${count(skipped)} + 失败 ${count(failed)} + 剩余 ${count(of.left)}`)}>
    <${Parts} label=${title} parts=${[[t("Published", "已发布"), of.republished, "run"], [t("Skipped", "已跳过"), skipped, "info"], [t("Failed", "失败"), failed, "bad"], [t("Left", "剩余"), of.left, "rest", of.eta_ms > 0 && t(`about ${span(of.eta_ms)}`, `约 ${span(of.eta_ms)}`)]]} />
    ${of.waiting.length > 0 && html`<ul class="hint">${of.waiting.map((one) => html`<li key=${one.account}><strong>${one.account ? toLane(one.account) : t("All of it", "全部")}</strong> ${t("waits:", "等待：")} ${one.why}</li>`)}</ul>`}
    <${Causes} title=${t("Skipped, by cause", "跳过原因")} counts=${of.skipped} samples=${of.samples} /><${Causes} title=${t("Failed, by cause", "失败原因")} counts=${of.failed} samples=${of.samples} /><//>`;
}

function Outcomes({ of: { outcomes: o, started_ms: since } }) {
  const dead = total(o.dead_lettered), title = t("What came of them", "结果");
  return html`<${Section} id="outcomes" title=${title} note=${t("Counted where each event ends.", "在事件结束处计数。")}>
    <${Parts} label=${title} parts=${[[t("Delivered", "已送达"), o.delivered, "ok"], [t("Duplicate", "重复"), o.duplicate, "info"], [t("Suppressed", "已抑制"), o.suppressed, "info"], [t("Dead again", "再次死信"), dead, "bad"], [t("Still open", "处理中"), o.open, "rest", "", (o.at_least ? "≥ " : "") + count(o.open)]]} />
    ${dead > 0 && html`<ul class="counts"><li>${t("Dead again:", "再次死信：")}</li>${Object.entries(o.dead_lettered).map(([name, n]) => html`<li key=${name}><b>${count(n)}</b> <a href=${link(["dead-letters"], { reason: name, since, view: "list" })}>${name}</a></li>`)}</ul>`}
    ${o.at_least && html`<p class="note">${t("Some may be counted twice, and each of these hides an open one.", "部分可能被计两次，每次会隐藏一条处理中的。")}</p>`}<//>`;
}

function Plan({ of }) {
  const { sent, suppressed, halted, refused } = of.predicted, again = refused.reduce((sum, row) => sum + row.count, 0);
  const title = t("Predicted to be refused again", "预计再次被拒"), what = t("What is selected", "选中的死信"), n = [t("Count", "数量"), (row) => html`<b>${count(row.count)}</b>`, "num"], sample = [t("Sample", "样本"), (row) => toLetter(row.sample)];
  const named = [t("Reason", "原因"), (row) => html`<strong>${row.reason}</strong> ${row.code && code(row.code)} ${row.field && code(row.field)}`, "wide"];
  return html`<${Section} id="plan" title=${t("The plan", "计划")} note=${t("Judged with the configuration of that moment.", "按当时的配置判断。")}>
    ${of.left_out > 0 && html`<p class="stale">${t(`${count(of.left_out)} older dead letters were not looked at: those that fit are not in this plan.`, `${count(of.left_out)} 条更早的死信未被查看：其中符合条件的不在计划内。`)}</p>`}
    ${figures(stat(t("Selected", "选中"), count(of.selected)), stat(t("Would be sent", "会被发送"), count(sent), "ok"), stat(t("Would be refused", "会再次被拒"), count(again), again ? "warn" : ""), suppressed > 0 && stat(t("Would be suppressed", "会被抑制"), count(suppressed)), halted > 0 && stat(t("Would wait for a credential", "会等待凭据"), count(halted), "warn"))}
    ${again > 0 && html`<h3>${title}</h3><${Table} caption=${title} rows=${refused} id=${(row) => row.reason + row.field} columns=${[named, n, sample]} />`}
    <${Causes} title=${t("Left out by the plan", "计划排除")} counts=${of.refused} samples=${of.samples} />
    ${of.groups.length > 0 && html`<h3>${what}</h3><${Table} caption=${what} rows=${of.groups} id=${(row) => [row.reason, row.code, row.field, row.account].join()} columns=${[named, [t("Account", "账户"), (row) => row.account || "–"], n, [t("First", "最早"), (row) => time(row.first_ms, true)], [t("Last", "最近"), (row) => time(row.last_ms, true)], sample]} />`}<//>`;
}

function Shown({ of, start }) {
  const [open, set] = useState(""), planned = of.state === "planned", ready = planned && !of.progress, started = useRef(false), audit = useLive(`audit?subject=${encode(of.id)}`), { stopped } = of;
  // "Try ten first" has asked already: it runs as soon as its plan is made, once.
  useEffect(() => {
    if (!start || !ready || started.current) return;
    started.current = true;
    go(["replays", of.id], {}, { replace: true });
    if (of.selected) change("POST", `replays/${encode(of.id)}/run`, { why: of.why }).catch(() => set("run")).then(refresh);
  }, [start, ready]);
  const ask = (what, label, tone) => button(label, () => set(what), tone), n = count(of.selected);
  const actions = html`${ready && of.selected > 0 && ask("run", t(`Run ${n}…`, `运行 ${n} 条…`), "primary")}${ready && of.selected > 10 && !of.items?.length && ask("ten", t("Try ten first…", "先试十条…"))}
    ${of.state === "running" && ask("cancel", t("Cancel…", "取消…"), "danger")}${["cancelled", "stopped_itself", "failed"].includes(of.state) && of.left > 0 && ask("resume", t("Resume…", "恢复…"), "primary")}${(ready || of.state === "running") && ask("rate", t("Rate…", "速率…"))}`;
  return html`<${Page} title=${t("Replay", "重放")} sub=${html`<a href=${link(["replays"])}>${t("All replays", "全部重放")}</a> · ${code(of.id)}`} actions=${actions}>
    ${stopped && html`<${Warning} title=${of.state === "failed" ? t("It failed", "重放失败") : t("It stopped itself", "已自动停止")}>${stopped.reason} ${stopped.sample && html`${code(stopped.sample.trans_id)} ${stopped.sample.account} ${stopped.sample.code} ${stopped.sample.field}`}<br />${t("Mend the cause, then resume. What is left stays open.", "请先修复原因再恢复。剩余死信保持未处理。")}<//>`}
    <${Section} id="state" title=${state(of.progress ? "planning" : of.state)}><dl class="facts">
      <dt>${t("What", "范围")}</dt><dd><${Chips} of=${of.items?.length ? {} : of.filter} items=${of.items} /></dd>
      <dt>${t("Why", "原因")}</dt><dd>${of.why} ${muted(`— ${of.by}, ${of.via}`)}</dd>
      <dt>${t("Rate", "速率")}</dt><dd>${t(`${count(of.rate)} per second`, `每秒 ${count(of.rate)} 条`)} <strong class="warn">${of.force && t("forced", "强制")} ${of.no_brake && t("no brake", "不自动停止")}</strong></dd>
      ${[[t("Planned", "计划时间"), of.made_at_ms], [t("Started", "开始"), of.started_ms], [t("Ended", "结束"), of.ended_ms]].map(([head, at]) => at && html`<dt>${head}</dt><dd>${time(at)}</dd>`)}</dl>
      ${of.progress && html`<${Looked} of=${of.progress} />`}
      ${ready && !of.selected && html`<${Empty} title=${t("Nothing is selected", "没有选中任何死信")}>${t("No open dead letter matches. Widen the filter.", "没有匹配的未处理死信，请放宽条件。")}<//>`}
      ${of.filter?.limit === 10 && of.state === "completed" && html`<p class="hint">${t("Ten were tried. If they were delivered, go on with", "已试十条。如都已送达，继续处理")} <a href=${link(["dead-letters"], { ...of.filter, limit: undefined, state: undefined, everything: undefined })}>${t("those that are left", "其余死信")}</a></p>`}<//>
    ${!planned && html`<${Outcomes} of=${of} /><${Run} of=${of} />`}${!of.progress && html`<${Plan} of=${of} />`}
    <${Section} id="audit" title=${t("Who did what", "操作记录")}><${Fed} of=${audit}>${(answer) => html`<${Entries} rows=${answer.items} />`}<//><//>
    <${Asked} of=${of} what=${open} close=${() => set("")} /><//>`;
}

export function Replay({ id, start }) {
  const [longest, set] = useState(2000), live = useLive(`replays/${encode(id)}`, { longest }), of = live.data;
  const busy = !of || of.state === "running" || of.progress || of.outcomes.open > 0;
  useEffect(() => set(busy ? 2000 : 30000), [Boolean(busy)]);
  return of ? html`<${Fed} of=${live}>${() => html`<${Shown} of=${of} start=${start} />`}<//>` : html`<${Page} title=${t("Replay", "重放")}><${Fed} of=${live} /><//>`;
}
