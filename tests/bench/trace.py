"""Measures traces; tests/bench/trace has built everything and started Kafka and Redis. See there for the options."""
import argparse
import json
import subprocess
import sys
import time

import measure
from measure import SECRET, Bench, Sink, note

DAYS = 5
# Kafka takes no record whose time is an hour ahead.
AHEAD_S = 3_500
PARTITIONS = "6"
LIVE = 1_000
EVENT = """{"schema": "postback.event/1", "kind": "conversion", "platform": "qihoo360", "account": "a0", "event_type": "order",
"click": {"qhclickid": "0123456789abcdef"}, "order": {"order_id": "o1", "amount": {"minor": 100, "currency": "CNY"}},
"platform_params": {"data_industry": "ocpc_ps_convert"}}"""


class Run:
    """A worker that delivers between two halves of a history of receipts and dead letters."""

    def __init__(self, bench, options):
        self.bench, self.options = bench, options
        bench.forget()
        self.sink = Sink(bench)
        self.name = f"trace-{time.time_ns() // 1000}"
        self.topic = f"{self.name}.events"
        text = measure.CONFIG.format(brokers=bench.brokers, name=self.name, topic=self.topic, redis=bench.redis, admin=measure.free_port(), log="warn", concurrency=64)
        text = text.replace("[redis]", f'receipts = "{self.name}.receipts"\n[redis]', 1)
        text += measure.ACCOUNT.format(account="a0", port=self.sink.port, secret=SECRET)
        self.config = bench.work / f"{self.name}.toml"
        self.config.write_text(text)

    def history(self, begin, end):
        """Half of the receipts and dead letters, with times from `begin` to `end` seconds from now."""
        span = ["--from", str(begin), "--to", str(end), "--partitions", PARTITIONS]
        began = time.time()
        for topic, flag, number in (("receipts", "--receipts", self.options.receipts), ("dlt", "--dead-letters", self.options.letters)):
            accounts = [f"a{n}" for n in range(40)]
            if self.bench.load(f"{self.name}.{topic}", number // 2, accounts, flags=[flag, *span]).wait():
                sys.exit(f"the {topic} could not be written")
        note(f"half of the history was written in {time.time() - began:.0f} s")

    def deliver(self):
        """Events come in the middle of the history. Returns the trans_id of the first, of one in the middle, of the last."""
        ids = [f"{n:06x}{n:010x}{time.time_ns() // 1000:016x}" for n in range(LIVE)]
        event = json.loads(EVENT)
        lines = "\n".join(json.dumps({**event, "trans_id": id, "event_time_ms": time.time_ns() // 1_000_000}) for id in ids)
        self.bench.load(self.topic, 0, ["a0"]).wait()
        log = open(self.bench.work / f"{self.name}.log", "w")
        self.worker = subprocess.Popen([self.bench.programs["postback"], "run", "--config", str(self.config)], stdout=log, stderr=log)
        self.worker.log = log.name
        exit_code, output, _ = self.command("send", "-", stdin=lines)
        if exit_code:
            sys.exit(f"the events were not sent: {output}")
        deadline = time.time() + 120
        while self.sink.stats()["accepted"] < LIVE:
            self.bench.ended(self.worker)
            if time.time() > deadline:
                sys.exit(f"the worker does not deliver: {self.sink.stats()}")
            time.sleep(0.2)
        return [ids[0], ids[LIVE // 2], ids[-1]]

    def command(self, *arguments, stdin=""):
        began = time.time()
        done = subprocess.run([self.bench.programs["postback"], *arguments, "--config", str(self.config)], input=stdin, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr, time.time() - began

    def trace(self, title, id, *narrower):
        exit_code, output, took = self.command("trace", id, "--json", *narrower)
        found = {"claims": [], "receipts": [], "looked_at": []}
        if exit_code == 0:
            found = json.loads(output)
        elif "nothing is known" in output:
            note(output.strip())
        else:
            sys.exit(f"trace {id}: {output}")
        read = sum(row["read"] for row in found["looked_at"])
        return {"title": title, "seconds": took, "claims": len(found["claims"]), "receipts": len(found["receipts"]), "read": read}

    def measure(self):
        self.history(-DAYS * 86_400, 0)
        ids = self.deliver()
        self.history(1, AHEAD_S)
        rows = [self.trace(f"{title} of {LIVE:,} delivered", id) for title, id in zip(("the first", "one", "the last"), ids)]
        rows.append(self.trace("one, its account named", ids[1], "--account", "a0"))
        rows.append(self.trace("an event that never was", "f" * 32))
        return rows

    def stop(self):
        if hasattr(self, "worker"):
            self.bench.stop(self.worker)
        self.sink.stop()


def faults(rows):
    wrong = [f"{row['title']}: {row['seconds']:.2f} s" for row in rows if row["seconds"] > 2]
    return wrong + [f"{row['title']}: {row['receipts']} receipts, {row['claims']} claims" for row in rows[:-1] if (row["receipts"], row["claims"]) != (1, 1)]


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/trace", description="Traces of events amid many receipts and dead letters")
    parser.add_argument("--receipts", type=int, default=9_000_000, help="receipts (9,000,000)")
    parser.add_argument("--letters", type=int, default=1_000_000, help="dead letters (1,000,000)")
    parser.add_argument("--json", help="a file for the result")
    options = measure.parse(parser)
    title = f"{time.strftime('%Y-%m-%d')}, {measure.machine()}; {options.receipts:,} receipts, {options.letters:,} dead letters"
    one = Run(Bench(options), options)
    try:
        rows = one.measure()
    finally:
        one.stop()
    print(title + "\n\n| trace of | seconds | claims | receipts | records looked at |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['title']} | {row['seconds']:.2f} | {row['claims']} | {row['receipts']} | {row['read']:,} |")
    wrong = faults(rows)
    print(f"\nholds: {'; '.join(wrong) or 'yes'}")
    measure.tell(options, {"title": title, "rows": rows, "wrong": wrong}, wrong)


main()
