// Discards: a mark with a reason that the audit can take back.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { World, confirm, eventually, sleep } from "./support.mjs";

let world, batch = 0;
before(async () => { world = await World.start("discard", { label: "staging" }); });
after(() => world?.end());

async function letters(n) {
  batch += 1;
  const since = Date.now(), dead = await world.refuse(n, { prefix: `d${batch}` });
  return { hash: `#/dead-letters?since=${since}`, dead };
}

test("a discard reaches 0 open, and the audit takes it back", async () => {
  const { hash, dead } = await letters(7);
  const page = await world.page(hash);
  await page.getByRole("button", { name: `Discard ${dead}…` }).click();
  await confirm(page, "Discard", { why: "test orders" });
  await page.getByText("0 open").waitFor({ timeout: 30000 });
  await page.getByRole("link", { name: "discarded" }).click();
  await page.getByRole("cell", { name: String(dead), exact: true }).first().waitFor();
  await page.goto(`${world.base}/#/audit?what=discard`);
  await page.getByRole("button", { name: "Take back…" }).first().click();
  await confirm(page, "Take back", { why: "they were real" });
  await page.goto(`${world.base}/${hash}`);
  await page.getByRole("button", { name: `Replay ${dead}…` }).waitFor({ timeout: 30000 });
  page.check();
});

test("chosen rows alone are discarded, and the list stands still while they are chosen", async () => {
  const { hash, dead } = await letters(10);
  const page = await world.page(`${hash}&view=list`);
  await page.getByText(`${dead} shown`).waitFor();
  const boxes = page.getByRole("checkbox");
  await boxes.nth(1).check();
  await boxes.nth(3).check();
  const before = await page.getByRole("row").allTextContents();
  await page.getByRole("button", { name: "Discard 2…" }).click();
  await confirm(page, "Discard", { why: "these two" });
  assert.equal((await page.getByRole("row").allTextContents()).length, before.length);
  // The search follows the audit within seconds.
  await eventually("two are gone", async () => {
    await page.getByRole("button", { name: "Look again" }).click();
    await sleep(700);
    return await page.getByText(`${dead - 2} shown`).count();
  });
  page.check();
});
