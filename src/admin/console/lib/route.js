// The view is the fragment of the URL: #/dead-letters/3/17?reason=rejected. It never reaches a server or its log.
import { signal } from "@preact/signals";
import { encode, query as queryOf } from "./fetch.js";

function read() {
  const text = location.hash.replace(/^#\/?/, ""), [path, query = ""] = text.split(/\?(.*)/s);
  const part = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  return { path: path.split("/").filter(Boolean).map(part), query: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = signal(read());
addEventListener("hashchange", () => { route.value = read(); });

export const link = (path, query = {}) => `#/${path.map(encode).join("/")}${queryOf(query)}`;

export function go(path, query, { replace = false } = {}) {
  const to = link(path, query);
  if (replace) history.replaceState(null, "", to);
  else location.hash = to;
  route.value = read();
}
