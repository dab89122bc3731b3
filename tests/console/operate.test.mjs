// Every action on dead letters and replays, with what becomes of it at the platform.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { World, confirm, eventually, sleep } from "./support.mjs";

let world, batch = 0;
before(async () => { world = await World.start("operate", { label: "staging" }); });
after(() => world?.end());
beforeEach(async () => { await world.faults({}); });

/** About `n` new open dead letters: since when, how many, and how many of their events the platform takes from now on. */
async function letters(n, account = "acme-ps") {
  batch += 1;
  const since = Date.now(), dead = await world.refuse(n, { account, prefix: `b${batch}` });
  const taken = async () => (await world.ledger()).filter((one) => one.accepted && one.account === account).length;
  const before = await taken();
  return { since, hash: `#/dead-letters?since=${since}`, dead, accepted: async () => (await taken()) - before };
}

async function planned(page, why, button = "Make the plan") {
  await page.getByRole("button", { name: /^Replay [\d,]+…$/ }).click();
  await page.getByLabel("Why").fill(why);
  await page.getByRole("button", { name: button }).click();
  await page.getByRole("heading", { name: "Replay", exact: true }).waitFor();
}

const figure = (page, section, label) => page.locator(`section:has(> header h2#${section}) .stat`, { has: page.getByText(label, { exact: true }) }).locator("dd");

async function shows(page, section, label, value) {
  await eventually(`${section}: ${label} ${value}`, async () => (await figure(page, section, label).textContent()).startsWith(value));
}

test("groups first: a click shows the letters of one, with the filter in the URL", async () => {
  const { hash, dead } = await letters(12);
  const page = await world.page(hash);
  const groups = page.getByRole("table", { name: "Groups of dead letters" });
  await groups.getByRole("cell", { name: String(dead), exact: true }).first().waitFor();
  await groups.getByText("Advice").click();
  await groups.getByText(/mend the event or the account/).waitFor();
  await groups.getByRole("link", { name: "rejected" }).click();
  await page.getByText(`${dead} shown`).waitFor();
  assert.match(page.url(), /reason=rejected/);
  assert.match(page.url(), /account=acme-ps/);
  // The group has a code and no field: those of the same code that have one are not meant.
  assert.match(page.url(), /code=3&field=-/);
  await page.reload();
  await page.getByText(`${dead} shown`).waitFor();
  page.check();
});

test("an export holds all that the filter matches, not what the page shows", async () => {
  const { hash, dead } = await letters(180);
  assert.ok(dead > 50, "more than a page");
  const page = await world.page(`${hash}&view=list`);
  page.expected.push(/request to blob:/);
  await page.getByText("50 shown").waitFor();
  const save = async (kind) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: `Export ${dead} as ${kind}` }).click()]);
    await page.getByText(`${dead} exported`).waitFor();
    assert.match(file.suggestedFilename(), new RegExp(`^dead-letters-\\d+\\.${kind.toLowerCase()}$`));
    return readFileSync(await file.path(), "utf8").trimEnd().split("\n");
  };
  const rows = (await save("JSONL")).map((line) => JSON.parse(line));
  assert.equal(rows.length, dead);
  assert.equal(new Set(rows.map((row) => `${row.partition}:${row.offset}`)).size, dead);
  assert.ok(rows.every((row) => row.reason === "rejected" && row.account === "acme-ps" && row.state === "open"));
  const [head, ...lines] = await save("CSV");
  assert.match(head, /^partition,offset,state,failed_at,account/);
  assert.equal(lines.length, dead);
  // A filter that nothing matches has nothing to export.
  await page.goto(`${world.base}/${hash}&account=acme-zs`);
  await page.getByText("0 open").waitFor();
  assert.equal(await page.getByRole("button", { name: /^Export/ }).count(), 0);
  page.check();
});

test("a filter by failure time, in the zone that is named", async () => {
  const page = await world.page("#/dead-letters");
  await page.getByLabel("Failed since").fill("yesterday");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("Write 2h, 2026-11-29 08:00 or epoch ms.").waitFor();
  await page.getByLabel("Failed since").fill("2h");
  await page.getByLabel("Failed before").fill("2020-01-01 00:00");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByText("0 open").waitFor();
  assert.match(page.url(), /since=2h&until=1577833200000/);
  page.check();
});

test("a plan predicts, asks for the number above 100, runs, and reports what was delivered", async () => {
  const { hash, dead, accepted } = await letters(150);
  assert.ok(dead > 100);
  const page = await world.page(hash, { width: 1440, height: 1100 });
  await planned(page, "the platform mended its check");
  await shows(page, "plan", "Would be sent", String(dead));
  await page.getByRole("button", { name: `Run ${dead}…` }).click();
  const run = page.getByRole("dialog").getByRole("button", { name: "Run", exact: true });
  await page.getByLabel(`Type ${dead} to go on`).fill("12");
  assert.ok(await run.isDisabled());
  await page.getByLabel(`Type ${dead} to go on`).fill(String(dead));
  await run.click();
  await page.getByRole("heading", { name: "running" }).waitFor();
  await page.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  await shows(page, "outcomes", "Delivered", String(dead));
  await shows(page, "run", "Published", String(dead));
  await page.getByText(`${dead} selected = ${dead} published + 0 skipped + 0 failed + 0 left`).waitFor();
  assert.equal(await accepted(), dead);
  await page.screenshot({ path: join(process.env.POSTBACK_SCREENSHOTS, "console.png") });
  await page.goto(`${world.base}/#/replays`);
  await page.getByText("the platform mended its check").waitFor();
  page.check();
});

test("try ten first: ten are replayed at once, and the rest stays open", async () => {
  const { hash, dead, accepted } = await letters(30);
  const page = await world.page(hash);
  await planned(page, "is it mended?", "Try ten first");
  await page.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  await shows(page, "outcomes", "Delivered", "10");
  assert.equal(await accepted(), 10);
  await page.getByRole("link", { name: "those that are left" }).click();
  await page.getByRole("button", { name: `Replay ${dead - 10}…` }).waitFor();
  page.check();
});

test("a replay goes on when its tab is closed, is the same in two tabs, and is cancelled and resumed", async () => {
  const { hash, dead, accepted } = await letters(60);
  const first = await world.page(hash);
  await planned(first, "slowly");
  await first.getByRole("button", { name: "Rate…" }).click();
  // It lasts a minute, so that it still runs when a browser on a busy machine has opened two pages.
  await confirm(first, "Change", { why: "slowly", fields: { "Per second": "1" } });
  await first.getByText("1 per second").waitFor();
  await first.getByRole("button", { name: `Run ${dead}…` }).click();
  await confirm(first, "Run");
  const url = first.url();
  await first.context().close();
  await eventually("it goes on alone", async () => (await accepted()) >= 3);
  const [one, two] = [await world.page(url.slice(url.indexOf("#"))), await world.page(url.slice(url.indexOf("#")))];
  await one.getByRole("button", { name: "Cancel…" }).click();
  await confirm(one, "Cancel the replay", { why: "enough for now" });
  await one.getByRole("heading", { name: "cancelled" }).waitFor();
  await two.getByRole("heading", { name: "cancelled" }).waitFor({ timeout: 15000 });
  const so_far = await accepted();
  await sleep(2500);
  assert.ok((await accepted()) <= so_far + 5, "nothing more is published after a cancel");
  await two.getByRole("button", { name: "Resume…" }).click();
  await confirm(two, "Resume", { why: "go on" });
  await two.getByRole("button", { name: "Rate…" }).click();
  await confirm(two, "Change", { why: "faster", fields: { "Per second": "200" } });
  await two.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  await one.getByRole("heading", { name: "completed" }).waitFor({ timeout: 15000 });
  await shows(one, "outcomes", "Delivered", String(dead));
  assert.equal(await accepted(), dead);
  const trail = one.getByRole("table", { name: "Audit" });
  for (const what of ["replay run", "replay cancel", "replay resume", "replay rate"]) await trail.getByText(what).first().waitFor();
  one.check();
  two.check();
});

test("what a replay waits for stands among the blocked partitions", async () => {
  const { since, dead, accepted } = await letters(10);
  const by = { who: "li", via: "api" };
  await world.api("POST", "accounts/acme-ps/pause", { ...by, reason: "audit of the account" });
  const made = await world.api("POST", "replays", { ...by, filter: { since }, why: "later" });
  const page = await world.page(`#/replays/${made.id}`);
  await page.getByRole("button", { name: `Run ${dead}…` }).waitFor();
  await world.api("POST", `replays/${made.id}/run`, { ...by, why: "later" });
  await page.goto(`${world.base}/#/blocked`);
  const waits = page.getByRole("listitem").filter({ hasText: "audit of the account" });
  await waits.waitFor();
  assert.match(await waits.textContent(), /acme-ps/);
  await waits.getByRole("link", { name: made.id }).click();
  await page.getByRole("heading", { name: "Replay", exact: true }).waitFor();
  await world.api("POST", "accounts/acme-ps/resume", { ...by, reason: "done" });
  await eventually("it goes on", async () => (await accepted()) === dead);
  page.check();
});

test("the second operator is told who holds the lock", async () => {
  const a = await letters(50), b = await letters(5, "acme-zs");
  const first = await world.page(`${a.hash}&account=acme-ps`);
  await planned(first, "the first");
  await first.getByRole("button", { name: "Rate…" }).click();
  await confirm(first, "Change", { why: "slowly", fields: { "Per second": "1" } });
  await first.getByRole("button", { name: `Run ${a.dead}…` }).click();
  await confirm(first, "Run");
  await first.getByRole("heading", { name: "running" }).waitFor();
  const second = await world.page(`${b.hash}&account=acme-zs`, { who: "wang" });
  second.expected.push(/409/);
  await planned(second, "the second");
  await second.getByRole("button", { name: `Run ${b.dead}…` }).click();
  await second.getByRole("dialog").getByRole("button", { name: "Run", exact: true }).click();
  const id = first.url().split("/").pop();
  assert.ok((await second.getByRole("dialog").getByRole("alert").textContent()).includes(id));
  await second.getByRole("button", { name: "Back" }).click();
  await first.getByRole("button", { name: "Rate…" }).click();
  await confirm(first, "Change", { why: "faster", fields: { "Per second": "500" } });
  await first.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  await second.getByRole("button", { name: `Run ${b.dead}…` }).click();
  await confirm(second, "Run");
  await second.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  first.check();
  second.check();
});

test("the brake stops a replay that dies again, and says why", async () => {
  const { hash, dead } = await letters(90);
  await world.faults({ "acme-ps": { body: 3 } });
  const page = await world.page(hash);
  await planned(page, "too early");
  await page.getByRole("button", { name: `Run ${dead}…` }).click();
  await confirm(page, "Run", dead > 100 ? { fields: { "Type": String(dead) } } : {});
  await page.getByText("It stopped itself").waitFor({ timeout: 60000 });
  await page.getByText(/Dead again/).first().waitFor();
  await page.goto(`${world.base}/#/`);
  await page.locator(".needs strong", { hasText: "A replay stopped itself" }).waitFor();
  page.check();
});

test("one letter is replayed from its own page", async () => {
  const { since, accepted } = await letters(5);
  const items = await eventually("the letter is found", async () => { const { items } = await world.api("GET", `dead-letters?since=${since}&state=open`); return items.length > 0 && items; });
  const page = await world.page(`#/dead-letters/${items[0].partition}/${items[0].offset}`);
  await page.getByRole("button", { name: "Replay this one…" }).click();
  await page.getByLabel("Why").fill("only this");
  await page.getByRole("button", { name: "Make the plan" }).click();
  await page.getByRole("button", { name: "Run 1…" }).click();
  await confirm(page, "Run");
  await page.getByRole("heading", { name: "completed" }).waitFor({ timeout: 60000 });
  assert.equal(await accepted(), 1);
  await page.goto(`${world.base}/#/dead-letters/${items[0].partition}/${items[0].offset}`);
  await page.getByText("replayed").first().waitFor();
  page.check();
});

test("everything is meant only where it is said", async () => {
  const page = await world.page("#/dead-letters");
  await page.getByRole("button", { name: /^Replay [\d,]+…$/ }).click();
  await page.getByLabel("Why").fill("all of it");
  const make = page.getByRole("button", { name: "Make the plan" });
  assert.ok(await make.isDisabled());
  await page.getByLabel("Every open dead letter is meant").check();
  assert.ok(await make.isEnabled());
  await page.keyboard.press("Escape");
  page.check();
});
