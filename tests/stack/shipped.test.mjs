import assert from "node:assert/strict";
import { test } from "node:test";
import { alertmanager, panel, prometheus, rules, seconds, windows } from "./shipped.mjs";

const bases = { console: "http://c", grafana: "http://g" };

test("durations and windows become shorter, and never too short", () => {
  assert.equal(seconds("1h30m"), 5400);
  assert.throws(() => seconds("soon"), /no duration/);
  assert.equal(windows("rate(a[5m]) + b[1h:1m] + c[30s]"), "rate(a[15s]) + b[180s:3s] + c[10s]");
});

test("a rule keeps all but its times and the addresses of its links", () => {
  const text = "groups:\n- name: x\n  interval: 30s\n  rules:\n  - alert: A\n    expr: rate(a[5m]) > 300\n    for: 5m\n    keep_firing_for: 10m\n    annotations:\n      runbook_url: http://127.0.0.1:9464/runbook/A\n      dashboard_url: http://127.0.0.1:3000/d/x\n";
  const wanted = "groups:\n- name: x\n  interval: 1s\n  rules:\n  - alert: A\n    expr: rate(a[15s]) > 300\n    for: 5s\n    keep_firing_for: 10s\n    annotations:\n      runbook_url: http://c/runbook/A\n      dashboard_url: http://g/d/x\n";
  assert.equal(rules(text, bases), wanted);
});

test("targets become those of the test", () => {
  const text = "global:\n  scrape_interval: 5s\n  - targets: [\"worker:9465\"]\n  - targets: ['alertmanager:9093']\n";
  assert.equal(prometheus(text, { workers: ["a:1", "b:2"], alertmanager: "m:3" }),
    "global:\n  scrape_interval: 1s\n  - targets: [\"a:1\", \"b:2\"]\n  - targets: [\"m:3\"]\n");
});

test("receivers keep their names and lose their addresses", () => {
  const text = "route:\n  group_wait: 30s\n  receiver: mail\n  active_time_intervals: [by-day]\nreceivers:\n  - name: mail\n    email_configs:\n      - to: a@b\n  - name: \"wecom\"\n    wechat_configs:\n      - to_party: x\ninhibit_rules:\n  - equal: [a]\n";
  const made = alertmanager(text, "http://h");
  assert.match(made, /group_wait: 1s/);
  assert.match(made, /- name: mail\n {4}webhook_configs:\n {6}- url: http:\/\/h\/mail/);
  assert.match(made, /- url: http:\/\/h\/wecom/);
  assert.match(made, /\ninhibit_rules:\n {2}- equal: \[a\]/);
  assert.doesNotMatch(made, /email_configs|wechat_configs|active_time/);
});

test("the variables of a panel become All", () => {
  assert.equal(panel("sum(rate(a{b=~\"$account\", c=~\"${job:regex}\"}[$__rate_interval]))"), "sum(rate(a{b=~\".*\", c=~\".*\"}[10s]))");
});
