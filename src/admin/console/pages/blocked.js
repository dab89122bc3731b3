// What holds a partition back: the oldest unfinished record of each, and what it waits for.
import { html } from "htm/preact";
import { useLive } from "../lib/live.js";
import { link } from "../lib/route.js";
import { count, t } from "../lib/state.js";
import { Table } from "../lib/table.js";
import { Code, Empty, Fed, Page, Section, Time, span } from "../lib/ui.js";

const place = (row) => `${row.topic}/${row.partition}`;

const columns = () => [
  { key: "place", head: t("Partition", "分区"), cell: (row) => html`<strong>${place(row)}</strong>` },
  { key: "reason", head: t("Waits for", "等待"), wide: true, cell: (row) => html`${row.parked ? html`<span class="state bad"><span class="sign" aria-hidden="true">■</span>${row.parked}</span>` : row.reason ?? html`<span class="muted">${t("nothing", "无")}</span>`}
    ${row.remade_ms && html`<small>${t("The topic was deleted and made again", "主题曾被删除并重建")} <${Time} ms=${row.remade_ms} /></small>`}
    ${row.position_lost_ms && html`<small>${t("The group lost its position here", "消费组在此丢失了位点")} <${Time} ms=${row.position_lost_ms} /></small>`}` },
  { key: "age", head: t("Waits since", "已等待"), num: true, cell: (row) => (row.age_ms === null ? "–" : span(row.age_ms)) },
  { key: "next", head: t("Next try", "下次尝试"), cell: (row) => html`<${Time} ms=${row.next_try_ms} brief />` },
  { key: "account", head: t("Account", "账户"), cell: (row) => (row.account ? html`<a href=${link(["lanes"], { account: row.account })}>${row.account}</a>` : html`<span class="muted">–</span>`) },
  { key: "event", head: t("Event", "事件"), cell: (row) => (row.trans_id ? html`<a href=${link(["trace", row.trans_id])}><${Code}>${row.trans_id}<//></a>` : html`<span class="muted">–</span>`) },
  { key: "offset", head: t("Offset", "位点"), num: true, cell: (row) => count(row.offset) },
  { key: "lag", head: t("Lag", "积压"), num: true, cell: (row) => count(row.lag) },
  { key: "replica", head: t("Replica", "副本"), cell: (row) => html`<span class="muted">${row.replica}</span>` },
];

export function Blocked({ query }) {
  const report = useLive("blocked");
  return html`<${Page} title=${t("Blocked partitions", "受阻分区")} sub=${t("A partition's position is its oldest unfinished record. What waits here longest holds its partition back.", "分区的位点是最早未完成的记录。等待最久的记录会阻挡整个分区。")}>
    <${Fed} of=${report}>${({ partitions, refused, consumers }) => {
      const waiting = (row) => row.offset !== null || row.parked;
      const all = query.all === "1", shown = partitions.filter((row) => all || waiting(row));
      const silent = consumers.filter((one) => one.unconfirmed_ms !== null);
      return html`
      ${silent.map((one) => html`<div class="trouble" role="alert" key=${one.replica + one.name}><strong>${t(`${one.replica}: no commit was confirmed for ${span(one.unconfirmed_ms)}`, `${one.replica}：已有 ${span(one.unconfirmed_ms)} 没有确认提交`)}</strong><p>${one.last_error ?? ""} ${t("It sends nothing meanwhile. Look at Kafka and its network.", "在此期间不发送。请检查 Kafka 及网络。")}</p></div>`)}
      ${refused.map((one) => html`<div class="trouble" role="alert" key=${one.replica + one.topic}><strong>${t(`${one.topic} takes no records`, `${one.topic} 不接收记录`)}</strong><p>${one.why} ${t(`${count(one.records)} records are held on ${one.replica}.`, `${one.replica} 上有 ${count(one.records)} 条记录等待。`)} <${Time} ms=${one.since_ms} /></p></div>`)}
      <${Section} id="partitions" title=${all ? t(`All ${partitions.length} partitions`, `全部 ${partitions.length} 个分区`) : t(`${shown.length} of ${partitions.length} partitions have something unfinished`, `${partitions.length} 个分区中有 ${shown.length} 个存在未完成记录`)}
        actions=${html`<a class="button" href=${link(["blocked"], all ? {} : { all: 1 })}>${all ? t("Only unfinished", "仅未完成") : t("Show all", "显示全部")}</a>`}>
        ${shown.length ? html`<${Table} caption=${t("Partitions", "分区")} columns=${columns()} rows=${shown} id=${place} />`
          : html`<${Empty} good title=${t("Every partition is finished to its end", "所有分区都已处理完毕")} />`}
        ${partitions.some((row) => row.parked) && html`<p class="note">${t("A partition that waits for its position is placed with", "等待位点的分区用此命令处理：")} <code>postback unblock offsets --topic … --partition … --to …</code></p>`}
      <//>`;
    }}<//>
  <//>`;
}
