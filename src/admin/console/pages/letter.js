// One dead letter: why, what to do, what it would come to today, its bytes and its headers in order.
import { Bytes, Fed, Page, Section, State, Table, advice, button, code, count, dash, encode, html, link, meaning, muted, state, t, time, useLive, useState, whose } from "../lib/all.js";
import { Decide } from "./decide.js";

const shown = (value) => (value === null ? muted("null") : value === "" ? muted(t("empty", "空")) : typeof value === "object" ? `base64: ${value.base64}` : value);

function Today({ of }) {
  if (!of.accepted) return html`<p><${State} of="dead_lettered">${t("It would be refused again", "会再次被拒")}<//> <strong>${of.reason}</strong> ${of.field && code(of.field)} ${of.detail}</p>`;
  return html`<p><${State} of="delivered">${t("It would be sent", "会被发送")}<//> ${of.request && code(`${of.request.method} ${of.request.url}`)}</p>
    ${of.warnings?.map((one) => html`<p key=${one}>${one}</p>`)}${of.request?.body && html`<details><summary>${t("The body of the request", "请求体")}</summary><pre tabindex="0">${of.request.body}</pre></details>`}`;
}

function Shown({ of, place }) {
  const [open, set] = useState(""), what = { items: [place], n: 1, onClose: () => set("") };
  const fact = (head, value) => html`<dt>${head}</dt><dd>${value ?? dash()}</dd>`;
  return html`<div class="actions">${of.state === "open" && [button(t("Replay this one…", "重放此条…"), () => set("replay"), "primary"), button(t("Discard…", "放弃…"), () => set("discard"))]}
      ${of.trans_id && html`<a class="button" href=${link(["trace", of.trans_id])}>${t("Trace the event", "追踪事件")}</a>`}
      <a class="button" href=${link(["dead-letters"], { reason: of.reason, code: of.last_code || "-", field: of.field || "-", account: of.account })}>${t("All like this", "同类死信")}</a></div>
    <div class="pair"><${Section} id="why" title=${t("What happened", "发生了什么")}><dl class="facts">
      ${fact(t("Reason", "原因"), html`<strong>${of.reason ?? "–"}</strong><small>${meaning(of.reason, of.meaning)}</small>`)}${of.field && fact(t("Field", "字段"), code(of.field))}${of.detail && fact(t("Detail", "详情"), of.detail)}
      ${fact(t("State", "状态"), html`${of.state ? state(of.state) : dash()} ${of.replays > 0 && t(`replays before: ${of.replays}`, `此前重放 ${of.replays} 次`)}`)}${fact(t("Failed at", "失败时间"), time(of.failed_at))}${fact(t("First seen", "首次出现"), time(of.first_seen))}
      ${fact(t("Last answer", "最后应答"), [of.last_status && `HTTP ${of.last_status}`, of.last_code, of.last_error, of.attempts && t(`attempt ${count(of.attempts)}`, `第 ${count(of.attempts)} 次尝试`)].filter(Boolean).join(" · ") || dash())}</dl><//>
    <${Section} id="whose" title=${t("Which event", "哪个事件")}><dl class="facts">
      ${fact("trans_id", of.trans_id && code(of.trans_id))}${fact(t("Event", "事件"), of.event)}${fact(t("Account", "账户"), whose(of))}
      ${fact(t("Origin", "来源"), of.origin_topic && `${of.origin_topic}/${of.origin_partition} @ ${of.origin_offset}`)}${fact(t("Key", "键"), html`<code>${shown(of.key ?? null)}</code>`)}</dl><//></div>
    <${Section} id="advice" title=${t("What to do", "处理建议")}><p>${advice(of.reason, of.advice)}</p>${of.today && html`<h3>${t("With today's configuration", "按当前配置")}</h3><${Today} of=${of.today} />`}
      <details><summary>${t("Mend the event itself", "修正事件本身")}</summary><p>${t("Mend a copy, send it, and discard this letter:", "修正副本并发送，然后放弃此死信：")}</p><pre tabindex="0">postback dead-letters show --raw ${place} > event.json
postback preview event.json
postback send event.json</pre></details><//>
    <${Section} id="value" title=${t("The event, byte for byte", "事件原始字节")} note=${t("Personal data is masked; nothing else is changed.", "个人信息已脱敏，其余保持不变。")}><${Bytes} text=${of.value} base64=${of.value_base64} name=${t("Event", "事件")} /><//>
    <${Section} id="headers" title=${t("Headers in order", "消息头，按顺序")}><${Table} caption=${t("Headers", "消息头")} rows=${of.headers.map((one, at) => [at + 1, ...one])} id=${([at]) => at} columns=${[["#", ([at]) => at], [t("Name", "名称"), ([, name]) => code(name)], [t("Value", "值"), ([, , value]) => html`<span class="mono">${shown(value)}</span>`, "wide"]]} /><//>
    <${Decide} open=${open} ...${what} />`;
}

export function Letter({ partition, offset }) {
  const place = `${partition}:${offset}`, letter = useLive(`dead-letters/${encode(partition)}/${encode(offset)}`);
  return html`<${Page} title=${t(`Dead letter ${place}`, `死信 ${place}`)} sub=${html`<a href=${link(["dead-letters"])}>${t("All dead letters", "全部死信")}</a>`}><${Fed} of=${letter}>${(of) => html`<${Shown} of=${of} place=${place} />`}<//><//>`;
}
