"""Hosts that do not want a second message on the same connection: it goes on another, or waits, and nothing is lost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.internet import Internet
from tests.live import Server, wait_until
from tests.scripted import DROP, HANG, RESET, Act, Answer, Peer

LIMIT_S = 3.0
WELL = "250 2.0.0 ok"
CLOSING = Act("421 4.3.2 shutting down", drop=True)
MERGED = ("PIPELINING", "CHUNKING")


@dataclass(frozen=True)
class Row:
    """What the host answers; how many sessions the two messages took; code: the second was deferred with it."""

    name: str
    sessions: int
    answers: dict[str, Answer] = field(default_factory=dict)
    code: int = 0
    unknown: bool = False
    offers: tuple[str, ...] = ("PIPELINING",)
    says: bytes = b""  # between the two messages
    leaves: bool = False  # between the two messages

    @property
    def domain(self) -> str:
        return f"row{ROWS.index(self)}.example"


ROWS = [
    Row("takes both", 1),
    Row("takes both stepwise", 1, offers=("8BITMIME",)),
    Row("takes both in chunks", 1, offers=MERGED),
    Row("wants one message a session", 2, offers=("PIPELINING", "LIMITS MAILMAX=1")),
    Row("421 at the second MAIL", 2, {"mail": [WELL, CLOSING, WELL]}),
    Row("421 at the second MAIL stepwise", 2, {"mail": [WELL, CLOSING, WELL]}, offers=("8BITMIME",)),
    Row("drop at the second MAIL", 2, {"mail": [WELL, DROP, WELL]}),
    Row("reset at the second MAIL", 2, {"mail": [WELL, RESET, WELL]}),
    Row("silent at the second MAIL", 2, {"mail": [WELL, HANG, WELL]}),
    Row("closes after each", 2, {"final": Act("250 2.0.0 taken", drop=True)}),
    Row("resets after each", 2, {"final": Act("250 2.0.0 taken", reset=True)}),
    Row("421 after each", 2, {"final": Act("250 2.0.0 taken\r\n421 4.3.2 one is enough", drop=True)}),
    Row("421 while idle", 2, says=b"421 4.4.2 idle too long\r\n", leaves=True),
    Row("421 while idle, and stays", 2, says=b"421 4.4.2 idle too long\r\n"),
    Row("garbage while idle", 2, says=b"\0\xff\r\n"),
    Row("closes while idle", 2, leaves=True),
    # These are answers to the second message, which waits.
    Row("451 at the second MAIL", 1, {"mail": [WELL, "451 4.3.0 one is enough", WELL]}, 451),
    Row("421 at the second RCPT", 1, {"rcpt": [WELL, CLOSING, WELL]}, 421),
    Row("drop at the second RCPT", 1, {"rcpt": [WELL, DROP, WELL]}, 499),
    Row("no second session", 2, {"final": Act(WELL, drop=True), "connect": ["220 x", "421 4.3.2 one is enough"]}, 421),
    # The second left whole with its first octet: the host may have it.
    Row("drop at the second, in chunks", 1, {"mail": [WELL, DROP, WELL]}, 499, unknown=True, offers=MERGED),
]


@dataclass
class Played:
    """What came of both messages of each row. events: by recipient."""

    net: Internet
    events: dict[str, list[dict[str, Any]]]
    faults: list[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with Internet() as net:
        for row in ROWS:
            net.host(row.domain, Peer(*row.offers, **row.answers))
        limits = "".join([f"{phase}_timeout_s = {LIMIT_S}\n" for phase in ("mail", "rcpt", "data", "final")])
        with Server(
            tmp_path_factory.mktemp("reuse"), f"{net.config}{limits}[queue]\nretry_waits_s = [500]\n"
        ) as daemon:
            deliver(daemon, "first")
            for row in ROWS:
                net.call(interrupt, net.peer(row.domain), row)
            deliver(daemon, "second")
            events: dict[str, list[dict[str, Any]]] = {}
            for event in daemon.events():
                if event["event"] != "accepted":
                    events.setdefault(event["recipient"], []).append(event)
            faults = daemon.check()["faults"]
        yield Played(net, events, faults)


def deliver(daemon: Server, name: str) -> None:
    """One message for each row, until each had its outcome."""
    with daemon.client(login=False) as client:
        for row in ROWS:
            text = f"From: app@sender.example\r\nSubject: {row.name}\r\n\r\nGood morning.\r\n"
            client.sendmail("app@sender.example", [f"{name}@{row.domain}"], text)
    left = "SELECT count(*) FROM recipients WHERE state < 2 AND last_reply IS NULL"
    wait_until(lambda: daemon.ask(left) == [(0,)], 10 * LIMIT_S, f"an outcome of every {name} message")


def interrupt(peer: Peer, row: Row) -> None:
    if row.says:
        peer.say(row.says)
    if row.leaves:
        peer.drop()


@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
def test_a_second_message_finds_its_way(played: Played, row: Row) -> None:
    [first], [second] = played.events[f"first@{row.domain}"], played.events[f"second@{row.domain}"]
    peer = played.net.peer(row.domain)
    assert first["event"] == "delivered"
    assert second["event"] == ("failed" if row.code else "delivered")
    assert second["delivery-status"]["code"] == (row.code or 250)
    assert second.get("severity") == ("temporary" if row.code else None)
    assert second["delivery-status"]["attempt-no"] == 1
    assert second["delivery-status"].get("possible-duplicate", False) is row.unknown
    assert len(peer.sessions) == row.sessions
    taken = [rcpt for one in peer.taken for rcpt in one.rcpts]
    assert taken == [f"{name}@{row.domain}" for name in (("first",) if row.code else ("first", "second"))]


def test_the_store_is_whole(played: Played) -> None:
    assert played.faults == []
