// A change asks for what it needs in a dialog: why, who (once, then kept), and for a large one its number.
import { html, useEffect, useRef, useState } from "./view.js";
import { refresh, useHold } from "./live.js";
import { t, who } from "./state.js";

/**
 * fields: further inputs as {name, label, value, hint, check, required, extra}. typed: the number that has to be typed.
 * onConfirm gets the values; what it throws is shown, and the dialog stays. second: another way to confirm, {label, act}.
 */
export function ActionDialog({ title, children, fields = [], confirm, second, danger, typed, why = "", onConfirm, onClose }) {
  const box = useRef(null), [busy, setBusy] = useState(false), [error, setError] = useState(null), [asksName, setAsksName] = useState(!who.peek());
  const [values, set] = useState(() => Object.fromEntries([["why", why], ["name", who.peek()], ["typed", ""], ...fields.map((of) => [of.name, of.value ?? ""])]));
  useHold();
  useEffect(() => {
    box.current.showModal();
    box.current.querySelector("input").focus();
  }, []);
  // The browser then gives the focus back to where it was.
  const leave = () => box.current?.close();
  const put = (name) => ({ target }) => set({ ...values, [name]: target.type === "checkbox" ? target.checked : target.value });
  const isTyped = typed === undefined || values.typed.replace(/[,\s]/g, "") === String(typed);
  const ready = values.why.trim() && values.name.trim() && isTyped && fields.every((of) => !of.required || values[of.name]) && !busy;
  const submit = (act) => async (event) => {
    event.preventDefault();
    if (!ready) return;
    setBusy(true);
    setError(null);
    who.value = values.name.trim();
    try {
      await act({ ...values, why: values.why.trim() });
      leave();
    } catch (wrong) {
      if (wrong.status === undefined) throw wrong;
      setError(wrong);
      setBusy(false);
    }
    // Once this dialog is gone: while it is open nothing is asked for.
    setTimeout(refresh, 50);
  };
  const input = (name, label, hint, extra = {}) => html`<label class="field" key=${name}><span>${label}</span><input value=${values[name]} onInput=${put(name)} autocomplete="off" spellcheck=${false} aria-invalid=${error?.field === name ? "true" : undefined} ...${extra} /><small>${hint}</small></label>`;
  const field = (of) => (of.check ? html`<label class="check" key=${of.name}><input type="checkbox" checked=${values[of.name]} onChange=${put(of.name)} /><span>${of.label}<small>${of.hint}</small></span></label>` : input(of.name, of.label, of.hint, of.extra));
  return html`<dialog ref=${box} onCancel=${(event) => busy && event.preventDefault()} onClose=${onClose} aria-labelledby="dialog-title"><form onSubmit=${submit(onConfirm)}>
      <h2 id="dialog-title">${title}</h2>${children}
      ${input("why", t("Why", "原因"), t("For the audit, which all may read: nothing personal.", "写入审计，所有人可见：请勿填写个人信息。"), { maxlength: 256 })}
      ${asksName ? input("name", t("Who are you", "你是谁"), t("Asked once; kept in this browser, and in the audit.", "只问一次；保存在此浏览器和审计中。"), { maxlength: 64 }) : html`<p class="muted">${t("As", "操作人")} <b>${values.name}</b> <button type="button" class="quiet" onClick=${() => setAsksName(true)}>${t("change", "更改")}</button></p>`}
      ${fields.filter((of) => !of.rare).map(field)}
      ${fields.some((of) => of.rare) && html`<details><summary>${t("Overrule what protects", "越过保护规则")}</summary>${fields.filter((of) => of.rare).map(field)}</details>`}
      ${typed !== undefined && input("typed", t(`Type ${typed} to go on`, `输入 ${typed} 以继续`), t("So many events are concerned.", "即涉及的事件数量。"), { inputmode: "numeric" })}
      ${error && html`<p class="trouble" role="alert">${error.message}</p>`}
      <div class="actions end"><button type="button" onClick=${leave} disabled=${busy}>${t("Back", "返回")}</button>
        ${second && html`<button type="button" onClick=${submit(second.act)} disabled=${!ready}>${second.label}</button>`}
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${!ready}>${busy ? t("Asking…", "处理中…") : confirm}</button></div></form></dialog>`;
}
