"""Redirects of tracked links: clicks.py [--seconds S] [--connections N] [--rate R] [--server | --app].

One process (pinned to one core where that can be done) answers clicks and records each in a store on disk; another one
asks. Prints JSON: redirects per second, latency in milliseconds, CPU of the answering process per redirect, and what
stands in the store afterwards.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import resource
import sqlite3
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web

from mtad.clock import SystemClock
from mtad.mail.ids import IdSource
from mtad.mail.options import Options
from mtad.mail.token import PATHS, Purpose, Tokens
from mtad.storage.database import ease_lock_hand_over, open_database
from mtad.storage.tracked import TrackedStore
from mtad.tracking.clients import Clients, load_client_rules
from mtad.tracking.places import Places
from mtad.tracking.recorder import Recorder
from mtad.tracking.settings import TrackingSettings
from mtad.tracking.web import TrackingPages

KEY = bytes(range(32))
AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0" for n in range(60, 130)]
FIRST = 1 << 40


def fill(folder: Path, recipients: int) -> None:
    """One message with tags to so many recipients, delivered."""
    connection = sqlite3.connect(folder / "mtad.sqlite", isolation_level=None)
    connection.execute("BEGIN")
    options = Options(tags=("news", "autumn"), campaigns=("c7",)).to_json()
    connection.execute(
        "INSERT INTO messages (id, domain_id, reverse_path, size, recipients, flags, about, options)"
        " VALUES (?, 1, '', 1, ?, 0, '{}', ?)",
        (FIRST, recipients, options),
    )
    connection.executemany(
        "INSERT INTO recipients (id, message_id, domain_id, site_id, address, state, attempts)"
        " VALUES (?, ?, 1, 0, ?, 2, 1)",
        ((FIRST + n, FIRST, f"u{n}@d{n % 50}.example") for n in range(1, recipients + 1)),
    )
    connection.execute("COMMIT")
    connection.close()


async def serve(pipe: Connection, folder: Path, args: argparse.Namespace) -> None:
    clock = SystemClock()
    rules = load_client_rules((Path(__file__).parents[1] / "conf" / "clients.toml").read_text(), "clients.toml")
    async with open_database(folder, clock, cache_octets=16_777_216) as database, asyncio.TaskGroup() as tasks:
        fill(folder, args.recipients)
        tasks.create_task(database.writer.run())
        store = TrackedStore(lambda *_: (), lambda *_: None)
        recorder = Recorder(
            lane=database.writer.lane(store.apply, patient=True),
            ids=IdSource(clock.now),
            clients=Clients(rules),
            places=Places(None),
            clock=clock,
        )
        tasks.create_task(recorder.run())
        pages = TrackingPages(
            tokens=Tokens(KEY),
            recorder=recorder,
            clock=clock,
            settings=TrackingSettings(requests_per_s=1e6, burst=10_000_000),
            unwell=lambda: database.writer.failure,
        )
        runner: web.ServerRunner | web.AppRunner
        if args.server:
            runner = web.ServerRunner(web.Server(pages.answer, access_log=None))
        elif args.app:
            runner = web.AppRunner(pages.app(), access_log=None)
        else:
            app = web.Application()
            for n in range(60):  # as many routes as an API has
                app.router.add_get(f"/v3/{{domain}}/thing{n}", pages.answer)
            pages.add_to(app)
            runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        loop = asyncio.get_running_loop()
        started = resource.getrusage(resource.RUSAGE_SELF)
        await loop.run_in_executor(None, pipe.recv)
        ended = resource.getrusage(resource.RUSAGE_SELF)
        await runner.cleanup()
        recorder.stop()
        database.writer.stop()
        cpu_s = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
        commits = database.writer.commits
    pipe.send({"cpu_s": cpu_s, "recorded": recorder.recorded, "lost": recorder.lost, "commits": commits})


def server(pipe: Connection, folder: str, args: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {0})
    ease_lock_hand_over()
    uvloop.run(serve(pipe, Path(folder), args))


class Asker(asyncio.Protocol):
    """A keep-alive connection that sends the next request when it has the last one's answer."""

    def __init__(self, requests: list[bytes], took: list[float], until: float) -> None:
        self.requests, self.took, self.until = requests, took, until
        self.buffer, self.started = b"", 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self.next()

    def next(self) -> None:
        self.started = time.monotonic()
        if self.started > self.until:
            self.transport.close()
            return
        self.transport.write(random.choice(self.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self.buffer.startswith(b"HTTP/1.1 302"):
            raise RuntimeError(self.buffer[:200])
        self.buffer = self.buffer[end + 4 :]  # a redirect has no body
        self.took.append(time.monotonic() - self.started)
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def request(tokens: Tokens, recipient: int) -> bytes:
    target = f"https://shop.example/products/{recipient % 40}?utm_source=mail&utm_campaign=autumn"
    path = PATHS[Purpose.CLICK] + tokens.link(Purpose.CLICK, recipient, target)
    agent = AGENTS[recipient % len(AGENTS)]
    return (
        f"GET {path} HTTP/1.1\r\nHost: email.sender.example\r\nUser-Agent: {agent}\r\nAccept: text/html,*/*\r\n"
        "Accept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
    ).encode()


def some_requests(recipients: int) -> list[bytes]:
    tokens, chance = Tokens(KEY), random.Random(1)
    return [request(tokens, FIRST + chance.randint(1, recipients)) for _ in range(20_000)]


async def ask(port: int, args: argparse.Namespace, requests: list[bytes]) -> list[float]:
    took: list[float] = []
    until = time.monotonic() + args.seconds
    loop = asyncio.get_running_loop()
    askers = [
        (await loop.create_connection(lambda: Asker(requests, took, until), "127.0.0.1", port))[1]
        for _ in range(args.connections)
    ]
    await asyncio.gather(*[asker.done for asker in askers])
    return took


async def paced(port: int, args: argparse.Namespace, requests: list[bytes]) -> list[float]:
    """args.rate requests a second whatever the answers do; a late answer delays nobody's request but shows."""
    took: list[float] = []
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(args.connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def one(due: float) -> None:
        reader, writer = await free.get()
        writer.write(random.choice(requests))
        await reader.readuntil(b"\r\n\r\n")
        took.append(time.monotonic() - due)
        free.put_nowait((reader, writer))

    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for n in range(int(args.rate * args.seconds)):
            due = began + n / args.rate
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            tasks.create_task(one(due))
    while not free.empty():
        free.get_nowait()[1].close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0, help="so many a second; 0: as fast as it goes")
    parser.add_argument("--recipients", type=int, default=50_000)
    parser.add_argument("--server", action="store_true", help="aiohttp's bare server, no routes")
    parser.add_argument("--app", action="store_true", help="an application with one catch-all route")
    args = parser.parse_args()
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        process = multiprocessing.get_context("fork").Process(target=server, args=(there, folder, args), daemon=True)
        process.start()
        port = here.recv()
        os.sched_setaffinity(0, {os.cpu_count() - 1 if os.cpu_count() else 0})
        took = sorted(uvloop.run((paced if args.rate else ask)(port, args, some_requests(args.recipients))))
        here.send(None)
        if not here.poll(60):
            sys.exit("the server did not end")
        said = here.recv()
        process.join()
        [(events,)] = sqlite3.connect(Path(folder) / "mtad.sqlite").execute("SELECT count(*) FROM events")
    report = {
        "redirects_per_s": round(len(took) / args.seconds),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 2),
        "max_ms": round(took[-1] * 1000, 2),
        "cpu_ms_each": round(said["cpu_s"] / len(took) * 1000, 3),
        "asked": len(took),
        "recorded": said["recorded"],
        "lost": said["lost"],
        "events_in_store": events,
        "commits": said["commits"],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
