// Every page: in both themes and languages, wide and narrow, without a violation of WCAG 2.2 AA, without sideways scroll,
// without a console message, and with nothing asked of another host. The screenshots are for people to look at.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { World, behindPrefix, confirm, eventually, sleep } from "./support.mjs";

const ID = "73314510714175488";
let world, letter;

before(async () => {
  world = await World.start("pages", { label: "staging" });
  const dead = await world.refuse(30);
  // A number of 64 bits as trans_id, headers of one name, bytes that are no text, and a text that wants to be markup.
  await world.send([world.event(ID, { event_type: "no such </script><script>alert(1)</script>" }), world.event("=HYPERLINK(1)", { click: {} })]);
  await eventually("the dead letters", async () => (await world.open()) >= dead + 2);
  const { items } = await world.api("GET", `dead-letters?trans_id=${ID}`);
  letter = `${items[0].partition}/${items[0].offset}`;
  await world.api("POST", "replays", { filter: { reason: "rejected" }, who: "li", via: "api", why: "for the pages" });
  await world.api("POST", "accounts/acme-zs/pause", { reason: "maintenance of the advertiser", who: "li", via: "api" });
});
after(() => world?.end());

async function views() {
  const { items } = await world.api("GET", "replays");
  return { overview: "#/", groups: "#/dead-letters", list: "#/dead-letters?view=list", letter: `#/dead-letters/${letter}`, replays: "#/replays", replay: `#/replays/${items[0].id}`,
    trace: `#/trace/${ID}`, blocked: "#/blocked?all=1", lanes: "#/lanes", platforms: "#/platforms", audit: "#/audit" };
}

for (const [width, height, theme, lang] of [[1440, 900, "light", "en"], [1440, 900, "dark", "zh"], [320, 700, "light", "zh"], [320, 700, "dark", "en"]]) {
  test(`every page at ${width} px, ${theme}, ${lang}`, async () => {
    const page = await world.page("#/", { width, height, theme, lang });
    for (const [name, hash] of Object.entries(await views())) {
      await page.goto(`${world.base}/${hash}`);
      await page.locator(".panel").first().waitFor();
      await eventually(`${name} has its data`, async () => (await page.locator(".bars").count()) === 0);
      await sleep(name === "overview" ? 5000 : 200);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} scrolls sideways by ${wider} px`);
      await page.screenshot({ path: join(process.env.POSTBACK_SCREENSHOTS, `${name}-${width}-${theme}-${lang}.png`), fullPage: true });
      const { violations, passes } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
      assert.deepEqual(violations.map((one) => `${name}: ${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3)}`), []);
      assert.ok(passes.length > 10);
      assert.equal(await page.locator(".trouble").count(), 0, name);
    }
    page.check();
    await page.context().close();
  });
}

test("a dead letter shows its id unrounded, its bytes exactly, and markup as text", async () => {
  const page = await world.page(`#/dead-letters/${letter}`);
  await page.getByText(ID).first().waitFor();
  const bytes = await page.getByRole("region", { name: "Event", exact: true }).textContent();
  assert.ok(bytes.includes(`"trans_id":"${ID}"`) && bytes.includes("</script><script>alert(1)</script>"), bytes);
  await page.getByRole("button", { name: "Hex" }).click();
  assert.match(await page.getByRole("region", { name: "Event", exact: true }).textContent(), /^000000 {2}7b 22 74/);
  page.check();
});

test("headers of one name are all shown, in order, and empty, null and binary ones apart", async () => {
  const page = await world.page("#/");
  await page.route("**/api/v1/dead-letters/9/9", (route) => route.fulfill({ json: { partition: 9, offset: 9, state: "open", reason: "rejected", trans_id: ID, key: null, failed_at: 1736899200000, replays: 0,
    headers: [["x-tag", "one"], ["x-tag", "two"], ["x-empty", ""], ["x-null", null], ["x-bytes", { base64: "//8=" }]], value: null, value_base64: null } }));
  await page.goto(`${world.base}/#/dead-letters/9/9`);
  await page.getByText("No value (null)").waitFor();
  const rows = await page.getByRole("table", { name: "Headers" }).getByRole("row").allTextContents();
  assert.deepEqual(rows.slice(1), ["1x-tagone", "2x-tagtwo", "3x-emptyempty", "4x-nullnull", "5x-bytesbase64: //8="]);
  assert.equal(await page.getByText("1970").count(), 0);
  page.check();
});

test("a number beyond 53 bits that some proxy wrote plainly is still not rounded", async () => {
  const page = await world.page("#/");
  await page.route("**/api/v1/trace/x", (route) => route.fulfill({ contentType: "application/json", body: `{"trans_id":"x","claims":[],"waiting":[],"dead_letters":[],"receipts":[{"finished_at_ms":1736899200000,"outcome":"delivered","account":"a","event":"ORDER","platform_id":${ID}}],"looked_at":[]}` }));
  await page.goto(`${world.base}/#/trace/x`);
  await page.getByText(ID).waitFor();
});

test("midnight is 00, and the zone is named", async () => {
  const page = await world.page("#/", { zone: "Asia/Shanghai" });
  // 2025-01-15 00:15:00 in Shanghai.
  await page.route("**/api/v1/audit*", (route) => route.fulfill({ json: { items: [{ id: "1", at_ms: 1736871300000, what: "reload", who: "li", via: "cli", why: "x" }], cursor: null, done: true } }));
  await page.goto(`${world.base}/#/audit`);
  await page.getByText("2025-01-15 00:15:00").waitFor();
  await page.locator(".choices summary").click();
  await page.getByLabel("Time zone").selectOption("UTC");
  await page.getByText("2025-01-14 16:15:00").waitFor();
  assert.match(await page.locator("time").first().getAttribute("title"), /UTC$/);
  page.check();
});

test("it works under a path prefix without a setting", async () => {
  const proxy = await behindPrefix(world.base, "/ops/postback");
  const page = await world.page("#/lanes", { base: proxy.base });
  await page.getByRole("link", { name: "acme-zs" }).waitFor();
  await page.getByRole("link", { name: "Platforms" }).click();
  await page.getByRole("heading", { name: /qihoo360/ }).waitFor();
  page.check();
  await page.context().close();
  proxy.close();
});

test("the keyboard alone is enough: from the overview to a paused lane", async () => {
  const page = await world.page("#/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the content");
  const press = async (name, key = "Enter") => {
    for (let n = 0; n < 80; n += 1) {
      const here = await page.evaluate(() => (document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent).trim());
      if (here === name) { await page.keyboard.press(key); return; }
      await page.keyboard.press("Tab");
    }
    assert.fail(`no way to ${name} by Tab`);
  };
  const focused = (text) => page.waitForFunction((text) => document.activeElement.textContent === text, text);
  await press("Lanes");
  // The overview has a smaller heading of this name: the new page is there when its own one has the focus.
  await page.waitForFunction(() => document.activeElement.matches("h1") && document.activeElement.textContent === "Lanes");
  await page.getByRole("button", { name: "Pause… acme-ps" }).waitFor();
  await press("Pause… acme-ps");
  await page.locator("dialog input:focus").waitFor();
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  // The button has the focus again, and keeps it while the lane closes and its row changes.
  await focused("Resume… acme-ps");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("Enter");
  await page.locator("dialog input:focus").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Resume… acme-ps");
  await page.getByRole("button", { name: "Resume… acme-ps" }).click();
  await confirm(page, "Resume", { why: "done" });
  page.check();
});

test("nothing is asked for while the page is hidden or a dialog is open", async () => {
  const page = await world.page("#/lanes");
  let asked = 0;
  page.on("request", (request) => { if (request.url().includes("/api/")) asked += 1; });
  await page.getByRole("button", { name: "Pause… acme-ps" }).click();
  await sleep(300);
  asked = 0;
  await sleep(5000);
  assert.equal(asked, 0);
  await page.getByRole("button", { name: "Back" }).click();
  await eventually("it goes on", () => asked > 0);
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await sleep(1000);
  asked = 0;
  await sleep(5000);
  assert.equal(asked, 0);
  page.check();
});

test("a view that does not exist and an event that is unknown say what to do", async () => {
  const page = await world.page("#/nowhere");
  await page.getByRole("heading", { name: "No such page" }).waitFor();
  await page.goto(`${world.base}/#/trace/nobody-knows-it`);
  await page.getByText("Nothing is known of this event").waitFor();
  page.expected.push(/404/);
  await page.goto(`${world.base}/#/dead-letters/0/999999`);
  await page.getByText("There is no such thing here").waitFor();
  page.check();
});
