// Requests to the API of this worker, relative to the page, so that a path prefix needs no setting.
import { signal } from "@preact/signals";
import { isAbsent, t, token, who } from "./state.js";

export class ApiError extends Error {
  constructor(status, message, field = "", code = "") {
    super(message);
    Object.assign(this, { status, field, code });
  }
}

// Why the API refuses this page: "" (it does not), "missing" or "wrong" token.
export const refused = signal("");

// JSON. Integers beyond 53 bits become text, not a rounded number.
export const parse = (text) => JSON.parse(text, (_, value, at) =>
  typeof value === "number" && !Number.isSafeInteger(value) && at && /^-?\d+$/.test(at.source) ? at.source : value);

// The API answers within 10 s, except with a file.
async function send(method, path, body, headers = {}, kind = "text") {
  const given = token.value;
  if (given) headers.authorization = `Bearer ${given}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response, text;
  try {
    response = await fetch(`api/v1/${path}`, { method, headers, cache: "no-store", credentials: "omit", redirect: "error",
      body: JSON.stringify(body), signal: kind === "text" ? AbortSignal.timeout(20000) : null });
    text = await response[response.ok ? kind : "text"]();
    // What a proxy says of a worker that is away.
    if (response.status === 502 || response.status === 504) throw response;
  } catch {
    throw new ApiError(0, t("The worker does not answer.", "worker 没有响应。"));
  }
  if (response.ok || response.status === 304) return { response, text };
  if (response.status === 401 && given === token.value) refused.value = given ? "wrong" : "missing";
  let error;
  try { error = parse(text).error; } catch { /* a proxy's page */ }
  const message = typeof error === "string" ? error : error?.message;
  throw new ApiError(response.status, message || t(`The answer was HTTP ${response.status}.`, `响应为 HTTP ${response.status}。`), error?.field, error?.code);
}

// An answer and its tag; no data if the given tag still holds.
export async function read(path, tag) {
  const { response, text } = await send("GET", path, undefined, tag ? { "if-none-match": tag } : {});
  if (refused.value && path !== "status") refused.value = "";
  if (response.status === 304) return { tag, data: undefined };
  return { tag: response.headers.get("etag"), data: parse(text) };
}

// A change, with who asks for it.
export async function change(method, path, body = {}) {
  const { text } = await send(method, path, { ...body, who: who.value, via: "console" });
  return text ? parse(text) : null;
}

// Gives a file to the browser. Returns how many dead letters it holds.
export async function save(path) {
  const { response, text: file } = await send("GET", path, undefined, {}, "blob"), { headers } = response, at = document.createElement("a");
  at.href = URL.createObjectURL(file);
  at.download = /filename="(.+)"/.exec(headers.get("content-disposition"))[1];
  at.click();
  setTimeout(() => URL.revokeObjectURL(at.href), 60000);
  return Number(headers.get("postback-total"));
}

export const encode = encodeURIComponent;
// The members that say something.
export const said = (members) => Object.entries(members ?? {}).filter(([, value]) => !isAbsent(value) && value !== "");
export function query(members) {
  const text = new URLSearchParams(said(members)).toString();
  return text ? `?${text}` : "";
}
