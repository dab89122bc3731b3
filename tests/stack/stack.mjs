// The stack: the sandbox, two workers, Prometheus and Alertmanager beside a Kafka and a Redis that run already; a load of
// events; and a receiver of notifications. Its settings are the shipped files, changed only as shipped.mjs says.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { createTopic, freePort } from "../console/servers.mjs";
import * as shipped from "./shipped.mjs";

const env = process.env, dir = env.POSTBACK_STACK_DIR;
export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const began = Date.now();
export const say = (text) => console.error(`${String(Math.round((Date.now() - began) / 1000)).padStart(4)} s  ${text}`);
export const read = (path) => readFileSync(path, "utf8");

/** Asks again until the answer is true. */
export async function eventually(what, ask, within = 60000, every = 250) {
  const end = Date.now() + within;
  for (let last; ;) {
    try {
      last = await ask();
      if (last) return last;
    } catch (error) { last = error; }
    if (Date.now() > end) throw new Error(`${what}: not within ${within / 1000} s; last: ${last?.stack ?? JSON.stringify(last)}`);
    await sleep(every);
  }
}

/** The two accounts of deploy/postback.toml. */
export const PS = "demo-360-ps", BZ = "demo-baizhu";
let number = 0;

function event(account) {
  const n = ++number, id = `stack-${began}-${n}`, base = { trans_id: id, account, event_time_ms: Date.now() };
  const order = { order_id: id, amount: { minor: 1000 + n, currency: "CNY" } };
  if (account === PS) return { ...base, platform: "qihoo360", event_type: "order", click: { qhclickid: n.toString(16).padStart(16, "0") }, order };
  const user = { user_id: n.toString(16).padStart(32, "0") };
  return { ...base, platform: "baizhu", event_type: "effective_user", user, params: { product_name: "斗地主" }, order };
}

export class Stack {
  children = [];
  /** Alerts as the receivers got them, newest last. */
  notices = [];
  published = 0;
  doubtful = 0;

  static async start() {
    const stack = new Stack(), ports = {};
    for (const name of ["sandbox", "admin1", "admin2", "scrape1", "scrape2", "prometheus", "alertmanager"]) ports[name] = await freePort();
    stack.base = Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, `http://127.0.0.1:${port}`]));
    stack.receiver = await stack.receive();
    // The input topic belongs to its publishers. It has the retention of the compose file.
    await createTopic("conversions", 6, { "retention.ms": 168 * 3600 * 1000 });
    // A copy, so that somebody who tries out a fault may change it.
    stack.config = join(dir, "postback.toml");
    cpSync("deploy/postback.toml", stack.config);
    stack.token = read(stack.config).match(/^token = "([^"]*)"/m)?.[1] ?? "";
    const common = {
      POSTBACK__KAFKA__BROKERS: env.POSTBACK_TEST_KAFKA, POSTBACK__REDIS__URL: `redis://${env.POSTBACK_TEST_REDIS}`,
      POSTBACK__ACCOUNTS__DEMO_360_PS__BASE_URL: stack.base.sandbox, POSTBACK__ACCOUNTS__DEMO_BAIZHU__BASE_URL: stack.base.sandbox,
      // The shipped tiers are for production; here an event that failed has to end within the check.
      POSTBACK__RETRY__TIERS: '["2s", "5s"]',
      // A credential whose age is known.
      POSTBACK__ACCOUNTS__DEMO_360_PS__SECRETS__0__NOT_BEFORE: new Date(began - 10 * 86400000).toISOString(),
    };
    stack.environment = (n) => ({ ...env, ...common, POSTBACK__ADMIN__LISTEN: `127.0.0.1:${ports[`admin${n}`]}`, POSTBACK__TELEMETRY__LISTEN: `127.0.0.1:${ports[`scrape${n}`]}` });
    stack.spawn("sandbox", env.POSTBACK_BIN, ["sandbox", "--config", stack.config, "--listen", `127.0.0.1:${ports.sandbox}`], stack.environment(1));
    stack.workers = [1, 2].map((n) => stack.worker(n));
    stack.observe(ports);
    for (const n of [1, 2]) await stack.answers(`worker ${n}`, `${stack.base[`admin${n}`]}/ready`);
    await stack.answers("prometheus", `${stack.base.prometheus}/-/ready`);
    await stack.answers("alertmanager", `${stack.base.alertmanager}/-/ready`);
    await stack.answers("sandbox", `${stack.base.sandbox}/_ledger`);
    return stack;
  }

  worker(n) {
    return this.spawn(`worker${n}`, env.POSTBACK_BIN, ["run", "--config", this.config], this.environment(n));
  }

  /** Prometheus and Alertmanager, on the shipped files. */
  observe(ports) {
    const at = join(dir, "observe"), from = "deploy/prometheus";
    mkdirSync(at);
    cpSync(from, at, { recursive: true });
    const bases = { console: this.base.admin1, grafana: "http://127.0.0.1:3000" };
    for (const file of readdirSync(from).filter((name) => name.endsWith(".yml"))) {
      const text = read(join(from, file));
      const made = file === "prometheus.yml" ? shipped.prometheus(text, { workers: [1, 2].map((n) => `127.0.0.1:${ports[`scrape${n}`]}`), alertmanager: `127.0.0.1:${ports.alertmanager}` })
        : file === "alertmanager.yml" ? shipped.alertmanager(text, this.receiver) : shipped.rules(text, bases);
      writeFileSync(join(at, file), made);
    }
    this.spawn("alertmanager", "prometheus-alertmanager", [`--config.file=${at}/alertmanager.yml`, `--storage.path=${at}/alerts`, "--cluster.listen-address=", `--web.listen-address=127.0.0.1:${ports.alertmanager}`]);
    this.spawn("prometheus", "prometheus", [`--config.file=${at}/prometheus.yml`, `--storage.tsdb.path=${at}/series`, `--web.listen-address=127.0.0.1:${ports.prometheus}`]);
  }

  /** A server that notes what Alertmanager sends. */
  async receive() {
    const server = http.createServer((request, response) => {
      let body = "";
      request.on("data", (more) => { body += more; }).on("end", () => {
        for (const alert of JSON.parse(body).alerts) {
          const notice = { receiver: request.url.slice(1), at: Date.now(), ...alert };
          this.notices.push(notice);
          this.onNotice?.(notice);
        }
        response.end("ok");
      });
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    this.server = server;
    return `http://127.0.0.1:${server.address().port}`;
  }

  spawn(name, program, args, environment = env) {
    const log = openSync(join(dir, `${name}.log`), "a");
    const child = spawn(program, args, { stdio: ["ignore", log, log], cwd: process.cwd(), env: environment });
    child.on("error", (error) => { throw new Error(`${program}: ${error.message}`); });
    child.title = name;
    this.children.push(child);
    return child;
  }

  async answers(name, url) {
    await eventually(`${name} answers`, async () => (await fetch(url)).ok, 90000);
  }

  /** A command of the program, with the stack's configuration; its output. */
  postback(args, { input = "", code = 0 } = {}) {
    return new Promise((done, fail) => {
      const child = spawn(env.POSTBACK_BIN, [...args, "--config", this.config], { env: this.environment(1) });
      let out = "", err = "";
      child.stdout.on("data", (more) => { out += more; });
      child.stderr.on("data", (more) => { err += more; });
      child.on("close", (status) => (status === code ? done(out) : fail(new Error(`postback ${args.join(" ")}: ${status}\n${out}${err}`))));
      child.stdin.end(input);
    });
  }

  async publish(events) {
    await this.postback(["send", "-"], { input: events.map((one) => JSON.stringify(one)).join("\n") });
    this.published += events.length;
  }

  /** Publishes events for both accounts until it is stopped, some of them twice. */
  load(perRound = 10) {
    let stopped = false;
    const work = (async () => {
      while (!stopped) {
        const events = Array.from({ length: perRound }, (_, n) => event(n % 2 ? PS : BZ));
        // A broker on a busy machine may not answer in time. Whether such a round was published nobody knows.
        await this.publish([...events, events[1]]).catch((error) => { this.doubtful += events.length + 1; say(`a round of events failed: ${error.message.slice(0, 200)}`); });
        await sleep(300);
      }
    })();
    return async () => { stopped = true; await work; };
  }

  async faults(of) {
    const answer = await fetch(`${this.base.sandbox}/_faults`, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(of) });
    assert.ok(answer.ok, await answer.text());
  }

  /** What the first worker's API answers. */
  async api(path) {
    const answer = await fetch(`${this.base.admin1}/api/v1/${path}`, { headers: { Authorization: `Bearer ${this.token}` } });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** What Prometheus answers to a query now. */
  async query(expression) {
    const answer = await (await fetch(`${this.base.prometheus}/api/v1/query`, { method: "POST", body: new URLSearchParams({ query: expression }) })).json();
    if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
    const { resultType, result } = answer.data;
    return resultType === "scalar" ? [{ metric: {}, value: result }] : result;
  }

  /** Of all rules: file, group, name, query, labels, annotations. */
  async rules() {
    const answer = await (await fetch(`${this.base.prometheus}/api/v1/rules`)).json();
    return answer.data.groups.flatMap((group) => group.rules.map((rule) => ({ group: group.name, ...rule })));
  }

  /** The alerts that Alertmanager holds as active. */
  async alerts() {
    return (await fetch(`${this.base.alertmanager}/api/v2/alerts?active=true`)).json();
  }

  /** The end of each log, for whoever has to find out why. */
  tails(lines = 15) {
    return this.children.map(({ title }) => title).map((name) => `--- ${name}\n${read(join(dir, `${name}.log`)).split("\n").slice(-lines).join("\n")}`).join("\n");
  }

  async stop() {
    this.server?.close();
    for (const child of this.children) child.kill("SIGTERM");
    await Promise.race([Promise.all(this.children.map((child) => child.exitCode !== null || child.signalCode !== null || new Promise((done) => child.once("close", done)))), sleep(30000)]);
    for (const child of this.children) child.kill("SIGKILL");
  }
}
