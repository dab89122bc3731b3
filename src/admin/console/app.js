// The frame of the console: environment, navigation, the reader's choices, and the page of the URL.
import { Component, render } from "preact";
import { refused } from "./lib/fetch.js";
import { pulse, refresh, useLive } from "./lib/live.js";
import { link, route } from "./lib/route.js";
import { lang, t, theme, token, who, zone } from "./lib/state.js";
import { now, relative, zones } from "./lib/time.js";
import { Warning } from "./lib/ui.js";
import { html, useEffect, useRef, useState } from "./lib/view.js";
import { PAGES } from "./pages/list.js";

// The colour of an environment: red for production, else made of its name.
function hue(label) {
  const name = label.toLowerCase();
  if (name.startsWith("prod") || name.includes("生产")) return 27;
  if (name.startsWith("stag") || name.includes("预发")) return 70;
  if (/^(dev|test|demo|local)/.test(name) || name.includes("测试")) return 250;
  return [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
}

function Environment({ status }) {
  const label = status?.label || (status?.embedded ? t("demo: nothing here is durable", "演示：数据不持久") : "");
  useEffect(() => {
    const style = document.documentElement.style;
    label ? style.setProperty("--hue", hue(status?.label || "demo")) : style.removeProperty("--hue");
    document.documentElement.classList.toggle("labelled", Boolean(label));
  }, [label]);
  return label ? html`<div class="environment" role="note"><span class="hidden">${t("Environment:", "环境：")}</span> ${label}</div>` : null;
}

function Choice({ label, value, options }) {
  return html`<label class="choice"><span>${label}</span><select value=${value.value} onChange=${(event) => { value.value = event.target.value; }}>
    ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value.value}>${text}</option>`)}</select></label>`;
}

function Live() {
  const { at, failed } = pulse.value;
  if (failed) return html`<span class="live bad" role="status"><span aria-hidden="true">■</span> ${t("no answer", "无响应")}</span>`;
  const old = at && now.value - at > 45000;
  return html`<span class="live ${old ? "" : "ok"}" title=${at ? relative(at) : ""}><span aria-hidden="true">●</span> ${old ? relative(at) : t("live", "实时")}</span>`;
}

function Token() {
  const [given, set] = useState(""), wrong = refused.value === "wrong";
  const submit = (event) => {
    event.preventDefault();
    token.value = given.trim();
    refused.value = "";
    refresh();
  };
  return html`<section class="panel token" aria-labelledby="token-title"><h1 id="token-title">${wrong ? t("This token is not the right one", "令牌不正确") : t("A token, please", "请输入令牌")}</h1>
    <p>${wrong ? t("Compare it with admin.token of this environment.", "请与此环境的 admin.token 核对。")
      : t("It is the value of admin.token in the configuration of this worker.", "即此 worker 配置中 admin.token 的值。")}</p>
    <form onSubmit=${submit}><label class="field"><span>${t("Token", "令牌")}</span><input type="password" autocomplete="off" value=${given} onInput=${(event) => set(event.target.value)} aria-invalid=${wrong ? "true" : undefined} /><small>${t("Kept in this tab until it is closed.", "只保存在此标签页，关闭即清除。")}</small></label>
    <div class="actions"><button type="submit" class="primary" disabled=${!given.trim()}>${t("Go on", "继续")}</button></div></form></section>`;
}

// A fault of the console itself must not leave an empty page.
class Guard extends Component {
  constructor() { super(); this.state = { error: null }; }
  static getDerivedStateFromError(error) { return { error }; }
  componentDidUpdate(before) { if (before.at !== this.props.at && this.state.error) this.setState({ error: null }); }
  render({ children }, { error }) {
    if (!error) return children;
    console.error(error);
    return html`<${Warning} title=${t("The console failed to show this page", "控制台无法显示此页面")}>${t("The worker goes on. What went wrong:", "worker 不受影响。错误：")} ${String(error.message ?? error)}<//>`;
  }
}

function App() {
  const status = useLive("status"), { path } = route.value, main = useRef(null), first = useRef(true);
  const page = PAGES.find((one) => one.path === (path[0] ?? "")), at = path.join("/");
  useEffect(() => {
    // A screen reader hears the new page, and the keyboard goes on from its top.
    if (first.current) { first.current = false; return; }
    scrollTo(0, 0);
    main.current?.querySelector("h1")?.focus({ preventScroll: true });
  }, [at]);
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.querySelector("h1")?.focus(); }}>${t("To the content", "跳到内容")}</a>
    <${Environment} status=${status.data} />
    <div class="frame">
      <aside><a class="brand" href="#/"><img src="icon.svg" alt="" width="22" height="22" />postback</a>
        <nav aria-label=${t("Pages", "页面")}><ul>${PAGES.map((one) => html`<li key=${one.path}><a href=${link(one.path ? [one.path] : [])} aria-current=${one === page ? "page" : undefined}>${one.title()}</a></li>`)}</ul></nav>
        <details class="choices"><summary>${t("View", "显示")}<${Live} /></summary>
          <div><${Choice} label=${t("Time zone", "时区")} value=${zone} options=${zones()} />
          <${Choice} label="Language · 语言" value=${lang} options=${[["en", "English"], ["zh", "中文"]]} />
          <${Choice} label=${t("Theme", "主题")} value=${theme} options=${[["", t("as the system", "跟随系统")], ["light", t("light", "浅色")], ["dark", t("dark", "深色")]]} />
          ${who.value && html`<p class="muted">${t("You are", "操作人")} <b>${who.value}</b> <button type="button" class="quiet" onClick=${() => { who.value = ""; }}>${t("forget", "清除")}</button></p>`}
          ${token.value && html`<p><button type="button" class="quiet" onClick=${() => { token.value = ""; refresh(); }}>${t("Forget the token", "清除令牌")}</button></p>`}
          <p class="muted">${status.data ? `postback ${status.data.version}` : ""}</p></div></details>
      </aside>
      <main id="main" ref=${main}><${Guard} at=${at}>
        ${refused.value ? html`<${Token} />` : page ? html`<${page.Page} key=${page.path} path=${path.slice(1)} query=${route.value.query} status=${status} />`
          : html`<div class="empty"><h1 tabindex="-1">${t("No such page", "没有此页面")}</h1><p><a href="#/">${t("To the overview", "前往总览")}</a></p></div>`}
      <//></main>
    </div>`;
}

render(html`<${App} />`, document.getElementById("app"));
