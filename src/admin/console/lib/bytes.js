// Bytes exactly as they are stored (masked by the API), as text or as hexadecimal digits; never parsed.
import { html, useState } from "./view.js";
import { count, isAbsent, t } from "./state.js";

const LINES = 512;
const decode = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));

function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length && lines.length < LINES; at += 16) {
    const part = [...bytes.subarray(at, at + 16)];
    const digits = part.map((one) => one.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits}  ${part.map((one) => (one > 31 && one < 127 ? String.fromCharCode(one) : "·")).join("")}`);
  }
  return lines.join("\n") + (bytes.length > LINES * 16 ? "\n…" : "");
}

// text: null where there is no value; base64: the same bytes.
export function Bytes({ text, base64, name }) {
  const bytes = isAbsent(base64) ? null : decode(base64);
  let readable = true;
  if (bytes) try { new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { readable = false; }
  if (bytes?.includes(0)) readable = false;
  const [raw, setRaw] = useState(!readable);
  if (text === null && bytes === null) return html`<p class="muted">${t("No value (null)", "无内容（null）")}</p>`;
  if (bytes && !bytes.length) return html`<p class="muted">${t("Empty: 0 bytes", "空：0 字节")}</p>`;
  const shown = raw && bytes ? hex(bytes) : text ?? "";
  return html`<div class="chart"><div class="actions"><span class="muted">${bytes ? t(`${count(bytes.length)} bytes`, `${count(bytes.length)} 字节`) : ""}</span>
    ${bytes && html`<span class="tabs" role="group" aria-label=${name}><button type="button" aria-pressed=${String(!raw)} onClick=${() => setRaw(false)}>${t("Text", "文本")}</button><button type="button" aria-pressed=${String(raw)} onClick=${() => setRaw(true)}>${t("Hex", "十六进制")}</button></span>`}</div>
    <pre tabindex="0" role="region" aria-label=${name}>${shown}</pre></div>`;
}
