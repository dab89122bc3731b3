// Who may see the console's data, and what it says while the worker or Redis is away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { World, confirm, eventually } from "./support.mjs";

let world;
before(async () => { world = await World.start("access", { token: "correct-horse", label: "production", redisProxy: true }); });
after(() => world?.end());

test("without the token the page asks for it, says when it is wrong, and keeps it in this tab alone", async () => {
  const page = await world.page("#/lanes", { token: "" });
  page.expected.push(/401/);
  await page.getByRole("heading", { name: "A token, please" }).waitFor();
  await page.getByRole("note").filter({ hasText: "production" }).waitFor();
  await page.locator("input[type=password]").fill("wrong");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("heading", { name: "This token is not the right one" }).waitFor();
  await page.locator("input[type=password]").fill("correct-horse");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("link", { name: "acme-ps" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("correct-horse"));
  assert.ok(!page.url().includes("correct-horse"));
  const second = await page.context().newPage();
  await second.goto(`${world.base}/#/lanes`);
  await second.getByRole("heading", { name: "A token, please" }).waitFor();
  page.check();
});

test("a changed token is asked for again, and what was shown does not stay", async () => {
  const page = await world.page("#/lanes");
  await page.getByRole("link", { name: "acme-ps" }).waitFor();
  page.expected.push(/401/);
  await page.route("**/api/v1/accounts", (route) => route.fulfill({ status: 401, json: { error: { code: "unauthorized", message: "send the token" } } }));
  await page.getByRole("heading", { name: "This token is not the right one" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "acme-ps" }).count(), 0);
});

test("who asks is asked once and kept, and the audit says that the console was it", async () => {
  const page = await world.page("#/lanes", { who: "" });
  await page.getByRole("button", { name: "Pause… acme-ps" }).click();
  await confirm(page, "Pause", { why: "a first change", fields: { "Who are you": "wang" } });
  await page.getByRole("button", { name: "Resume… acme-ps" }).click();
  assert.equal(await page.getByRole("dialog").getByLabel("Who are you").count(), 0);
  await confirm(page, "Resume", { why: "a second change" });
  const rows = await eventually("both entries", async () => {
    const { items } = await world.api("GET", "audit");
    return items.filter((one) => one.who === "wang").length === 2 && items;
  });
  assert.deepEqual(rows.slice(0, 2).map(({ what, why, via }) => [what, why, via]), [["resume", "a second change", "console"], ["pause", "a first change", "console"]]);
  await page.goto(`${world.base}/#/audit`);
  await page.getByRole("cell", { name: "a first change" }).waitFor();
  page.check();
});

test("with Redis away the page keeps what it showed, says so, and says what to do about a change", async () => {
  const page = await world.page("#/");
  await page.getByText("Nothing needs a person now").waitFor();
  page.expected.push(/503/);
  world.redis.cut();
  await page.getByText("redis is away").waitFor({ timeout: 60000 });
  await page.goto(`${world.base}/#/replays`);
  await page.getByText("Redis or Kafka does not answer").waitFor({ timeout: 60000 });
  await page.goto(`${world.base}/#/lanes`);
  await page.getByRole("button", { name: "Pause… acme-ps" }).click();
  await page.getByLabel("Why").fill("does not work now");
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("dialog").getByRole("alert").waitFor({ timeout: 30000 });
  assert.match(await page.getByRole("dialog").getByRole("alert").textContent(), /try again/);
  await page.getByRole("button", { name: "Back" }).click();
  world.redis.heal();
  await page.goto(`${world.base}/#/`);
  await page.getByText("Nothing needs a person now").waitFor({ timeout: 60000 });
  page.check();
});

test("with the worker away the page says so, and goes on by itself when it is back", async () => {
  const page = await world.page("#/lanes");
  await page.getByRole("link", { name: "acme-ps" }).waitFor();
  page.expected.push(/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/);
  world.worker.kill("SIGKILL");
  await page.getByText("no answer").waitFor({ timeout: 60000 });
  await page.getByText("Not up to date").waitFor({ timeout: 60000 });
  await page.getByRole("link", { name: "acme-ps" }).waitFor();
  await world.startWorker();
  await page.locator(".live.ok").waitFor({ timeout: 60000 });
  await page.getByText("Not up to date").waitFor({ state: "detached", timeout: 60000 });
  page.check();
});

test("with a worker that hangs a dialog says so after 20 s", async () => {
  const page = await world.page("#/lanes");
  await page.getByRole("button", { name: "Pause… acme-ps" }).click();
  await page.getByLabel("Why").fill("nobody answers");
  world.worker.kill("SIGSTOP");
  try {
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await page.getByRole("button", { name: "Asking…" }).waitFor();
    await page.getByRole("dialog").getByText("The worker does not answer.").waitFor({ timeout: 40000 });
    await page.getByRole("button", { name: "Back" }).click();
  } finally { world.worker.kill("SIGCONT"); }
  await page.locator(".live.ok").waitFor({ timeout: 60000 });
  page.check();
});
