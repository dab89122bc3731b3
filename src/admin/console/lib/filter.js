// A filter of dead letters: as a form, as part of a URL, and as the API takes it.
import { html, useState } from "./view.js";
import { said } from "./fetch.js";
import { useLive } from "./live.js";
import { REASONS } from "./reasons.js";
import { t } from "./state.js";
import { moment, written, zoneName } from "./time.js";
import { stateName } from "./ui.js";

const NAMES = ["reason", "account", "platform", "code", "field", "trans_id", "since", "until", "replays", "state", "limit"];
const CONDITIONS = NAMES.slice(0, 9);

// The filter that a URL holds. Without a state it means the open ones.
export const fromUrl = (query) => Object.fromEntries(NAMES.filter((name) => query[name]).map((name) => [name, query[name]]));
export const isNarrow = (filter) => CONDITIONS.some((name) => filter[name]);

// As a query of the API, which reads a span such as 2h itself.
export const toQuery = (filter) => ({ ...filter, state: filter.state === "any" ? undefined : filter.state ?? "open" });

// As JSON of the API. A span becomes the moment that it means now, so that a plan keeps its meaning.
export function toJson(filter) {
  const of = Object.fromEntries(Object.entries(toQuery(filter)).filter(([, value]) => value));
  for (const name of ["since", "until"]) if (of[name]) of[name] = moment(of[name]) ?? of[name];
  for (const name of ["since", "until", "replays", "limit"]) if (/^\d+$/.test(of[name] ?? "")) of[name] = Number(of[name]);
  return isNarrow(of) ? of : { ...of, everything: true };
}

export const label = (name) => ({
  reason: t("Reason", "原因"), account: t("Account", "账户"), platform: t("Platform", "平台"), code: t("Code", "代码"), field: t("Field", "字段"),
  trans_id: "trans_id", since: t("Failed since", "失败时间起"), until: t("Failed before", "失败时间止"), replays: t("Replayed, times", "重放次数"), state: t("State", "状态"), limit: t("At most", "最多"),
  everything: t("Everything", "全部"),
})[name] ?? name;

// What a filter says, part by part.
export function Chips({ of, items, onRemove }) {
  const parts = said(of);
  const shown = (name, value) => (name === "since" || name === "until" ? `${written(String(value))} ${/^\d{11,}$/.test(value) ? zoneName() : ""}` : name === "state" ? stateName(value) : value === true ? "✓" : String(value));
  return html`<ul class="chips">${parts.map(([name, value]) => html`<li key=${name}><span class="muted">${label(name)}</span> <b>${shown(name, value)}</b>${onRemove && html`<button type="button" class="quiet" onClick=${() => onRemove(name)} aria-label=${t(`Without ${label(name)}`, `移除${label(name)}`)}>✕</button>`}</li>`)}
    ${items?.length ? html`<li><span class="muted">${t("Chosen one by one", "逐条选择")}</span> <b>${items.length}</b></li>` : null}${!parts.length && !items?.length ? html`<li class="muted">${t("everything", "全部")}</li>` : null}</ul>`;
}

export function FilterForm({ filter, onChange }) {
  const [draft, set] = useState(() => ({ ...filter, since: written(filter.since), until: written(filter.until) })), accounts = useLive("accounts");
  const [wrong, setWrong] = useState("");
  const put = (name) => (event) => set({ ...draft, [name]: event.target.value });
  const submit = (event) => {
    event.preventDefault();
    const next = { ...draft };
    for (const name of ["since", "until"]) {
      if (!next[name]?.trim()) { delete next[name]; continue; }
      const read = moment(next[name]);
      if (read === null) return setWrong(name);
      // A span stays a span in the URL: a link means the last two hours whenever it is opened.
      next[name] = /^\d+\s*(s|m|min|h|d)$/.test(next[name].trim()) ? next[name].trim().replace(/\s|in$/g, "") : read;
    }
    setWrong("");
    onChange(Object.fromEntries(Object.entries(next).map(([name, value]) => [name, String(value).trim()])));
  };
  const text = (name, extra = {}) => html`<label class="field"><span>${label(name)}</span><input value=${draft[name] ?? ""} onInput=${put(name)} autocomplete="off" spellcheck=${false} ...${extra} /></label>`;
  const time = (name) => text(name, { placeholder: name === "since" ? "2h · 2026-11-29 08:00" : "", "aria-invalid": wrong === name ? "true" : undefined, "aria-describedby": "zone-note" });
  return html`<form class="filters" onSubmit=${submit} aria-label=${t("Filter", "筛选")}>
    <label class="field"><span>${label("reason")}</span><select value=${draft.reason ?? ""} onChange=${put("reason")}><option value="">${t("any", "任意")}</option>${REASONS.map((one) => html`<option key=${one} value=${one} selected=${one === draft.reason}>${one}</option>`)}</select></label>
    ${text("account", { list: "accounts" })}<datalist id="accounts">${(accounts.data ?? []).map((row) => html`<option key=${row.account} value=${row.account} />`)}</datalist>
    ${text("code")}${text("field")}${text("trans_id")}${time("since")}${time("until")}${text("replays", { inputmode: "numeric" })}
    <div class="actions"><button type="submit" class="primary">${t("Filter", "筛选")}</button><small id="zone-note">${wrong ? html`<span class="bad" role="alert">${t("Write 2h, 2026-11-29 08:00 or epoch ms.", "请写 2h、2026-11-29 08:00 或毫秒时间戳。")}</span>` : t(`Times in ${zoneName()}; 2h: the last two hours.`, `时区 ${zoneName()}；2h：最近两小时。`)}</small></div>
  </form>`;
}
