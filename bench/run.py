"""Benchmarks: mtad against Postfix, in alternating rounds on this machine. Loopback only.

  bench/run.sh [--short] [--rounds N] [--servers mtad,postfix] [--workloads w1,w2,...]

Needs smtp-source and smtp-sink (Debian package postfix); Postfix itself runs from a folder of its own, as root.
Both relay everything to one sink. CPU is that of the server's processes, children included, per message.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SMTP, SINK = 42525, 42626
TICK = os.sysconf("SC_CLK_TCK")
ENVELOPE = ("-f", "bench@sender.example", "-t", "user@rcpt.example")
POSTFIX_MAIN = """compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_recipient_limit = 10000
smtpd_tls_security_level = none
smtp_tls_security_level = none
default_process_limit = 110
minimal_backoff_time = 3000s
in_flow_delay = 0
smtp_destination_concurrency_limit = 50
smtp_destination_recipient_limit = 1
"""
POSTFIX_MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
flush unix n - n 1000? 0 flush
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


@dataclass(frozen=True)
class Load:
    """One workload. kind: relay (end to end), accept (deliveries held), many (one message to n recipients), drain (of
    what gathered while the next hop was down), pace (latency at 50 a second).
    """

    name: str
    kind: str
    messages: int
    octets: int
    reuse: bool = False
    dkim: bool = False


LOADS = (
    Load("w2", "relay", 5000, 10_240),
    Load("w2-reuse", "relay", 5000, 10_240, reuse=True),
    Load("w2-dkim", "relay", 4000, 10_240, dkim=True),
    Load("w1-1k", "accept", 5000, 1024),
    Load("w1-10k", "accept", 5000, 10_240),
    Load("w1-100k", "accept", 1500, 102_400),
    Load("w3", "pace", 400, 10_240),
    Load("w4", "drain", 20_000, 10_240),
    Load("w5", "many", 1000, 10_240),
)


class Cpu:
    """CPU seconds of a process tree, by what is alive and what was reaped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: dict[int, float] = {}

    def sample(self) -> float:
        for pid in self._tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                own = int(fields[11]) + int(fields[12])
                reaped = int(fields[13]) + int(fields[14]) if pid == self._pid else 0
                self._last[pid] = (own + reaped) / TICK
        return sum(self._last.values())

    def _tree(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    parent = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1]
                    children.setdefault(int(parent), []).append(int(entry))
        found, todo = [], [self._pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def pss_mib(self) -> float:
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1024


@contextlib.contextmanager
def mtad(folder: Path, load: Load) -> Iterator[int]:
    ready = folder / "ready.json"
    shaping = folder / "shaping.toml"
    shaping.write_text("[relay]\nmax_recipients = 1\n")
    command = [sys.executable, "-m", "mtad", "dev", "--data", str(folder / "data"), "--ready-file", str(ready)]
    command += ["--mx", "127.0.0.1:0", "--submission", f"127.0.0.1:{SMTP}", "--submissions", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--relay", f"127.0.0.1:{SINK}"]
    command += ["--set", 'smtp.trusted_networks=["127.0.0.0/8"]', "--set", f"delivery.dkim={str(load.dkim).lower()}"]
    command += ["--set", f"shaping_file={shaping}"]
    command += ["--set", f"queue.paused={str(load.kind == 'accept').lower()}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(lambda: ready.exists() or process.poll() is not None)
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text()[-2000:])
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextlib.contextmanager
def postfix(folder: Path, load: Load) -> Iterator[int]:
    conf = folder / "etc"
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    shutil.chown(folder / "data", "postfix")
    hold = "smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks\n"
    extra = {"accept": hold, "drain": "defer_transports = smtp\n"}.get(load.kind, "")
    main = POSTFIX_MAIN.format(dir=folder, sink=SINK) + extra
    (conf / "main.cf").write_text(main)
    (conf / "master.cf").write_text(POSTFIX_MASTER.format(port=SMTP))
    subprocess.run(["postfix", "-c", conf, "start"], check=True, capture_output=True)
    try:
        pid = folder / "spool" / "pid" / "master.pid"
        wait_for(pid.exists)
        time.sleep(0.5)
        yield int(pid.read_text())
    finally:
        subprocess.run(["postsuper", "-c", conf, "-d", "ALL"], capture_output=True)
        subprocess.run(["postfix", "-c", conf, "stop"], capture_output=True)


SERVERS = {"mtad": mtad, "postfix": postfix}


def flush(server: str, folder: Path) -> None:
    """Try now what waits."""
    if server == "mtad":
        command = [sys.executable, "-m", "mtad", "queue", "retry", "--all", "--data", str(folder / "data")]
        subprocess.run(command, check=True, capture_output=True)
        return
    conf = folder / "etc"
    main = (conf / "main.cf").read_text().replace("defer_transports = smtp\n", "")
    (conf / "main.cf").write_text(main)
    subprocess.run(["postfix", "-c", conf, "reload"], check=True, capture_output=True)
    time.sleep(0.2)
    subprocess.run(["postqueue", "-c", conf, "-f"], check=True, capture_output=True)


def drain(server: str, folder: Path, messages: int, load: Load, cpu: Cpu) -> tuple[float, float]:
    """Fill the queue with the next hop down, bring it up, tell the server: seconds until all have arrived."""
    push(messages, Load("fill", "accept", messages, load.octets))
    time.sleep(2.0)
    before, receiver, begun = cpu.sample(), sink(messages), time.monotonic()
    try:
        flush(server, folder)
        while receiver.poll() is None:
            if time.monotonic() - begun > 120:
                raise SystemExit("the queue did not drain in 120 s")
            time.sleep(0.01)
        return time.monotonic() - begun, before
    finally:
        if receiver.poll() is None:
            receiver.kill()
            receiver.wait()


def pace(messages: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name("latency.py")), str(SMTP), str(SINK), str(messages)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    return {f"{name} {p}": value for name in ("dot_to_250", "250_to_arrival") for p, value in found[name].items()}


def wait_for(ready: object, limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not ready():  # type: ignore[operator]
        if time.monotonic() > until:
            raise SystemExit("a server did not start")
        time.sleep(0.02)


def sink(messages: int) -> subprocess.Popen[bytes]:
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    process = subprocess.Popen(["smtp-sink", *user, "-m", "1000", "-M", str(messages), f"127.0.0.1:{SINK}", "2048"])
    time.sleep(0.3)
    return process


def source(messages: int, load: Load) -> list[str]:
    if load.kind == "many":
        return [sys.executable, str(Path(__file__).with_name("many.py")), str(SMTP), str(messages), str(load.octets)]
    reuse = ["-d"] if load.reuse else []
    sizes = ["-m", str(messages), "-s", "50", "-l", str(load.octets)]
    return ["smtp-source", "-M", "client.example", *sizes, *ENVELOPE, *reuse, f"127.0.0.1:{SMTP}"]


def start_source(messages: int, load: Load) -> subprocess.Popen[bytes]:
    """The load generator as it begins: a Python program has started and connected by then."""
    if load.kind != "many":
        return subprocess.Popen(source(messages, load), stdout=subprocess.DEVNULL)
    sender = subprocess.Popen(source(messages, load), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert sender.stdin is not None
    assert sender.stdout is not None
    sender.stdout.readline()
    sender.stdin.write(b"go\n")
    sender.stdin.close()
    return sender


def push(messages: int, load: Load, cpu: Cpu | None = None) -> tuple[float, float]:
    """Seconds it took, and the most memory seen (MiB)."""
    receiver = None if load.kind == "accept" else sink(messages)
    pss, sender = 0.0, start_source(messages, load)
    begun = time.monotonic()
    waiting = [one for one in (sender, receiver) if one is not None]
    try:
        while any(one.poll() is None for one in waiting):
            if time.monotonic() - begun > 120:
                raise SystemExit(f"{load.name}: not done in 120 s")
            if cpu is not None and int((time.monotonic() - begun) * 4) % 4 == 0:
                cpu.sample()
            time.sleep(0.005)
        took = time.monotonic() - begun
        if cpu is not None:
            pss = cpu.pss_mib()
    finally:
        for one in waiting:
            if one.poll() is None:
                one.kill()
                one.wait()
    if receiver is not None and receiver.returncode:
        raise SystemExit(f"{load.name}: the sink failed; is port {SINK} in use?")
    if sender.returncode:
        raise SystemExit(f"{load.name}: the load generator failed")
    return took, pss


def measure(server: str, load: Load, messages: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="mtad-bench-", dir=os.environ.get("BENCH_TMP")) as name:
        with SERVERS[server](Path(name), load) as pid:
            if load.kind == "pace":
                return pace(messages)
            cpu, pss = Cpu(pid), 0.0
            if load.kind == "drain":
                took, before = drain(server, Path(name), messages, load, cpu)
                pss = cpu.pss_mib()
            else:
                push(300, Load("warm", "accept" if load.kind == "accept" else "relay", 300, 1024))
                before = cpu.sample()
                took, pss = push(messages, load, cpu)
            used = cpu.sample() - before
    return {"per_s": messages / took, "cpu_ms": used / messages * 1000, "pss_mib": pss}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="one round, a fifth of the messages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default="mtad,postfix" if shutil.which("postfix") else "mtad")
    parser.add_argument("--workloads", default=",".join(load.name for load in LOADS))
    given = parser.parse_args()
    rounds = 1 if given.short else given.rounds
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    loads = [load for load in LOADS if load.name in given.workloads.split(",")]
    for load in loads:
        for _ in range(rounds):
            for server in given.servers.split(","):
                messages = load.messages // 5 if given.short and load.kind != "many" else load.messages
                found = measure(server, load, messages)
                results.setdefault((load.name, server), []).append(found)
                print(json.dumps({"load": load.name, "server": server, **{k: round(v, 3) for k, v in found.items()}}))
                sys.stdout.flush()
    print(f"\n{'workload':10} {'server':8} {'msg/s':>8} {'CPU ms':>8} {'PSS MiB':>8}   medians of {rounds}")
    for (name, server), runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        if "per_s" not in middle:
            print(f"{name:10} {server:8} " + ", ".join(f"{key} {value:.2f} ms" for key, value in middle.items()))
            continue
        print(f"{name:10} {server:8} {middle['per_s']:8.0f} {middle['cpu_ms']:8.3f} {middle['pss_mib']:8.1f}")
        if server == "postfix" and (name, "mtad") in results:
            ours = results[name, "mtad"]
            speed = statistics.median(a["per_s"] / b["per_s"] for a, b in zip(ours, runs, strict=True))
            cost = statistics.median(a["cpu_ms"] / b["cpu_ms"] for a, b in zip(ours, runs, strict=True))
            print(f"{'':10} ratio    {speed:8.2f} {cost:8.3f}")


if __name__ == "__main__":
    main()
