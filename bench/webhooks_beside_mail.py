"""Webhooks of a daemon that takes and delivers mail: each delivery is posted to a local receiver.

  PYTHONPATH=. .venv/bin/python bench/webhooks_beside_mail.py [--rate 1000] [--seconds 10]

A daemon of its own (`mtad dev --relay`) with a webhook on `delivered`. --rate messages of 2 KB a second are submitted
over 20 sessions and delivered to Postfix's smtp-sink; a receiver in a process of its own answers the posts. Prints how
many were posted a second, and how many seconds after the last 250 the last post was answered. Loopback only.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from inbound import RECEIVER, Client, cpu_s, feed, letter, posted

from mtad.api.control import reach
from mtad.api.operations import Operations
from tests.live import Daemon

DOMAIN, SINK = "sandbox.mtad.test", 42627


async def measure(args: argparse.Namespace, daemon: Daemon, receiver: subprocess.Popen[bytes]) -> None:
    refused: list[bytes] = []
    clients = [Client(daemon.address("submission")[1], refused) for _ in range(20)]
    for client in clients:
        await client.open()
    count = int(args.rate * args.seconds)
    mails = [(letter(number, 2048), f"app@{DOMAIN}", f"u{number}@elsewhere.example") for number in range(count + 200)]
    await feed(clients, mails[:200], 0)
    while await asyncio.to_thread(posted, receiver) < 200:
        await asyncio.sleep(0.02)
    before, began = cpu_s(daemon.ready["pid"]), time.monotonic()
    await feed(clients, mails[200:], args.rate)
    taken_s = time.monotonic() - began
    while await asyncio.to_thread(posted, receiver) < count + 200 - len(refused) and time.monotonic() - began < 120:
        await asyncio.sleep(0.01)
    all_s, spent_s = time.monotonic() - began, cpu_s(daemon.ready["pid"]) - before
    done = await asyncio.to_thread(posted, receiver) - 200
    print(f"taken   {count} messages in {taken_s:.2f} s: {count / taken_s:.0f}/s, {len(refused)} refused")
    print(f"posted  {done} in {all_s:.2f} s: {done / all_s:.0f}/s; the last one {all_s - taken_s:.2f} s after the 250")
    print(f"CPU     {spent_s / count * 1000:.2f} ms for each message with its delivery and its post")
    for client in clients:
        client.close()


async def main(args: argparse.Namespace) -> None:
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{int(receiver.stdout.readline())}/hook"
    user = ["-u", "nobody"] if os.getuid() == 0 else []
    sink = subprocess.Popen(["smtp-sink", *user, "-m", "1000", f"127.0.0.1:{SINK}", "2048"])
    settings = ('smtp.trusted_networks=["127.0.0.0/8"]', "delivery.dkim=false")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mtad-bench-", dir=os.environ.get("BENCH_TMP")) as name,
            Daemon(Path(name), *settings, relay=f"127.0.0.1:{SINK}") as daemon,
        ):
            async with reach(daemon.data) as desk:
                await desk.ask(Operations.webhook_add, DOMAIN, "delivered", url)
            await measure(args, daemon, receiver)
            daemon.stop()
    finally:
        for process in (sink, receiver):
            process.kill()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    uvloop.run(main(parser.parse_args()))
