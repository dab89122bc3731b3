// The lane of an account, over all replicas, as rows of a table; pause and resume.
import { html, useState } from "./view.js";
import { change, encode } from "./fetch.js";
import { ActionDialog } from "./dialog.js";
import { failing, perSecond } from "./flow.js";
import { count, percent, rate, t } from "./state.js";
import { Table } from "./table.js";
import { span } from "./time.js";
import { dash, muted, state, time, toLane } from "./ui.js";

export const sum = (row, name) => row.replicas.reduce((all, one) => all + (one[name] ?? 0), 0);
export const oldest = (row) => row.replicas.reduce((all, one) => Math.max(all, one.oldest_ms ?? -1), -1);

// The gray release of an account, as one of its replicas tells it, and the events that it keeps back.
const share = (row) => row.replicas.find((one) => one.rollout)?.rollout;
const kept = (row) => row.replicas.reduce((all, one) => all + (one.rollout?.waiting ?? 0), 0);

const unlisted = (row) => row.replicas.flatMap((one) => one.unclassified ?? []).map((kind) => html`<small>${t("no table lists", "未分类应答")}: ${[kind.status, kind.code, `× ${kind.count}`, kind.sample].filter(Boolean).join(" · ")}</small>`);

function Switch({ row }) {
  const [open, set] = useState(""), stopped = row.state === "paused" || row.state === "halted", pause = open === "pause";
  return html`<button type="button" onClick=${() => set(stopped ? "resume" : "pause")}>${stopped ? t("Resume…", "恢复…") : t("Pause…", "暂停…")}<span class="hidden"> ${row.account}</span></button>
    ${open && html`<${ActionDialog} title=${pause ? t(`Pause ${row.account}`, `暂停 ${row.account}`) : t(`Resume ${row.account}`, `恢复 ${row.account}`)}
      confirm=${pause ? t("Pause", "暂停") : t("Resume", "恢复")} onClose=${() => set("")} onConfirm=${({ why }) => change("POST", `accounts/${encode(row.account)}/${open}`, { reason: why })}>
      <p>${pause ? t("Every replica stops sending within two seconds. The events wait; none is lost.", "所有副本两秒内停止发送。事件会等待，不会丢失。")
        : t("Every replica sends again within two seconds. Mend the cause of a halt first.", "所有副本两秒内恢复发送。如为停用，请先修复原因。")}</p>
      ${row.why && html`<p class="quote">${row.why} ${muted(row.who && `— ${row.who}`)}</p>`}<//>`}`;
}

export function LaneTable({ rows, brief }) {
  return html`<${Table} caption=${t("Lanes", "通道")} rows=${rows} id=${(row) => row.account} columns=${[
    [t("Account", "账户"), (row) => html`<strong>${toLane(row.account)}</strong> ${muted(row.platform)}`],
    [t("State", "状态"), (row) => state(row.state)],
    [t("Since", "起始"), (row) => time(row.since_ms, true)],
    !brief && [t("Why", "原因"), (row) => html`${row.why ? html`${row.why} ${muted(row.who && `— ${row.who}`)}` : dash()}${unlisted(row)}`, "wide"],
    [t("Delivered / s", "送达/秒"), (row) => rate(perSecond(row.account, "delivered")), "num"],
    [t("Errors", "错误率"), (row) => percent(failing([row.account])), "num"],
    [t("Oldest open", "最早未完成"), (row) => (oldest(row) < 0 ? "–" : span(oldest(row))), "num"],
    !brief && [t("Queued", "排队"), (row) => count(sum(row, "queued") + sum(row, "released")), "num"],
    !brief && [t("Sending", "发送中"), (row) => count(sum(row, "in_flight")), "num"],
    [t("Open", "未完成"), (row) => count(sum(row, "open")), "num"],
    [t("Parked", "停放"), (row) => count(sum(row, "parked")), "num"],
    !brief && rows.some(share) && [t("Kept back", "灰度保留"), (row) => (share(row) ? html`${count(kept(row))} <small>${t(`${share(row).percent} % is sent`, `已放量 ${share(row).percent}%`)}</small>` : dash()), "num"],
    [t("Change", "操作"), (row) => html`<${Switch} row=${row} />`],
  ]} />`;
}
