// The lane of every account, over all replicas: state, since when, why, what it holds; pause and resume.
import { useAccounts } from "../lib/flow.js";
import { LaneTable } from "../lib/lane.js";
import { Empty, Fed, Page, Section, html, link, t } from "../lib/all.js";

export function Lanes({ query }) {
  const accounts = useAccounts(), { account, platform, state } = query;
  return html`<${Page} title=${t("Lanes", "通道")} sub=${t("What every account has for sending, on all replicas.", "每个账户在所有副本上的发送通道。")}>
    <${Fed} of=${accounts}>${(rows) => {
      const shown = rows.filter((row) => (!account || row.account === account) && (!platform || row.platform === platform) && (!state || row.state === state));
      return html`<${Section} id="lanes" title=${t(`${shown.length} of ${rows.length} lanes`, `${rows.length} 个通道中的 ${shown.length} 个`)} actions=${(account || platform || state) && html`<a class="button" href=${link(["lanes"])}>${t("Show all", "显示全部")}</a>`}>
        ${shown.length ? html`<${LaneTable} rows=${shown} />` : html`<${Empty} title=${rows.length ? t("No lane is like that now", "目前没有符合条件的通道") : t("No account is configured", "尚未配置账户")}>${!rows.length && t("Add a block [accounts.NAME] to the configuration.", "请在配置中添加 [accounts.NAME]。")}<//>`}<//>`;
    }}<//><//>`;
}
