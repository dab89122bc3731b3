// What of the shipped files is changed so that the check takes minutes. Everything else of them stays as it is.
//
//   addresses     of the worker, of Alertmanager, and of console and Grafana in the links of alerts
//   intervals     of scraping, evaluating and notifying: one or two seconds
//   for, keep_firing_for   a sixtieth, at least 1 s: 5m becomes 5 s
//   windows       a twentieth, at least 10 s: [5m] becomes [15s], [1h] becomes [180s]; two scrapes fit into the shortest
//   hours         every route is open at every hour, because the check runs at night too
//   receivers     each keeps its name and its routes, and becomes a webhook of the test: no e-mail leaves this machine

const UNIT = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

/** Seconds of a duration such as 1h30m. */
export function seconds(duration) {
  const parts = [...duration.matchAll(/(\d+)(ms|[smhdwy])/g)];
  if (parts.map(([all]) => all).join("") !== duration) throw new Error(`no duration: ${duration}`);
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNIT[unit], 0);
}

const shorter = (duration, divisor, least) => `${Math.max(least, Math.round(seconds(duration) / divisor))}s`;

/** The windows of an expression, shortened. `[1h:1m]` keeps its form. */
export const windows = (text) => text.replace(/\[(\w+)(?::(\w*))?\]/g, (_, range, step) =>
  `[${shorter(range, 20, 10)}${step === undefined ? "" : `:${step && shorter(step, 20, 1)}`}]`);

/** A file of recording or alert rules. */
export function rules(text, bases) {
  text = text.replace(/^(\s*(?:- )?)interval: *(\w+)/gm, "$1interval: 1s");
  text = text.replace(/^(\s*(?:- )?)(for|keep_firing_for): *(\w+)/gm, (_, indent, key, duration) => `${indent}${key}: ${shorter(duration, 60, 1)}`);
  return links(windows(text), bases);
}

/** The links of alerts lead to where console and Grafana are: the shipped addresses, replaced as their file says. */
export const links = (text, { console, grafana }) =>
  text.replaceAll("http://127.0.0.1:9464", console).replaceAll("http://127.0.0.1:3000", grafana);

/** The file of Prometheus. */
export function prometheus(text, { workers, alertmanager }) {
  text = text.replace(/(scrape_interval|evaluation_interval|scrape_timeout): *\w+/g, "$1: 1s");
  const targets = (of) => `targets: [${of.map((one) => `"${one}"`).join(", ")}]`;
  text = text.replace(/targets: *\[[^\]]*worker[^\]]*\]/g, targets(workers));
  return text.replace(/targets: *\[[^\]]*alertmanager[^\]]*\]/g, targets([alertmanager]));
}

/** The file of Alertmanager. `url` is where the test listens; the name of the receiver is added to it. */
export function alertmanager(text, url) {
  text = text.replace(/group_wait: *\w+/g, "group_wait: 1s").replace(/group_interval: *\w+/g, "group_interval: 2s");
  text = text.replace(/^ *(active|mute)_time_intervals:.*\n/gm, "");
  const lines = text.split("\n"), begin = lines.findIndex((line) => /^receivers:/.test(line));
  if (begin < 0) throw new Error("deploy/prometheus/alertmanager.yml has no receivers");
  let end = lines.findIndex((line, n) => n > begin && /^[a-z_]+:/.test(line));
  if (end < 0) end = lines.length;
  const names = lines.slice(begin, end).map((line) => line.match(/^\s*- name: *["']?([^"'#\s]+)/)?.[1]).filter(Boolean);
  if (!names.length) throw new Error("deploy/prometheus/alertmanager.yml names no receiver");
  const own = names.map((name) => `  - name: ${name}\n    webhook_configs:\n      - url: ${url}/${name}\n        send_resolved: true\n`);
  return [...lines.slice(0, begin), "receivers:", own.join("").trimEnd(), ...lines.slice(end)].join("\n");
}

/** The expression of a panel with Grafana's variables replaced as if "All" were chosen. */
export function panel(text) {
  text = text.replaceAll("$__rate_interval", "15s").replaceAll("$__interval", "5s").replaceAll("$__range", "60s");
  return windows(text.replace(/\$\{?[a-z_]+(?::[a-z]+)?\}?/g, ".*"));
}
