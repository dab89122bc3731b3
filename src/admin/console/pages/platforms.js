// Every platform: what an account of it needs, what it suppresses repeats by, and what nobody could confirm.
import { Fed, Page, Section, Table, code, count, dash, html, t, toLane, useLive } from "../lib/all.js";

function One({ of, accounts }) {
  const { keys, unconfirmed } = of, fact = (head, value) => html`<dt>${head}</dt><dd>${value || dash()}</dd>`;
  return html`<${Section} id=${`platform-${of.name}`} title=${html`${of.title} ${code(of.name)}`} actions=${accounts.map((row) => toLane(row.account))}>
    <dl class="facts">${fact(t("Kinds", "类型"), of.kinds.join(", "))}${fact(t("Suppresses repeats by", "去重依据"), [of.dedupes_by, of.window].filter(Boolean).join(", "))}${fact(t("A repeat costs", "重复的代价"), of.repeats)}
      ${fact(t("Per request", "每次请求"), t(`at most ${count(of.batch_items)}`, `最多 ${count(of.batch_items)} 个`))}${fact(t("Limits", "限制"), of.limits)}${fact(t("Address", "地址"), of.base_url && code(of.base_url))}${fact(t("Read in", "资料来源"), of.docs)}</dl>
    ${unconfirmed.length > 0 && html`<details><summary>${t("Not confirmed", "未确认")} (${unconfirmed.length})</summary><ul class="list">${unconfirmed.map((one) => html`<li key=${one.what}>${one.what} ${one.switch && code(one.switch)}</li>`)}</ul></details>`}
    ${keys.length > 0 && html`<details><summary>${t("Keys of an account", "账户配置项")} (${keys.length})</summary><${Table} caption=${`${of.name}: ${t("keys", "配置项")}`} rows=${keys} id=${(row) => row.name} columns=${[
      [t("Key", "键"), (row) => code(row.name)], [t("Kind", "类型"), (row) => [row.required && t("required", "必填"), row.secret && t("secret", "机密")].filter(Boolean).join(", ")], [t("Default", "默认"), (row) => row.default && code(row.default)], [t("Values", "取值"), (row) => row.values.join(", "), "wide"]]} /></details>`}
    <details><summary>${t("An account to copy", "账户示例")}</summary><pre tabindex="0">${of.example}</pre></details><//>`;
}

export function Platforms() {
  const list = useLive("platforms"), accounts = useLive("accounts");
  return html`<${Page} title=${t("Platforms", "平台")} sub=${t("What there is to send to, and what is not confirmed.", "可发送的平台，以及尚未确认的规则。")}>
    <${Fed} of=${list}>${(rows) => html`<div class="pair">${rows.map((of) => html`<${One} key=${of.name} of=${of} accounts=${(accounts.data ?? []).filter((row) => row.platform === of.name)} />`)}</div>`}<//><//>`;
}
