// Who changed what, from where and why; newest first. A discard can be taken back here.
import { ActionDialog, Chips, Counts, Empty, Fed, More, Page, Section, Table, Trouble, button, change, code, go, html, link, muted, queryOf, read, t, time, toLane, useLive, useNewest, useState } from "../lib/all.js";

const WHATS = ["pause", "resume", "halt", "storm", "discard", "undiscard", "replay plan", "replay run", "replay cancel", "replay resume", "replay rate", "unblock offsets", "unblock dedupe", "unblock storm", "reload"];

function About({ row }) {
  return html`${row.account && toLane(row.account)} ${row.subject && (row.what.startsWith("replay") ? html`<a href=${link(["replays", row.subject])}>${code(row.subject)}</a>` : code(row.subject))} ${row.detail}
    ${(row.filter || row.items?.length > 0) && html`<${Chips} of=${row.filter ?? {}} items=${row.items} />`}<${Counts} of=${row.counts} />`;
}

export function Entries({ rows, undo }) {
  if (!rows.length) return html`<${Empty} title=${t("Nothing was changed", "没有变更记录")} />`;
  const taken = new Set(rows.filter((row) => row.what === "undiscard").map((row) => row.subject));
  return html`<${Table} caption=${t("Audit", "审计")} rows=${rows} id=${(row) => row.id} columns=${[
    [t("When", "时间"), (row) => time(row.at_ms)],
    [t("What", "操作"), (row) => html`<strong>${row.what}</strong>`],
    [t("About", "对象"), (row) => html`<${About} row=${row} />`, "wide"],
    [t("Why", "原因"), (row) => row.why || "–", "wide"],
    [t("Who", "操作人"), (row) => html`${row.who} ${muted(row.via)}`],
    undo && [t("Change", "操作"), (row) => row.what === "discard" && !taken.has(row.id) && button(t("Take back…", "撤销…"), () => undo(row))],
  ]} />`;
}

function Trail({ page, filter }) {
  const [older, setOlder] = useState({ items: [], cursor: undefined }), [undo, setUndo] = useState(null);
  const known = new Set(page.items.map((row) => row.id)), cursor = older.cursor === undefined ? page.cursor : older.cursor;
  const { rows, more, show } = useNewest([...page.items, ...older.items.filter((row) => !known.has(row.id))], (row) => row.id);
  const load = () => read(`audit${queryOf({ ...filter, cursor })}`).then(({ data }) => setOlder({ items: [...older.items, ...data.items], cursor: data.cursor }), (error) => setOlder({ ...older, error }));
  return html`<${More} n=${more} show=${show} /><${Entries} rows=${rows} undo=${setUndo} />
    ${older.error && html`<${Trouble} error=${older.error} again=${load} />`}${cursor && button(t("Show older", "显示更早"), load, "more")}
    ${undo && html`<${ActionDialog} title=${t("Take this discard back", "撤销此次放弃")} confirm=${t("Take back", "撤销")} onClose=${() => setUndo(null)} onConfirm=${({ why }) => change("POST", "dead-letters/undiscard", { id: undo.id, why })}>
      <p>${t("The dead letters that it covers are open again.", "其覆盖的死信恢复为未处理。")}</p><p class="quote">${undo.why} ${muted(`— ${undo.who}`)}</p><${About} row=${undo} /><//>`}`;
}

export function Audit({ query }) {
  const filter = Object.fromEntries(["what", "via", "account", "who", "subject"].filter((name) => query[name]).map((name) => [name, query[name]]));
  const page = useLive(`audit${queryOf(filter)}`), put = (name) => ({ target }) => go(["audit"], { ...filter, [name]: target.value.trim() });
  const select = (name, head, options) => html`<label class="field"><span>${head}</span><select onChange=${put(name)}><option value="">${t("any", "任意")}</option>${options.map((one) => html`<option key=${one} selected=${one === filter[name]}>${one}</option>`)}</select></label>`;
  const input = (name, head) => html`<label class="field"><span>${head}</span><input value=${filter[name] ?? ""} onChange=${put(name)} autocomplete="off" /></label>`;
  return html`<${Page} title=${t("Audit", "审计")} sub=${t("Every change by an operator, or by the worker itself.", "操作人或 worker 自身的每次变更。")}>
    <${Section} id="trail" title=${t("Changes, newest first", "变更，最新在前")}>
      <div class="filters">${select("what", t("What", "操作"), WHATS)}${select("via", t("From", "来源"), ["cli", "api", "console", "worker"])}${input("account", t("Account", "账户"))}${input("who", t("Who", "操作人"))}</div>
      <${Fed} of=${page}>${(answer) => html`<${Trail} key=${JSON.stringify(filter)} page=${answer} filter=${filter} />`}<//><//><//>`;
}
