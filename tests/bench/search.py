"""Measures a search; tests/bench/search has built everything and started Kafka and Redis. See there for the options."""
import argparse
import json
import statistics
import sys
import threading
import time
import urllib.error

import measure
from measure import Bench, Sink, get, memory_mib, note

# As the worker makes it.
PARTITIONS = 6


class Peak(threading.Thread):
    """The most resident memory of a process from now on, looked at every 20 ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.mib, self.go_on = pid, memory_mib(pid), True
        self.start()

    def run(self):
        while self.go_on:
            try:
                self.mib = max(self.mib, memory_mib(self.pid))
            except (OSError, StopIteration):
                # It has ended.
                return
            time.sleep(0.02)

    def stop(self):
        self.go_on = False
        self.join()
        return self.mib


class Run:
    """One worker that delivers, and has not looked at its dead letters yet."""

    def __init__(self, bench, options):
        self.bench, self.options, self.load = bench, options, None
        bench.forget()
        self.sink = Sink(bench)
        self.topic, name = f"search-{time.time_ns()}", f"search-{time.time_ns() // 1000}"
        began = time.time()
        letters = bench.load(f"{name}.dlt", options.letters, [f"a{n}" for n in range(40)], flags=["--dead-letters", "--partitions", str(PARTITIONS)])
        if letters.wait():
            sys.exit("the dead letters could not be written")
        note(f"{options.letters:,} dead letters written in {time.time() - began:.0f} s")
        bench.load(self.topic, 0, ["a0"]).wait()
        self.worker = bench.start("postback", self.topic, {"a0": self.sink.port}, 64, name=name)
        self.api = self.worker.metrics.replace("/metrics", "/api/v1/")

    def ask(self, path):
        while True:
            self.bench.ended(self.worker)
            try:
                return json.loads(get(self.api + path))
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    sys.exit(f"{path}: {error.read().decode()}")
                # On a machine that has much else to do the search, which has the lowest priority, begins late.
                note(f"{path}: {error.read().decode()}")
            except OSError:
                # It starts.
                time.sleep(0.1)

    def window(self, until):
        """The ages at the sink from now on until something holds."""
        get(f"http://127.0.0.1:{self.sink.port}/_ages", "DELETE")
        began = time.time()
        until(began)
        stats = self.sink.stats()
        return {"seconds": time.time() - began, **{name: stats[name] for name in ("p50_ms", "p99_ms", "max_ms")}}

    def measure(self):
        options, quiet = self.options, lambda began: time.sleep(options.seconds)
        self.ask("status")
        # Until the broker has compiled what it runs, it is what is slow.
        seconds = 25 + 2 * options.seconds + max(60, options.letters // 10_000)
        self.load = self.bench.load(self.topic, options.live * seconds, ["a0"], options.live)
        time.sleep(20)
        before = self.window(quiet)
        resting = memory_mib(self.worker.pid)
        peak, result = Peak(self.worker.pid), {}

        def search(began):
            page = self.ask("dead-letters?limit=50")
            result["first_s"], result["first"] = time.time() - began, len(page["items"])
            while not page["done"]:
                if self.load.poll() is not None:
                    sys.exit(f"the live traffic ended before the search: {page['scanned']:,} of {page['total']:,}")
                time.sleep(1)
                # As the console asks.
                page = self.ask("dead-letters/groups")
            result["all_s"] = time.time() - began
            result["found"] = page["stats"]["total"] if "stats" in page else self.ask("dead-letters/groups")["stats"]["total"]
            # A short search is followed by pages, so that there are enough live events to judge by.
            while time.time() - began < options.seconds:
                self.ask("dead-letters?account=a7&limit=50")
                time.sleep(1)

        beside = self.window(search)
        time.sleep(2)
        result["peak_mib"], result["resting_mib"], result["after_mib"] = peak.stop(), resting, memory_mib(self.worker.pid)
        after = self.window(quiet)
        return {**result, "before": before, "beside": beside, "after": after}

    def stop(self):
        if self.load:
            self.load.kill()
        if hasattr(self, "worker"):
            self.bench.stop(self.worker)
        self.sink.stop()


def faults(options, runs):
    wrong = []
    for run in runs:
        if run["found"] != options.letters or run["first"] != min(50, options.letters):
            wrong.append(f"{run['found']:,} of {options.letters:,} dead letters were found, {run['first']} on the first page")
        if run["first_s"] >= 1:
            wrong.append(f"the first page took {run['first_s']:.2f} s")
        if run["peak_mib"] - run["resting_mib"] >= 64:
            wrong.append(f"the worker took {run['peak_mib'] - run['resting_mib']:.0f} MiB more")
    alone = statistics.median(run[kind]["p99_ms"] for run in runs for kind in ("before", "after"))
    beside = statistics.median(run["beside"]["p99_ms"] for run in runs)
    if beside > 1.05 * alone + 1:
        wrong.append(f"the live p99 is {beside:.1f} ms beside the search instead of {alone:.1f}")
    return wrong


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/search", description="A search through many dead letters, beside live traffic")
    parser.add_argument("--letters", type=int, default=1_000_000, help="dead letters (1,000,000)")
    parser.add_argument("--live", type=int, default=500, help="events per second of the live traffic (500)")
    parser.add_argument("--seconds", type=int, default=20, help="of live traffic alone before and after the search (20)")
    parser.add_argument("--runs", type=int, default=3, help="each with a worker of its own (3)")
    parser.add_argument("--json", help="a file for the result")
    options = measure.parse(parser)
    bench, runs = Bench(options), []
    title = f"{time.strftime('%Y-%m-%d')}, {measure.machine()}; {options.letters:,} dead letters, {options.live:,} live events/s"
    print(title + "\n\n| run | first page s | all looked at s | memory MiB before | at most (more) | after | live p99 ms before, beside, after | p50 beside |\n|---|---|---|---|---|---|---|---|", flush=True)
    for number in range(options.runs):
        one = Run(bench, options)
        try:
            runs.append(one.measure())
        finally:
            one.stop()
        run = runs[-1]
        note(json.dumps(run))
        ages = ", ".join(f"{run[kind]['p99_ms']:.1f}" for kind in ("before", "beside", "after"))
        more = run["peak_mib"] - run["resting_mib"]
        print(f"| {number + 1} | {run['first_s']:.2f} | {run['all_s']:.1f} | {run['resting_mib']:.1f} | {run['peak_mib']:.1f} ({more:.1f}) | {run['after_mib']:.1f} | {ages} | {run['beside']['p50_ms']:.1f} |", flush=True)
    wrong = faults(options, runs)
    print(f"\nholds: {'; '.join(wrong) or 'yes'}")
    measure.tell(options, {"title": title, "runs": runs, "wrong": wrong}, wrong)


main()
