// Discards: a mark with a reason that the audit can take back.
import { after, before, test } from "node:test";
import { World, confirm } from "./support.mjs";

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
