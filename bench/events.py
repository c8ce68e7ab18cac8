"""What the journal costs: pages of events from a store of millions, and what its indexes cost the intake.

  .venv/bin/python bench/events.py build FOLDER [EVENTS]    a store of about EVENTS events (5,000,000), by SQL
  .venv/bin/python bench/events.py read FOLDER              pages and filters by the API's own code
  .venv/bin/python bench/events.py intake FOLDER [OCTETS]   Outgoing.accept with and without the index

`intake` works on copies beside the store it is given.
"""

import asyncio
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import orjson

from mtad.api.http.call import Call, Handler, Principal
from mtad.api.http.events import Events
from mtad.api.http.params import Params
from mtad.api.http.stats import Stats
from mtad.api.http.totals import SHAPES
from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, floor_at
from mtad.mail.metric import Metric
from mtad.storage import lookups
from mtad.storage.accounts import DomainRow
from mtad.storage.database import migrate, open_database
from mtad.storage.outgoing import Accept, Outgoing, Settle, State
from mtad.storage.record import Records
from mtad.storage.spool import Spool

DAYS = 30
NOW = 1_790_000_000.0
PER_MESSAGE = 2.44  # events
BATCH, ROUNDS = 50, 200

_NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"
_BASE = "(:start + i * :step << 21)"
_DOMAIN = "(CASE WHEN i % 100 < 80 THEN 1 WHEN i % 100 < 99 THEN 2 ELSE 3 END)"
_ADDRESS = (
    "(CASE WHEN i % 50 = 7 THEN 'monitor@ops.example' ELSE"
    " 'User' || (i * 7919 % 800000) || '@d' || (i * 7919 % 5000) || '.example' END)"
)
_BUILD = (
    "INSERT INTO domains (id, name, created_at) VALUES (1, 'mg.example.com', 0), (2, 'b.example.com', 0),"
    " (3, 'small.example.com', 0)",
    f"""{_NUMBERS} INSERT INTO messages (id, domain_id, reverse_path, size, recipients, flags, about, options)
        SELECT {_BASE}, {_DOMAIN}, 'bounces@mg.example.com', 2000 + i % 9000, 1, 0,
               CAST('{{"message-id":"' || printf('%08x.%d', i * 2654435761 % 4294967296, i) ||
                    '@client.example","from":"Ann <ann@mg.example.com>","to":"' || {_ADDRESS} ||
                    '","subject":"News number ' || i || '","method":"http"}}' AS BLOB),
               CASE WHEN i % 10 < 5 THEN CAST('{{"tags":["newsletter"]}}' AS BLOB)
                    WHEN i % 20 = 5 THEN CAST('{{"tags":["Welcome","t' || (i % 7) || '"]}}' AS BLOB)
                    WHEN i % 20 = 15 THEN CAST('{{"tags":["rare-' || (i % 5000) || '"]}}' AS BLOB) END
        FROM n""",
    f"""{_NUMBERS} INSERT INTO recipients (id, message_id, domain_id, site_id, address, state, attempts)
        SELECT {_BASE} + 1, {_BASE}, {_DOMAIN}, 0, {_ADDRESS}, CASE WHEN i % 25 = 3 THEN 3 ELSE 2 END, 1 FROM n""",
)
_STATUS = (
    """'{"delivery-status":{"code":%d,"message":"2.0.0 ok: queued as 1234567890","description":"","attempt-no":1,"""
    """"session-seconds":0.123,"mx-host":"mx.d1.example","tls":true,"certificate-verified":true,"utf8":true},"""
    """"hop":{"ip":"192.0.2.9","sending-ip":"192.0.2.1"}%s}'"""
)
_WEB = (
    """'{"ip":"198.51.100.4","geolocation":{"country":"DE","region":"BW","city":"Ulm"},"client-info":{"client-type":"""
    """"browser","client-os":"Linux","device-type":"desktop","client-name":"Firefox","user-agent":"Mozilla/5.0","""
    """"bot":""},"url":"https://x.example/"}'"""
)
# (type, which messages, milliseconds after the message, place within the millisecond, detail)
_EVENTS = (
    (EventType.ACCEPTED, "1", "0", 16, "NULL"),
    (EventType.DELIVERED, "i % 25 <> 3", "1500 + i % 500", 100, _STATUS % (250, "")),
    (EventType.FAILED_TEMPORARY, "i % 25 = 4", "800 + i % 300", 200, _STATUS % (451, ',"reason":"greylisted"')),
    (EventType.FAILED_PERMANENT, "i % 25 = 3", "1400 + i % 300", 300, _STATUS % (550, ',"reason":"bounce"')),
    (EventType.OPENED, "i % 3 = 0", "3600000 + i % 700", 400, _WEB),
    (EventType.CLICKED, "i % 15 = 0", "3700000 + i % 700", 500, _WEB),
    (EventType.COMPLAINED, "i % 5000 = 12", "4000000 + i % 700", 600, "'{}'"),
)


def build(folder: Path, events: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "mtad.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    migrate(connection)
    count = int(events / PER_MESSAGE)
    values = {"count": count, "start": floor_at(NOW - DAYS * 86_400) >> 21, "step": DAYS * 86_400_000 // count}
    connection.execute("BEGIN")
    for statement in _BUILD:
        connection.execute(statement, values if ":count" in statement else {})
    for kind, which, after_ms, place, detail in _EVENTS:
        connection.execute(
            f"""{_NUMBERS} INSERT INTO events (id, type, domain_id, message_id, recipient_id, detail)
                SELECT {_BASE} + (({after_ms}) << 21) + {place}, {int(kind)}, {_DOMAIN}, {_BASE}, {_BASE} + 1,
                       CAST({detail} AS BLOB) FROM n WHERE {which}""",
            values,
        )
    hours = [(1, label, metric, hour, 7) for label in ("", "t:newsletter") for metric in Metric for hour in _hours()]
    connection.executemany("INSERT INTO counters VALUES (?, ?, ?, ?, ?)", hours)
    connection.execute("COMMIT")
    started, more = time.perf_counter(), True
    while more:
        gathered = lookups.gather(connection, lookups.upto(connection), floor_at(NOW))
        connection.execute("BEGIN")
        lookups.add(connection, gathered)
        connection.execute("COMMIT")
        more = gathered.more
    print(f"lookups: {(time.perf_counter() - started) / count * 1e6:.1f} µs a message")
    connection.close()


async def read(folder: Path) -> None:
    """One page after the other, of 300 events, through the chapters' own handlers: no HTTP, no other load."""
    async with open_database(folder, SystemClock(), cache_octets=16_777_216) as database:
        database.writer.follow(lambda: floor_at(NOW))
        events, stats = Events(database, SystemClock(), lambda: DAYS * 86_400.0), Stats(database, lambda: 183 * 86_400)
        rng = random.Random(1)
        took = []
        for _ in range(1000):
            begin = NOW - rng.random() * DAYS * 86_400
            took.append(await _timed(events.page, begin=str(begin), ascending=rng.choice(("yes", "no")), limit="300"))
        _tell("a page of 300, anywhere", took)
        page, path = [], ""
        for _ in range(300):
            started = time.perf_counter()
            answer = await events.page(_call({"page": path} if path else {"limit": "300"}))
            page.append((time.perf_counter() - started) * 1e3)
            path = orjson.loads(answer.body)["paging"]["next"].rpartition("=")[2]
        _tell("a page of 300, one after the other", page)
        for name, filters in _FILTERS.items():
            took = []
            for turn in range(40):
                given = {key: text.format(number=_number(rng), **_message_id(rng)) for key, text in filters.items()}
                if turn % 2:
                    given["begin"] = str(NOW - rng.random() * DAYS * 86_400)
                took.append(await _timed(events.page, limit="300", **given))
            _tell(name, took)
        half = {"start": str(NOW - 183 * 86_400), "end": str(NOW)}
        query = Params([("event", name) for name in SHAPES] + list(half.items()))
        for resolution in ("hour", "day", "month"):
            took = [await _timed(stats.of_domain, query, resolution=resolution) for _ in range(20)]
            _tell(f"stats/total, 6 months, all events, by the {resolution}", took)
        took = [await _timed(stats.daily) for _ in range(20)]
        _tell("stats, 6 months", took)


_FILTERS = {
    "recipient, rare": {"recipient": "user{number}@d{domain}.example"},
    "recipient, 1 in 50": {"recipient": "monitor@ops.example"},
    "recipient, part": {"recipient": "@ops.example"},
    "recipient, unknown": {"recipient": "x{number}@x.example"},
    "message-id": {"message-id": "{message_id}"},
    "event, common": {"event": "delivered"},
    "event, two": {"event": "opened OR clicked"},
    "event, rare": {"event": "complained"},
    "severity": {"severity": "permanent"},
    "tags, 1 in 2": {"tags": "newsletter"},
    "tags, 1 in 20": {"tags": "welcome"},
    "tags, 1 in 140": {"tags": "t3"},
    "tags, rare": {"tags": "rare-{rare}"},
    "tags, unknown": {"tags": "x-{number}"},
    "tags and event": {"tags": "t3", "event": "clicked"},
    "recipient and event": {"recipient": "monitor@ops.example", "event": "delivered"},
    "subject (no index), common": {"subject": '"news number" -9'},
}


def _number(rng: random.Random) -> int:
    return rng.randrange(800_000)


def _message_id(rng: random.Random) -> dict[str, object]:
    number = rng.randrange(2_000_000)
    return {
        "message_id": f"{number * 2654435761 % 4294967296:08x}.{number}@client.example",
        "domain": rng.randrange(5000),
        "rare": rng.randrange(250) * 20 + 15,
    }


def _call(parameters: dict[str, str], params: Params | None = None) -> Call:
    domain = DomainRow(1, "mg.example.com", 0.0, "", True, None)
    pairs = [*(params or ()), *parameters.items()]
    return Call(
        method="GET",
        version=3,
        path="/mg.example.com/events",
        variables={"domain": domain.name},
        params=Params(pairs),
        principal=Principal(1, "bench", None),
        base_url="http://127.0.0.1",
        peer="",
        now=NOW,
        request_id="",
        found_domain=domain,
    )


async def _timed(handler: Handler, params: Params | None = None, **parameters: str) -> float:
    started = time.perf_counter()
    await handler(_call(parameters, params))
    return (time.perf_counter() - started) * 1e3


def _tell(what: str, took: list[float]) -> None:
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{what:45} median {statistics.median(took):6.1f}  p99 {p99:6.1f}  most {took[-1]:6.1f} ms")


def _hours() -> range:
    """Of six months."""
    end = int(NOW) // 3600
    return range(end - 183 * 24, end)


def intake(folder: Path, octets: int) -> None:
    """The variants take turns, batch by batch, each on a copy of its own, so that noise is the same for all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        variants = {name: _variant(folder, Path(scratch) / (name or "none"), name) for name in ("", *_NEW)}
        for turn in range(ROUNDS):
            for variant in variants.values():
                variant.round(octets, turn)
        base = statistics.mean(variants[""].cpu)
        for name, variant in variants.items():
            wall, cpu = statistics.median(variant.wall), statistics.mean(variant.cpu)
            log = variant.log / ROUNDS / BATCH
            more = (cpu / base - 1) * 100
            print(f"{name or 'none':16} {wall:6.0f} µs, CPU {cpu:6.1f} µs ({more:+.0f} %), log {log:,.0f} octets")
        cpu, log = variants[_NEW[0]].index()
        print(f"lookups, behind it: CPU {cpu:.1f} µs a message, log {log:,.0f} octets")


_NEW = ("events_domain",)


def _variant(folder: Path, copy: Path, keep: str) -> "_Variant":
    shutil.copytree(folder, copy)
    connection = sqlite3.connect(copy / "mtad.sqlite", isolation_level=None)
    for kind, name in connection.execute("SELECT type, name FROM sqlite_schema WHERE type <> 'table'").fetchall():
        if name in _NEW and keep != name:
            connection.execute(f"DROP {kind} {name}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for pragma in ("synchronous = FULL", "wal_autocheckpoint = 20000", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}")
    return _Variant(connection, copy)


class _Variant:
    """wall, cpu: microseconds a message, accepted and delivered, each in commits of BATCH. log: octets written."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection, self._wal = connection, folder / "mtad.sqlite-wal"
        self._outgoing, self._ids = Outgoing(Spool(folder / "spool"), 65_536), IdSource(time.time)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.log = 0

    def round(self, octets: int, turn: int) -> None:
        accepts = [_accept(self._ids, b"x" * octets, turn * BATCH + n) for n in range(BATCH)]
        settles = [_settle(self._ids, one) for one in accepts]
        connection = self._connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        started, cpu = time.perf_counter(), time.thread_time()
        connection.execute("BEGIN IMMEDIATE")
        self._outgoing.accept(connection, accepts)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        self._outgoing.settle(connection, settles)
        connection.execute("COMMIT")
        self.wall.append((time.perf_counter() - started) / BATCH * 1e6)
        self.cpu.append((time.thread_time() - cpu) / BATCH * 1e6)
        self.log += self._wal.stat().st_size

    def index(self) -> tuple[float, float]:
        """CPU microseconds and octets of log, a message, of what the indexer does with them later."""
        connection, count, log, cpu, more = self._connection, ROUNDS * BATCH, 0, time.thread_time(), True
        while more:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            gathered = lookups.gather(connection, lookups.upto(connection), self._ids.last)
            connection.execute("BEGIN IMMEDIATE")
            lookups.add(connection, gathered)
            connection.execute("COMMIT")
            log += self._wal.stat().st_size
            more = gathered.more
        return (time.thread_time() - cpu) / count * 1e6, log / count


def _accept(ids: IdSource, content: bytes, number: int) -> Accept:
    message = ids.take(2)
    spread = hash((number, message)) & 0xFFFFFFFF
    about = orjson.dumps(
        {"message-id": f"{spread:08x}.{message}@client.example", "from": "a@b.example", "to": "c@d.example"}
        | {"subject": "Hello", "method": "smtp", "login": "a@b.example", "peer": "192.0.2.1", "protocol": "ESMTPSA"}
    )
    options = orjson.dumps({"tags": ["newsletter", f"t{number % 7}"]}) if number % 2 else None
    row = (message + 1, message, 1, 5, f"user{spread % 800000}@d{spread % 5000}.example", 1, 1, None, NOW, *[None] * 3)
    records = Records(events=[(ids.next(), 1, 1, message, message + 1, None)], counts=[(1, "", 1, 1, 1)])
    return Accept((message, 1, "a@b.example", len(content), 1, 0, None, about, options, None), content, [row], records)


def _settle(ids: IdSource, accept: Accept) -> Settle:
    message, recipient = accept.message[0], accept.recipients[0][0]
    detail = b'{"delivery-status":{"code":250,"message":"2.0.0 ok: queued as 1234567890","attempt-no":1}}'
    event = (ids.next(), 2, 1, message, recipient, detail)
    return Settle(recipient, message, State.DELIVERED, event, site_id=5, attempts=1)


if __name__ == "__main__":
    word, folder, *more = sys.argv[1:]
    match word:
        case "build":
            build(Path(folder), int(more[0]) if more else 5_000_000)
        case "read":
            asyncio.run(read(Path(folder)))
        case "intake":
            intake(Path(folder), int(more[0]) if more else 2000)
