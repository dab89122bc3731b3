// Moments in one named zone for the whole page, absolute first; spans in words.
import { signal } from "@preact/signals";
import { isAbsent, t, zone } from "./state.js";

const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// The IANA name of the zone in use.
export const zoneName = () => (zone.value === "browser" ? own : zone.value);
export const zones = () => [["browser", t(`Browser: ${own}`, `浏览器：${own}`)], ["UTC", "UTC"], ["Asia/Shanghai", "Asia/Shanghai"]];

// Now, for relative times. It stands still while the page is hidden.
export const now = signal(Date.now());
const tick = () => { if (!document.hidden) now.value = Date.now(); };
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);

const formats = new Map();
function fields(ms, name) {
  // h23: with other cycles some browsers write midnight as 24.
  if (!formats.has(name)) {
    formats.set(name, new Intl.DateTimeFormat("en-GB", { timeZone: name, hourCycle: "h23", year: "numeric", month: "2-digit",
      day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }));
  }
  return Object.fromEntries(formats.get(name).formatToParts(ms).map((part) => [part.type, part.value]));
}

// 2026-11-29 08:15:00
export function absolute(ms) {
  const of = fields(ms, zoneName());
  return `${of.year}-${of.month}-${of.day} ${of.hour}:${of.minute}:${of.second}`;
}

const units = [["d", "天", 86400e3], ["h", "小时", 3600e3], ["min", "分", 60e3], ["s", "秒", 1e3]];

// 2 h 5 min: the two largest units.
export function span(ms) {
  if (isAbsent(ms)) return "–";
  if (ms < 1000) return ms <= 0 ? t("0 s", "0 秒") : t("under 1 s", "不到 1 秒");
  const at = units.findIndex(([, , size]) => ms >= size), [en, zh, size] = units[at];
  const whole = Math.floor(ms / size), text = `${whole} ${t(en, zh)}`, next = units[at + 1];
  const rest = next ? Math.floor((ms - whole * size) / next[2]) : 0;
  return rest ? `${text} ${rest} ${t(next[0], next[1])}` : text;
}

// 3 min ago; in 20 s.
export function relative(ms, from = now.value) {
  const away = ms - from, size = Math.abs(away);
  if (size < 2000) return t("now", "刚刚");
  const [, , unit] = units.find(([, , unit]) => size >= unit) ?? units[3];
  const [en, zh] = units.find((one) => one[2] === unit), whole = Math.floor(size / unit);
  return away < 0 ? t(`${whole} ${en} ago`, `${whole} ${zh}前`) : t(`in ${whole} ${en}`, `${whole} ${zh}后`);
}

// The moment of a wall clock in the zone in use.
function zoned([year, month, day, hour = 0, minute = 0, second = 0]) {
  const name = zoneName(), wall = Date.UTC(year, month - 1, day, hour, minute, second);
  const shift = (ms) => {
    const of = fields(ms, name);
    return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second) - ms;
  };
  const first = wall - shift(wall);
  return wall - shift(first);
}

// Reads what a person writes: 2h, 2026-11-29 08:15 (zone in use), RFC 3339, or epoch ms. Null: none of these.
export function moment(text) {
  const given = text.trim();
  const back = /^(\d+)\s*(s|m|min|h|d)$/.exec(given);
  if (back) return String(Date.now() - back[1] * { s: 1e3, m: 60e3, min: 60e3, h: 3600e3, d: 86400e3 }[back[2]]);
  if (/^\d{11,}$/.test(given)) return given;
  const wall = /^(\d{4})-(\d\d?)-(\d\d?)(?:[ T](\d\d?):(\d\d)(?::(\d\d))?)?$/.exec(given);
  if (wall) return String(zoned(wall.slice(1).map((part) => (part === undefined ? undefined : Number(part)))));
  const stated = /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(given) ? Date.parse(given) : NaN;
  return Number.isNaN(stated) ? null : String(stated);
}

// What a filter's moment looks like in an input.
export const written = (value) => (/^\d{11,}$/.test(value ?? "") ? absolute(Number(value)) : value ?? "");
