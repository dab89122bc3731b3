"""Measures isolation; tests/bench/isolation has built everything and started Kafka and Redis. See there for the options."""
import argparse
import json
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
# All faults that need no shared rate at once, each at an account of its own.
TOGETHER = "together"
SINGLE = [name for name in VARIANTS if name != "bucket"]


class Watch(threading.Thread):
    """Once a second: what each account's platform has accepted, and the worker's resident memory."""

    def __init__(self, worker, sinks):
        super().__init__(daemon=True)
        self.worker, self.sinks, self.rows, self.go_on = worker, sinks, [], True

    def run(self):
        while self.go_on:
            try:
                accepted = {account: sink.stats()["accepted"] for account, sink in self.sinks.items()}
                row = (time.time(), accepted, memory_mib(self.worker.pid))
            except (OSError, StopIteration, ValueError):
                # The run is over, or a sink is busy: the next second has another row.
                row = None
            self.rows += [row] if row else []
            time.sleep(1)

    def between(self, begin, end):
        return [row for row in self.rows if begin <= row[0] <= end]


class Run:
    """One worker with an account `well` and one or more that fare ill, each at its own address and with its own publisher.
    `faults`: what is played at each of the latter."""

    def __init__(self, bench, options, variant, minutes, plays=True):
        self.bench, self.options, self.variant, self.plays = bench, options, variant, plays
        self.seconds = int(minutes * 60)
        self.rps = int(options.rate * 1.5)
        self.topic = f"isolation-{time.time_ns()}"
        bench.forget()
        # Of one bucket are accounts of one App-Key; otherwise the accounts have nothing in common, not even the platform.
        self.shared = variant == "bucket"
        self.faults = {name: VARIANTS[name] for name in SINGLE} if variant == TOGETHER else {"ill": VARIANTS[variant]}
        self.accounts = ["well", *self.faults]
        self.sinks = {account: Sink(bench) for account in self.accounts}
        self.well = self.sinks["well"]
        self.published = dict.fromkeys(self.accounts, 0)
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
        for account in self.faults:
            like, port = WELL if self.shared else DECLARED, self.sinks[account].port
            text += like.format(account=account, key="bucket", platform="bench_declared", port=port, secret=SECRET)
        self.config = bench.work / f"{self.name}.toml"
        self.config.write_text(text)
        log = open(bench.work / f"{self.name}.log", "w")
        self.worker = subprocess.Popen([bench.programs["postback"], "run", "--config", str(self.config)], stdout=log, stderr=log)
        self.worker.metrics, self.worker.log = f"http://127.0.0.1:{admin}/metrics", log.name
        self.watch = Watch(self.worker, self.sinks)
        self.watch.start()

    def publish(self, seconds, rate):
        """All publishers for so long; returns at once."""
        for account in self.accounts:
            events, platform = rate * seconds, "qihoo360" if account == "well" or self.shared else "bench_declared"
            self.loads.append(self.bench.load(self.topic, events, [account], rate, skip=self.published[account], platform=platform))
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
                return False if says is None else sys.exit(f"{self.variant}: {says}: { {account: sink.stats() for account, sink in self.sinks.items()} }")
            time.sleep(0.2)
        return True

    def open(self):
        """How many events of each account its platform has not accepted yet."""
        return {account: self.published[account] - self.sinks[account].stats()["accepted"] for account in self.accounts}

    def has_all(self):
        return not any(left > 0 for left in self.open().values())

    def fault(self, account, query):
        get(f"http://127.0.0.1:{self.sinks[account].port}/_fault?{query}", "PUT")

    def measure(self):
        rate, seconds = self.options.rate, self.seconds
        self.bench.load(self.topic, 0, ["well"]).wait()
        self.start()
        # At half of the rate for a while: the broker compiles what it runs, and until then it is what is slow.
        self.publish(self.options.warm, max(1, rate // 2))
        self.published_all()
        self.wait(120, self.has_all, "the worker does not deliver")

        get(f"http://127.0.0.1:{self.well.port}/_ages", "DELETE")
        before, begin = self.well.stats()["accepted"], time.time()
        self.publish(seconds, rate)
        self.play(begin + seconds)
        end, after, ages = time.time(), self.well.stats()["accepted"], self.well.stats()
        self.published_all()
        for account in self.faults:
            self.fault(account, "")
        healed = time.time()
        backlogs = self.open()
        # What a lane needs at its limit, the longest tier twice, and as much again.
        patience = 2 * (max(backlogs.values()) / self.rps + 120) + 120
        is_drained = self.wait(patience, self.has_all, None)
        drained = time.time()
        time.sleep(3)
        series = samples(self.worker.metrics)
        self.watch.go_on = False
        ledger = self.reconcile(begin - self.options.warm - 200)
        memory = [row[2] for row in self.watch.between(begin, end)]
        drains = [rate for account in self.faults if (rate := self.drain_rate(account, healed, backlogs[account])) is not None]
        sinks = [sink.stats() for sink in self.sinks.values()]
        # The first half fills caches and the allocator's lists; what grows after it goes on growing.
        quarter = max(1, len(memory) // 4)
        early, late = memory[-2 * quarter : -quarter] or memory, memory[-quarter:]
        return {
            "well_rate": (after - before) / (end - begin), "p50_ms": ages["p50_ms"], "p99_ms": ages["p99_ms"], "max_ms": ages["max_ms"],
            "rss_early_mib": statistics.median(early), "rss_late_mib": statistics.median(late), "rss_peak_mib": max(memory),
            "dead_letters": total(series, "postback_dead_letters_total"), "unaccounted": total(series, "postback_unaccounted_events"),
            "backlog": sum(backlogs[account] for account in self.faults), "drain_rate": min(drains, default=None), "lane_limit": self.rps * (2 if self.shared else 1), "drained_s": drained - healed if is_drained else None,
            "lost": sum(self.published.values()) - sum(sink["accepted"] for sink in sinks),
            "again": sum(sink["again"] for sink in sinks), "declared": total(series, "postback_ambiguous_resends_total"),
            "ledger": ledger,
        }

    def play(self, end):
        """The faults until then, with their pauses."""
        # When each changes next: at once, and then every so often or never again.
        changes, is_on = dict.fromkeys(self.faults, 0.0), dict.fromkeys(self.faults, False)
        while time.time() < end:
            self.bench.ended(self.worker)
            for account, (query, every, _) in self.faults.items():
                if query and self.plays and time.time() >= changes[account]:
                    is_on[account] = not is_on[account]
                    self.fault(account, query if is_on[account] else "")
                    changes[account] = time.time() + every if every else end
            time.sleep(min(0.2, max(0, end - time.time())))

    def drain_rate(self, account, healed, backlog):
        """Of one account. Events per second between a tenth and nine tenths of the backlog: without the ramp and the last retries."""
        if backlog < 100:
            return None
        rows = [(at, accepted[account]) for at, accepted, _ in self.watch.rows if at >= healed]
        low, high = (self.published[account] - backlog * share for share in (0.9, 0.1))
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
        for sink in self.sinks.values():
            sink.stop()


def run(bench, options, variant, plays=True):
    """`plays`: its faults; otherwise it is the run without them that others are compared with."""
    note(variant if plays else f"{variant}, without a fault")
    one = Run(bench, options, variant, options.minutes if plays else min(options.minutes, options.healthy), plays)
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
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"by comma: {', '.join(VARIANTS)}, {TOGETHER}")
    parser.add_argument("--minutes", type=float, default=10, help="how long the fault lasts (10)")
    parser.add_argument("--healthy", type=float, default=4, help="the most minutes of the runs without a fault, which the others are compared with (4)")
    parser.add_argument("--rate", type=int, default=500, help="events per second of each account (500); a lane's limit is half as much again")
    parser.add_argument("--warm", type=int, default=20, help="seconds at half of the rate before anything is measured (20)")
    parser.add_argument("--json", help="a file for the result")
    options = measure.parse(parser)
    names = options.variants.split(",")
    if unknown := set(names) - {*VARIANTS, TOGETHER}:
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}, {TOGETHER}")
    bench = Bench(options)
    title = f"{time.strftime('%Y-%m-%d')}, {measure.machine()}; {options.rate:,} events/s for each account, the fault lasts {options.minutes:g} min."
    print(title + "\n\n| the other platforms | healthy account, events/s (kept) | p50 ms | p99 ms | memory MiB, third → last quarter | backlog | drains, events/s (of its limit) | drained after s | dead letters | lost | twice / declared | isolated |"
          "\n|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    results, failed = {}, False
    controls = {}
    for name in names:
        # Compared is what has the same accounts.
        kind = name if name in ("bucket", TOGETHER) else SINGLE[0]
        if kind not in controls:
            controls[kind] = run(bench, options, kind, plays=False)
            wrong = verdict(controls[kind], controls[kind])
            print(row("healthy" if kind == SINGLE[0] else f"healthy, {kind}", "answers at once", controls[kind], controls[kind], wrong), flush=True)
        results[name] = run(bench, options, name)
        wrong = verdict(results[name], controls[kind])
        results[name]["wrong"], failed = wrong, failed or bool(wrong)
        does = f"{', '.join(SINGLE)}, each at an account of its own" if name == TOGETHER else VARIANTS[name][2]
        print(row(name, does, results[name], controls[kind], wrong), flush=True)
    measure.tell(options, {"title": title, "minutes": options.minutes, "rate": options.rate, "controls": controls, "variants": results}, failed)


main()
