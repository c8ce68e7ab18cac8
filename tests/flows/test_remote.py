"""Remote hosts that refuse, stall, go away or talk nonsense, at every point of a session: the event each becomes.

Every row is a domain with a host of its own. All get a message at once; when each has come to something, the hosts get
well, the queue is retried, and what had only been deferred must arrive.
"""

import datetime
import smtplib
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.internet import Internet
from tests.live import Server, wait_until
from tests.scripted import DROP, HANG, RESET, Act, Answer, Peer

LIMIT_S = 3.0  # for every wait of a session: a machine that is busy answers in time, one that stalls costs no minute
RETRY_S = 500.0  # nothing is tried again before the test says so
BIG = 12_000_000  # octets: more than the kernel keeps between two sockets
LEVELS = ("opportunistic", "required", "verified")

STEPWISE = ("8BITMIME",)  # no PIPELINING
MERGED = ("PIPELINING", "CHUNKING", "8BITMIME")  # commands and message in one segment

CA, STRANGE_CA = trustme.CA(), trustme.CA()
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class End:
    """What must become of a message. words: somewhere in what was said. mx: the event names the host.

    unknown: the host may have taken it, so the copy that arrives later is a possible duplicate.
    """

    event: str
    severity: str = ""
    code: int = 250
    words: str = ""
    reason: str = ""
    mx: bool = True
    unknown: bool = False
    tls: bool | None = None
    verified: bool = False


def later(code: int, words: str, reason: str = "generic", **more: Any) -> End:
    return End("failed", "temporary", code, words, reason, **more)


def never(code: int, words: str, reason: str, **more: Any) -> End:
    return End("failed", "permanent", code, words, reason, **more)


def arrives(words: str = "taken", **more: Any) -> End:
    return End("delivered", "", 250, words, **more)


@dataclass(frozen=True)
class Row:
    name: str
    end: End | dict[str, End]  # of bob, or by local part
    answers: dict[str, Answer] = field(default_factory=dict)
    offers: tuple[str, ...] = ("PIPELINING", "8BITMIME")
    big: bool = False  # the message has BIG octets
    there: bool = True  # False: nobody listens
    level: str = "opportunistic"
    certificate: str = ""  # the host offers STARTTLS with this one
    at: str = ""  # the domain, where answers name it

    @property
    def ends(self) -> dict[str, End]:
        return self.end if isinstance(self.end, dict) else {"bob": self.end}

    @property
    def domain(self) -> str:
        return self.at or f"row{ROWS.index(self)}.example"


def r(name: str, phase: str, answer: Answer, end: End, **more: Any) -> Row:
    return Row(name, end, {phase: answer}, **more)


BUSY, GREY = "451 4.3.0 try later", "450 4.7.1 greylisted"
CLOSING = Act("421 4.3.2 shutting down", drop=True)
GARBAGE = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n"
LONG = b"250 " + b"x" * 40_000 + b"\r\n"
ENDLESS = Act(stream=b"250-and then\r\n")
NO_LINE_END = Act(stream=b"250 and then ")
DRIP = Act(stream=b"250-and then\r\n", every_s=0.25)
MIXED = b"250-well\r\n550 5.7.1 or not\r\n"

CONNECT = [
    r("nobody listens", "connect", None, later(499, "Connection refused", mx=False), there=False),
    r("drops at once", "connect", DROP, later(499, "closed the connection while we waited for its greeting")),
    r("drops in mid greeting", "connect", Act(b"220 mx.ex", drop=True), later(499, "closed the connection")),
    r("greets with 421", "connect", CLOSING, later(421, "shutting down")),
    r("greets with 450", "connect", "450 4.3.2 not now", later(450, "not now")),
    r("greets with 554", "connect", "554 5.7.1 we know you", later(499, "554 5.7.1 we know you", "espblock")),
    r("takes no mail at all", "connect", "521 5.3.2 no mail here", never(521, "no mail here", "generic")),
    r("never greets", "connect", HANG, later(499, "sent no greeting within 3 s")),
    r("greets with garbage", "connect", GARBAGE, later(499, "HTTP/1.1 400")),
    r("greets with 250", "connect", "250 hello", later(499, '"250 hello" as its greeting')),
    r("greets with two codes", "connect", b"220-well\r\n554 or not\r\n", later(499, "554 well or not")),
    r("greets with a line too long", "connect", LONG, later(499, "too long")),
    r("greets without end", "connect", Act(stream=b"220-and then\r\n"), later(499, "too long")),
    r("greets without line end", "connect", Act(stream=b"220 and then "), later(499, "too long")),
    r("greets drop by drop", "connect", Act(stream=b"220-and\r\n", every_s=0.25), later(499, "no greeting within 3 s")),
    r("greets with bare LF", "connect", b"220-hello\n220 mx\n", arrives()),
    r("greets with NUL", "connect", b"220 mx\0\0\0\r\n", arrives()),
    r(
        "greets and leaves with 421",
        "connect",
        Act(b"220 mx\r\n421 4.3.2 bye\r\n", drop=True),
        later(421, "bye"),
    ),
]

EHLO = [
    r("EHLO 421", "ehlo", CLOSING, later(421, "shutting down")),
    r("EHLO 451", "ehlo", BUSY, later(451, "try later")),
    Row("EHLO and HELO 554", later(499, "554 5.7.1 no", "espblock"), {"ehlo": "554 5.7.1 no", "helo": "554 5.7.1 no"}),
    r("EHLO 502 and HELO is fine", "ehlo", "502 5.5.1 what", arrives()),
    r("EHLO drop", "ehlo", DROP, later(499, "closed the connection while we waited for its reply to EHLO")),
    r("EHLO reset", "ehlo", RESET, later(499, "closed the connection while we waited for its reply to EHLO")),
    r("EHLO drop in mid reply", "ehlo", Act(b"250-mx\r\n250-PIPE", drop=True), later(499, "closed the connection")),
    r("EHLO no reply", "ehlo", HANG, later(499, "sent no reply to EHLO within 3 s")),
    r("EHLO garbage", "ehlo", GARBAGE, later(499, "HTTP/1.1 400")),
    r("EHLO line too long", "ehlo", LONG, later(499, "too long")),
    r("EHLO without end", "ehlo", ENDLESS, later(499, "too long")),
    r("EHLO without line end", "ehlo", NO_LINE_END, later(499, "too long")),
    r("EHLO drop by drop", "ehlo", DRIP, later(499, "sent no reply to EHLO within 3 s")),
    r("EHLO with bare LF", "ehlo", b"250-mx\n250-PIPELINING\n250 8BITMIME\n", arrives()),
    r("EHLO with NUL", "ehlo", b"250-mx\r\n250-\0\0\r\n250 8BITMIME\0\r\n", arrives()),
    r("EHLO and at once 421", "ehlo", b"250 mx\r\n421 4.3.2 no, closing\r\n", later(421, "closing")),
]

MAIL = [
    r("MAIL 451", "mail", BUSY, later(451, "try later")),
    r("MAIL 452", "mail", "452 4.3.1 disk full", later(452, "disk full")),
    r("MAIL 550", "mail", "550 5.7.1 not from you", never(550, "not from you", "espblock")),
    r("MAIL 553", "mail", "553 5.1.8 sender domain unknown", never(553, "sender domain", "bounce")),
    r("MAIL 552", "mail", "552 5.3.4 too big", never(552, "too big", "bounce")),
    r("MAIL 421", "mail", CLOSING, later(421, "shutting down")),
    r("MAIL drop", "mail", DROP, later(499, "closed the connection while we waited for its reply to MAIL FROM")),
    r("MAIL reset", "mail", RESET, later(499, "while we waited for its reply to MAIL FROM")),
    r("MAIL no reply", "mail", HANG, later(499, "no reply to MAIL FROM within 3 s")),
    r("MAIL 354", "mail", "354 go on", later(499, "answered MAIL FROM with 354")),
    r("MAIL garbage", "mail", GARBAGE, later(499, "which is no SMTP reply")),
    r("MAIL NUL", "mail", b"\0\0\0\r\n", later(499, "which is no SMTP reply")),
    r("MAIL with NUL in its words", "mail", b"250 \0ok\r\n", arrives()),
    r("MAIL bare LF", "mail", b"250-o\n250 k\n", arrives()),
    r("MAIL line too long", "mail", LONG, later(499, "more than 2048 octets")),
    r("MAIL without end", "mail", ENDLESS, later(499, "more than 65536 octets")),
    r("MAIL without line end", "mail", NO_LINE_END, later(499, "more than 2048 octets")),
    r("MAIL drop by drop", "mail", DRIP, later(499, "no reply to MAIL FROM within 3 s")),
    r("MAIL two codes", "mail", MIXED, later(499, "begins with 250 and goes on with 550")),
    r("MAIL one reply too many", "mail", b"250 ok\r\n250 ok\r\n", later(499, "answered DATA with 250")),
    r("MAIL 451 stepwise", "mail", BUSY, later(451, "try later"), offers=STEPWISE),
    r("MAIL drop stepwise", "mail", DROP, later(499, "closed the connection"), offers=STEPWISE),
    # What went out whole may have been read whole, whatever the host was busy with when it left.
    r("MAIL drop merged", "mail", DROP, later(499, "closed the connection", unknown=True), offers=MERGED),
    r("MAIL 421 merged", "mail", CLOSING, later(421, "shutting down"), offers=MERGED),
]

RCPT = [
    r("RCPT 450", "rcpt", GREY, later(450, "greylisted", "greylisted")),
    r("RCPT 451", "rcpt", BUSY, later(451, "try later")),
    r("RCPT 452", "rcpt", "452 4.2.2 mailbox full", later(452, "mailbox full")),
    r("RCPT 550", "rcpt", "550 5.1.1 no such user", never(550, "no such user", "bounce")),
    r("RCPT 550 relaying", "rcpt", "550 5.7.1 relaying denied", never(550, "relaying denied", "espblock")),
    r("RCPT 421", "rcpt", CLOSING, later(421, "shutting down")),
    r("RCPT drop", "rcpt", DROP, later(499, "closed the connection while we waited for its reply to RCPT TO")),
    r("RCPT no reply", "rcpt", HANG, later(499, "no reply to RCPT TO within 3 s")),
    r("RCPT 354", "rcpt", "354 go on", later(499, "answered RCPT TO with 354")),
    r("RCPT garbage", "rcpt", GARBAGE, later(499, "which is no SMTP reply")),
    r("RCPT line too long", "rcpt", LONG, later(499, "more than 2048 octets")),
    r("RCPT without end", "rcpt", ENDLESS, later(499, "more than 65536 octets")),
    r("RCPT two codes", "rcpt", MIXED, later(499, "begins with 250 and goes on with 550")),
    r("RCPT 550 stepwise", "rcpt", "550 5.1.1 no such user", never(550, "no such user", "bounce"), offers=STEPWISE),
    r("RCPT drop stepwise", "rcpt", DROP, later(499, "closed the connection"), offers=STEPWISE),
    r("RCPT 550 merged", "rcpt", "550 5.1.1 no such user", never(550, "no such user", "bounce"), offers=MERGED),
    Row(
        "RCPT each its own",
        {
            "ann": arrives(),
            "bob": never(550, "no such user", "bounce"),
            "cat": later(452, "mailbox full"),
        },
        {"rcpt bob@each.example": "550 5.1.1 no such user", "rcpt cat@each.example": "452 4.2.2 mailbox full"},
        at="each.example",
    ),
    Row(
        "RCPT 421 at the second",
        {"ann": later(421, "shutting down"), "bob": later(421, "shutting down")},
        {"rcpt bob@second.example": CLOSING},
        at="second.example",
    ),
]

DATA = [
    r("DATA 451", "data", BUSY, later(451, "try later")),
    r("DATA 554", "data", "554 5.7.1 not with me", never(554, "not with me", "espblock")),
    r("DATA 421", "data", CLOSING, later(421, "shutting down")),
    r("DATA drop", "data", DROP, later(499, "closed the connection while we waited for its reply to DATA")),
    r("DATA no reply", "data", HANG, later(499, "no reply to DATA within 3 s")),
    r("DATA 250", "data", "250 ok", later(499, "answered DATA with 250")),
    r("DATA garbage", "data", GARBAGE, later(499, "which is no SMTP reply")),
    r("DATA without end", "data", ENDLESS, later(499, "more than 65536 octets")),
    r("DATA two codes", "data", b"354-go\r\n250 on\r\n", later(499, "begins with 354 and goes on with 250")),
    r("DATA 451 stepwise", "data", BUSY, later(451, "try later"), offers=STEPWISE),
    r("DATA drop stepwise", "data", DROP, later(499, "closed the connection"), offers=STEPWISE),
    # In the middle of the message: it cannot have been taken.
    r("reset in mid message", "data", Act("354 go on", reset=True), later(499, "connection"), big=True),
    r("deaf in mid message", "data", Act("354 go on", deaf=True), later(499, "took no more of what we"), big=True),
    r(
        "421 in mid message",
        "data",
        Act("354 go on\r\n421 4.3.2 shutting down", deaf=True),
        later(421, "shutting down"),
        big=True,
    ),
    r(
        "552 in mid message",
        "data",
        Act("354 go on\r\n552 5.3.4 too big after all", deaf=True),
        never(552, "too big after all", "bounce"),
        big=True,
    ),
    r(
        "250 in mid message",
        "data",
        Act("354 go on\r\n250 2.0.0 that will do", deaf=True),
        later(499, "answered 250 before the end of the message"),
        big=True,
    ),
]

GONE = "closed the connection while we waited for its reply to the end of the message"
FINAL = [
    r("dot 451", "final", BUSY, later(451, "try later")),
    r("dot 452", "final", "452 4.2.2 mailbox full", later(452, "mailbox full")),
    r("dot 554", "final", "554 5.7.1 spam", never(554, "spam", "espblock")),
    r("dot 550 virus", "final", "550 5.7.1 virus found", never(550, "virus found", "bounce")),
    r("dot 421", "final", CLOSING, later(421, "shutting down")),
    r("dot drop", "final", DROP, later(499, GONE, unknown=True)),
    r("dot reset", "final", RESET, later(499, "while we waited for its reply to the end of the", unknown=True)),
    r("dot drop in mid reply", "final", Act(b"250 2.0", drop=True), later(499, GONE, unknown=True)),
    r("dot no reply", "final", HANG, later(499, "no reply to the end of the message within 3 s", unknown=True)),
    r("dot 354", "final", "354 go on", later(499, "answered the end of the message with 354", unknown=True)),
    r("dot garbage", "final", GARBAGE, later(499, "which is no SMTP reply", unknown=True)),
    r("dot NUL", "final", b"\0\0\0\r\n", later(499, "which is no SMTP reply", unknown=True)),
    r("dot line too long", "final", LONG, later(499, "more than 2048 octets", unknown=True)),
    r("dot without end", "final", ENDLESS, later(499, "more than 65536 octets", unknown=True)),
    r("dot drop by drop", "final", DRIP, later(499, "no reply to the end of the message", unknown=True)),
    r("dot two codes", "final", MIXED, later(499, "begins with 250 and goes on with 550", unknown=True)),
    r("dot bare LF", "final", b"250-2.0.0 ta\n250 2.0.0 ken\n", arrives("ta ken")),
    r("dot NUL in its words", "final", b"250 2.0.0 \0taken\r\n", arrives()),
    r("dot 250 and drop", "final", Act("250 2.0.0 taken", drop=True), arrives()),
    r("dot 250 and reset", "final", Act("250 2.0.0 taken", reset=True), arrives()),
    r("dot 250 and 421", "final", Act("250 2.0.0 taken\r\n421 4.3.2 bye", drop=True), arrives()),
    r("dot drop stepwise", "final", DROP, later(499, GONE, unknown=True), offers=STEPWISE),
    r("dot 554 stepwise", "final", "554 5.7.1 spam", never(554, "spam", "espblock"), offers=STEPWISE),
    r("chunk 554", "final", "554 5.7.1 spam", never(554, "spam", "espblock"), offers=MERGED),
    r("chunk 451", "final", BUSY, later(451, "try later"), offers=MERGED),
    r("chunk drop", "final", DROP, later(499, GONE, unknown=True), offers=MERGED),
    r("chunk no reply", "final", HANG, later(499, "no reply to the end of the", unknown=True), offers=MERGED),
]


def t(name: str, answer: Answer, end: End, level: str = "opportunistic", certificate: str = "good", **more: Any) -> Row:
    return Row(name, end, {"starttls": answer}, level=level, certificate=certificate, **more)


CLEAR, LOCKED = arrives(tls=False), arrives(tls=True)
NO_TLS_RECORD = Act("220 go", hang=True, then=b"this is no TLS record at all\r\n" * 20)
TLS = [
    t("STARTTLS works", None, LOCKED),
    t("STARTTLS with anybody's certificate", None, LOCKED, certificate="strange"),
    t("STARTTLS refused", "454 4.7.0 not now", CLEAR),
    t("STARTTLS unknown", "502 5.5.1 what", CLEAR),
    t("STARTTLS 421", CLOSING, CLEAR),
    t("STARTTLS drop", DROP, CLEAR),
    t("STARTTLS no reply", HANG, CLEAR),
    t("STARTTLS garbage", GARBAGE, CLEAR),
    t("STARTTLS 220 and garbage", NO_TLS_RECORD, CLEAR),
    t("STARTTLS 220 and drop", Act("220 go", drop=True), CLEAR),
    t("STARTTLS 220 and silence", Act("220 go", hang=True), CLEAR),
    t("STARTTLS 220 and injected words", b"220 go\r\n250-evil\r\n250 SIZE 1\r\n", LOCKED),
    Row("421 after the handshake", later(421, "shutting down"), {"ehlo": [None, CLOSING]}, certificate="good"),
    Row("drop after the handshake", later(499, "its reply to EHLO"), {"ehlo": [None, DROP]}, certificate="good"),
    Row("dot drop under TLS", later(499, GONE, unknown=True, tls=True), {"final": DROP}, certificate="good"),
]
for _level in ("required", "verified"):
    _why = "TLS is needed because delivery.tls says so"
    _mandatory = [
        t("STARTTLS not offered", None, later(451, f"offers no STARTTLS; {_why}"), _level, ""),
        t("STARTTLS refused", "454 4.7.0 not now", later(451, f"not now; {_why}"), _level),
        t("STARTTLS 421", CLOSING, later(451, f"shutting down; {_why}"), _level),
        t("STARTTLS drop", DROP, later(451, _why), _level),
        t("STARTTLS no reply", HANG, later(451, f"within 3 s; {_why}"), _level),
        t("STARTTLS garbage", GARBAGE, later(451, _why), _level),
        t("STARTTLS 220 and garbage", NO_TLS_RECORD, later(451, f"failed: WRONG_VERSION_NUMBER; {_why}"), _level),
        t("STARTTLS 220 and drop", Act("220 go", drop=True), later(451, _why), _level),
        t("STARTTLS 220 and silence", Act("220 go", hang=True), later(451, f"within 3 s; {_why}"), _level),
    ]
    TLS += _mandatory
TLS += [
    t("required: a stranger's certificate will do", None, LOCKED, "required", "strange"),
    t("verified: good", None, arrives(tls=True, verified=True), "verified"),
    t("verified: a stranger's", None, later(451, "unable to get local issuer"), "verified", "strange"),
    t("verified: another's name", None, later(451, "Hostname mismatch"), "verified", "misnamed"),
    t("verified: expired", None, later(451, "certificate has expired"), "verified", "expired"),
]

ROWS = CONNECT + EHLO + MAIL + RCPT + DATA + FINAL + TLS


@dataclass
class Played:
    """What came of all rows at one daemon. first: once every row had an outcome; last: at the end. By recipient."""

    daemon: Server
    first: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    last: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass
class World:
    net: Internet
    played: dict[str, Played]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("remote")
    authorities = folder / "authorities.pem"
    CA.cert_pem.write_to_path(str(authorities))
    with Internet() as net:
        for row in ROWS:
            peer = Peer(*row.offers, tls=certificate(row.certificate, row.domain), **row.answers)
            net.host(row.domain, peer, up=row.there)
        with ThreadPoolExecutor(len(LEVELS)) as pool:
            played = dict(zip(LEVELS, pool.map(lambda level: play(folder, net, level), LEVELS), strict=True))
        yield World(net, played)


def certificate(kind: str, domain: str) -> ssl.SSLContext | None:
    if not kind:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = STRANGE_CA if kind == "strange" else CA
    name = "mx.elsewhere.example" if kind == "misnamed" else f"mx.{domain}"
    issuer.issue_cert(name, not_after=PAST if kind == "expired" else None).configure_cert(context)
    return context


def play(folder: Path, net: Internet, level: str) -> Played:
    """The whole way of the rows of one level, at a daemon of their own."""
    rows = [row for row in ROWS if row.level == level]
    recipients = [f"{name}@{row.domain}" for row in rows for name in row.ends]
    limits = "".join([f"{wait}_timeout_s = {LIMIT_S}\n" for wait in WAITS])
    config = f'{net.config}tls = "{level}"\n{limits}[queue]\nretry_waits_s = [{RETRY_S}]\n[bounces]\ndsn = false\n'
    (folder / level).mkdir()
    environ = {"SSL_CERT_FILE": str(folder / "authorities.pem")}
    with Server(folder / level, config, environ) as daemon:
        played = Played(daemon)
        submit(daemon, rows)
        settled(daemon, "SELECT count(*) FROM recipients WHERE state < 2 AND last_reply IS NULL")
        played.first = by_recipient(daemon, recipients)
        for row in rows:
            net.call(
                recover, net.peer(row.domain), certificate("good", row.domain) if level != "opportunistic" else None
            )
            net.up(row.domain)
        assert daemon.mtad("queue", "retry", "--all").returncode == 0
        settled(daemon, "SELECT count(*) FROM recipients WHERE state < 2")
        played.last = by_recipient(daemon, recipients)
        played.faults = daemon.check()["faults"]
    return played


WAITS = ("connect", "greeting", "ehlo", "mail", "rcpt", "data", "block", "final")


def submit(daemon: Server, rows: list[Row]) -> None:
    with daemon.client(login=False) as client:
        for row in rows:
            if not row.big:
                send(client, row.name, [row])
        send(client, "a big one" + ("\r\n" + "x" * 998) * (BIG // 1000), [row for row in rows if row.big])


def send(client: smtplib.SMTP, words: str, rows: list[Row]) -> None:
    recipients = [f"{name}@{row.domain}" for row in rows for name in row.ends]
    if recipients:
        text = f"From: app@sender.example\r\nSubject: hello\r\n\r\n{words}\r\n"
        client.sendmail("app@sender.example", recipients, text)


def settled(daemon: Server, left: str) -> None:
    """Waits for the query to say 0. Rows that it counts in the end have not come to what they should: they fail."""
    try:
        wait_until(lambda: daemon.ask(left) == [(0,)], 10 * LIMIT_S)
    except AssertionError:
        return


def by_recipient(daemon: Server, recipients: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {recipient: [] for recipient in recipients}
    for event in daemon.events():
        found[event["recipient"]].append(event)
    return found


def recover(peer: Peer, tls: ssl.SSLContext | None) -> None:
    """In the peer's own thread."""
    peer.answers.clear()
    peer.tls = tls or peer.tls


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.level}-{row.name}".replace(" ", "-") for row in ROWS])
def test_what_a_host_does_lands_in_the_right_event(world: World, row: Row) -> None:
    played = world.played[row.level]
    for name, end in row.ends.items():
        recipient = f"{name}@{row.domain}"
        accepted, outcome, *more = played.first[recipient]
        assert accepted["event"] == "accepted"
        assert more == []
        check_outcome(outcome, end, f"mx.{row.domain}")
        check_what_followed(played.last[recipient][2:], end)
    copies = [rcpt for taken in world.net.peer(row.domain).taken for rcpt in taken.rcpts]
    for name, end in row.ends.items():
        count = copies.count(f"{name}@{row.domain}")
        assert count >= 1 if end.unknown else count == (end.severity != "permanent")


def check_outcome(event: dict[str, Any], end: End, mx: str) -> None:
    status = event["delivery-status"]
    said = status["message"] + status["description"]
    assert (event["event"], event.get("severity", "")) == (end.event, end.severity), said
    assert status["code"] == end.code, said
    assert end.words in said
    assert event.get("reason", "") == end.reason, said
    assert status.get("mx-host") == (mx if end.mx else None)
    assert (status["message"] if end.mx else status["description"]) == said
    assert status["attempt-no"] == 1
    assert status.get("possible-duplicate", False) is end.unknown
    if end.severity == "temporary":
        assert 0.9 * RETRY_S <= status["retry-seconds"] <= 1.1 * RETRY_S
    else:
        assert "retry-seconds" not in status
    if end.tls is not None:
        assert (status["tls"], status["certificate-verified"]) == (end.tls, end.verified)


def check_what_followed(events: list[dict[str, Any]], end: End) -> None:
    """Once the host was well: what had been deferred arrived, marked if it may have arrived before."""
    if end.severity != "temporary":
        assert events == []
        return
    [delivered] = events
    assert delivered["event"] == "delivered"
    assert delivered["delivery-status"]["attempt-no"] == 2
    assert delivered["delivery-status"].get("possible-duplicate", False) is end.unknown


@pytest.mark.parametrize("level", LEVELS)
def test_the_store_is_whole_and_nothing_crashed(world: World, level: str) -> None:
    assert world.played[level].faults == []
    assert "Traceback" not in world.played[level].daemon.log
    assert "crashed" not in world.played[level].daemon.log
