// What an operator decides on dead letters: to plan a replay of them, or to discard them.
import { ActionDialog, Chips, change, count, go, html, isNarrow, rate, t, toJson } from "../lib/all.js";

// Above this number the number itself has to be typed.
export const BULK = 100;

function Discard({ filter, items, n, onClose, onDone }) {
  return html`<${ActionDialog} title=${t(`Discard ${count(n)}`, `放弃 ${count(n)} 条`)} confirm=${t("Discard", "放弃")} danger typed=${n > BULK ? n : undefined} onClose=${onClose}
    onConfirm=${async ({ why }) => { await change("POST", "dead-letters/discard", { ...(items ? { items } : { filter: toJson(filter) }), why }); onDone?.(); }}>
    <p>${t("They are open no more. Nothing is deleted; the audit can take it back.", "不再计为未处理。不会删除；可在审计中撤销。")}</p>
    <${Chips} of=${items ? {} : toJson(filter)} items=${items} /><//>`;
}

async function plan(what, { why, rate, force, no_brake }, start) {
  const made = await change("POST", "replays", { ...what, why, rate: Number(rate) || undefined, force: force || undefined, no_brake: no_brake || undefined });
  go(["replays", made.id], { start });
}

// The dialog of what was decided: "replay" or "discard".
export const Decide = ({ open, ...what }) => (open === "replay" ? html`<${PlanReplay} ...${what} />` : open === "discard" ? html`<${Discard} ...${what} />` : null);

// Replays the ten newest at once: what comes of them tells more than any prediction.
export const tryTen = (filter, values) => plan({ filter: { ...filter, limit: 10 } }, values, 1);

function PlanReplay({ filter, items, n, onClose }) {
  const json = items ? null : toJson(filter), everything = !items && !isNarrow(filter);
  const fields = [
    { name: "rate", label: t("Rate, per second", "速率（每秒）"), value: "50", hint: t("Below live traffic; may be changed while it runs.", "低于实时流量；运行中可更改。"), extra: { type: "number", min: 1 } },
    everything && { name: "all", check: true, required: true, label: t("Every open dead letter is meant", "确实要选择全部未处理死信"), hint: t("The filter names no condition.", "筛选没有任何条件。") },
    { name: "force", rare: true, check: true, label: t("Force", "强制"), hint: t("Also what the plan would leave out. Money may count twice.", "也包括计划会排除的事件。金额可能计两次。") },
    { name: "no_brake", rare: true, check: true, label: t("No brake", "不自动停止"), hint: t("Goes on however many die again.", "无论多少再次成为死信都继续。") },
  ].filter(Boolean);
  return html`<${ActionDialog} title=${t(`Plan a replay of ${count(n)}`, `计划重放 ${count(n)} 条`)} confirm=${t("Make the plan", "生成计划")} fields=${fields} onClose=${onClose}
    onConfirm=${(values) => plan(items ? { items } : { filter: json }, values)} second=${!items && n > 10 && { label: t("Try ten first", "先试十条"), act: (values) => tryTen(json, values) }}>
    <p>${t("The plan freezes the selection and predicts what comes of it. It runs nothing.", "计划会固定范围并预测结果，本身不运行。")}</p><${Chips} of=${json ?? {}} items=${items} /><//>`;
}
