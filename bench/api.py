"""API: sends a second over HTTP, their latency, and the server's CPU for each.

  .venv/bin/python bench/api.py [--seconds 10] [--connections 20] [--size 2048] [--form urlencoded] [--core 0]
  .venv/bin/python bench/api.py --url http://127.0.0.1:8025 --domain sandbox.mtad.test --key key-…

Each connection posts to /v3/<domain>/messages and waits for the answer, one recipient, a text of --size octets; an
answer means that the message is committed and synced. Without --url the API runs in a process of its own over a store
in a temporary folder, on the core --core alone, and what it takes stays in the store; with --url it is that daemon's,
which delivers at the same time. --form multipart sends multipart/form-data. --attach N adds a file of N octets, and
the largest memory of the server is told too. Loopback only.
"""

import argparse
import asyncio
import base64
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import uvloop
from aiohttp import web

from mtad.api.http.app import HttpApi
from mtad.api.http.idempotency import Idempotency
from mtad.api.http.keys import Keys, hash_of
from mtad.api.http.messages import Messages
from mtad.api.tenants import Tenants
from mtad.clock import SystemClock
from mtad.config import ApiConfig, DeliveryConfig
from mtad.daemon import keep_memory_together
from mtad.mail.ids import IdSource
from mtad.queue.submit import Submit
from mtad.storage import accounts, idempotency, journal
from mtad.storage.database import Database, ease_lock_hand_over, open_database
from mtad.storage.outgoing import Outgoing
from mtad.storage.spool import Spool

KEY, DOMAIN = "key-of-the-benchmark", "bench.example"


class Desk:
    """Recipients wait in the store."""

    def place(self, domain: str) -> int:
        return 0

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        return False

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> None:
        return None

    def take(self, message, recipients) -> None:
        raise AssertionError

    def refund(self, message, recipients) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Peer:
    text: str
    group: str


async def build(database: Database, folder: Path) -> HttpApi:
    clock, writer = SystemClock(), database.writer
    await writer.write(lambda c: accounts.add_domain(c, DOMAIN, 0.0))
    await writer.write(lambda c: accounts.add_api_key(c, "bench", hash_of(KEY), 0.0))
    tenants, keys = Tenants(database, DeliveryConfig()), Keys(database, clock)
    await tenants.load()
    await keys.load()
    spool = Spool(folder / "spool")
    await writer.write(spool.open)
    submit = Submit(
        accept=writer.lane(Outgoing(spool, 65_536).accept),
        rejected=writer.lane(journal.add, patient=True),
        desk=Desk(),
        domains=tenants,
        ids=IdSource(clock.now),
        clock=clock,
        gate=lambda octets: None,
        hostname="mail.bench.example",
        give_up_after_s=28_800,
        max_hops=50,
        max_schedule_s=259_200,
    )
    guard = Idempotency(database, writer.lane(idempotency.add), clock.now)
    return HttpApi(
        chapters=[Messages(submit=submit, idempotency=guard, mark=lambda: secrets.token_hex(12))],
        keys=keys,
        domains=tenants,
        clock=clock,
        token=lambda: secrets.token_hex(8),
        folder=folder,
        client=lambda remote, forwarded: Peer(remote, remote),
        config=ApiConfig(),
    )


async def serve(core: int) -> None:
    """Print the port; until standard input ends; then print CPU seconds and the most memory, in KiB."""
    os.sched_setaffinity(0, {core})
    ease_lock_hand_over()
    keep_memory_together()
    with tempfile.TemporaryDirectory(prefix="mtad-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        async with open_database(folder, SystemClock(), cache_octets=16_777_216) as database:
            writing = asyncio.create_task(database.writer.run())
            app = web.Application()
            (await build(database, folder)).add_to(app)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            print(runner.addresses[0][1], flush=True)
            before = resource.getrusage(resource.RUSAGE_SELF)
            await asyncio.to_thread(sys.stdin.read)
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(cpu_s, after.ru_maxrss, database.writer.commits, flush=True)
            await runner.cleanup()
            database.writer.stop()
            await writing


def request_of(args: argparse.Namespace, number: int) -> bytes:
    fields = [
        ("from", f"Ann <ann@{args.domain}>"),
        ("to", f"user{number % 1000}@example.net"),
        ("subject", "A benchmark"),
        ("text", ("Twelve words of text, and then the line ends here.\n" * 10_000)[: args.size]),
    ]
    if args.form == "urlencoded" and not args.attach:
        kind, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
    else:
        kind, mark = "multipart/form-data; boundary=bench0123456789", b"--bench0123456789"
        parts = [
            b'%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (mark, n.encode(), v.encode())
            for n, v in fields
        ]
        if args.attach:
            head = b'Content-Disposition: form-data; name="attachment"; filename="a.bin"\r\nContent-Type: a/b\r\n\r\n'
            parts.append(b"".join((mark, b"\r\n", head, bytes(args.attach), b"\r\n")))
        body = b"".join((*parts, mark, b"--\r\n"))
    basic = base64.b64encode(f"api:{args.key}".encode()).decode()
    head = f"POST /v3/{args.domain}/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {basic}\r\n"
    return f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def one(args: argparse.Namespace, request: bytes, ends: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection(args.host, args.port)
    while time.monotonic() < ends:
        started = time.perf_counter()
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head[head.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(f"refused: {head.decode()}{body.decode()}")
        took.append(time.perf_counter() - started)
    writer.close()


async def load(args: argparse.Namespace) -> tuple[list[float], float]:
    took: list[float] = []
    requests = [request_of(args, number) for number in range(1 if args.attach else args.connections)]
    started = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(args.connections):
            tasks.create_task(one(args, requests[number % len(requests)], started + args.seconds, took))
    return took, time.monotonic() - started


def tell(took: list[float], whole_s: float) -> None:
    ordered = sorted(took)
    p50, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    print(f"{len(took)} sends, {len(took) / whole_s:.0f}/s, latency p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    for name, default in (("seconds", 10), ("connections", 20), ("size", 2048), ("core", 0), ("attach", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--form", choices=["urlencoded", "multipart"], default="urlencoded")
    parser.add_argument("--url", default="")
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--domain", default=DOMAIN)
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve(args.core))
        return
    if args.url:
        place = urlsplit(args.url)
        args.host, args.port = place.hostname, place.port
        tell(*uvloop.run(load(args)))
        return
    command = [sys.executable, __file__, "--serve", "--core", str(args.core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        args.host, args.port = "127.0.0.1", int(server.stdout.readline())
        took, whole_s = uvloop.run(load(args))
        server.stdin.close()
        cpu_s, memory, commits = server.stdout.readline().split()
    tell(took, whole_s)
    each = 1000 * float(cpu_s) / len(took)
    commit = len(took) / int(commits)
    print(f"server: {each:.3f} ms of CPU each, {commit:.1f} in a commit, at most {int(memory) // 1024} MiB")


if __name__ == "__main__":
    main()
