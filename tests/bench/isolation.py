"""Measures isolation; tests/bench/isolation has built everything and started Kafka and Redis. See there for the options."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import measure
from measure import OWN, SECRET, Bench, Sink, get, memory_mib, note, samples, total

# Two tiers more than the benchmark's other cells, and short ones: an event that failed often still comes back soon.
CONFIG = measure.CONFIG.replace("rps = 1000000", "rps = {rps}") + """
[retry]
tiers = ["5s", "30s", "1m"]
max_attempts = 100
"""
WELL = measure.ACCOUNT.replace('key = "{account}"', 'key = "{key}"') + 'on_ambiguous = "retry"\n'
DECLARED = OWN + 'app_key = "{account}"\nsecret = "{secret}"\non_ambiguous = "retry"\n'

# The fault of each variant as the sink takes it, and how long it lasts before it pauses, in seconds; 0: to the end.
VARIANTS = {
    "dead": ("hang", 0, "reads and never answers"),
    "answers500": ("status=500", 0, "answers 500"),
    "throttles": ("status=429", 0, "answers 429, Retry-After 1 s"),
    "slow": ("latency_ms=2900", 0, "answers after 2.9 s (timeout 3 s)"),
    "flaps": ("hang", 20, "hangs for 20 s, answers for 20 s"),
    "bucket": ("hang", 0, "never answers; both accounts share one rate"),
}


class Watch(threading.Thread):
    """Once a second: what both platforms have accepted, and the worker's resident memory."""

    def __init__(self, worker, well, ill):
        super().__init__(daemon=True)
        self.worker, self.well, self.ill, self.rows, self.go_on = worker, well, ill, [], True

    def run(self):
        while self.go_on:
            try:
                row = (time.time(), self.well.stats()["accepted"], self.ill.stats()["accepted"], memory_mib(self.worker.pid))
            except (OSError, StopIteration, ValueError):
                # The run is over, or a sink is busy: the next second has another row.
                row = None
            self.rows += [row] if row else []
            time.sleep(1)

    def between(self, begin, end):
        return [row for row in self.rows if begin <= row[0] <= end]


class Run:
    """One worker with two accounts, `well` and `ill`, each on its own platform and with its own publisher."""

    def __init__(self, bench, options, variant, minutes):
        self.bench, self.options, self.variant = bench, options, variant
        self.seconds = int(minutes * 60)
        self.rps = int(options.rate * 1.5)
        self.topic = f"isolation-{time.time_ns()}"
        bench.forget()
        self.well, self.ill = Sink(bench), Sink(bench)
        # Of one bucket are accounts of one App-Key; otherwise the two have nothing in common, not even the platform.
        self.shared = variant == "bucket"
        self.platform = {"well": "qihoo360", "ill": "qihoo360" if self.shared else "bench_declared"}
        self.published = {"well": 0, "ill": 0}
        self.loads = []

    def start(self):
        bench = self.bench
        bench.count += 1
        self.name = f"isolation-{bench.count}-{time.time_ns() // 1000}"
        admin = measure.free_port()
        # Both accounts of one bucket state its one rate, which is the rate of both together.
        rps = self.rps * 2 if self.shared else self.rps
        text = CONFIG.format(brokers=bench.brokers, name=self.name, topic=self.topic, redis=bench.redis, admin=admin, log="warn", concurrency=64, rps=rps)
        text = text.replace("[redis]", f'receipts = "{self.name}.receipts"\n[redis]', 1)
        if not self.shared:
            text = f'platform_files = ["{bench.platform_file("bench_declared")}"]\n' + text
        text += WELL.format(account="well", key="bucket" if self.shared else "well", port=self.well.port, secret=SECRET)
        if self.shared:
            text += WELL.format(account="ill", key="bucket", port=self.ill.port, secret=SECRET)
        else:
            text += DECLARED.format(account="ill", platform="bench_declared", port=self.ill.port, secret=SECRET)
        self.config = bench.work / f"{self.name}.toml"
        self.config.write_text(text)
        log = open(bench.work / f"{self.name}.log", "w")
        self.worker = subprocess.Popen([bench.programs["postback"], "run", "--config", str(self.config)], stdout=log, stderr=log)
        self.worker.metrics, self.worker.log = f"http://127.0.0.1:{admin}/metrics", log.name
        self.watch = Watch(self.worker, self.well, self.ill)
        self.watch.start()

    def publish(self, seconds, rate):
        """Both publishers for so long; returns at once."""
        for account in self.published:
            events = rate * seconds
            self.loads.append(self.bench.load(self.topic, events, [account], rate, skip=self.published[account], platform=self.platform[account]))
            self.published[account] += events

    def published_all(self):
        for load in self.loads:
            if load.wait():
                sys.exit(f"a publisher failed with {load.returncode}")
        self.loads = []

    def wait(self, seconds, until, says):
        deadline = time.time() + seconds
        while not until():
            self.bench.ended(self.worker)
            if time.time() > deadline:
                return False if says is None else sys.exit(f"{self.variant}: {says}: {self.well.stats()} {self.ill.stats()}")
            time.sleep(0.2)
        return True

    def accepted(self, sink, account):
        return sink.stats()["accepted"] >= self.published[account]

    def fault(self, query):
        get(f"http://127.0.0.1:{self.ill.port}/_fault?{query}", "PUT")

    def measure(self):
        rate, seconds = self.options.rate, self.seconds
        self.bench.load(self.topic, 0, ["well"]).wait()
        self.start()
        # At half of the rate for a while: the broker compiles what it runs, and until then it is what is slow.
        self.publish(self.options.warm, max(1, rate // 2))
        self.published_all()
        self.wait(120, lambda: self.accepted(self.well, "well") and self.accepted(self.ill, "ill"), "the worker does not deliver")

        get(f"http://127.0.0.1:{self.well.port}/_ages", "DELETE")
        before, begin = self.well.stats()["accepted"], time.time()
        self.publish(seconds, rate)
        self.play(begin + seconds)
        end, after, ages = time.time(), self.well.stats()["accepted"], self.well.stats()
        self.published_all()
        self.fault("")
        healed = time.time()
        backlog = self.published["ill"] - self.ill.stats()["accepted"]
        # What the lane needs at its limit, the longest tier twice, and as much again.
        patience = 2 * (backlog / self.rps + 120) + 120
        is_drained = self.wait(patience, lambda: self.accepted(self.well, "well") and self.accepted(self.ill, "ill"), None)
        drained = time.time()
        time.sleep(3)
        series = samples(self.worker.metrics)
        self.watch.go_on = False
        ledger = self.reconcile(begin - self.options.warm - 200)
        memory = [row[3] for row in self.watch.between(begin, end)]
        # The first half fills caches and the allocator's lists; what grows after it goes on growing.
        quarter = max(1, len(memory) // 4)
        early, late = memory[-2 * quarter : -quarter] or memory, memory[-quarter:]
        return {
            "well_rate": (after - before) / (end - begin), "p50_ms": ages["p50_ms"], "p99_ms": ages["p99_ms"], "max_ms": ages["max_ms"],
            "rss_early_mib": statistics.median(early), "rss_late_mib": statistics.median(late), "rss_peak_mib": max(memory),
            "dead_letters": total(series, "postback_dead_letters_total"), "unaccounted": total(series, "postback_unaccounted_events"),
            "backlog": backlog, "drain_rate": self.drain_rate(healed, backlog), "lane_limit": self.rps * (2 if self.shared else 1), "drained_s": drained - healed if is_drained else None,
            "lost": sum(self.published.values()) - self.well.stats()["accepted"] - self.ill.stats()["accepted"],
            "again": self.well.stats()["again"] + self.ill.stats()["again"], "declared": total(series, "postback_ambiguous_resends_total"),
            "ledger": ledger,
        }

    def play(self, end):
        """The fault until then, with its pauses."""
        query, every, _ = VARIANTS.get(self.variant, (None, 0, ""))
        is_on = False
        while time.time() < end:
            self.bench.ended(self.worker)
            if query and not (is_on and not every):
                is_on = not is_on
                self.fault(query if is_on else "")
            time.sleep(min(every or 1, max(0, end - time.time())))

    def drain_rate(self, healed, backlog):
        """Events per second between a tenth and nine tenths of the backlog: without the ramp and the last retries."""
        if backlog < 100:
            return None
        rows = [(at, ill) for at, _, ill, _ in self.watch.rows if at >= healed]
        low, high = (self.published["ill"] - backlog * share for share in (0.9, 0.1))
        inside = [(at, ill) for at, ill in rows if low <= ill <= high]
        if len(inside) < 3:
            return None
        (first, few), (last, many) = inside[0], inside[-1]
        return (many - few) / (last - first)

    def reconcile(self, since):
        """The worker's own ledger, read from receipts and dead letters."""
        command = [self.bench.programs["postback"], "reconcile", "--config", str(self.config), "--from", str(int(since * 1000)), "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        try:
            ledger = json.loads(answer.stdout)
        except ValueError:
            return {"error": (answer.stderr or answer.stdout)[-500:], "exit": answer.returncode}
        return {"exit": answer.returncode, **{name: ledger.get(name) for name in ("produced", "delivered", "duplicate", "suppressed", "dead_lettered", "open", "lost")}}

    def stop(self):
        for load in self.loads:
            load.kill()
        if hasattr(self, "watch"):
            self.watch.go_on = False
            self.bench.stop(self.worker)
        self.well.stop()
        self.ill.stop()


def run(bench, options, variant):
    note(variant)
    one = Run(bench, options, variant, options.minutes)
    try:
        result = one.measure()
    finally:
        one.stop()
    note(json.dumps(result))
    return result


def verdict(result, control):
    """What is wrong with a run; nothing, if it is isolated."""
    wrong = []
    if result["well_rate"] < 0.95 * control["well_rate"]:
        wrong.append(f"the healthy account keeps {100 * result['well_rate'] / control['well_rate']:.1f} %")
    if result["p99_ms"] > 1.05 * control["p99_ms"] + 1:
        wrong.append(f"its p99 is {result['p99_ms']:.1f} ms instead of {control['p99_ms']:.1f}")
    if result["rss_late_mib"] > 1.05 * result["rss_early_mib"] + 2:
        wrong.append("memory grows")
    if result["rss_peak_mib"] > 1.05 * control["rss_peak_mib"] + 4:
        wrong.append(f"memory peaks at {result['rss_peak_mib']:.0f} MiB instead of {control['rss_peak_mib']:.0f}")
    if result["lost"] or result["ledger"].get("exit") != 0:
        wrong.append(f"{result['lost']} events are missing; ledger: {json.dumps(result['ledger'])}")
    if result["dead_letters"] or result["unaccounted"]:
        wrong.append(f"{result['dead_letters']:.0f} dead letters, {result['unaccounted']:.0f} unaccounted")
    if result["again"] > result["declared"]:
        wrong.append(f"{result['again']} events came twice, {result['declared']:.0f} are declared")
    return wrong


def row(name, does, result, control, wrong):
    kept = 100 * result["well_rate"] / control["well_rate"]
    drain = "–" if result["drain_rate"] is None else f"{result['drain_rate']:,.0f} ({100 * result['drain_rate'] / result['lane_limit']:.0f} %)"
    drained = "never" if result["drained_s"] is None else f"{result['drained_s']:.0f}"
    return (f"| {name}: {does} | {result['well_rate']:,.0f} ({kept:.1f} %) | {result['p50_ms']:.1f} | {result['p99_ms']:.1f} | {result['rss_early_mib']:.0f} → {result['rss_late_mib']:.0f}, peak {result['rss_peak_mib']:.0f} "
            f"| {result['backlog']:,} | {drain} | {drained} | {result['dead_letters']:.0f} | {result['lost']} | {result['again']} / {result['declared']:.0f} | {'; '.join(wrong) or 'yes'} |")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/isolation", description="What one account's platform does wrong, another account must not feel")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"by comma: {', '.join(VARIANTS)}")
    parser.add_argument("--minutes", type=float, default=10, help="how long the fault lasts (10)")
    parser.add_argument("--healthy", type=float, default=4, help="the most minutes of the runs without a fault, which the others are compared with (4)")
    parser.add_argument("--rate", type=int, default=500, help="events per second of each account (500); a lane's limit is half as much again")
    parser.add_argument("--warm", type=int, default=20, help="seconds at half of the rate before anything is measured (20)")
    parser.add_argument("--json", help="a file for the result")
    options = measure.parse(parser)
    names = options.variants.split(",")
    if unknown := set(names) - set(VARIANTS):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    bench = Bench(options)
    title = f"{time.strftime('%Y-%m-%d')}, {measure.machine()}; two accounts with {options.rate:,} events/s each, the fault lasts {options.minutes:g} min."
    print(title + "\n\n| the other platform | healthy account, events/s (kept) | p50 ms | p99 ms | memory MiB, third → last quarter | backlog | drains, events/s (of its limit) | drained after s | dead letters | lost | twice / declared | isolated |"
          "\n|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    results, failed = {}, False
    controls = {}
    for name in names:
        # Accounts of one bucket are compared with accounts of one bucket.
        kind = "healthy, one bucket" if name == "bucket" else "healthy"
        if kind not in controls:
            controls[kind] = run_control(bench, options, kind)
            print(row(kind, "answers at once", controls[kind], controls[kind], verdict(controls[kind], controls[kind])), flush=True)
        results[name] = run(bench, options, name)
        wrong = verdict(results[name], controls[kind])
        results[name]["wrong"], failed = wrong, failed or bool(wrong)
        print(row(name, VARIANTS[name][2], results[name], controls[kind], wrong), flush=True)
    whole = json.dumps({"title": title, "minutes": options.minutes, "rate": options.rate, "controls": controls, "variants": results}, indent=1)
    print(f"\n```json\n{whole}\n```", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(whole + "\n")
    sys.exit(1 if failed else 0)


def run_control(bench, options, kind):
    """The same without a fault."""
    note(kind)
    one = Run(bench, options, "bucket" if "bucket" in kind else "healthy", min(options.minutes, options.healthy))
    one.variant = kind
    try:
        result = one.measure()
    finally:
        one.stop()
    note(json.dumps(result))
    return result


main()
