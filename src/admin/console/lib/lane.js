// What pages know of a lane: its sums over all replicas, and the switches of an operator.
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { change, encode } from "./api.js";
import { ActionDialog } from "./dialog.js";
import { t } from "./state.js";

export const sum = (row, name) => row.replicas.reduce((all, one) => all + (one[name] ?? 0), 0);
export const oldest = (row) => row.replicas.reduce((all, one) => Math.max(all ?? -1, one.oldest_ms ?? -1), -1);

/** The button of a lane: pause one that flows, resume one that an operator or the worker stopped. */
export function Switch({ row }) {
  const [open, set] = useState(""), stopped = row.state === "paused" || row.state === "halted";
  const what = stopped ? "resume" : "pause";
  return html`<button type="button" onClick=${() => set(what)}>${stopped ? t("Resume…", "恢复…") : t("Pause…", "暂停…")}<span class="hidden"> ${row.account}</span></button>
    ${open && html`<${ActionDialog} title=${open === "pause" ? t(`Pause ${row.account}`, `暂停 ${row.account}`) : t(`Resume ${row.account}`, `恢复 ${row.account}`)}
      confirm=${open === "pause" ? t("Pause", "暂停") : t("Resume", "恢复")} onClose=${() => set("")}
      onConfirm=${(values) => change("POST", `accounts/${encode(row.account)}/${open}`, { reason: values.why })}>
      <p>${open === "pause" ? t("Every replica stops sending for this account within two seconds. Its events wait in the parking topic; none is lost.", "所有副本会在两秒内停止为此账户发送。事件在停车主题中等待，不会丢失。")
        : t("Every replica sends again within two seconds. A halt is cleared too: make sure that its cause is mended.", "所有副本会在两秒内恢复发送。停用状态也会被清除：请先确认原因已修复。")}</p>
      ${row.why && html`<p class="quote">${row.why}${row.who && html` <span class="muted">— ${row.who}</span>`}</p>`}
    <//>`}`;
}
