// Rates per account, from the totals that every replica publishes: the difference between two answers.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useLive } from "./live.js";

const KEPT = 900, WINDOW = 10000;
// Samples: {at, of: Map(account → Map(replica → totals))}. They last as long as the tab.
export const samples = signal([]);

function sample(accounts, at) {
  const last = samples.peek().at(-1);
  if (last && at - last.at < 900) return;
  const of = new Map(accounts.map((row) => [row.account, new Map(row.replicas.map((one) => [one.id, one.total ?? {}]))]));
  samples.value = [...samples.peek().slice(-KEPT), { at, of }];
}

// The accounts, kept up to date; each answer is a sample.
export function useAccounts() {
  const accounts = useLive("accounts");
  useEffect(() => { if (accounts.data) sample(accounts.data, accounts.at); }, [accounts.at]);
  return accounts;
}

// The increase of a total between two samples. A replica that came or started anew in between does not count.
function increase(account, name, from, to) {
  let sum = 0;
  for (const [replica, totals] of to.of.get(account) ?? []) {
    const before = from.of.get(account)?.get(replica)?.[name], now = totals[name];
    if (before !== undefined && now >= before) sum += now - before;
  }
  return sum;
}

function before(list, at, span) {
  for (let n = at - 1; n >= 0; n -= 1) if (list[at].at - list[n].at >= span) return list[n];
  return at > 0 ? list[0] : null;
}

// Per second, over the last ten seconds at least; null before there are two samples.
export function perSecond(account, name, at = samples.value.length - 1) {
  const list = samples.value, from = at > 0 ? before(list, at, WINDOW) : null;
  return from ? (increase(account, name, from, list[at]) * 1000) / (list[at].at - from.at) : null;
}

export function failing(accounts) {
  const list = samples.value, at = list.length - 1, from = at > 0 ? before(list, at, 60000) : null;
  if (!from) return null;
  const sum = (name) => accounts.reduce((all, account) => all + increase(account, name, from, list[at]), 0);
  const attempts = sum("attempts");
  return attempts ? sum("failed") / attempts : null;
}
