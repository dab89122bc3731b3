// What every test of the console uses: a worker with topics and keys of its own, the sandbox, and a browser that notes
// whatever must not happen: console messages, faults of the page, requests to other hosts.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { createTopic, freePort } from "./servers.mjs";

const env = process.env;
const run = promisify(execFile);
export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

/** Asks again until the answer is true. */
export async function eventually(what, ask, { within = 60000, every = 150 } = {}) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) { last = error; }
    if (Date.now() > end) throw new Error(`${what}: not within ${within} ms; last: ${last?.stack ?? JSON.stringify(last)}`);
    await sleep(every);
  }
}

/** A way to a server that can be cut, as if the server were away. */
async function cuttable(target) {
  const [host, port] = target.split(":"), open = new Set();
  let cut = false;
  const server = net.createServer((near) => {
    if (cut) return near.destroy();
    const far = net.connect(Number(port), host);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.on("error", () => {}).on("close", () => { open.delete(from); to.destroy(); }).pipe(to);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    address: `127.0.0.1:${server.address().port}`,
    cut: () => { cut = true; for (const one of open) one.destroy(); },
    heal: () => { cut = false; },
    close: () => { server.close(); for (const one of open) one.destroy(); },
  };
}

/** A zone whose midnight is hours away, so that no natural day ends during a test. */
const farFromMidnight = () => { const hour = new Date().getUTCHours(); return hour >= 4 && hour < 20 ? "UTC" : "Etc/GMT-12"; };

const account = (platform, rest) => `platform = "${platform}"\nallow_http = true\nallow_private = true\n${rest}`;

export class World {
  static async start(name, { token = "", label = "tests", redisProxy = false, accounts = ["acme-ps", "acme-zs"] } = {}) {
    const world = new World();
    world.id = `console.${name}.${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
    world.dir = mkdtempSync(join(tmpdir(), "postback-console-"));
    world.token = token;
    world.children = [];
    world.redis = redisProxy ? await cuttable(env.POSTBACK_TEST_REDIS) : null;
    const [admin, sandbox] = [await freePort(), await freePort()];
    world.base = `http://127.0.0.1:${admin}`;
    world.sandbox = `http://127.0.0.1:${sandbox}`;
    world.config = join(world.dir, "postback.toml");
    const redis = world.redis?.address ?? env.POSTBACK_TEST_REDIS;
    writeFileSync(world.config, `
[kafka]
brokers = "${env.POSTBACK_TEST_KAFKA}"
group = "${world.id}"
input = ["${world.id}.in"]
retry_prefix = "${world.id}.retry"
parked_prefix = "${world.id}.parked"
dead_letter = "${world.id}.dlt"
results = "${world.id}.results"
audit = "${world.id}.audit"
receipts = "${world.id}.receipts"
partitions = 3
[redis]
url = "redis://${redis}"
prefix = "${world.id}"
[retry]
tiers = ["1s"]
max_attempts = 3
inline = { max_retries = 0, initial = "10ms", max = "10ms" }
[limits]
rps = 500
concurrency = 32
[admin]
listen = "127.0.0.1:${admin}"
token = "${token}"
label = "${label}"
[telemetry]
log = "warn"
${accounts.map((one, n) => `[accounts.${one}]\n${account("qihoo360", `base_url = "${world.sandbox}"
secrets = [{ id = "a", key = "consoletests0000000${n}", secret = "d41d8cd98f00b204e9800998ecf8427e" }]
data_industry = "ocpc_ps_convert"
natural_day = { tz = "${farFromMidnight()}", guard = "0s" }
validate = { click_len = "off" }`)}`).join("\n")}
`);
    // The worker never creates an input topic.
    await createTopic(`${world.id}.in`, 3);
    const played = world.spawn("sandbox", ["sandbox", "--config", world.config, "--listen", `127.0.0.1:${sandbox}`]);
    await world.answers("sandbox", played, `${world.sandbox}/_ledger`);
    await world.startWorker();
    world.browser = await chromium.launch({ executablePath: env.POSTBACK_CHROMIUM,
      args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"] });
    return world;
  }

  spawn(name, args) {
    const log = openSync(join(this.dir, `${name}.log`), "a");
    const child = spawn(env.POSTBACK_BIN, args, { stdio: ["ignore", log, log], cwd: this.dir });
    this.children.push(child);
    return child;
  }

  async startWorker() {
    this.worker = this.spawn("worker", ["run", "--config", this.config]);
    await this.answers("worker", this.worker, `${this.base}/ready`);
  }

  log(name) {
    return readFileSync(join(this.dir, `${name}.log`), "utf8");
  }

  /** Waits until a program answers; one that ended says why. */
  async answers(name, child, url) {
    await eventually(`the ${name} answers`, async () => child.exitCode !== null || (await fetch(url)).ok);
    if (child.exitCode !== null) assert.fail(`the ${name} ended: ${this.log(name)}`);
  }

  async end() {
    await this.browser?.close();
    for (const child of this.children) child.kill("SIGKILL");
    this.redis?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** What the command prints. */
  async cli(...args) {
    const { stdout } = await run(env.POSTBACK_BIN, [...args, "--config", this.config], { cwd: this.dir, maxBuffer: 1 << 26 });
    return stdout;
  }

  async api(method, path, body) {
    const headers = { "content-type": "application/json", ...(this.token ? { authorization: `Bearer ${this.token}` } : {}) };
    const response = await fetch(`${this.base}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  faults(of) {
    return fetch(`${this.sandbox}/_faults`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(of) });
  }

  ledger() {
    return fetch(`${this.sandbox}/_ledger`).then((answer) => answer.json());
  }

  event(id, more = {}) {
    return { trans_id: id, platform: "qihoo360", account: "acme-ps", event_type: "order", event_time_ms: Date.now() - 1000, click: { qhclickid: "a1b2c3d4e5f60718" },
      order: { order_id: `o-${id}`, amount: { minor: 2345, currency: "CNY" } }, user: { user_id: "user001" }, ...more };
  }

  async send(events) {
    const file = join(this.dir, "events.json");
    writeFileSync(file, events.map((one) => JSON.stringify(one)).join("\n"));
    await this.cli("send", file, "--skip-bad");
  }

  /**
   * About `n` open dead letters: the platform refuses a third of the events for good (twenty in a row would halt the
   * account). The number that it came to.
   */
  async refuse(n, { account: name = "acme-ps", prefix = "r" } = {}) {
    await this.faults({ [name]: { body: 3, share: 0.33 } });
    const since = Date.now(), known = (await this.ledger()).length, events = Array.from({ length: 3 * n }, (_, at) => this.event(`${prefix}-${at}`, { account: name }));
    await this.send(events);
    const dead = await eventually(`${events.length} events reached the platform`, async () => {
      const mine = (await this.ledger()).slice(known);
      return mine.length >= events.length && mine.filter((one) => !one.accepted).length;
    }).catch(async (cause) => {
      const arrived = (await this.ledger()).length - known;
      throw new Error(`${arrived} arrived; ${await this.cli("blocked").catch(String)}\n${this.log("worker")}`, { cause });
    });
    await eventually(`${dead} dead letters`, async () => (await this.open(`&since=${since}`)) >= dead);
    await this.faults({});
    return dead;
  }

  async open(filter = "") {
    const { groups } = await this.api("GET", `dead-letters/groups?state=open${filter}`);
    return groups.reduce((sum, one) => sum + one.open, 0);
  }

  /** A page that is watched. `check` fails if anything happened that must not. */
  async page(hash = "#/", { width = 1280, height = 860, theme = "light", lang = "en", who = "li", base = this.base, token = this.token, zone = "Europe/Berlin", context } = {}) {
    const own = context ?? await this.browser.newContext({ viewport: { width, height }, colorScheme: theme, timezoneId: zone, locale: "en-GB" });
    await own.addInitScript(({ lang, who, token }) => {
      localStorage.setItem("postback.lang", lang);
      if (who && localStorage.getItem("postback.who") === null) localStorage.setItem("postback.who", who);
      if (token && sessionStorage.getItem("postback.token") === null) sessionStorage.setItem("postback.token", token);
    }, { lang, who, token });
    const page = await own.newPage(), seen = [];
    page.expected = [];
    page.on("console", (one) => seen.push(`console ${one.type()}: ${one.text()}`));
    page.on("pageerror", (error) => seen.push(`fault: ${error.stack ?? error}`));
    page.on("request", (request) => { if (!request.url().startsWith(base) && !request.url().startsWith("data:")) seen.push(`request to ${request.url()}`); });
    page.check = () => assert.deepEqual(seen.filter((one) => !page.expected.some((known) => known.test(one))), []);
    await page.goto(`${base}/${hash}`);
    await page.locator("h1").first().waitFor();
    return page;
  }
}

/** A proxy that serves the worker below a path, as a cluster's ingress does. */
export async function behindPrefix(base, prefix) {
  const { hostname, port } = new URL(base);
  const server = http.createServer((request, response) => {
    if (!request.url.startsWith(`${prefix}/`)) { response.writeHead(404); return response.end(); }
    const onward = http.request({ hostname, port, method: request.method, path: request.url.slice(prefix.length), headers: { ...request.headers, host: `${hostname}:${port}`, origin: "" } }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.removeHeader("origin");
    onward.on("error", () => { response.writeHead(502); response.end(); });
    request.pipe(onward);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { base: `http://127.0.0.1:${server.address().port}${prefix}`, close: () => server.close() };
}

/** Fills a dialog and confirms it. One that stays open says why. */
export async function confirm(page, button, { why, fields = {} } = {}) {
  const dialog = page.getByRole("dialog");
  if (why !== undefined) await dialog.getByLabel("Why", { exact: false }).first().fill(why);
  for (const [label, text] of Object.entries(fields)) await dialog.getByLabel(label, { exact: false }).first().fill(text);
  await dialog.getByRole("button", { name: button, exact: true }).click();
  await dialog.waitFor({ state: "detached" }).catch(async (cause) => { throw new Error(`the dialog stays: ${await dialog.innerText()}`, { cause }); });
}
