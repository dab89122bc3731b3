// What holds a partition back: the oldest unfinished record of each, and what it waits for.
import { Empty, Fed, Page, Section, Table, Warning, code, count, dash, html, link, muted, span, state, t, time, toLane, toTrace, useLive } from "../lib/all.js";
import { refusing, stormed } from "../lib/needs.js";

const place = (row) => `${row.topic}/${row.partition}`;

const spot = ({ partition, offset }) => `${partition}/${offset}`;
const summary = ({ why, counts, first, last }) => `${why}: ${Object.entries(counts).map(([reason, n]) => `${count(n)} ${reason}`).join(", ")}, ${spot(first)} – ${spot(last)}.`;

export function Blocked({ query }) {
  const report = useLive("blocked"), all = query.all === "1";
  const columns = [
    [t("Partition", "分区"), (row) => html`<strong>${place(row)}</strong>`],
    [t("Waits for", "等待"), (row) => html`${row.parked ? html`${state("halted")} ${row.parked}` : row.reason ?? dash()}
      ${row.remade_ms && html`<small>${t("The topic was made again", "主题曾被重建")} ${time(row.remade_ms)}</small>`}${row.position_lost_ms && html`<small>${t("The position was lost", "位点曾丢失")} ${time(row.position_lost_ms)}</small>`}`, "wide"],
    [t("For", "已等待"), (row) => span(row.age_ms), "num"],
    [t("Next try", "下次尝试"), (row) => time(row.next_try_ms, true)],
    [t("Account", "账户"), (row) => (row.account ? toLane(row.account) : dash())],
    [t("Event", "事件"), (row) => (row.trans_id ? toTrace(row.trans_id) : dash())],
    [t("Offset", "位点"), (row) => count(row.offset), "num"],
    [t("Lag", "积压"), (row) => count(row.lag), "num"],
    [t("Replica", "副本"), (row) => muted(row.replica)],
  ];
  return html`<${Page} title=${t("Blocked partitions", "受阻分区")} sub=${t("The oldest unfinished record holds the others back.", "最早未完成的记录会阻挡其余记录。")}>
    <${Fed} of=${report}>${({ partitions, refused, consumers, replays, storms = [], storm_passes = {} }) => {
      const shown = partitions.filter((row) => all || (row.offset !== null && row.reason !== "rollout") || row.parked);
      return html`
      ${consumers.filter((one) => one.unconfirmed_ms !== null).map((one) => html`<${Warning} key=${one.replica + one.name} title=${t(`${one.replica}: no commit for ${span(one.unconfirmed_ms)}`, `${one.replica}：${span(one.unconfirmed_ms)}没有提交`)}>${one.last_error} ${t("It sends nothing meanwhile. Look at Kafka.", "在此期间不发送。请检查 Kafka。")}<//>`)}
      ${storms.map((one) => html`<${Warning} key=${one.topic} title=${stormed(one)}>${summary(one)} ${time(one.since_ms)} ${muted(one.replica)}<br />${t("The last one", "最后一条")} (${one.reason} · ${one.detail}): <code>${one.sample}</code><br />${t("To go on:", "恢复读取：")} <code>${one.unblock}</code> ${t("--pass N lets N more bad records pass.", "--pass N 可放行 N 条错误记录。")}<//>`)}
      ${Object.keys(storm_passes).length > 0 && html`<ul class="hint">${Object.entries(storm_passes).map(([topic, left]) => html`<li key=${topic}>${t(`${topic}: ${count(left)} bad records may pass`, `${topic}：可放行 ${count(left)} 条错误记录`)}</li>`)}</ul>`}
      ${refused.map((one) => html`<${Warning} key=${one.replica + one.topic} title=${refusing(one)}>${one.why} ${t(`${count(one.records)} are held on ${one.replica}`, `${one.replica} 上有 ${count(one.records)} 条等待`)} ${time(one.since_ms)}<//>`)}
      ${replays.length > 0 && html`<ul class="hint">${replays.map((one) => html`<li key=${one.id + one.account}>${t("Replay", "重放")} <a href=${link(["replays", one.id])}>${code(one.id)}</a> ${one.account && toLane(one.account)} ${t("waits:", "等待：")} ${one.why}</li>`)}</ul>`}
      <${Section} id="partitions" title=${t(`${shown.length} of ${partitions.length} partitions`, `${partitions.length} 个分区中的 ${shown.length} 个`)} note=${!all && t("Those with something unfinished.", "存在未完成记录的分区。")}
        actions=${html`<a class="button" href=${link(["blocked"], all ? {} : { all: 1 })}>${all ? t("Only unfinished", "仅未完成") : t("Show all", "显示全部")}</a>`}>
        ${shown.length ? html`<${Table} caption=${t("Partitions", "分区")} columns=${columns} rows=${shown} id=${place} />` : html`<${Empty} good title=${t("Nothing that was read waits", "已读取的记录均处理完毕")} />`}
        ${partitions.some((row) => row.parked) && html`<p class="note">${t("To place a partition:", "设置分区位点：")} <code>postback unblock offsets --topic … --partition … --to …</code></p>`}<//>`;
    }}<//><//>`;
}
