import assert from "node:assert/strict";
import { test } from "node:test";
import { metrics, selectors, unconditional } from "./promql.mjs";

test("the metrics of an expression are neither functions nor labels nor keywords", () => {
  for (const [text, wanted] of [
    ["up", ["up"]],
    ["sum by (account, platform) (rate(a_total{class=~\"retry|x\"}[5m])) / on (account) group_left (b) c:d:rate5m > 0.001", ["a_total", "c:d:rate5m"]],
    ["sum(rate(a[1m])) by (le) and b == 1 unless c offset 5m", ["a", "b", "c"]],
    ["histogram_quantile(0.99, sum(rate(x_bucket[5m])) by (le)) > 3", ["x_bucket"]],
    ["absent(up{job=\"postback\"} == 1) or vector(1)", ["up"]],
    ["topk by (a) (5, b)", ["b"]],
    ["avg without (instance) (a) > bool 1e3", ["a"]],
    ["label_replace(a, \"x\", \"$1\", \"y\", \"(.*)\")", ["a"]],
    ["a{b=\"}\"} # remark about c\n* 2", ["a"]],
  ]) assert.deepEqual(metrics(text), wanted, text);
  assert.deepEqual(selectors("rate(a{b=\"c d\"}[5m]) > e"), ["a{b=\"c d\"}", "e"]);
});

test("a condition becomes 0 or 1", () => {
  assert.equal(unconditional("a > 1 and b{c=\"d > e\"} == bool 0"), "a > bool 1 and b{c=\"d > e\"} == bool 0");
  assert.equal(unconditional("a > 1 unless on (x) b == 1"), "a > bool 1 unless on ( x ) b == 1");
  assert.equal(unconditional("(a unless b > 1) < 2"), "( a unless b > 1 ) < bool 2");
  assert.equal(unconditional("rate(a{b=~\"c\"}[5m]) != 0"), "rate ( a{b=~\"c\"}[5m] ) != bool 0");
});

test("what cannot be read is said", () => assert.throws(() => metrics("a ? b"), /cannot be read from: \? b/));
