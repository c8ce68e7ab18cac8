"""A queue of N recipients: memory, time from start to the first delivery, and CPU per message while it drains.

  .venv/bin/python bench/queued.py [--drain 5000] 1000 100000 1000000

Builds the store as a stopped daemon would have left it (one body for each 1,000 recipients, at 10,000 domains), starts
mtad with a smtp-sink as its smarthost, and looks. Loopback only.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run import SINK, Cpu, Load, mtad, wait_for

from mtad.clock import SystemClock
from mtad.mail.ids import IdSource
from mtad.storage import lookups, sites
from mtad.storage.database import Lane, open_database
from mtad.storage.outgoing import Accept, Outgoing, RecipientRow
from mtad.storage.record import EventRow, Records
from mtad.storage.spool import Spool

BODY = b"From: <bench@sender.example>\r\nSubject: queued\r\n\r\n" + (b"x" * 76 + b"\r\n") * 128


async def build(folder: Path, count: int) -> None:
    clock, made = SystemClock(), 0
    site = sites.site_id("relay")
    async with open_database(folder, clock, cache_octets=64 << 20) as database:
        writer = database.writer
        running = asyncio.create_task(writer.run())
        lane: Lane[Accept] = writer.lane(Outgoing(Spool(folder / "spool"), 65_536).accept)
        ids = IdSource(clock.now)
        await writer.write(lambda connection: sites.ensure(connection, [(site, "relay")]))
        while made < count:
            some = min(1000, count - made)
            number, now = ids.take(1 + some), clock.now()
            rows: list[RecipientRow] = []
            for i in range(some):
                address = f"u{made + i}@d{(made + i) % 10_000}.example"
                rows.append((number + 1 + i, number, 0, site, address, 0, 0, now, now + 28_800, None, None, None))
            events: list[EventRow] = [(ids.next(), 1, 0, number, row[0], None) for row in rows]
            message = (number, 0, "bench@sender.example", len(BODY), some, 0, None, b"{}", None, None)
            await lane.put(Accept(message, BODY, rows, Records(events)))
            made += some
        writer.stop()
        await running
    look_up(folder, ids.last)


def look_up(folder: Path, last: int) -> None:
    """What a daemon writes behind the intake, in a while of its own."""
    with contextlib.closing(sqlite3.connect(folder / "mtad.sqlite", isolation_level=None)) as connection:
        more = True
        while more:
            gathered = lookups.gather(connection, lookups.upto(connection), last)
            connection.execute("BEGIN")
            lookups.add(connection, gathered)
            connection.execute("COMMIT")
            more = gathered.more


def port_open() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", SINK)) == 0


def count_of(file: Path) -> int:
    """Messages that smtp-sink's running counter shows."""
    text = file.read_bytes()[-200:]
    marks = [part.split()[0] for part in text.split(b"mesg=")[1:]]
    return int(marks[-1]) if marks else 0


def measure(count: int, drain: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mtad-queued-", dir=os.environ.get("BENCH_TMP")) as name:
        folder = Path(name)
        begun = time.monotonic()
        asyncio.run(build(folder / "data", count))
        built_s = time.monotonic() - begun
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        counter = folder / "count"
        with counter.open("wb") as file:
            sink = subprocess.Popen(["smtp-sink", *user, "-c", "-m", "1000", f"127.0.0.1:{SINK}", "2048"], stdout=file)
        try:
            wait_for(port_open)
            started = time.monotonic()
            with mtad(folder, Load("queued", "relay", 0, 0)) as pid:
                ready_s = time.monotonic() - started
                cpu = Cpu(pid)
                wait_for(lambda: count_of(counter) > 0, 60)
                first_s, before, first = time.monotonic() - started, cpu.sample(), count_of(counter)
                wanted, begun, peak = min(drain, count - 200), time.monotonic(), 0.0
                while count_of(counter) < wanted and time.monotonic() - begun < 60:
                    peak = max(peak, cpu.pss_mib())
                    time.sleep(0.05)
                sent, took = count_of(counter) - first, time.monotonic() - begun
                used = cpu.sample() - before
                rate, each_ms = sent / max(took, 0.001), used / max(sent, 1) * 1000
                times = f"built in {built_s:.1f} s, ready {ready_s:.2f} s, first delivery {first_s:.2f} s"
                print(
                    f"{count:8} queued: {times}, {rate:.0f}/s, CPU {each_ms:.3f} ms/msg, PSS {peak:.0f} MiB", flush=True
                )
        finally:
            sink.terminate()
            sink.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drain", type=int, default=5000)
    parser.add_argument("counts", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    given = parser.parse_args()
    for count in given.counts:
        measure(count, given.drain)


if __name__ == "__main__":
    main()
