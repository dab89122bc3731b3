// The check of the stack; see tests/stack/run.
import assert from "node:assert/strict";
import * as links from "./links.mjs";
import { metrics, unconditional } from "./promql.mjs";
import { panel } from "./shipped.mjs";
import { BZ, PS, Stack, eventually, read, say, sleep } from "./stack.mjs";

const env = process.env;
const EMPTY = JSON.parse(read("tests/stack/empty.json"));
/** What Prometheus makes itself, once an alert is raised. */
const OF_PROMETHEUS = new Set(["ALERTS", "ALERTS_FOR_STATE"]);
/** How long the expressions may need until each has data. */
const PATIENCE = 60000;

/**
 * Every expression: where it stands, and the forms of which one has to have data. Conditions are taken off where there
 * is nothing else to see while all is well: an alert, and a panel that lists what is wrong.
 */
async function expressions(stack) {
  const rules = await stack.rules();
  assert.ok(rules.some((rule) => rule.type === "recording") && rules.some((rule) => rule.type === "alerting"), "Prometheus has loaded no rules");
  const found = rules.map((rule) => ({ where: rule.name, text: rule.query, ask: [rule.type === "alerting" ? unconditional(rule.query) : rule.query] }));
  const walk = (dashboard, panels) => panels.forEach((one) => {
    walk(dashboard, one.panels ?? []);
    for (const { expr } of one.targets ?? []) {
      const text = panel(expr);
      found.push({ where: `${dashboard.uid}: ${one.title}`, text, ask: [text, unconditional(text)] });
    }
  });
  links.allDashboards().forEach((dashboard) => walk(dashboard, dashboard.panels));
  return found;
}

const hasData = async (stack, text) => (await stack.query(text)).some(({ value }) => value[1] !== "NaN");

async function firstWithData(stack, forms) {
  for (const form of forms) if (await hasData(stack, form)) return form;
  return null;
}

async function everyExpressionHasData(stack) {
  const all = await expressions(stack);
  const recorded = new Set((await stack.rules()).filter((rule) => rule.type === "recording").map((rule) => rule.name));
  say(`${all.length} expressions: ${recorded.size} recording rules, the alerts, ${links.allDashboards().length} dashboards`);
  const listed = new Set(Object.keys(EMPTY).filter((where) => where !== "about"));
  let left = all.filter((one) => !listed.has(one.where));
  await eventually("every expression has data", async () => {
    const still = [];
    for (const one of left) if (!(await firstWithData(stack, one.ask))) still.push(one);
    left = still;
    if (left.length) throw new Error(`without data:\n${left.map((one) => `${one.where}: ${one.ask.join(" | ")}`).join("\n")}`);
    return true;
  }, PATIENCE, 1000);
  // A name that no series has is a misspelt one, also where the list excuses the expression.
  const names = new Set((await (await fetch(`${stack.base.prometheus}/api/v1/label/__name__/values`)).json()).data);
  const exists = (name) => names.has(name) || recorded.has(name) || OF_PROMETHEUS.has(name);
  const unknown = all.flatMap((one) => metrics(one.text).filter((name) => !exists(name)).map((name) => `${one.where}: ${name}`));
  assert.deepEqual(unknown, [], "metrics that do not exist");
  assert.deepEqual([...listed].filter((where) => !all.some((one) => one.where === where)), [], "entries of tests/stack/empty.json that excuse nothing");
  return all.filter((one) => listed.has(one.where));
}

async function everyLinkLeadsSomewhere(stack) {
  const alerts = (await stack.rules()).filter((rule) => rule.type === "alerting");
  for (const alert of alerts) await links.check(alert.name, alert.annotations, stack.base.admin1);
  say(`the links of ${alerts.length} alerts lead to a page, a view of the console and a dashboard`);
}

const DEAD = "PostbackBreakerOpen";
const about = (account) => (one) => one.labels.alertname === DEAD && one.labels.account === account;

/** Breaks the platform of an account, and nothing else, until its death has reached a receiver, with links that lead somewhere. */
async function dies(stack, account, what, fault) {
  assert.deepEqual(stack.notices.filter(about(account)), [], "it fires before anything happened");
  await stack.faults({ [account]: fault });
  const dead = Date.now();
  say(`the platform of ${account} ${what}`);
  const fired = await eventually(`${DEAD} of ${account} reaches a receiver`, () => stack.notices.find((one) => about(account)(one) && one.status === "firing"), 90000);
  say(`${DEAD} fired after ${Math.round((fired.at - dead) / 1000)} s, to ${fired.receiver}: ${fired.annotations.description}`);
  await links.check(DEAD, fired.annotations, stack.base.admin1);
  assert.ok(fired.annotations.console_url.includes(account), `its console_url names the account: ${fired.annotations.console_url}`);
  assert.ok(fired.annotations.description.includes(account), `its description names the account: ${fired.annotations.description}`);
}

async function clears(stack, account, healed) {
  const cleared = await eventually(`${DEAD} of ${account} is resolved`, () => stack.notices.find((one) => about(account)(one) && one.status === "resolved" && one.at > healed), 120000);
  say(`${DEAD} of ${account} cleared after ${Math.round((cleared.at - healed) / 1000)} s`);
}

/** One platform answers 500, then the other one does not answer at all. */
async function platformsDie(stack, listed) {
  await dies(stack, PS, "answers 500", { status: 500, share: 1.0 });
  await eventually("the console shows what the alert says, and that the other account goes on", async () => {
    const rows = await stack.api("accounts");
    const states = [PS, BZ].map((name) => rows.find((row) => row.account === name).state).join();
    if (states !== "broken,flowing") throw new Error(`${states} of ${JSON.stringify(rows)}`);
    return true;
  }, 30000);
  // No alert about the other account, and none that would wake somebody for nothing.
  assert.deepEqual(stack.notices.filter((one) => one.labels.account === BZ).map((one) => one.labels.alertname), []);

  // What has nothing to show while all is well has it now.
  const outage = listed.filter((one) => EMPTY[one.where].outage);
  await eventually("what shows only trouble shows it", async () => {
    for (const one of outage) if (!(await firstWithData(stack, one.ask))) throw new Error(`${one.where}: ${one.ask[0]}`);
    return true;
  });

  // The second one dies while the alert of the first one clears.
  const healed = Date.now();
  await dies(stack, BZ, `does not answer, and that of ${PS} answers again`, { hang: true });
  await eventually("the console says that it does not answer", async () => {
    const { state, why } = (await stack.api("accounts")).find((row) => row.account === BZ);
    if (state !== "broken" || !why.includes("no answer in time")) throw new Error(`${state}: ${why}`);
    return true;
  }, 30000);
  await clears(stack, PS, healed);
  await stack.faults({});
  const bothHealed = Date.now();
  say("both platforms answer");
  await clears(stack, BZ, bothHealed);
}

async function nothingIsLeft(stack) {
  // Burn rates look back over hours, also in a test whose hours are minutes.
  const slow = /Burn(Slow)?$/;
  await eventually("every alert but the burn rates is over", async () => {
    const left = (await stack.alerts()).filter((one) => !slow.test(one.labels.alertname)).map((one) => `${one.labels.alertname} ${one.labels.account ?? ""}`);
    if (left.length) throw new Error(`still active: ${left.join(", ")}`);
    return true;
  }, 180000, 1000);
  say("every alert but the burn rates is over");
  const ledger = await eventually("every event has its end", async () => {
    const found = JSON.parse(await stack.postback(["reconcile", "--from", "1h", "--json"]));
    if (!found.balanced) throw new Error(JSON.stringify(found));
    return found;
  }, 60000, 1000);
  const taken = (await (await fetch(`${stack.base.sandbox}/_ledger`)).json()).filter((one) => one.accepted);
  const { published, doubtful } = stack;
  assert.ok(ledger.produced >= published && ledger.produced <= published + doubtful, `${published} (and ${doubtful} in doubt) were published, ${ledger.produced} read`);
  assert.equal(ledger.delivered, ledger.distinct, `each was delivered: ${JSON.stringify(ledger)}`);
  assert.ok(taken.length >= ledger.delivered, `the platforms took ${taken.length} of ${ledger.delivered}`);
  say(`${ledger.produced} events published, ${ledger.delivered} delivered, ${ledger.duplicate} duplicates, 0 lost`);
}

/** What somebody needs to break the stack, and each notice as a receiver would see it. */
function inform({ base, config, token }) {
  const lines = Object.entries(base).map(([name, url]) => `  ${name.padEnd(14)}${url}`);
  const put = (faults) => `curl -X PUT ${base.sandbox}/_faults -d '${JSON.stringify(faults)}'`;
  console.error(`${lines.join("\n")}
  token         ${token}
  configuration ${config} (both workers; change it and reload)
  environment   POSTBACK__KAFKA__BROKERS=${env.POSTBACK_TEST_KAFKA} POSTBACK__REDIS__URL=redis://${env.POSTBACK_TEST_REDIS} POSTBACK__ADMIN__LISTEN=${base.admin1.slice(7)}
  kill a platform   ${put({ [PS]: { status: 500, share: 1.0 } })}
  or let it hang    ${put({ [BZ]: { hang: true } })}
  heal it           ${put({})}
  Redis away        kill -STOP ${env.POSTBACK_STACK_REDIS}, and kill -CONT`);
  stack.onNotice = ({ receiver, status, labels, annotations }) => say(`${receiver}: ${status} ${labels.severity} ${labels.alertname} ${labels.account ?? ""}
        ${annotations.summary}
        ${annotations.description}
        runbook    ${annotations.runbook_url}
        console    ${annotations.console_url}
        dashboard  ${annotations.dashboard_url}`);
}

const stays = process.argv.includes("--stay");
const stack = await Stack.start();
let failed = null;
const end = new Promise((done) => ["SIGINT", "SIGTERM"].forEach((signal) => process.once(signal, done)));
const work = async () => {
  say("the stack runs");
  const stop = stack.load();
  if (stays) {
    inform(stack);
    await end;
    return stop();
  }
  await everyLinkLeadsSomewhere(stack);
  const listed = await everyExpressionHasData(stack);
  await platformsDie(stack, listed);
  await stop();
  await nothingIsLeft(stack);
};
await Promise.race([work(), end.then(() => { if (!stays) throw new Error("interrupted"); })]).catch((error) => { failed = error; });
if (stays) await end;
if (failed) console.error(stack.tails());
await stack.stop();
if (failed) {
  console.error(failed);
  process.exit(1);
}
say("the stack is as it should be");
process.exit(0);
