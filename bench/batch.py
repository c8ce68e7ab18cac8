"""One submission for many recipients, composed for each, end to end: PYTHONPATH=. python bench/batch.py [--people N]

A daemon of its own (`mtad dev --relay`) with RSA-2048 signatures, opens and clicks on, and a sink (Postfix's
smtp-sink, or the tests' own) that takes what it sends. Prints recipients per second from the client's final dot to the
last one's delivery, and the daemon's CPU time for each, with and without the signature.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inbound import cpu_s

from tests.live import Daemon

LINK = '<p>Hello %recipient.first%, <a href="https://shop.example/item/{n}?from=letter&amp;id={n}">item {n}</a></p>\r\n'


def letter(people: int, octets: int, links: int, track: bool) -> tuple[list[str], bytes]:
    """The recipients and the message: html of about so many octets with so many links, variables in it."""
    variables = {f"reader{n}@d.example": {"first": f"Reader {n}", "id": n} for n in range(people)}
    body = "".join(LINK.format(n=n) for n in range(links))
    filler = "<p>" + "Some words that are the same for everybody. " * 3 + "</p>\r\n"
    body += filler * max(0, (octets - len(body)) // len(filler))
    field = json.dumps(variables).replace('}, "', '},\r\n "')
    head = (
        "From: News <news@sandbox.mtad.test>\r\nTo: %recipient%\r\n"
        "Subject: For %recipient.first%, no. %recipient.id%\r\n"
        f"X-Mailgun-Recipient-Variables: {field}\r\nX-Mailgun-Track: {'yes' if track else 'no'}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    )
    return list(variables), (head + f"<html><body>\r\n{body}</body></html>\r\n").encode()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def measure(people: int, octets: int, links: int, dkim: bool, track: bool) -> tuple[float, float]:
    """(recipients per second, CPU milliseconds each)."""
    sink_path = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
    port = free_port()
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    sink = subprocess.Popen([sink_path, *as_user, "-c", f"127.0.0.1:{port}", "1000"], stdout=subprocess.DEVNULL)
    folder = Path(tempfile.mkdtemp(prefix="mtad-batch-", dir=os.environ.get("BENCH_TMP")))
    try:
        time.sleep(0.3)
        with Daemon(folder, f"delivery.dkim={'true' if dkim else 'false'}", relay=f"127.0.0.1:{port}") as daemon:
            recipients, content = letter(people, octets, links, track)
            with daemon.client() as client:
                client.sendmail("news@sandbox.mtad.test", ["warm@d.example"], b"Subject: warm\r\n\r\nx\r\n")
                daemon.until_drained()
                before, started = cpu_s(daemon.ready["pid"]), time.monotonic()
                client.sendmail("news@sandbox.mtad.test", recipients, content)
            while daemon.queued():
                time.sleep(0.02)
            took_s, used_s = time.monotonic() - started, cpu_s(daemon.ready["pid"]) - before
        return people / took_s, used_s / people * 1000
    finally:
        sink.kill()
        sink.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--octets", type=int, default=30_000)
    parser.add_argument("--links", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shapes = {"composed, signed": (True, True), "composed": (False, True), "variables only, signed": (True, False)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in shapes}
    for _ in range(options.rounds):
        for name, (dkim, track) in shapes.items():
            found[name].append(measure(options.people, options.octets, options.links, dkim, track))
    for name, rounds in found.items():
        rate, cpu = (statistics.median(one[at] for one in rounds) for at in (0, 1))
        print(f"{name:24} {rate:7.0f} recipients/s  {cpu:6.2f} ms CPU each", file=sys.stdout)


if __name__ == "__main__":
    main()
