"""Measures replays; tests/bench/replay has built everything and started Kafka and Redis. See there for the options."""
import argparse
import collections
import json
import random
import statistics
import sys
import time

import measure
from fleet import Fleet, sink
from measure import Bench, Sink, cpu, note

# How long the last outcomes may take: leases of the worker that was killed last, its session, and the rest of the queue.
PATIENCE = 600


def every(counts):
    return sum(counts.values())


def gone_on(view):
    """How many dead letters a replay is through with."""
    return view["republished"] + every(view["skipped"]) + every(view["failed"])


class Killed:
    """A replay whose runner is killed at random points of its progress. Two replicas, one account."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        bench.forget()
        self.sink = Sink(bench)
        self.fleet = Fleet(bench, {"a0": self.sink.port}, options.rate, 2)

    def measure(self):
        options, fleet, events = self.options, self.fleet, self.options.events
        result = {"made_s": fleet.make_dead_letters(events, "a0")}
        note(f"{events:,} dead letters after {result['made_s']:.0f} s")
        if self.sink.stats()["received"]:
            sys.exit("a dead letter was sent")
        for number in range(2):
            fleet.start(number)
        plan, result["plan_s"], result["plan_mib"] = fleet.plan("--rate", str(options.rate))
        result["predicted"] = plan["predicted"]["sent"]
        note(f"planned in {result['plan_s']:.1f} s: {plan['selected']:,} selected, {result['predicted']:,} would be sent")
        self.id = plan["id"]
        fleet.steer(self.id, "run")
        began = time.time()
        result["kills"] = self.kill(random.Random(options.seed))
        fleet.wait(PATIENCE + events / 100, lambda: self.view()["state"] != "running", "the replay has ended")
        result["run_s"] = time.time() - began
        note(f"the run took {result['run_s']:.0f} s")
        self.settle(result)
        result["settled_s"] = time.time() - began - result["run_s"]
        result["worker_mib"] = max(fleet.peaks)
        self.count(result)
        return result

    def view(self):
        return self.fleet.ask(f"replays/{self.id}")

    def kill(self, rng):
        """Kills the runner at each of the points, at some moment of its step. Returns where, and how long nobody published."""
        fleet, events, kills = self.fleet, self.options.events, []
        for point in sorted(rng.randrange(events // 50, events * 19 // 20) for _ in range(self.options.kills)):
            view = fleet.wait(PATIENCE + events / 100, lambda: self.reached(point), f"{point} dead letters are through")
            if view["state"] != "running":
                break
            runner = fleet.wait(PATIENCE, fleet.runners, "a replica runs it")[0]
            time.sleep(rng.uniform(0, 0.3))
            fleet.kill(runner)
            killed, at = time.time(), gone_on(self.view())
            fleet.start(runner)
            fleet.wait(PATIENCE, lambda: self.reached(at + 1), "another replica goes on")
            kills.append({"at": at, "replica": runner, "gap_s": time.time() - killed})
            note(f"kill {len(kills)} of {self.options.kills} at {at:,}: replica {runner}; it goes on after {kills[-1]['gap_s']:.1f} s")
        return kills

    def reached(self, point):
        view = self.view()
        return view if gone_on(view) >= point or view["state"] != "running" else None

    def settle(self, result):
        """Waits until each event has its end."""
        events, deadline = self.options.events, time.time() + PATIENCE
        while True:
            self.fleet.alive()
            accepted = self.sink.stats()["accepted"]
            if accepted >= events or time.time() > deadline:
                code, ledger, result["reconcile_s"], result["reconcile_mib"] = self.fleet.command("reconcile", "--from", "1d")
                if (code == 0 and ledger["dead_lettered"] == 0 and self.view()["outcomes"]["open"] == 0) or time.time() > deadline:
                    names = ("produced", "replayed", "delivered", "duplicate", "suppressed", "dead_lettered", "open", "lost", "unknown", "declared_resends", "balanced")
                    result["ledger"] = {"exit": code, **{name: ledger[name] for name in names}}
                    return
            time.sleep(2)

    def count(self, result):
        # A late request that nobody waits for any more would be the fault that is looked for.
        time.sleep(5)
        view, stats = self.view(), self.sink.stats()
        names = ("state", "selected", "republished", "skipped", "failed", "outcomes")
        result["replay"] = {name: view[name] for name in names}
        result["sink"] = {name: stats[name] for name in ("received", "distinct", "accepted", "again", "unsigned")}
        _, result["stats"], result["stats_s"], result["stats_mib"] = self.fleet.command("dead-letters", "stats")
        result["stats"] = {name: result["stats"][name] for name in ("total", "open", "replayed", "discarded")}
        # Which of those that came again are declared, each by its own receipts.
        repeats = collections.Counter(sink(self.sink.port, "_again"))
        result["repeated_events"], result["undeclared"] = len(repeats), []
        for trans_id, times in repeats.items():
            trace = self.fleet.ask(f"trace/{trans_id}")
            declared = max([receipt.get("resends", 0) for receipt in trace["receipts"]], default=0)
            if declared < times:
                result["undeclared"].append({"trans_id": trans_id, "again": times, "declared": declared})

    def close(self):
        self.fleet.close()
        self.sink.stop()


def faults(options, result):
    """What is wrong with a run; nothing, if nothing was lost or doubled."""
    events, replay, ledger, stats, seen = options.events, result["replay"], result["ledger"], result["stats"], result["sink"]
    outcomes = replay["outcomes"]
    dead = every(outcomes["dead_lettered"])
    checks = [
        (len(result["kills"]) == options.kills, f"the runner was killed {len(result['kills'])} times: the replay is too quick for so many kills"),
        (replay["state"] == "completed", f"the replay is {replay['state']}"),
        (replay["selected"] == gone_on(replay) == events, f"selected {replay['selected']}, republished, skipped and failed {gone_on(replay)}"),
        (not replay["failed"] and not replay["skipped"], f"skipped {replay['skipped']}, failed {replay['failed']}"),
        (seen["accepted"] == events, f"{events - seen['accepted']} events never came to the platform"),
        (seen["again"] <= ledger["declared_resends"], f"{seen['again']} came again, {ledger['declared_resends']} are declared"),
        (not result["undeclared"], f"{len(result['undeclared'])} came again and their own receipts do not say so"),
        (not seen["unsigned"], f"{seen['unsigned']} requests without a signature"),
        (ledger["exit"] == 0 and ledger["balanced"] and ledger["produced"] == events, f"the ledger does not balance: {json.dumps(ledger)}"),
        (ledger["delivered"] + ledger["duplicate"] == events, f"the ledger knows {ledger['delivered']} + {ledger['duplicate']} arrivals"),
        (stats["open"] == 0 and stats["total"] == stats["replayed"] == events, f"dead letters: {json.dumps(stats)}"),
        (outcomes["open"] == 0 and outcomes["delivered"] >= ledger["delivered"] and outcomes["delivered"] + outcomes["duplicate"] >= events,
         f"the outcomes are fewer than the ledger's: {json.dumps(outcomes)}"),
        (outcomes["at_least"] == (options.kills > 0) and dead == 0, f"outcomes: {json.dumps(outcomes)}"),
    ]
    return [says for holds, says in checks if not holds]


def show_killed(options, result, wrong):
    replay, ledger, seen, outcomes = result["replay"], result["ledger"], result["sink"], result["replay"]["outcomes"]
    gaps = sum(kill["gap_s"] for kill in result["kills"])
    speed = options.events / max(0.1, result["run_s"] - gaps)
    rows = [
        ("dead letters made by the worker", f"{options.events:,} in {result['made_s']:.0f} s ({options.events / result['made_s']:,.0f}/s)"),
        ("plan", f"{result['plan_s']:.1f} s, {result['plan_mib']:.0f} MiB of the command; {result['predicted']:,} would be sent"),
        ("kills of the runner, at", ", ".join(f"{kill['at']:,}" for kill in result["kills"]) or "none"),
        ("nobody published after a kill", ", ".join(str(round(kill["gap_s"])) for kill in result["kills"]) + " s"),
        ("run", f"{result['run_s']:.0f} s; {speed:,.0f} records/s while a replica runs it; settled {result['settled_s']:.0f} s later"),
        ("selected = republished + skipped + failed", f"{replay['selected']:,} = {replay['republished']:,} + {every(replay['skipped']):,} + {every(replay['failed']):,}"),
        ("outcomes", f"delivered {outcomes['delivered']:,}, duplicate {outcomes['duplicate']:,}, dead {every(outcomes['dead_lettered']):,}, open {outcomes['open']:,}{', at least' * outcomes['at_least']}"),
        ("ledger", f"read {ledger['produced']:,}, replayed copies {ledger['replayed']:,}, delivered {ledger['delivered']:,}, duplicate {ledger['duplicate']:,}, dead {ledger['dead_lettered']:,}, "
                   f"missing {ledger['lost']:,}; balanced: {ledger['balanced']}; {result['reconcile_s']:.0f} s, {result['reconcile_mib']:.0f} MiB"),
        ("at the platform", f"{seen['accepted']:,} different, {seen['again']:,} again (of {result['repeated_events']:,} events), {ledger['declared_resends']:,} declared, {len(result['undeclared'])} undeclared"),
        ("dead letters open", f"{result['stats']['open']:,} of {result['stats']['total']:,}; stats took {result['stats_s']:.1f} s, {result['stats_mib']:.0f} MiB"),
        ("memory of a worker, at most", f"{result['worker_mib']:.0f} MiB"),
        ("holds", "; ".join(wrong) or "yes"),
    ]
    print("\n| replay with kills | |\n|---|---|\n" + "\n".join(f"| {name} | {text} |" for name, text in rows), flush=True)


class Beside:
    """Live traffic of two accounts, one of which is replayed now and then. One worker."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        bench.forget()
        self.sinks = {"same": Sink(bench), "other": Sink(bench)}
        self.fleet = Fleet(bench, {name: sink.port for name, sink in self.sinks.items()}, int(options.live * 1.5), 1)
        self.loads = {}

    def measure(self):
        options, fleet = self.options, self.fleet
        note(f"{options.events:,} dead letters after {fleet.make_dead_letters(options.events, 'same'):.0f} s")
        fleet.start(0)
        plan, took, _ = fleet.plan(*(["--rate", str(options.rate)] if options.rate else []))
        self.id, self.is_on, self.was_on = plan["id"], False, False
        note(f"planned in {took:.1f} s")
        # The broker compiles what it runs, and until then it is what is slow.
        seconds = 20 + options.pairs * 2 * (options.seconds + 7)
        events = options.live * seconds
        self.loads = {account: self.bench.load(fleet.topic, events, [account], options.live) for account in self.sinks}
        ends = time.time() + seconds
        time.sleep(20)
        windows = {False: [], True: []}
        for pair in range(options.pairs):
            for is_on in (False, True) if pair % 2 == 0 else (True, False):
                windows[is_on].append(self.window(is_on))
                note(f"{'with' if is_on else 'without'}: {json.dumps(windows[is_on][-1])}")
        if time.time() > ends:
            sys.exit("the live traffic ended before the last window")
        self.switch(False)
        for load in self.loads.values():
            load.wait()
        return {"without": windows[False], "with": windows[True], "ledger": self.settle(events)}

    def switch(self, is_on):
        if is_on != self.is_on:
            self.fleet.steer(self.id, ("resume" if self.was_on else "run") if is_on else "cancel")
            self.is_on, self.was_on = is_on, True

    def window(self, is_on):
        self.switch(is_on)
        # What was under way ends, or comes under way.
        time.sleep(5)
        before, used, began = self.view()["republished"], cpu(self.fleet.workers[0].pid), time.time()
        for account, load in self.loads.items():
            sink(self.sinks[account].port, f"_ages?run={load.pid:06x}", "DELETE")
        time.sleep(self.options.seconds)
        row = {}
        for account in self.loads:
            stats = self.sinks[account].stats()
            row[account] = {name: stats[name] for name in ("p50_ms", "p99_ms", "max_ms")}
        took = time.time() - began
        return {**row, "replayed_per_s": (self.view()["republished"] - before) / took, "cpu": (cpu(self.fleet.workers[0].pid) - used) / took}

    def view(self):
        return self.fleet.ask(f"replays/{self.id}")

    def settle(self, events):
        """What came of everything: each live event and each replayed one once."""
        def counts():
            outcomes = self.view()["outcomes"]
            accepted = {account: self.sinks[account].stats()["accepted"] for account in self.sinks}
            return outcomes, accepted, events + self.view()["republished"], events
        def has_settled():
            outcomes, accepted, same, other = counts()
            return outcomes["open"] == 0 and accepted["same"] >= same and accepted["other"] >= other
        self.fleet.wait(120, has_settled, "every event has come to its platform")
        outcomes, accepted, same, other = counts()
        again = sum(s.stats()["again"] for s in self.sinks.values())
        return {"same": accepted["same"] - same, "other": accepted["other"] - other, "again": again, "outcomes": outcomes}

    def close(self):
        for load in self.loads.values():
            load.kill()
        self.fleet.close()
        for one in self.sinks.values():
            one.stop()


def middle(windows, account, name):
    return statistics.median(window[account][name] for window in windows)


def faults_beside(options, result):
    wrong = []
    for account in ("same", "other"):
        without, beside = (middle(result[kind], account, "p99_ms") for kind in ("without", "with"))
        if beside > 1.05 * without + 1:
            wrong.append(f"the p99 of account {account} is {beside:.1f} ms instead of {without:.1f}")
    if not all(window["replayed_per_s"] > 0.8 * (options.rate or 50) for window in result["with"]) or any(window["replayed_per_s"] for window in result["without"]):
        wrong.append("the replay did not run as it should")
    if any(result["ledger"][name] for name in ("same", "other", "again")):
        wrong.append(f"not each event came once: {json.dumps(result['ledger'])}")
    return wrong


def show_beside(options, result, wrong):
    print(f"\n| live traffic, {options.live:,} events/s per account | p50 ms | p99 ms | p99 of each window | max ms | replayed/s | worker's CPU |\n|---|---|---|---|---|---|---|")
    for account, title in (("same", "the account that is replayed"), ("other", "another account")):
        for kind in ("without", "with"):
            windows = result[kind]
            every_p99 = ", ".join(f"{window[account]['p99_ms']:.1f}" for window in windows)
            print(f"| {title}, {kind} a replay | {middle(windows, account, 'p50_ms'):.1f} | {middle(windows, account, 'p99_ms'):.1f} | {every_p99} | {max(w[account]['max_ms'] for w in windows):.1f} "
                  f"| {statistics.median(w['replayed_per_s'] for w in windows):.0f} | {100 * statistics.median(w['cpu'] for w in windows):.0f} % |")
    print(f"\nholds: {'; '.join(wrong) or 'yes'}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/replay", description="A replay of many dead letters: with kills of its runner, or beside live traffic")
    parser.add_argument("--events", type=int, help="dead letters (1,000,000; with --beside 200,000)")
    parser.add_argument("--kills", type=int, default=10, help="how often the worker that runs the replay is killed (10)")
    parser.add_argument("--rate", type=int, help="records per second of the replay (20,000; with --beside the default of the program)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the points of the kills")
    parser.add_argument("--beside", action="store_true", help="live traffic with and without a replay")
    parser.add_argument("--live", type=int, default=500, help="with --beside: live events per second of each account (500)")
    parser.add_argument("--pairs", type=int, default=4, help="with --beside: pairs of windows, one without and one with (4)")
    parser.add_argument("--seconds", type=int, default=20, help="with --beside: of each window (20)")
    parser.add_argument("--json", help="a file for the result")
    options = measure.parse(parser)
    options.events = options.events or (200_000 if options.beside else 1_000_000)
    if not options.beside:
        options.rate = options.rate or 20_000
    title = f"{time.strftime('%Y-%m-%d')}, {measure.machine()}; {options.events:,} dead letters, " + ("beside live traffic" if options.beside else f"{options.kills} kills, seed {options.seed}")
    print(title, flush=True)
    one = (Beside if options.beside else Killed)(Bench(options), options)
    try:
        result = one.measure()
    finally:
        one.close()
    result["wrong"] = wrong = (faults_beside if options.beside else faults)(options, result)
    (show_beside if options.beside else show_killed)(options, result, wrong)
    chosen = {name: getattr(options, name) for name in ("events", "kills", "rate", "seed", "live")}
    measure.tell(options, {"title": title, **chosen, **result}, wrong)


if __name__ == "__main__":
    main()
