// The lane of every account, over all replicas: state, since when, why, what it holds; pause and resume.
import { html } from "htm/preact";
import { useLive } from "../lib/live.js";
import { Switch, oldest, sum } from "../lib/lane.js";
import { link } from "../lib/route.js";
import { count, t } from "../lib/state.js";
import { Table } from "../lib/table.js";
import { Empty, Fed, Page, Section, State, Time, span } from "../lib/ui.js";

const columns = () => [
  { key: "account", head: t("Account", "账户"), cell: (row) => html`<strong>${row.account}</strong> <span class="muted">${row.platform}</span>` },
  { key: "state", head: t("State", "状态"), cell: (row) => html`<${State} of=${row.state} />` },
  { key: "since", head: t("Since", "起始"), cell: (row) => html`<${Time} ms=${row.since_ms} />` },
  { key: "why", head: t("Why", "原因"), wide: true, cell: (row) => (row.why ? html`${row.why}${row.who && html` <span class="muted">— ${row.who}</span>`}` : html`<span class="muted">–</span>`) },
  { key: "oldest", head: t("Oldest open", "最早未完成"), num: true, cell: (row) => (oldest(row) < 0 ? "–" : span(oldest(row))) },
  { key: "queued", head: t("Queued", "排队"), num: true, cell: (row) => count(sum(row, "queued") + sum(row, "released")) },
  { key: "flight", head: t("Sending", "发送中"), num: true, cell: (row) => count(sum(row, "in_flight")) },
  { key: "open", head: t("Open", "未完成"), num: true, cell: (row) => count(sum(row, "open")) },
  { key: "parked", head: t("Parked", "停放"), num: true, cell: (row) => count(sum(row, "parked")) },
  { key: "replicas", head: t("Replicas", "副本"), num: true, cell: (row) => count(row.replicas.length) },
  { key: "do", head: t("Change", "操作"), cell: (row) => html`<${Switch} row=${row} />` },
];

export function Lanes({ query }) {
  const accounts = useLive("accounts");
  return html`<${Page} title=${t("Lanes", "通道")} sub=${t("What every account has for sending. A pause and a resume are obeyed by every replica, and stand in the audit.", "每个账户的发送通道。暂停和恢复对所有副本生效，并写入审计。")}>
    <${Fed} of=${accounts}>${(rows) => {
      const shown = rows.filter((row) => (!query.account || row.account === query.account) && (!query.state || row.state === query.state));
      return html`<${Section} id="lanes" title=${query.account || query.state ? t(`${shown.length} of ${rows.length} lanes`, `${rows.length} 个通道中的 ${shown.length} 个`) : t(`${rows.length} lanes`, `${rows.length} 个通道`)}
        actions=${(query.account || query.state) && html`<a class="button" href=${link(["lanes"])}>${t("Show all", "显示全部")}</a>`}>
        ${shown.length ? html`<${Table} caption=${t("Lanes", "通道")} columns=${columns()} rows=${shown} id=${(row) => row.account} />`
          : html`<${Empty} title=${rows.length ? t("No lane is like that now", "目前没有符合条件的通道") : t("No account is configured", "尚未配置账户")}>${rows.length ? "" : t("Add a block [accounts.NAME] to the configuration.", "请在配置中添加 [accounts.NAME]。")}<//>`}
      <//>`;
    }}<//>
  <//>`;
}
