// What needs a person now, worst first, each with the view that shows it.
import { html } from "htm/preact";
import { link } from "./route.js";
import { count, t } from "./state.js";
import { Time } from "./ui.js";

const since = (row) => html`<${Time} ms=${row.since_ms} />${row.why && html` · ${row.why}`}${row.who && html` <span class="muted">— ${row.who}</span>`}`;

export function needs({ status, rows, blocked }) {
  const found = [], add = (tone, key, title, text, to, action) => found.push({ tone, key, title, text, to, action });
  const look = t("Look", "查看");
  for (const [name, of] of Object.entries(status?.dependencies ?? {})) {
    if (!of.up) add("bad", name, name === "redis" ? t("Redis is away", "Redis 不可用") : t("Kafka is away", "Kafka 不可用"), `${of.detail} ${t("Nothing is sent and nothing is lost meanwhile.", "在此期间不发送，也不会丢失。")}`);
  }
  if (status && !status.ready && Object.values(status.dependencies).every((of) => of.up)) add("bad", "ready", t("The worker is not ready", "worker 尚未就绪"), status.why);
  for (const row of rows.filter((row) => row.state === "halted")) add("bad", `lane-${row.account}`, t(`${row.account} is halted`, `${row.account} 已停用`), since(row), link(["lanes"], { account: row.account }), look);
  for (const row of rows.filter((row) => row.state === "broken")) add("warn", `lane-${row.account}`, t(`${row.account}: the breaker is open`, `${row.account}：熔断器已打开`), since(row), link(["lanes"], { account: row.account }), look);
  for (const row of rows.filter((row) => row.state === "paused")) add("warn", `lane-${row.account}`, t(`${row.account} is paused`, `${row.account} 已暂停`), since(row), link(["lanes"], { account: row.account }), look);
  const parked = blocked?.partitions.filter((row) => row.parked) ?? [];
  if (parked.length) add("bad", "parked", t(`${parked.length} ${parked.length === 1 ? "partition waits" : "partitions wait"} for a position`, `${parked.length} 个分区等待位点`), parked.map((row) => `${row.topic}/${row.partition}`).slice(0, 6).join(", "), link(["blocked"]), look);
  for (const one of blocked?.refused ?? []) add("bad", `topic-${one.topic}-${one.replica}`, t(`${one.topic} takes no records`, `${one.topic} 不接收记录`), t(`${count(one.records)} are held: ${one.why}`, `${count(one.records)} 条等待中：${one.why}`), link(["blocked"]), look);
  return found;
}
