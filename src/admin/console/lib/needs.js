// What needs a person now, worst first, each with the view that shows it.
import { html } from "htm/preact";
import { link } from "./route.js";
import { count, t } from "./state.js";
import { muted, rowsOf, time } from "./ui.js";

const BROUGHT = 3;

export const stormed = (one) => t(`The storm brake stopped ${one.topic}`, `风暴制动已停止 ${one.topic}`);
export const refusing = (one) => t(`${one.topic} takes no records`, `${one.topic} 不接收记录`);

export function needs({ status, rows, blocked, groups, replays }) {
  const found = [], add = (tone, key, title, text, to) => found.push({ tone, key, title, text, to });
  const since = (row) => html`${time(row.since_ms)} ${row.why && `· ${row.why}`} ${muted(row.who && `— ${row.who}`)}`;
  const lanes = (state, tone, title) => rows.filter((row) => row.state === state).forEach((row) => add(tone, row.account, title(row.account), since(row), link(["lanes"], { account: row.account })));
  const away = Object.entries(status?.dependencies ?? {}).filter(([, of]) => !of.up);
  for (const [name, of] of away) add("bad", name, t(`${name} is away`, `${name} 不可用`), `${of.detail}. ${t("Nothing is sent and nothing is lost meanwhile.", "在此期间不发送，也不会丢失。")}`);
  if (status && !status.ready && !away.length) add("bad", "ready", t("The worker is not ready", "worker 尚未就绪"), status.why);
  lanes("halted", "bad", (name) => t(`${name} is halted`, `${name} 已停用`));
  const parked = blocked?.partitions.filter((row) => row.parked) ?? [];
  if (parked.length) add("bad", "parked", t(`Partitions without a position: ${parked.length}`, `缺少位点的分区：${parked.length}`), parked.slice(0, 6).map((row) => `${row.topic}/${row.partition}`).join(", "), link(["blocked"]));
  for (const one of blocked?.storms ?? []) add("bad", `storm ${one.topic}`, stormed(one), `${one.why}: ${one.reason} · ${one.detail}`, link(["blocked"]));
  for (const one of blocked?.refused ?? []) add("bad", one.topic + one.replica, refusing(one), `${one.why} (${count(one.records)})`, link(["blocked"]));
  for (const one of rowsOf(replays).filter((one) => one.state === "stopped_itself").slice(0, 1)) add("bad", one.id, t("A replay stopped itself", "重放已自动停止"), one.stopped?.reason, link(["replays", one.id]));
  lanes("broken", "warn", (name) => t(`${name}: the breaker is open`, `${name}：熔断器已打开`));
  lanes("paused", "warn", (name) => t(`${name} is paused`, `${name} 已暂停`));
  for (const one of groups.filter((one) => one.open).slice(0, BROUGHT)) {
    const { reason, code, field, account } = one, what = [reason, code, field].filter(Boolean).join(" · ");
    add("warn", `letters ${what} ${account}`, t(`Dead letters: ${count(one.open)} ${what}`, `死信：${count(one.open)} ${what}`), html`${account} ${t("last", "最近")} ${time(one.last)}`, link(["dead-letters"], { reason, code: code || "-", field: field || "-", account }));
  }
  return found;
}
