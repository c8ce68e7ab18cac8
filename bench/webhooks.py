"""Webhooks: posts a second to a local receiver, and the CPU each takes.

  .venv/bin/python bench/webhooks.py [--posts 10000] [--rate 1000] [--hooks 1] [--kind delivered]

Makes events with their posts at a steady rate in a store of its own, as delivery would, and lets the sender post them
to a receiver in a process of its own. Rate 0: all at once, for what the sender can do. Loopback only.
"""

import argparse
import asyncio
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource
from mtad.storage import accounts, outbox, record, webhooks
from mtad.storage.database import Database, ease_lock_hand_over, open_database
from mtad.storage.record import Records
from mtad.webhooks.hooks import Hooks
from mtad.webhooks.kinds import Kind
from mtad.webhooks.payload import sample_event
from mtad.webhooks.poster import open_poster, system_lookup
from mtad.webhooks.sender import Sender
from mtad.webhooks.settings import WebhookConfig

RECEIVER = """
import asyncio, sys, uvloop

class Receiver(asyncio.Protocol):
    # Content-Length bodies only, as the sender writes them.
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while True:
            end = self.buffer.find(b"\\r\\n\\r\\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            length = int(head[at:].split(b"\\r\\n", 1)[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length:]
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await server.serve_forever()

uvloop.run(main())
"""
BATCH_S = 0.01


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def prepare(database: Database, args: argparse.Namespace, url: str, number: int) -> None:
    """A domain, its webhooks, and a message for the events."""
    now = time.time()
    kind = Kind(args.kind)
    about = sample_event(kind, "bench.example", 1, now).about
    header = b"From: a@bench.example\r\nTo: b@example.net\r\nSubject: bench\r\n" + b"X-Filler: x\r\n" * 10
    message = (number, 1, "a@bench.example", 1000, 1, 0, None, None, None, orjson.dumps(about), None, header)

    def fill(connection) -> None:  # type: ignore[no-untyped-def]
        domain = accounts.add_domain(connection, "bench.example", now)
        for place in range(args.hooks):
            webhooks.add_webhook(connection, domain, kind, f"{url}/{place}", place, now)
        connection.execute(f"INSERT INTO messages VALUES ({','.join('?' * len(message))})", message)

    await database.writer.write(fill)


def batch(args: argparse.Namespace, hooks: Hooks, ids: IdSource, message: int, count: int) -> Records:
    kind = EventType(sample_event(Kind(args.kind), "bench.example", 1, 0.0).type)
    detail = orjson.dumps({**sample_event(Kind(args.kind), "bench.example", 1, 0.0).detail, "recipient": "b@x.example"})
    records, now = Records(), time.time()
    for _ in range(count):
        event = ids.next()
        records.events.append((event, int(kind), 1, message, None, detail))
        records.posts += [(ids.next(), lane, event, now) for lane in hooks.posts_for(kind, 1)]
    return records


async def measure(args: argparse.Namespace, folder: Path, url: str) -> None:
    clock = SystemClock()
    config = WebhookConfig(allow_private=True, at_once_each=args.at_once_each)
    ease_lock_hand_over()
    async with open_database(folder, clock, cache_octets=64 << 20) as database:
        writing = asyncio.create_task(database.writer.run())
        ids, hooks = IdSource(clock.now), Hooks(database)
        message = ids.next()
        await prepare(database, args, url, message)
        await hooks.load()
        lane = database.writer.lane(record.apply)
        async with open_poster(config, clock, system_lookup) as poster:
            sender = Sender(
                database=database,
                hooks=hooks,
                poster=poster,
                ids=ids,
                clock=clock,
                token=lambda: secrets.token_hex(25),
                config=config,
            )
            if not args.rate:
                await lane.put(batch(args, hooks, ids, message, args.posts // args.hooks))
            usage, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            running = asyncio.create_task(sender.run())
            events = args.posts // args.hooks
            if args.rate:
                made = 0
                while made < events:
                    due = min(events, int((time.monotonic() - started) * args.rate / args.hooks) + 1)
                    if due > made:
                        await lane.put(batch(args, hooks, ids, message, due - made))
                        made = due
                        sender.stir()
                    await asyncio.sleep(BATCH_S)
            fed_s = time.monotonic() - started
            while sender.tally.done < events * args.hooks:
                await asyncio.sleep(0.005)
            took_s = time.monotonic() - started
            after = resource.getrusage(resource.RUSAGE_SELF)
            sender.stop()
            await running
        while await database.read(outbox.waiting):  # until the last outcome is committed
            await asyncio.sleep(0.005)
        [p50, p99] = await database.read(lambda c: delays(c))
        database.writer.stop()
        await writing
    cpu_s = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    done = events * args.hooks
    print(
        f"{args.kind}, {args.hooks} webhook(s): {done} posts in {took_s:.2f} s = {done / took_s:.0f}/s"
        f" (made in {fed_s:.2f} s); {cpu_s / done * 1000:.3f} ms of CPU each = {done / cpu_s:.0f}/s per core;"
        f" from event to answer {p50:.0f} ms median, {p99:.0f} ms p99"
    )


def delays(connection) -> list[float]:  # type: ignore[no-untyped-def]
    """Milliseconds from the event's id to that of its attempt: median and 99 of 100."""
    found = sorted(
        row[0]
        for row in connection.execute(
            "SELECT (a.id >> 21) - (o.event_id >> 21) FROM outbox_attempts AS a JOIN outbox AS o ON o.id = a.post_id"
        )
    )
    return [found[len(found) // 2], found[int(len(found) * 0.99)]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000.0, help="posts a second that are made; 0: all at once")
    parser.add_argument("--hooks", type=int, default=1)
    parser.add_argument("--kind", default="delivered", choices=[str(kind) for kind in Kind])
    parser.add_argument("--at-once-each", type=int, default=WebhookConfig().at_once_each)
    args = parser.parse_args()
    port = free_port()
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER, str(port)], stdout=subprocess.PIPE)
    try:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(args, Path(folder), f"http://127.0.0.1:{port}"))
    finally:
        receiver.terminate()
        receiver.wait()
        receiver.stdout.close()


if __name__ == "__main__":
    main()
