// What the pages show is asked for again and again: every 2 s while it changes, up to every 30 s while it does not, and
// never while the page is hidden or a choice is open. Pages that show the same thing share one request.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { read, refused } from "./fetch.js";
import { token } from "./state.js";

const SHORTEST = 2000, LONGEST = 30000;
const feeds = new Map();
let held = 0;

// When the last answer came, and whether the last request failed.
export const pulse = signal({ at: 0, failed: false });

function feed(path) {
  if (!feeds.has(path)) {
    if (feeds.size > 60) for (const [key, one] of feeds) if (!one.users) feeds.delete(key);
    feeds.set(path, { path, state: signal({ data: undefined, error: null, at: 0 }), users: 0, delay: SHORTEST, longest: LONGEST, tag: null, timer: 0, asking: null });
  }
  return feeds.get(path);
}

function plan(one, delay) {
  clearTimeout(one.timer);
  one.timer = 0;
  if (one.users && !document.hidden) one.timer = setTimeout(() => ask(one), delay);
}

function ask(one) {
  // A choice that is open must not move under the hand.
  if (held) return plan(one, SHORTEST);
  one.asking ??= (async () => {
    const known = one.state.peek();
    try {
      const { tag, data } = await read(one.path, known.data === undefined ? null : one.tag);
      one.tag = tag;
      one.delay = data === undefined ? Math.min(one.delay * 1.5, one.longest) : SHORTEST;
      one.state.value = { data: data ?? known.data, error: null, at: Date.now() };
      pulse.value = { at: Date.now(), failed: false };
    } catch (error) {
      if (error.status === undefined) throw error;
      one.delay = Math.min(one.delay * 2, LONGEST);
      one.state.value = { ...known, error };
      if (error.status === 0) pulse.value = { ...pulse.peek(), failed: true };
    } finally {
      one.asking = null;
      plan(one, one.delay);
    }
  })();
  return one.asking;
}

// What the API answers to this path: `{data, error, at}`, kept up to date. Without a path nothing is asked.
export function useLive(path, { longest = LONGEST } = {}) {
  const one = path ? feed(path) : null;
  useEffect(() => {
    if (!one) return undefined;
    one.users += 1;
    one.longest = longest;
    one.delay = SHORTEST;
    ask(one);
    return () => {
      one.users -= 1;
      if (!one.users) plan(one, 0);
    };
  }, [one, longest, token.value]);
  return one ? one.state.value : { data: undefined, error: null, at: 0 };
}

// Asks for everything on the page now: after a change, or by hand.
export function refresh() {
  for (const one of feeds.values()) if (one.users) { one.delay = SHORTEST; ask(one); } else one.tag = null;
}

// Nothing is asked for while the calling component is shown.
export function useHold(active = true) {
  useEffect(() => {
    if (!active) return undefined;
    held += 1;
    return () => { held -= 1; };
  }, [active]);
}

document.addEventListener("visibilitychange", () => {
  for (const one of feeds.values()) if (one.users) document.hidden ? plan(one, 0) : ask(one);
});
addEventListener("online", refresh);
token.subscribe(() => { refused.value = ""; });
