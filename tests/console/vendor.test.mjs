// The libraries in the program are byte for byte those that npm has.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const vendor = join(process.env.POSTBACK_ROOT, "src/admin/console/vendor");

test("each vendored file is the file of the package that the lock names", () => {
  const rows = readFileSync(join(vendor, "lock.txt"), "utf8").trim().split("\n").filter((line) => !line.startsWith("#"));
  assert.ok(rows.length >= 13);
  for (const row of rows) {
    const [, file, from] = row.split(/\s+/), [, name, version, path] = /^(@?[^@]+)@([^/]+)\/(.+)$/.exec(from);
    const installed = JSON.parse(readFileSync(join("node_modules", name, "package.json"), "utf8"));
    assert.equal(installed.version, version, name);
    assert.ok(readFileSync(join(vendor, file)).equals(readFileSync(join("node_modules", name, path))), file);
  }
});
