"""Measures; tests/bench/run has built everything and started Kafka and Redis. See there for the options."""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

TICK = os.sysconf("SC_CLK_TCK")
SECRET = "0123456789abcdef0123456789abcdef"

CONFIG = """
[kafka]
brokers = "{brokers}"
group = "{name}"
input = ["{topic}"]
retry_prefix = "{name}.retry"
parked_prefix = "{name}.parked"
dead_letter = "{name}.dlt"
results = "{name}.results"
[redis]
url = "redis://{redis}"
prefix = "{name}"
[limits]
rps = 1000000
concurrency = {concurrency}
timeout = "3s"
[admin]
listen = "127.0.0.1:{admin}"
[telemetry]
log = "{log}"
format = "json"
"""
ACCOUNT = """
[accounts.{account}]
platform = "qihoo360"
base_url = "http://127.0.0.1:{port}"
allow_http = true
allow_private = true
secrets = [{{ id = "bench", key = "{account}", secret = "{secret}" }}]
data_industry = "ocpc_ps_convert"
"""


OWN = """
[accounts.{account}]
platform = "{platform}"
base_url = "http://127.0.0.1:{port}"
allow_http = true
allow_private = true
"""
# A shipped platform that takes 50 events per request, under names of its own.
BATCHING = OWN + """account_id = 1
user_action_set_id = 2
access_token = "{secret}"
"""
# The shape of 360 as a file.
DECLARED = OWN + """app_key = "{account}"
secret = "{secret}"
"""
# Platforms that are files of the benchmark: what their accounts state.
FILES = {"bench_single": BATCHING, "bench_batch": BATCHING, "bench_declared": DECLARED}


def cpu(pid):
    """User + system seconds of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def machine_cpu():
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


def memory_mib(pid, field="VmRSS"):
    line = next(l for l in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if l.startswith(field))
    return int(line.split()[1]) / 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read().decode()


def samples(url):
    """The worker's own series: the name with its labels, and the value."""
    lines = (line for line in get(url).splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def total(series, name, part=""):
    return sum(value for key, value in series.items() if key.split("{")[0] == name and part in key)


class Sink:
    def __init__(self, bench, *options):
        self.port = free_port()
        command = [bench.programs["sink"], "--listen", f"127.0.0.1:{self.port}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def stats(self):
        return json.loads(get(f"http://127.0.0.1:{self.port}/_stats"))

    def forget(self):
        get(f"http://127.0.0.1:{self.port}/_stats", "DELETE")

    def stop(self):
        self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, options):
        self.options = options
        self.work = pathlib.Path(options.work)
        built = [json.loads(l) for l in open(options.built) if l.startswith("{")]
        self.programs = {b["target"]["name"]: b["executable"] for b in built if b.get("executable") and "bench" in b["target"]["kind"]}
        binary = options.binary or str(pathlib.Path(self.programs["sink"]).parent.parent / "postback")
        self.programs["postback"] = binary
        self.brokers, self.redis = os.environ["POSTBACK_TEST_KAFKA"], os.environ["POSTBACK_TEST_REDIS"]
        self.count = 0

    def load(self, topic, events, accounts, rate=0, skip=0, platform="qihoo360", flags=()):
        command = [self.programs["load"], "--brokers", self.brokers, "--topic", topic, "--events", str(events), "--rate", str(rate),
                   "--accounts", ",".join(accounts), "--skip", str(skip), "--platform", platform, *flags]
        return subprocess.Popen(command)

    def forget(self):
        host, port = self.redis.split(":")
        subprocess.run(["redis-cli", "-h", host, "-p", port, "flushall"], check=True, stdout=subprocess.DEVNULL)

    def start(self, who, topic, ports, in_flight, name=None, log_level="warn", platform=None):
        """`ports`: of the sink of each account. `name`: of a worker that ran before, whose topics and positions it takes
        over. Returns the process; `worker.metrics` is set for postback."""
        self.count += 1
        name = name or f"bench-{self.count}-{time.time_ns() // 1000}"
        log = open(self.work / f"{name}.log", "w")
        if who == "plain":
            url = lambda account: f"http://127.0.0.1:{ports.get(account, ports['a0'])}/uploadWebConvert"
            command = [self.programs["plain"], "--brokers", self.brokers, "--topic", topic, "--group", name,
                       "--redis", f"redis://{self.redis}", "--url", url("a0"), "--hung-url", url("hung"), "--in-flight", str(in_flight)]
            metrics = None
        else:
            admin = free_port()
            text = CONFIG.format(brokers=self.brokers, name=name, topic=topic, redis=self.redis, admin=admin, log=log_level, concurrency=max(1, in_flight // len(ports)))
            if platform:
                text = f'platform_files = ["{self.platform_file(platform)}"]\n' + text
            text += "".join(FILES.get(platform, ACCOUNT).format(platform=platform, account=a, port=p, secret=SECRET) for a, p in ports.items())
            file = self.work / f"{name}.toml"
            file.write_text(text)
            command = [self.programs["postback"], "run", "--config", str(file)]
            metrics = f"http://127.0.0.1:{admin}/metrics"
        worker = subprocess.Popen(command, stdout=log, stderr=log)
        worker.metrics, worker.log, worker.name = metrics, log.name, name
        return worker

    def platform_file(self, name):
        """The benchmark's own file, or the shipped one of a platform that takes 50 events per request, under another name and
        with one event per request where the name says so."""
        here = pathlib.Path(__file__).parent
        if name == "bench_declared":
            return here / "declared.toml"
        source = here.parent.parent / "config/platforms/tencent_ads.toml"
        head, *rest = source.read_text().partition("[[test]]")
        text = head.replace('name = "tencent_ads"', f'name = "{name}"')
        test = "[[test]]" + rest[1].split("[[test]]")[0]
        if name.endswith("single"):
            text = text.replace("max_items = 50", "max_items = 1")
        file = self.work / f"{name}.toml"
        file.write_text(text + test)
        return file

    def ended(self, worker):
        if worker.poll() is not None:
            sys.exit(f"{worker.args[0]} ended by itself:\n" + open(worker.log).read()[-2000:])

    def stop(self, worker):
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

    def others(self):
        """Machine time that is none of ours: what disturbs a run."""
        ours = [self.options.kafka_pid, self.options.redis_pid, os.getpid()]
        return machine_cpu() - sum(cpu(p) for p in ours)


def attempt_seconds(worker):
    """Mean duration of an attempt so far, from the worker's own histogram."""
    values = {}
    for line in get(worker.metrics).splitlines():
        for part in ("sum", "count"):
            if line.startswith(f"postback_attempt_duration_seconds_{part}"):
                values[part] = values.get(part, 0.0) + float(line.rsplit(" ", 1)[1])
    return values["sum"] / values["count"] if values.get("count") else None


def backlog(bench, who, topic, events, accounts, latency_ms, in_flight, platform=None):
    """The topic is full before the worker starts. CPU from the first event at the sink to the last."""
    bench.forget()
    sink = Sink(bench, "--latency-ms", str(latency_ms))
    worker = bench.start(who, topic, {a: sink.port for a in accounts}, in_flight, platform=platform)
    first = last = None
    others, began = bench.others() - cpu(sink.process.pid) - cpu(worker.pid), time.time()
    try:
        while True:
            bench.ended(worker)
            stats, used, now = sink.stats(), cpu(worker.pid), time.time()
            if stats["distinct"] == 0 or first is None:
                first, others, began = (stats["distinct"], used), bench.others() - cpu(sink.process.pid) - used, now
            if stats["distinct"] >= events:
                break
            if last is None or stats["distinct"] != last[0]:
                last = (stats["distinct"], now)
            elif now - last[1] > 60:
                sys.exit(f"{who} stands still at {stats}")
            time.sleep(0.05)
        foreign = (bench.others() - cpu(sink.process.pid) - used - others) / max(0.1, now - began)
        seconds = (stats["last_us"] - stats["first_us"]) / 1e6
        return {"rate": (events - 1) / seconds, "cpu_us": (used - first[1]) / (events - first[0]) * 1e6, "peak_mib": memory_mib(worker.pid, "VmHWM"),
                "repeated": stats["received"] - stats["distinct"], "unsigned": stats["unsigned"], "foreign": foreign,
                "attempt_s": attempt_seconds(worker) if worker.metrics else None}
    finally:
        bench.stop(worker)
        sink.stop()


def memory(bench, seconds):
    """1,000,000 events wait, half of them for a platform that accepts and never answers; 64 in flight."""
    events = 1_000_000 if seconds > 10 else 100_000
    topic, accounts = f"memory-{time.time_ns()}", ["a0", "hung"]
    bench.load(topic, events, accounts).wait()
    bench.forget()
    live, dead = Sink(bench), Sink(bench, "--hang")
    worker = bench.start("postback", topic, {"a0": live.port, "hung": dead.port}, 64)
    peak, end = 0, time.time() + seconds
    try:
        while time.time() < end:
            bench.ended(worker)
            peak = max(peak, memory_mib(worker.pid))
            time.sleep(0.2)
        return {"peak_mib": peak, "delivered": live.stats()["distinct"]}
    finally:
        bench.stop(worker)
        live.stop()
        dead.stop()


def paced(bench, who, rate, seconds, accounts, hanging, in_flight=64):
    """Events come at a steady rate to a worker that already runs; `hanging`: accounts whose platform never answers."""
    bench.forget()
    topic = f"paced-{time.time_ns()}"
    live, dead = Sink(bench), Sink(bench, "--hang")
    ports = {a: (dead if a in hanging else live).port for a in accounts}
    flowing = [a for a in accounts if a not in hanging]
    bench.load(topic, 1000, flowing).wait()
    worker, load = bench.start(who, topic, ports, in_flight), None
    try:
        # At a steady rate for a while: the broker compiles what it runs, and until then it is what is slow.
        warm = rate // 2 * min(10, seconds)
        bench.load(topic, warm, flowing, rate // 2, skip=1000).wait()
        deadline = time.time() + 60
        while live.stats()["distinct"] < 1000 + warm:
            bench.ended(worker)
            if time.time() > deadline:
                sys.exit(f"{who} does not deliver")
            time.sleep(0.1)
        live.forget()
        used, began = cpu(worker.pid), time.time()
        load = bench.load(topic, rate * seconds, accounts, rate, skip=1000 + warm)
        time.sleep(max(0, began + seconds - time.time()))
        inside = live.stats()["distinct"] / (time.time() - began)
        load.wait()
        time.sleep(2)
        stats = live.stats()
        return {"rate": inside, "p50_ms": stats["p50_ms"], "p99_ms": stats["p99_ms"], "max_ms": stats["max_ms"],
                "cpu_us": (cpu(worker.pid) - used) / max(1, stats["distinct"]) * 1e6, "delivered": stats["distinct"]}
    finally:
        if load:
            load.kill()
        bench.stop(worker)
        live.stop()
        dead.stop()


def started(worker):
    """When the worker took up each of its partitions, as its log says."""
    lines = [json.loads(l) for l in open(worker.log) if '"partition starts"' in l]
    return sorted(datetime.datetime.fromisoformat(l["time"].replace("Z", "+00:00")).timestamp() for l in lines)


def accounts_of(bench, number, idle_seconds, bursts):
    """One worker with so many accounts: how long until each of its partitions is read, what it costs at rest and per event of
    bursts of 20,000 over all of them. Each burst comes after ten seconds of rest."""
    accounts, topic, events = [f"a{n}" for n in range(number)], f"accounts-{number}-{time.time_ns()}", 20_000
    bench.load(topic, number, accounts).wait()
    bench.forget()
    sink, worker = Sink(bench), None
    ports = {a: sink.port for a in accounts}
    # Of the input, of four tiers of six, of each account's parking.
    partitions = 12 + 4 * 6 + number
    try:
        for first in (True, False):
            # The first start makes the topics.
            worker = bench.start("postback", topic, ports, 8 * number, name=worker and worker.name, log_level="info")
            deadline = time.time() + 300
            while len(started(worker)) < partitions or sink.stats()["distinct"] < number:
                bench.ended(worker)
                if time.time() > deadline:
                    sys.exit(f"{number} accounts: {len(started(worker))} of {partitions} partitions have started")
                time.sleep(0.2)
            at = started(worker)
            if first:
                bench.stop(worker)
        time.sleep(10)
        idle, began = cpu(worker.pid), time.time()
        time.sleep(idle_seconds)
        idle = 100 * (cpu(worker.pid) - idle) / (time.time() - began)
        rest, done, spent = memory_mib(worker.pid), number, []
        for _ in range(bursts):
            if spent:
                time.sleep(10)
            used = cpu(worker.pid)
            bench.load(topic, events, accounts, skip=done).wait()
            done += events
            while sink.stats()["distinct"] < done:
                bench.ended(worker)
                time.sleep(0.1)
            time.sleep(1)
            spent.append({"cpu_us": (cpu(worker.pid) - used) / events * 1e6})
        return {"start_s": at[-1] - at[0], "idle": idle, "rest_mib": rest, "bursts": spent, "peak_mib": memory_mib(worker.pid, "VmHWM")}
    finally:
        if worker:
            bench.stop(worker)
        sink.stop()


def quietly(bench, measure):
    """Repeats what others disturbed; the quietest run counts, whatever it shows."""
    runs = []
    while not runs or (runs[-1]["foreign"] > bench.options.noise and len(runs) < 3):
        runs.append(measure())
    return min(runs, key=lambda r: r["foreign"])


def shown(runs, key, digits=0):
    values = [r[key] for r in runs]
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def note(text):
    print(f"== {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def pairs(bench, measure):
    """Alternating runs of both, so that both see the same machine."""
    number = 1 if bench.options.quick else bench.options.pairs
    runs = {"plain": [], "postback": []}
    for n in range(number):
        for who in runs if n % 2 == 0 else reversed(list(runs)):
            runs[who].append(measure(who))
            note(f"{who}: {json.dumps({k: round(v, 3) for k, v in runs[who][-1].items() if v is not None})}")
    return runs


def print_backlog(bench, quick):
    share = 10 if quick else 1
    eight = [f"a{n}" for n in range(8)]
    print("\n| backlog | worker | events/s | CPU µs/event | of the plain loop | peak MiB |\n|---|---|---|---|---|---|")
    for accounts in (["a0"], eight):
        for latency_ms, events in ((0, 300_000 // share), (50, 30_000 // share)):
            topic = f"backlog-{len(accounts)}-{latency_ms}-{time.time_ns()}"
            bench.load(topic, events, accounts).wait()
            title = f"{len(accounts)} account{'s' * (len(accounts) > 1)}, sink {latency_ms} ms, 64 in flight"
            note(title)
            runs = pairs(bench, lambda who: quietly(bench, lambda: backlog(bench, who, topic, events, accounts, latency_ms, 64)))
            ratio = statistics.median(o["cpu_us"] / p["cpu_us"] for o, p in zip(runs["postback"], runs["plain"]))
            for who, own in runs.items():
                wrong = sum(r["unsigned"] + r["repeated"] for r in own)
                print(f"| {title} | {who}{f' ({wrong} repeated or unsigned)' if wrong else ''} | {shown(own, 'rate')} | {shown(own, 'cpu_us', 1)} "
                      f"| {f'{ratio:.2f}' if who == 'postback' else '1'} | {shown(own, 'peak_mib')} |", flush=True)


def print_rate(bench, quick):
    print("\n| sink 50 ms, in flight | worker | events/s | of in flight ÷ mean attempt | CPU µs/event |\n|---|---|---|---|---|")
    for in_flight in (64, 256, 1024, 4096):
        events = min(200_000, in_flight * (100 if quick else 400))
        topic = f"rate-{in_flight}-{time.time_ns()}"
        bench.load(topic, events, ["a0"]).wait()
        note(f"50 ms, {in_flight} in flight")
        runs = pairs(bench, lambda who: quietly(bench, lambda: backlog(bench, who, topic, events, ["a0"], 50, in_flight)))
        for who, own in runs.items():
            part = [100 * r["rate"] / (in_flight / r["attempt_s"]) for r in own if r["attempt_s"]]
            print(f"| {in_flight:,} | {who} | {shown(own, 'rate')} | {f'{statistics.median(part):.1f} %' if part else '–'} | {shown(own, 'cpu_us', 1)} |", flush=True)


def print_batches(bench, quick):
    """Eight requests at once, sink 50 ms: one event per request, and 50."""
    print("\n| 8 in flight, sink 50 ms | events/s | CPU µs/event | requests |\n|---|---|---|---|")
    for platform, events in (("bench_single", 2_000 if quick else 5_000), ("bench_batch", 50_000 if quick else 200_000)):
        topic = f"{platform}-{time.time_ns()}"
        bench.load(topic, events, ["a0"], platform=platform).wait()
        note(platform)
        runs = [quietly(bench, lambda: backlog(bench, "postback", topic, events, ["a0"], 50, 8, platform)) for _ in range(1 if quick else bench.options.pairs)]
        note(json.dumps(runs[-1]))
        requests = [{"requests": r["repeated"] + events} for r in runs]
        print(f"| {'50 events' if platform.endswith('batch') else '1 event'} per request | {shown(runs, 'rate')} | {shown(runs, 'cpu_us', 1)} | {shown(requests, 'requests')} |", flush=True)


def print_declared(bench, quick):
    """The same requests by a coded platform and by a declared one."""
    print("\n| 1 account, sink 0 ms, 64 in flight | events/s | CPU µs/event | of the coded one | peak MiB |\n|---|---|---|---|---|")
    events = 150_000 if quick else 600_000
    topics = {}
    for platform in ("qihoo360", "bench_declared"):
        topics[platform] = f"{platform}-{time.time_ns()}"
        bench.load(topics[platform], events, ["a0"], platform=platform).wait()
    runs = {platform: [] for platform in topics}
    for _ in range(2 if quick else bench.options.pairs):
        for platform, topic in topics.items():
            note(platform)
            own = platform if platform in FILES else None
            runs[platform].append(quietly(bench, lambda: backlog(bench, "postback", topic, events, ["a0"], 0, 64, own)))
            note(json.dumps(runs[platform][-1]))
    coded = statistics.median(r["cpu_us"] for r in runs["qihoo360"])
    for platform, own in runs.items():
        ratio = statistics.median(r["cpu_us"] for r in own) / coded
        print(f"| {'declared' if platform in FILES else 'coded'} | {shown(own, 'rate')} | {shown(own, 'cpu_us', 1)} | {ratio:.2f} | {shown(own, 'peak_mib')} |", flush=True)


def print_memory(bench, quick):
    note("memory")
    run = memory(bench, 10 if quick else 60)
    print(f"\n| 1,000,000 waiting, 64 in flight, one of two platforms hanging | |\n|---|---|\n| resident memory, peak | {run['peak_mib']:.0f} MiB |"
          f"\n| delivered meanwhile to the other | {run['delivered']:,} |", flush=True)


def print_latency(bench, quick):
    print("\n| 2,000 events/s, sink 0 ms | p50 ms | p99 ms | max ms | CPU µs/event |\n|---|---|---|---|---|")
    runs = pairs(bench, lambda who: paced(bench, who, 2000, 5 if quick else 20, ["a0"], []))
    for who, own in runs.items():
        print(f"| {who} | {shown(own, 'p50_ms', 1)} | {shown(own, 'p99_ms', 1)} | {shown(own, 'max_ms', 1)} | {shown(own, 'cpu_us', 1)} |", flush=True)


def print_isolation(bench, quick):
    print("\n| 1,000 live events/s for 60 s, 64 in flight | alone | beside 1,000/s for a platform that never answers | kept |\n|---|---|---|---|")
    seconds = 10 if quick else 60
    for who in ("plain", "postback"):
        alone = paced(bench, who, 1000, seconds, ["a0"], [])
        beside = paced(bench, who, 2000, seconds, ["a0", "hung"], ["hung"])
        kept = 100 * beside["rate"] / alone["rate"]
        print(f"| {who} | {alone['rate']:,.0f} | {beside['rate']:,.0f} | {kept:.1f} % |", flush=True)


def print_accounts(bench, quick):
    print("\n| accounts, one worker | all partitions started after s | idle, of a core | resident at rest MiB | bursts of 20,000 events: peak MiB | CPU µs/event |"
          "\n|---|---|---|---|---|---|")
    for number in (1, 100, 1000):
        note(f"{number} accounts")
        run = accounts_of(bench, number, 10 if quick else 60, 1 if quick else bench.options.pairs)
        note(json.dumps(run))
        print(f"| {number:,} | {run['start_s']:.1f} | {run['idle']:.1f} % | {run['rest_mib']:.0f} | {run['peak_mib']:.0f} | {shown(run['bursts'], 'cpu_us', 1)} |", flush=True)


def machine():
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown processor")
    memory_gib = int(open("/proc/meminfo").readline().split()[1]) / 2**20
    return f"{os.cpu_count()} × {model}, {memory_gib:.0f} GiB"


def parse(parser):
    """The options, with those that every script of the benchmark has. From here on SIGTERM raises an exit, so that what was
    started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser.add_argument("--binary", help="another build of postback")
    for name, kind in (("--work", str), ("--built", str), ("--kafka-pid", int), ("--redis-pid", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


def tell(options, result, failed):
    """Prints the result as JSON, writes it to the file that --json names, and ends the script: with 1 if it failed."""
    whole = json.dumps(result, indent=1)
    print(f"\n```json\n{whole}\n```", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(whole + "\n")
    sys.exit(1 if failed else 0)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="postback beside the plain loop, on real Kafka and Redis")
    cells = {"backlog": print_backlog, "rate": print_rate, "batches": print_batches, "declared": print_declared, "memory": print_memory, "latency": print_latency, "isolation": print_isolation, "accounts": print_accounts}
    parser.add_argument("--cells", default=",".join(cells), help=f"by comma: {', '.join(cells)}")
    parser.add_argument("--quick", action="store_true", help="one short pair per cell: shows that it runs, not how fast")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs per cell (5)")
    parser.add_argument("--noise", type=float, default=0.5, help="cores that others may use before a run is repeated, twice at most (0.5)")
    options = parse(parser)
    unknown = set(options.cells.split(",")) - set(cells)
    if unknown:
        parser.error(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(cells)}")
    if shutil.disk_usage(options.work).free < 4 * 2**30:
        note("less than 4 GiB of disk are free: the broker may stop")
    bench = Bench(options)
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}; median (least–most). CPU: user + system of the process from the first event to the last.")
    for name in options.cells.split(","):
        cells[name](bench, options.quick)


if __name__ == "__main__":
    main()
