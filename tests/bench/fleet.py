"""The workers of tests/bench/replay, one or several replicas of one configuration, and what operators do with them."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import measure
from measure import SECRET, get, memory_mib, samples, total

CONFIG = measure.CONFIG.replace("rps = 1000000", "rps = {rps}").replace("[redis]", 'receipts = "{name}.receipts"\n[redis]', 1)
ACCOUNT = measure.ACCOUNT + 'on_ambiguous = "retry"\n'
# A rule that no event meets which has waited for two seconds: they end as dead letters, and nothing is sent.
TOO_STRICT = 'validate = { max_event_age = "1s" }\n'


def run(*command):
    """Runs a command. Returns its exit code, its output, how long it took in seconds, and its largest memory in MiB."""
    began = time.time()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, output, time.time() - began, usage.ru_maxrss / 1024


class Fleet:
    """Replicas of one worker. `ports`: of the sink of each account."""

    def __init__(self, bench, ports, rps, replicas):
        self.bench, self.ports, self.rps = bench, ports, rps
        bench.count += 1
        self.name = f"replay-{bench.count}-{time.time_ns() // 1000}"
        self.topic = f"{self.name}.events"
        self.admins = [measure.free_port() for _ in range(replicas)]
        self.workers = [None] * replicas
        # Of each replica the most that any of its processes ever used, MiB.
        self.peaks = [0.0] * replicas
        self.watched = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.watched.wait(0.5):
            for number, worker in enumerate(self.workers):
                try:
                    self.peaks[number] = max(self.peaks[number], memory_mib(worker.pid, "VmHWM"))
                except (AttributeError, OSError, StopIteration):
                    # It does not run at present.
                    pass

    def config(self, number):
        return self.bench.work / f"{self.name}-{number}.toml"

    def start(self, number, rule=""):
        text = CONFIG.format(brokers=self.bench.brokers, name=self.name, topic=self.topic, redis=self.bench.redis, admin=self.admins[number],
                             log="warn", concurrency=64, rps=self.rps)
        text += "".join(ACCOUNT.format(account=account, port=port, secret=SECRET) + rule for account, port in self.ports.items())
        file = self.config(number)
        file.write_text(text)
        log = open(self.bench.work / f"{self.name}-{number}.log", "a")
        self.workers[number] = subprocess.Popen([self.bench.programs["postback"], "run", "--config", str(file)], stdout=log, stderr=log)
        self.workers[number].log = log.name

    def kill(self, number):
        self.workers[number].send_signal(signal.SIGKILL)
        self.workers[number].wait()

    def stop(self):
        for worker in filter(None, self.workers):
            self.bench.stop(worker)
        self.workers = [None] * len(self.workers)

    def alive(self):
        for worker in filter(None, self.workers):
            self.bench.ended(worker)

    def wait(self, seconds, until, says):
        """Waits until something holds, and returns it."""
        deadline = time.time() + seconds
        while not (found := until()):
            self.alive()
            if time.time() > deadline:
                sys.exit(f"after {seconds:.0f} s not yet: {says}")
            time.sleep(0.1)
        return found

    def series(self, number=0):
        """The worker's series; none while it does not answer."""
        try:
            return samples(f"http://127.0.0.1:{self.admins[number]}/metrics")
        except OSError:
            return {}

    def ask(self, path, method="GET", body=None):
        """Asks the first replica that answers."""
        data = None if body is None else json.dumps(body).encode()
        trouble = None
        for _ in range(100):
            for port in self.admins:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/{path}", data, {"content-type": "application/json"}, method=method)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        return json.load(answer)
                except urllib.error.HTTPError as error:
                    trouble = error.read().decode()
                    if error.code < 500:
                        sys.exit(f"{method} {path}: {trouble}")
                except OSError as error:
                    trouble = str(error)
            time.sleep(0.2)
        sys.exit(f"{method} {path}: {trouble}")

    def command(self, *words):
        """A command of the program, with its answer as JSON, its seconds and its MiB."""
        code, output, seconds, memory = run(self.bench.programs["postback"], *words, "--json", "--config", self.config(0))
        try:
            return code, json.loads(output), seconds, memory
        except ValueError:
            sys.exit(f"postback {' '.join(words)}: exit code {code}: {output[-500:]}")

    def make_dead_letters(self, events, account):
        """Publishes events, and lets a worker refuse each one by a rule that is too strict. Returns the seconds it took."""
        self.bench.load(self.topic, events, [account]).wait()
        time.sleep(2)
        began = time.time()
        self.start(0, TOO_STRICT)
        self.wait(120 + events / 500, lambda: total(self.series(), "postback_dead_letters_total", f'"{account}"') >= events, "every event is a dead letter")
        took = time.time() - began
        self.stop()
        return took

    def plan(self, *options):
        """Plans a replay of everything. Returns the plan, and the seconds and the MiB it took."""
        code, plan, seconds, memory = self.command("replay", "--everything", "--why", "the rule was too strict", *options)
        if code or plan["state"] != "planned":
            sys.exit(f"no plan: {json.dumps(plan)[:500]}")
        return plan, seconds, memory

    def steer(self, replay, what):
        return self.ask(f"replays/{replay}/{what}", "POST", {"who": "bench", "why": "as agreed"})

    def runners(self):
        """The replicas that run the replay: one, or none."""
        return [n for n in range(len(self.admins)) if total(self.series(n), "postback_replay_running") == 1]

    def close(self):
        self.watched.set()
        self.stop()


def sink(port, path, method="GET"):
    return json.loads(get(f"http://127.0.0.1:{port}/{path}", method))
