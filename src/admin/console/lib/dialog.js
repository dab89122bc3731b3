// A change asks for what it needs in a dialog: why, who (once, then kept), and for a large one its number.
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { refresh, useHold } from "./live.js";
import { count, t, who } from "./state.js";

/**
 * fields: further inputs as {name, label, value, hint, kind}. typed: the number that has to be typed. onConfirm gets the
 * values; what it throws is shown, and the dialog stays.
 */
export function ActionDialog({ title, children, fields = [], confirm, danger, typed, needsWhy = true, onConfirm, onClose }) {
  const box = useRef(null), [busy, setBusy] = useState(false), [error, setError] = useState(null);
  const [values, set] = useState(() => Object.fromEntries([["why", ""], ["name", who.peek()], ["typed", ""], ...fields.map((of) => [of.name, of.value ?? ""])]));
  const [asksName, setAsksName] = useState(!who.peek());
  useHold();
  useEffect(() => {
    const opener = document.activeElement;
    box.current.showModal();
    box.current.querySelector("input, textarea")?.focus();
    return () => opener?.isConnected && opener.focus();
  }, []);
  const put = (name) => (event) => set({ ...values, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const ready = (!needsWhy || values.why.trim()) && values.name.trim() && (typed === undefined || values.typed.replace(/[,\s]/g, "") === String(typed));
  const submit = async (event) => {
    event.preventDefault();
    if (!ready || busy) return;
    setBusy(true);
    setError(null);
    who.value = values.name.trim();
    try {
      await onConfirm({ ...values, why: values.why.trim() });
      onClose();
    } catch (wrong) {
      if (wrong.status === undefined) throw wrong;
      setError(wrong);
      setBusy(false);
    }
    refresh();
  };
  const input = (name, label, hint, extra = {}) => html`<label class="field"><span>${label}</span>
    <input value=${values[name]} onInput=${put(name)} autocomplete="off" spellcheck=${false} aria-invalid=${error?.field === name ? "true" : undefined} ...${extra} />${hint && html`<small>${hint}</small>`}</label>`;
  return html`<dialog ref=${box} onCancel=${(event) => { event.preventDefault(); if (!busy) onClose(); }} aria-labelledby="dialog-title">
    <form onSubmit=${submit} method="dialog">
      <h2 id="dialog-title">${title}</h2>
      ${children}
      ${fields.map((of) => (of.kind === "check"
        ? html`<label class="check" key=${of.name}><input type="checkbox" checked=${values[of.name]} onChange=${put(of.name)} /><span>${of.label}${of.hint && html`<small>${of.hint}</small>`}</span></label>`
        : input(of.name, of.label, of.hint, of.extra)))}
      ${needsWhy && input("why", t("Why", "原因"), t("It stands in the audit for all to read. Nothing personal.", "会写入审计，所有人可见。请勿填写个人信息。"), { maxlength: 256, required: true })}
      ${asksName ? input("name", t("Who are you", "你是谁"), t("Asked once. It is kept in this browser and stands in the audit.", "只问一次，保存在此浏览器，并写入审计。"), { maxlength: 64, required: true })
        : html`<p class="muted">${t("As", "操作人")} <b>${values.name}</b> <button type="button" class="quiet" onClick=${() => setAsksName(true)}>${t("change", "更改")}</button></p>`}
      ${typed !== undefined && input("typed", t(`Type ${typed} to go on`, `输入 ${typed} 以继续`), t(`That many events are concerned: ${count(typed)}.`, `涉及 ${count(typed)} 个事件。`), { inputmode: "numeric", required: true })}
      ${error && html`<p class="trouble" role="alert">${error.message}</p>`}
      <div class="actions end">
        <button type="button" onClick=${onClose} disabled=${busy}>${t("Leave it", "放弃操作")}</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${!ready || busy}>${busy ? t("Asking…", "处理中…") : confirm}</button>
      </div>
    </form></dialog>`;
}
