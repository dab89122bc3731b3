import { Empty, Fed, Page, Section, Table, button, code, count, dash, encode, go, html, queryOf, span, state, t, time, toLetter, useLive, useState, whose } from "../lib/all.js";

function Found({ of }) {
  const { claims, waiting, dead_letters: letters, receipts } = of, partly = (of.looked_at ?? []).filter((one) => !one.complete);
  const part = (id, title, rows, key, columns) => rows.length > 0 && html`<${Section} id=${id} title=${title}><${Table} caption=${title} rows=${rows} id=${key} columns=${columns} /><//>`;
  const place = (row) => `${row.topic}/${row.partition} @ ${row.offset}`;
  const account = [t("Account", "账户"), whose], event = [t("Event", "事件"), (row) => row.event ?? "–"];
  const attempts = [t("Attempts", "尝试"), (row) => count(row.attempts), "num"], resends = [t("Resends", "重发"), (row) => count(row.resends), "num"];
  return html`${partly.length > 0 && html`<p class="stale">${partly.map((one) => t(`${one.what}: looked at ${count(one.read)} of ${count(one.records)}`, `${one.what}：已查看 ${count(one.read)} / ${count(one.records)}`)).join("; ")}. ${t("The rest:", "其余：")} <code>postback trace --all ${of.trans_id}</code></p>`}
    ${claims.length + waiting.length + letters.length + receipts.length === 0 && html`<section class="panel"><${Empty} title=${t("Nothing is known of this event", "没有此事件的任何记录")}>${t("It may lie unread in an input topic, or be too old. The trans_id has to be exact.", "可能尚未读取，或已超出保留期。trans_id 须完全一致。")}<//></section>`}
    ${part("claims", t("Claims in Redis", "Redis 中的占用"), claims, (row) => row.key ?? row.account + row.event, [account, event, [t("State", "状态"), (row) => html`<strong>${row.state}</strong><small>${row.meaning}</small>`], [t("Since", "已持续"), (row) => span(row.age_ms), "num"], resends])}
    ${part("waiting", t("Copies that wait", "等待中的副本"), waiting, place, [[t("Where", "位置"), (row) => html`<strong>${row.kind}</strong><small>${place(row)}</small>`], account, event, [t("Waits for", "等待"), (row) => row.until, "wide"], [t("Next try", "下次尝试"), (row) => time(row.due_ms)], attempts, [t("Last answer", "最后应答"), (row) => [row.last_status, row.last_code, row.last_error].filter(Boolean).join(" · ") || dash()]])}
    ${part("letters", t("Dead letters", "死信"), letters, (row) => `${row.partition}:${row.offset}`, [[t("Letter", "死信"), (row) => toLetter(`${row.partition}:${row.offset}`)], [t("Failed at", "失败时间"), (row) => time(row.failed_at)], [t("Reason", "原因"), (row) => html`<strong>${row.reason}</strong> ${row.field && code(row.field)}`], account, event, [t("Detail", "详情"), (row) => row.detail ?? dash(), "wide"]])}
    ${part("receipts", t("Receipts", "回执"), receipts, (row) => [row.account, row.event, row.finished_at_ms, row.outcome].join(), [[t("Finished", "完成"), (row) => time(row.finished_at_ms)], [t("Outcome", "结果"), (row) => html`${state(row.outcome)} ${row.reason}`], account, event, attempts, resends, [t("Id there", "平台 ID"), (row) => (row.platform_id ? code(row.platform_id) : "–")]])}`;
}

function Result({ id, query }) {
  const found = useLive(`trace/${encode(id)}${queryOf({ platform: query.platform, account: query.account })}`);
  return html`<${Fed} of=${found}>${(of) => html`<${Found} of=${of} />`}<//>`;
}

export function Trace({ path: [at], query }) {
  const [id, set] = useState(at ?? "");
  const submit = (event) => { event.preventDefault(); if (id.trim()) go(["trace", id.trim()], query); };
  return html`<${Page} title=${t("Trace an event", "追踪事件")} sub=${t("All that is known of one trans_id, over all accounts.", "一个 trans_id 在所有账户中的全部记录。")}>
    <section class="panel"><form class="search" onSubmit=${submit} role="search"><label class="field"><span>trans_id</span><input value=${id} onInput=${({ target }) => set(target.value)} autocomplete="off" spellcheck=${false} /></label><button type="submit" class="primary" disabled=${!id.trim()}>${t("Trace", "追踪")}</button></form></section>
    ${at && html`<${Result} key=${at} id=${at} query=${query} />`}<//>`;
}
