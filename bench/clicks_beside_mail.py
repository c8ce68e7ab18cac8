"""Redirects of tracked links by a daemon that takes and delivers mail meanwhile.

  .venv/bin/python bench/clicks_beside_mail.py [--rate 3000] [--mail 50] [--seconds 10] [--core 0]

A daemon of its own (`mtad dev --relay`, on the core --core alone) has sent a message to 1,000 people. Then --rate
clicks a second are asked for, whatever the answers do, while --mail messages of 10 KB a second are submitted and
delivered. Latency is from when a click was due to its redirect. Loopback only.
"""

import argparse
import asyncio
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import uvloop
from clicks import paced, request
from inbound import Client, alone_on, cpu_s, feed, leave_to_it, letter

from mtad.mail.token import Tokens
from tests.live import Daemon, Sink

DOMAIN, PEOPLE = "sandbox.mtad.test", 1000


def links(data: Path) -> list[bytes]:
    """A request for a click of each of the people."""
    with closing(sqlite3.connect(f"file:{data}/mtad.sqlite?mode=ro", uri=True, timeout=10)) as connection:
        [(key,)] = connection.execute("SELECT value FROM settings WHERE name = 'token-key'")
        rows = connection.execute("SELECT id FROM recipients WHERE address LIKE 'person%' ORDER BY id").fetchall()
    tokens = Tokens(key)
    found = []
    for place, (number,) in enumerate(rows):  # one address may not ask so often: they come by a proxy
        where = f"X-Forwarded-For: 198.18.{place // 250}.{place % 250}\r\n\r\n".encode()
        found.append(request(tokens, number)[:-2] + where)
    return found


async def to_people(client: Client) -> None:
    await client.say(f"MAIL FROM:<app@{DOMAIN}>".encode())
    for number in range(PEOPLE):
        await client.say(f"RCPT TO:<person{number}@elsewhere.example>".encode())
    await client.say(b"DATA")
    await client.say(f"From: app@{DOMAIN}\r\nSubject: x\r\nX-Mailgun-Tag: news\r\n\r\nText\r\n.".encode())


async def measure(args: argparse.Namespace, daemon: Daemon) -> None:
    refused: list[bytes] = []
    clients = [Client(daemon.address("submission")[1], refused) for _ in range(5)]
    for client in clients:
        await client.open()
    await to_people(clients[0])
    requests = links(daemon.data)
    args.connections = 32
    port = int(daemon.ready["http"].rpartition(":")[2])
    await paced(port, argparse.Namespace(rate=200, seconds=2, connections=4), requests)
    own = [
        (letter(number, 10_240), f"app@{DOMAIN}", f"u{number}@elsewhere.example")
        for number in range(int(args.mail * args.seconds * 3) + 1)
    ]
    sending = asyncio.create_task(feed(clients, own, args.mail)) if args.mail else None
    await asyncio.sleep(1)
    before = cpu_s(daemon.ready["pid"])
    took = sorted(await paced(port, args, requests))
    spent = cpu_s(daemon.ready["pid"]) - before
    if sending is not None:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    p50, p99 = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    print(f"{len(took) / args.seconds:.0f} clicks/s beside {args.mail:g} messages/s, {len(refused)} of them refused:")
    print(f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {took[-1] * 1000:.1f} ms; {spent / args.seconds:.0%} of one core")


async def main(args: argparse.Namespace) -> None:
    leave_to_it(args.core)
    settings = (
        'smtp.trusted_networks=["127.0.0.0/8"]',
        "server.log_level=warning",
        'http.proxy_networks=["127.0.0.0/8"]',
    )
    with (
        tempfile.TemporaryDirectory(prefix="mtad-bench-", dir=os.environ.get("BENCH_TMP")) as name,
        Sink() as sink,
        alone_on(args.core, Daemon(Path(name), *settings, relay=sink.address)) as daemon,
    ):
        await measure(args, daemon)
        daemon.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=3000.0)
    parser.add_argument("--mail", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--core", type=int, default=0)
    uvloop.run(main(parser.parse_args()))
