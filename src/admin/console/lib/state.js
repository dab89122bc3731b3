// What the reader chose: language, time zone, theme, the own name; and the token. The token stays in this tab.
import { signal, effect } from "@preact/signals";

function store(area) {
  // A browser may forbid storage. The console then forgets at the end of the tab.
  try { return window[area]; } catch { return null; }
}

function kept(area, name, first) {
  const at = store(area), value = signal(at?.getItem(`postback.${name}`) ?? first);
  effect(() => {
    const now = value.value;
    try { if (now) at?.setItem(`postback.${name}`, now); else at?.removeItem(`postback.${name}`); } catch { /* full */ }
  });
  return value;
}

export const lang = kept("localStorage", "lang", navigator.language?.startsWith("zh") ? "zh" : "en");
export const zone = kept("localStorage", "zone", "browser");
export const theme = kept("localStorage", "theme", "");
export const who = kept("localStorage", "who", "");
export const token = kept("sessionStorage", "token", "");

effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = theme.value;
});

export const t = (en, zh) => (lang.value === "zh" ? zh : en);

export const isAbsent = (value) => value === null || value === undefined;

const formats = new Map();
// A whole number with separators. Text, which may hold more than 53 bits, stays as it is.
export function count(value) {
  if (isAbsent(value)) return "–";
  if (typeof value !== "number") return String(value);
  if (!formats.has(lang.value)) formats.set(lang.value, new Intl.NumberFormat(lang.value === "zh" ? "zh-CN" : "en-US", { maximumFractionDigits: 0 }));
  return formats.get(lang.value).format(value);
}

// A rate per second: whole from 100 on, else with one digit.
export function rate(value) {
  if (isAbsent(value)) return "–";
  return value >= 100 ? count(value) : value === 0 ? "0" : value.toFixed(1);
}

export function percent(share) {
  if (isAbsent(share)) return "–";
  const value = share * 100;
  return value === 0 ? "0 %" : value < 0.1 ? "< 0.1 %" : `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}
