// Dead letters: first the groups, then the list. What is done here is done to all that the filter matches.
import { Chips, Empty, Fed, FilterForm, Looked, Page, Section, Table, Trouble, advice, button, code, count, dash, fromUrl, go, html, isNarrow, link, meaning, muted, queryOf, read, rowsOf, save, state, stateName, t, time, toLetter, toQuery, toTrace, useEffect, useHold, useLive, useRef, useState, useSteady, whose } from "../lib/all.js";
import { Letter } from "./letter.js";
import { Decide } from "./decide.js";

const PAGE = 50;
const keyOf = (row) => `${row.partition}:${row.offset}`;
const groupKey = (row) => [row.reason, row.code, row.field, row.platform, row.account].join("\n");
// A group without a code means the letters without one.
const narrow = (row) => ({ reason: row.reason, ...Object.fromEntries(["code", "field", "platform", "account"].map((name) => [name, row[name] || "-"])) });

function Search({ of, onStop, onGo }) {
  if (of.trouble) return html`<p class="stale" role="status">${of.trouble}</p>`;
  return !of.done && of.total > 0 && html`<${Looked} of=${of}>${onStop && (of.busy ? button(t("Stop", "停止"), onStop) : button(t("Go on", "继续"), onGo))}<//>`;
}

function Groups({ answer, filter, again }) {
  const rows = useSteady(rowsOf(answer), groupKey, again), open = (filter.state ?? "open") === "open";
  const into = (row) => link(["dead-letters"], { ...filter, ...narrow(row), view: "list" });
  return html`<${Search} of=${answer} />${rows.length ? html`<${Table} caption=${t("Groups of dead letters", "死信分组")} rows=${rows} id=${groupKey} columns=${[
    [t("Reason", "原因"), (row) => html`<a href=${into(row)}><strong>${row.reason ?? t("unreadable", "无法读取")}</strong></a><small>${meaning(row.reason, row.meaning)}</small>`, "wide"],
    [t("Code", "代码"), (row) => (row.code ? code(row.code) : "–")],
    [t("Field", "字段"), (row) => (row.field ? code(row.field) : "–")],
    [t("Account", "账户"), (row) => whose(row)],
    [t("Open", "未处理"), (row) => html`<b>${count(row.open)}</b>`, "num"],
    [t("All", "全部"), (row) => count(row.count), "num"],
    [t("First", "最早"), (row) => time(row.first, true)],
    [t("Last", "最近"), (row) => time(row.last, true)],
    [t("What to do", "处理建议"), (row) => html`<details><summary>${t("Advice", "建议")}</summary><p>${advice(row.reason, row.advice)}</p></details>${toLetter(row.sample, `${t("Sample", "样本")} ${row.sample}`)}`, "wide"],
  ]} />` : answer.done && html`<${Empty} good=${open} title=${open ? t("0 open", "0 条未处理") : t("None", "无")}>${isNarrow(filter) ? t("Nothing matches. Widen the filter, or look at another state.", "没有符合条件的死信。请放宽条件或查看其他状态。") : t("No dead letter waits for a decision.", "没有等待处理的死信。")}<//>`}`;
}

// Pages of the shared search: they go on until a page is full, everything was looked at, or the reader stops.
function useLetters(filter) {
  const key = JSON.stringify(filter), [found, set] = useState(null), run = useRef(0);
  const load = async (from) => {
    const mine = ++run.current, until = from.items.length + PAGE;
    let at = { ...from, busy: true, error: null };
    set(at);
    try {
      while (at.busy) {
        const { data } = await read(`dead-letters${queryOf({ ...filter, limit: until - at.items.length, cursor: at.cursor })}`);
        if (mine !== run.current) return;
        const known = new Set(at.items.map(keyOf)), items = [...at.items, ...data.items.filter((row) => !known.has(keyOf(row)))];
        at = { ...at, ...data, items, cursor: data.cursor ?? (data.done ? null : at.cursor), busy: !data.done && items.length < until };
        set(at);
        if (at.busy && !data.items.length) await new Promise((wake) => setTimeout(wake, 500));
        if (mine !== run.current) return;
      }
    } catch (error) {
      if (error.status === undefined) throw error;
      // The shared search was given up meanwhile: its pages begin anew.
      if (mine === run.current) set({ ...at, busy: false, error, cursor: null });
    }
  };
  const begin = () => load({ items: [], cursor: null, scanned: 0, total: 0, done: false });
  useEffect(() => { begin(); return () => { run.current += 1; }; }, [key]);
  return { found, begin, more: () => load(found), stop: () => { run.current += 1; set({ ...found, busy: false }); } };
}

function List({ filter, picked, setPicked }) {
  const { found, begin, more, stop } = useLetters(toQuery(filter));
  useHold(picked.length > 0);
  if (!found) return null;
  const { items, busy, error, cursor } = found, isPicked = (row) => picked.includes(keyOf(row));
  const toggle = (row) => setPicked(isPicked(row) ? picked.filter((one) => one !== keyOf(row)) : [...picked, keyOf(row)]);
  return html`<${Search} of=${found} onStop=${stop} onGo=${more} />${error && html`<${Trouble} error=${error} again=${begin} />`}
    ${items.length ? html`<${Table} caption=${t("Dead letters, newest first", "死信，最新在前")} rows=${items} id=${keyOf} rowClass=${(row) => (isPicked(row) ? "picked" : "")} columns=${[
      [t("Choose", "选择"), (row) => html`<input type="checkbox" checked=${isPicked(row)} onChange=${() => toggle(row)} aria-label=${t(`Choose ${keyOf(row)}`, `选择 ${keyOf(row)}`)} />`],
      [t("Letter", "死信"), (row) => toLetter(keyOf(row))],
      [t("Failed at", "失败时间"), (row) => time(row.failed_at)],
      filter.state === "any" && [t("State", "状态"), (row) => (row.state ? state(row.state) : dash())],
      [t("Reason", "原因"), (row) => html`<strong>${row.reason ?? "–"}</strong> ${row.last_code && code(row.last_code)} ${row.field && code(row.field)}`],
      [t("Account", "账户"), (row) => row.account ?? "–"],
      [t("Event", "事件"), (row) => html`${row.event} ${row.trans_id && toTrace(row.trans_id)}`],
      [t("Replays", "重放"), (row) => count(row.replays ?? 0), "num"],
      [t("Detail", "详情"), (row) => row.detail ?? dash(), "wide"],
    ]} />` : !busy && !error && html`<${Empty} title=${t("Nothing matches", "没有符合条件的死信")}>${t("Widen the filter, or look at another state.", "请放宽条件或查看其他状态。")}<//>`}
    <div class="actions">${muted(t(`${count(items.length)} shown`, `已显示 ${count(items.length)} 条`))}
      ${items.length > 0 && !busy && cursor && button(t("Show more", "显示更多"), more)}${!busy && button(t("Look again", "重新查询"), begin)}</div>`;
}

// A file of all that the filter matches, not of what the page shows.
function Export({ filter, n }) {
  const [at, set] = useState({}), { busy, done, error } = at;
  const to = (format) => async () => {
    set({ busy: true });
    try { set({ done: await save(`dead-letters/export${queryOf({ ...toQuery(filter), format })}`) }); } catch (error) {
      if (error.status === undefined) throw error;
      set({ error });
    }
  };
  return html`<div class="actions">${n > 0 && !busy && ["CSV", "JSONL"].map((kind) => button(t(`Export ${count(n)} as ${kind}`, `导出 ${count(n)} 条（${kind}）`), to(kind.toLowerCase()), "quiet"))}
    <span role="status" class=${error ? "bad" : "muted"}>${busy ? t("Exporting…", "导出中…") : error ? error.message : done >= 0 && t(`${count(done)} exported`, `已导出 ${count(done)} 条`)}</span></div>`;
}

function Letters({ query }) {
  const filter = fromUrl(query), list = query.view === "list", at = filter.state ?? "open", key = JSON.stringify(filter);
  const groups = useLive(`dead-letters/groups${queryOf(toQuery(filter))}`), [picked, setPicked] = useState([]), [open, setOpen] = useState("");
  useEffect(() => setPicked([]), [key, list]);
  const n = picked.length || rowsOf(groups.data).reduce((sum, row) => sum + row.open, 0);
  const to = (next) => go(["dead-letters"], { ...next, view: list || next.trans_id ? "list" : undefined });
  const what = { filter, n, items: picked.length ? picked : undefined, onClose: () => setOpen("") };
  const actions = at === "open" && n > 0 && [button(t(`Replay ${count(n)}…`, `重放 ${count(n)} 条…`), () => setOpen("replay"), "primary"), button(t(`Discard ${count(n)}…`, `放弃 ${count(n)} 条…`), () => setOpen("discard"))];
  const tab = (label, next, current) => html`<a href=${link(["dead-letters"], { ...query, ...next })} aria-current=${current ? "true" : undefined}>${label}</a>`;
  return html`<${Page} title=${t("Dead letters", "死信")} sub=${t("Events that could not be delivered, with their bytes unchanged.", "无法送达的事件，字节保持不变。")} actions=${!picked.length && actions}>
    <${Section} id="filter" title=${t("Which", "筛选条件")} actions=${html`<nav class="tabs" aria-label=${t("State", "状态")}>${["open", "replayed", "discarded", "any"].map((one) => tab(one === "any" ? t("all", "全部") : stateName(one), { state: one === "open" ? undefined : one }, one === at))}</nav>`}>
      <${FilterForm} key=${key} filter=${filter} onChange=${to} />
      ${isNarrow(filter) && html`<${Chips} of=${{ ...filter, state: undefined }} onRemove=${(name) => to({ ...filter, [name]: undefined })} />`}<//>
    <${Section} id="found" title=${list ? t("Letters", "死信列表") : t("Groups", "分组")} actions=${html`<nav class="tabs" aria-label=${t("View", "显示")}>${tab(t("Groups", "分组"), { view: undefined }, !list)}${tab(t("List", "列表"), { view: "list" }, list)}</nav>`}>
      ${list ? html`<${List} key=${key} filter=${filter} picked=${picked} setPicked=${setPicked} />` : html`<${Fed} of=${groups}>${(answer) => html`<${Groups} answer=${answer} filter=${filter} again=${key + answer.done} />`}<//>`}
      <${Export} key=${key} filter=${filter} n=${groups.data?.done && groups.data.stats.total} /><//>
    ${picked.length > 0 && html`<div class="actions picks">${actions}${button(t("Choose none", "取消选择"), () => setPicked([]))}</div>`}
    <${Decide} open=${open} ...${what} onDone=${() => setPicked([])} /><//>`;
}

export const DeadLetters = ({ path, query }) => (path.length >= 2 ? html`<${Letter} partition=${path[0]} offset=${path[1]} />` : html`<${Letters} query=${query} />`);
