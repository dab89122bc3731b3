// The links of an alert: whether each leads to something that is there.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { read } from "./stack.mjs";

const FOLDER = "deploy/grafana/dashboards";
const dashboards = new Map(readdirSync(FOLDER).filter((file) => file.endsWith(".json")).map((file) => {
  const dashboard = JSON.parse(read(join(FOLDER, file)));
  return [dashboard.uid, dashboard];
}));

export const allDashboards = () => [...dashboards.values()];

/** Checks the three links of an alert. `console` is the address of a worker. */
export async function check(name, { runbook_url, dashboard_url, console_url }, console) {
  // What a template fills in stands for any value.
  const plain = (text) => new URL(text.replace(/\{\{[^}]*\}\}/g, "x"));

  assert.ok(runbook_url, `${name} has no runbook_url`);
  const page = await fetch(runbook_url);
  const text = await page.text();
  assert.equal(page.status, 200, `${name}: ${runbook_url}`);
  assert.ok(runbook_url.endsWith(`/runbook/${name}`) && text.includes(`<h1 id="${name.toLowerCase()}">${name}</h1>`), `${name}: ${runbook_url} is another page`);

  assert.ok(console_url, `${name} has no console_url`);
  assert.ok(console_url.startsWith(`${console}/`), `${name}: ${console_url} is not at ${console}`);
  const { hash } = plain(console_url), route = hash.replace(/^#\/?/, "").split(/[?/]/)[0];
  const routes = [...(await (await fetch(`${console}/pages/list.js`)).text()).matchAll(/path: "([^"]*)"/g)].map(([, path]) => path);
  assert.ok(hash.startsWith("#/") && routes.includes(route), `${name}: ${console_url}: the console has the pages ${routes.join(", ")}`);

  assert.ok(dashboard_url, `${name} has no dashboard_url`);
  const { pathname, searchParams } = plain(dashboard_url), uid = pathname.match(/^\/d\/([^/]+)/)?.[1];
  const dashboard = dashboards.get(uid);
  assert.ok(dashboard, `${name}: ${dashboard_url}: no dashboard has the uid ${uid}; there are ${[...dashboards.keys()].join(", ")}`);
  const variables = (dashboard.templating?.list ?? []).map((one) => one.name);
  for (const key of searchParams.keys()) {
    if (key.startsWith("var-")) assert.ok(variables.includes(key.slice(4)), `${name}: ${dashboard_url}: the dashboard has no variable ${key.slice(4)}`);
  }
}
