"""What 10,000 routes cost one message: medians and the worst in milliseconds.

  .venv/bin/python bench/routes.py [ROUTES]

One process, one core, no store. `decide` is paid for each recipient of a message, `may_take` for each RCPT, `load`
when the daemon starts, `change` (in a thread) when one route of all is another.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from mtad.inbound.routes.engine import RouteTable
from mtad.mail.address import parse_address
from mtad.message.headers import scan
from mtad.storage.routes import RouteRow

ACTIONS = ('forward("https://app.example/in/mime")',)
LINES = "".join(f"Received: from mx{n}.example by mx.example; Mon, 05 Jan 2026 10:00:00 +0000\r\n" for n in range(8))
HEAD = f"{LINES}From: Ann <ann@client.example>\r\nTo: x@example.org\r\nSubject: Re: your ticket {{}} and more\r\n"
KINDS: dict[str, tuple[Callable[[int], str], str, str]] = {
    "one address each": (
        lambda n: rf'match_recipient("user{n}@example\.org")',
        "user9000@example.org",
        "nobody@x.example",
    ),
    "one domain each": (
        lambda n: f'match_recipient("(.*)@customer{n}.example")',
        "bob@customer9000.example",
        "a@b.example",
    ),
    "plus addresses": (lambda n: rf'match_recipient("^u{n}\+(.*)@example.com$")', "u9000+x@example.com", "a@b.example"),
    "subjects": (lambda n: f'match_header("subject", ".*ticket {n} ")', "any@example.org", ""),
    "address and header": (
        lambda n: f"match_recipient(\"^(.*)@c{n}.example$\") and match_header('Content-Language', '^(.*)en-US(.*)$')",
        "bob@c9000.example",
        "a@b.example",
    ),
    "no plain text in them": (lambda n: f'match_recipient("[a-f]+[0-9]{{{n % 900 + 3}}}")', "abc123@example.org", ""),
    "all different, no plain text": (
        lambda n: f'match_recipient("[a-{"bcdefghijk"[n % 10]}]+[0-9]{{{n // 10 % 900 + 3}}}")',
        "abc123@example.org",
        "",
    ),
    "runaway (regex, 50 ms each)": (lambda n: f'match_recipient("(?:a|aa)+(?!b{n})$")', "a" * 60 + "@example.org", ""),
}


def milliseconds(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    work()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken), max(taken)


def measure(name: str, count: int) -> str:
    expression, hit, miss = KINDS[name]
    slow = name.startswith("runaway")
    rows = [RouteRow(n, 0, "", expression(n), ACTIONS, 0.0) for n in range(1, (100 if slow else count) + 1)]
    begun = time.perf_counter()
    table, faults = RouteTable.of(rows, time.perf_counter)
    load = time.perf_counter() - begun
    assert not faults, faults[0]
    rounds = 3 if slow else 50
    change, _ = milliseconds(
        lambda: RouteTable.of([*rows[1:], replace(rows[0], priority=1)], time.perf_counter, table), 3
    )
    plain, long = scan(HEAD.format(9000).encode() + b"\r\n"), scan(HEAD.format("9" * 16_000).encode() + b"\r\n")
    parts = [f"{name:30} load {load:5.2f} s  change {change:4.0f} ms"]
    for word, address, block in (("decide", hit, plain), ("miss", miss, plain), ("long subject", hit, long)):
        if address:
            recipient = parse_address(address)
            middle, worst = milliseconds(lambda r=recipient, b=block: table.decide(r, table.headers(b)), rounds)
            parts.append(f"{word} {middle:.3f} (worst {worst:.2f}) ms")
    recipient = parse_address(hit)
    middle, worst = milliseconds(lambda: table.may_take(recipient), rounds)
    return "  ".join([*parts, f"may_take {middle:.3f} (worst {worst:.2f}) ms"])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for name in KINDS:
        print(measure(name, count), flush=True)


if __name__ == "__main__":
    main()
