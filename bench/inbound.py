"""Inbound: messages a second from the MX to a receiver's answer: SPF, DKIM, DMARC, routes, parsed POST.

  .venv/bin/python bench/inbound.py [--messages 3000] [--rate 0] [--connections 10] [--size 10240] [--core 0]
                                    [--routes 100] [--outbound 0]

A daemon of its own (`mtad dev` on the core --core alone) takes signed messages of --size octets from --connections
sessions that stay open, asks a name server on the other core (and then its own cache), looks at --routes routes, and
posts each to a receiver in a process of its own. --rate N: N messages a second, not as many as it can. --outbound N:
beside them, N messages a second are submitted and delivered to a host that takes all. The lag of the daemon's loop is
that of /metrics, looked at every 50 ms; CPU is that of the daemon for each message. Loopback only.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mtad.api.control import reach
from mtad.api.route_operations import RouteOperations
from mtad.message.finish import finish
from tests.dnsserver import DnsServer
from tests.inbound.zones import RSA_SIGNER, fill, quoted
from tests.live import Daemon, Sink

DOMAIN = "sandbox.mtad.test"
TICK = os.sysconf("SC_CLK_TCK")
RECEIVER = """
import asyncio, sys, time, uvloop

class Receiver(asyncio.Protocol):
    count = 0

    def connection_made(self, transport):
        self.transport, self.parts, self.length, self.want = transport, [], 0, 0

    def data_received(self, data):
        self.parts.append(data)
        self.length += len(data)
        while self.length and self.length >= self.want:
            whole = b"".join(self.parts)
            end = whole.find(b"\\r\\n\\r\\n")
            if end < 0:
                break
            head = whole[:end].lower()
            at = head.index(b"content-length:") + 15
            self.want = end + 4 + int(head[at:].split(b"\\r\\n", 1)[0])
            if len(whole) < self.want:
                break
            rest = whole[self.want:]
            self.parts, self.length, self.want = [rest] if rest else [], len(rest), 0
            Receiver.count += 1
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")

async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(Receiver.count, flush=True)

uvloop.run(main())
"""
TEXT = (
    "The parcel came on Thursday, and one of the four boxes was open; the list said nothing of it.\r\n"
    "Could you look whether the second half of the order is still at your place?\r\n\r\n"
)


def letter(number: int, size: int) -> bytes:
    head = (
        f"From: Bob <bob@example.org>\r\nTo: Shop <in{number % 50}@{DOMAIN}>\r\nSubject: Order {number}\r\n"
        f"Message-ID: <{number}.bench@example.org>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    body = (TEXT * (1 + size // len(TEXT)))[: max(0, size - len(head) - 40)] + "\r\n-- \r\nBob, Example Ltd\r\n"
    return b"".join(finish((head + body).encode(), (RSA_SIGNER,), time.time()))


class Client:
    """One session. answered: when each final dot was answered, by the monotonic clock."""

    def __init__(self, port: int, refused: list[bytes]) -> None:
        self._port, self._refused = port, refused

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self._reply()
        await self.say(b"EHLO mail.example.org")

    async def send(self, content: bytes, sender: str, to: str) -> None:
        await self.say(f"MAIL FROM:<{sender}>".encode())
        await self.say(f"RCPT TO:<{to}>".encode())
        await self.say(b"DATA")
        code = await self.say(content.replace(b"\r\n.", b"\r\n..") + b".")
        if not code.startswith(b"250"):
            self._refused.append(code)

    async def say(self, words: bytes) -> bytes:
        self._writer.write(words + b"\r\n")
        return await self._reply()

    async def _reply(self) -> bytes:
        while (line := await self._reader.readline())[3:4] == b"-":
            continue
        return line

    def close(self) -> None:
        self._writer.close()


async def feed(clients: list[Client], mails: list[tuple[bytes, str, str]], rate: float) -> None:
    """All of them; at `rate` a second, or as fast as it goes."""
    begun, left = time.monotonic(), iter(enumerate(mails))

    async def one(client: Client) -> None:
        for number, mail in left:
            if rate:
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            await client.send(*mail)

    await asyncio.gather(*[one(client) for client in clients])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def metric(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    return 0.0


def spread(values: list[float]) -> str:
    ordered = sorted(values) or [0.0]
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {ordered[-1] * 1000:.1f} ms ({len(values)} looks)"


async def watch(url: str, lags: list[float], over: asyncio.Event) -> None:
    while not over.is_set():
        lags.append(await asyncio.to_thread(metric, url, "mtad_loop_lag_seconds"))
        await asyncio.sleep(0.05)


async def add_routes(data: Path, url: str, count: int) -> None:
    async with reach(data) as desk:
        for number in range(count - 1):
            said = (
                f'match_recipient("other{number}\\+(.*)@{DOMAIN}") and match_header("Subject", "(?i).*ticket {number}")'
            )
            await desk.ask(RouteOperations.route_add, said, (f'forward("{url}/other")',), 1)
        said = f'match_recipient("in(.*)@{DOMAIN}")'
        await desk.ask(RouteOperations.route_add, said, (f'forward("{url}/post?to=\\1")',), 2)


async def measure(args: argparse.Namespace, daemon: Daemon, receiver: subprocess.Popen[bytes]) -> None:
    port = daemon.address("mx")[1]
    refused: list[bytes] = []
    clients = [Client(port, refused) for _ in range(args.connections)]
    for client in clients:
        await client.open()
    mails = [
        (letter(number, args.size), "bob@example.org", f"in{number % 50}@{DOMAIN}") for number in range(args.messages)
    ]
    await feed(clients, mails[:20], 0)  # names are asked, code is warm
    while await asyncio.to_thread(posted, receiver) < 20 - len(refused):
        await asyncio.sleep(0.02)
    out = Client(daemon.address("submission")[1], refused)
    sending = None
    if args.outbound:
        await out.open()
        own = [
            (letter(number, args.size), f"app@{DOMAIN}", f"u{number}@elsewhere.example")
            for number in range(args.outbound * 600)
        ]
        sending = asyncio.create_task(feed([out], own, args.outbound))
    lags: list[float] = []
    over = asyncio.Event()
    watching = asyncio.create_task(watch(daemon.ready["http"], lags, over))
    before, posts = cpu_s(daemon.ready["pid"]), await asyncio.to_thread(posted, receiver)
    begun = time.monotonic()
    await feed(clients, mails[20:], args.rate)
    taken_s = time.monotonic() - begun
    wanted = posts + len(mails) - 20 - len(refused)
    while (found := await asyncio.to_thread(posted, receiver)) < wanted and time.monotonic() - begun < 600:
        await asyncio.sleep(0.02)
    all_s, spent_s = time.monotonic() - begun, cpu_s(daemon.ready["pid"]) - before
    over.set()
    await watching
    if sending is not None:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        out.close()
    count = len(mails) - 20
    print(f"taken    {count} messages of {args.size} octets in {taken_s:.2f} s: {count / taken_s:.0f}/s")
    print(f"posted   {found - posts} in {all_s:.2f} s: {(found - posts) / all_s:.0f}/s")
    print(f"CPU      {spent_s / count * 1000:.2f} ms for each message{' and what was sent beside' * bool(sending)}")
    print(f"loop lag {spread(lags)}")
    if refused:
        print(f"refused  {len(refused)}, the first: {refused[0]!r}")
    for client in clients:
        client.close()


def posted(receiver: subprocess.Popen[bytes]) -> int:
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    receiver.stdin.write(b"\n")
    receiver.stdin.flush()
    return int(receiver.stdout.readline())


@contextmanager
def alone_on(core: int, daemon: Daemon) -> Iterator[Daemon]:
    """Started on this core alone, while we are on the others."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    with daemon:
        os.sched_setaffinity(0, ours)
        yield daemon


def leave_to_it(core: int) -> None:
    """We, and what we start, go to the other cores, where there are any."""
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {core} or {core})


async def main(args: argparse.Namespace) -> None:
    leave_to_it(args.core)
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    url = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
    try:
        with tempfile.TemporaryDirectory(prefix="mtad-bench-", dir=os.environ.get("BENCH_DIR")) as name, Sink() as sink:
            async with DnsServer() as dns:
                fill(dns)
                dns.add("example.org", "TXT", quoted("v=spf1 ip4:192.0.2.0/24 ip4:127.0.0.0/8 -all"))
                settings = (
                    f'dns.nameservers=["{dns.address}"]',
                    'smtp.trusted_networks=["127.0.0.0/8"]',
                    "server.log_level=warning",
                )
                with alone_on(args.core, Daemon(Path(name), *settings, relay=sink.address)) as daemon:
                    await add_routes(daemon.data, url, args.routes)
                    await measure(args, daemon, receiver)
                    daemon.stop()
    finally:
        receiver.kill()
        receiver.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--routes", type=int, default=100)
    parser.add_argument("--outbound", type=int, default=0)
    uvloop.run(main(parser.parse_args()))
