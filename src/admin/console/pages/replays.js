import { Chips, Empty, Fed, More, Page, Section, Table, count, html, link, muted, rowsOf, state, t, time, total, useLive, useNewest } from "../lib/all.js";
import { Replay } from "./replay.js";

function History({ rows: all }) {
  const { rows, more, show } = useNewest(all, (row) => row.id);
  if (!all.length) return html`<${Empty} title=${t("No replay yet", "尚无重放")}>${t("It begins with the choice of dead letters.", "从选择死信开始。")}<//>`;
  return html`<${More} n=${more} show=${show} /><${Table} caption=${t("Replays, newest first", "重放，最新在前")} rows=${rows} id=${(row) => row.id} columns=${[
    [t("Planned", "计划时间"), (row) => html`<a href=${link(["replays", row.id])}>${time(row.made_at_ms)}</a>`],
    [t("State", "状态"), (row) => state(row.progress ? "planning" : row.state)],
    [t("Why", "原因"), (row) => html`${row.why} ${muted(`— ${row.by}, ${row.via}`)}`, "wide"],
    [t("What", "范围"), (row) => html`<${Chips} of=${row.items?.length ? {} : row.filter} items=${row.items} />`, "wide"],
    [t("Selected", "选中"), (row) => count(row.selected), "num"],
    [t("Published", "已发布"), (row) => count(row.republished), "num"],
    [t("Delivered", "已送达"), (row) => count(row.outcomes.delivered), "num"],
    [t("Dead again", "再次死信"), (row) => count(total(row.outcomes.dead_lettered)), "num"],
  ]} />`;
}

export function Replays({ path, query }) {
  const list = useLive(path[0] ? null : "replays");
  if (path[0]) return html`<${Replay} key=${path[0]} id=${path[0]} start=${query.start === "1"} />`;
  return html`<${Page} title=${t("Replays", "重放")} sub=${t("One at a time, run by the workers: closing this page changes nothing.", "同一时间一个，由 worker 执行：关闭页面不影响。")} actions=${html`<a class="button primary" href=${link(["dead-letters"])}>${t("Choose dead letters", "选择死信")}</a>`}>
    <${Section} id="history" title=${t("History", "历史")}><${Fed} of=${list}>${(answer) => html`<${History} rows=${rowsOf(answer)} />`}<//><//><//>`;
}
