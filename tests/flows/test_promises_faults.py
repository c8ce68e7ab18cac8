"""Faults of disk, store, clock and DNS while the daemon runs: every door says so and takes nothing, /health says so,
and when the fault is over all goes on without a restart, with nothing lost.
"""

import json
import smtplib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.faulty import Faulty
from tests.flows.application import Application, NameServer
from tests.flows.inland import DOMAIN, zones
from tests.flows.loads import KEY
from tests.live import Sink, wait_until

pytestmark = pytest.mark.slow
LARGE = 100_000  # octets: goes to the spool


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer(zones) as server:
        yield server


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with Application() as application:
        yield application


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as host:
        yield host


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, names: NameServer, app: Application, sink: Sink
) -> Iterator[Faulty]:
    """One for all faults: it has to recover from each."""
    with Faulty(tmp_path_factory.mktemp("faulty"), names, "queue.retry_waits_s=[0.2]", relay=sink.address) as made:
        made.route("shop", f'forward("{app.url("in")}")', "store()")
        yield made
        made.until_drained()
        assert made.check()["faults"] == []


def request(daemon: Faulty, path: str, fields: list[tuple[str, str]] | None = None) -> tuple[int, dict[str, Any]]:
    body = urlencode(fields).encode() if fields else None
    asked = urllib.request.Request(f"{daemon.ready['http']}{path}", body, {"Authorization": f"Basic {KEY}"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def health(daemon: Faulty) -> tuple[int, str]:
    status, page = request(daemon, "/health")
    return status, page["message"]


def post(daemon: Faulty, name: str, size: int = 10) -> tuple[int, str]:
    fields = [
        ("from", f"app@{DOMAIN}"),
        ("to", f"{name}@example.net"),
        ("text", "x" * size),
        ("h:Message-Id", f"<{name}@client.example>"),
    ]
    status, said = request(daemon, f"/v3/{DOMAIN}/messages", fields)
    return status, said["message"]


def by_smtp(daemon: Faulty, name: str, size: int = 10) -> tuple[int, str]:
    with daemon.client() as client:
        return letter(client, f"app@{DOMAIN}", f"{name}@example.net", name, size)


def by_mx(daemon: Faulty, name: str, size: int = 10) -> tuple[int, str]:
    with daemon.client("mx", login=False) as client:
        return letter(client, "ann@elsewhere.example", f"shop@{DOMAIN}", name, size)


def letter(client: smtplib.SMTP, sender: str, recipient: str, name: str, size: int) -> tuple[int, str]:
    """The reply to whichever command said no, or to the final dot."""
    text = f"From: {sender}\r\nMessage-ID: <{name}@client.example>\r\n\r\n" + ("x" * 70 + "\r\n") * (size // 72 + 1)
    client.ehlo_or_helo_if_needed()
    for command in (lambda: client.mail(sender), lambda: client.rcpt(recipient)):
        code, words = command()
        if code >= 400:
            return code, words.decode()
    try:
        code, words = client.data(text)
    except smtplib.SMTPDataError as error:
        code, words = error.smtp_code, error.smtp_error
    return code, words.decode()


DOORS: list[Callable[..., tuple[int, str]]] = [post, by_smtp, by_mx]


def all_goes_through(daemon: Faulty, app: Application, sink: Sink, name: str, size: int = 10) -> None:
    """By every door, and out again."""
    for door in DOORS:
        code, words = door(daemon, f"{name}-{door.__name__}", size)
        assert code in (200, 250), words
    for door in (post, by_smtp):
        key = (f"<{name}-{door.__name__}@client.example>", f"{name}-{door.__name__}@example.net")
        wait_until(lambda key=key: sink.taken[key] == 1, 20, f"{key} arrives")
    wait_until(lambda: any(p["Message-Id"] == f"<{name}-by_mx@client.example>" for p in app.at("in")), 20, "the post")


@pytest.mark.parametrize(
    ("fault", "reply", "words", "reason", "size"),
    [
        ("commit", 451, "store", "disk I/O error", 10),
        ("full", 452, "disk space", "nearly full", 10),
        ("spool", 451, "store", "", LARGE),
    ],
)
def test_every_door_says_that_it_takes_nothing_and_takes_again_when_the_fault_is_over(
    daemon: Faulty, app: Application, sink: Sink, fault: str, reply: int, words: str, reason: str, size: int
) -> None:
    with daemon.fault(fault):
        if fault == "full":
            wait_until(lambda: health(daemon)[0] == 503, what="/health")
        for number in range(2):  # the first finds the fault, the next is told of it
            for door in DOORS:
                code, said = door(daemon, f"{fault}-lost-{number}-{door.__name__}", size)
                assert (code, words in said.lower()) == (503 if door is post else reply, True), (door, code, said)
        if reason:
            status, message = health(daemon)
            assert status == 503
            assert reason in message
    wait_until(lambda: health(daemon)[0] == 200, 20, "/health is well again")
    all_goes_through(daemon, app, sink, f"after-{fault}", size)
    daemon.until_drained()
    lost = [key for key in sink.taken if "-lost-" in key[0]]
    assert lost == []
    assert [p for p in app.at("in") if "-lost-" in p["Message-Id"]] == []
    assert daemon.check()["faults"] == []


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_jumps_by_hours_delays_nothing_and_fails_nothing(
    tmp_path: Path, names: NameServer, app: Application, jump_s: int
) -> None:
    waits = ("queue.retry_waits_s=[2.0]", "webhooks.retry_waits_s=[2.0,2.0]", "queue.retry_jitter=0.0")
    path = f"jump{jump_s}"
    app.answers[path] = [500]
    app.answers[f"{path}-routed"] = [500]
    with Faulty(tmp_path, names, *waits) as daemon:
        assert daemon.mtad("webhook", "add", DOMAIN, "delivered", app.url(path)).returncode == 0
        daemon.route("shop", f'forward("{app.url(f"{path}-routed")}")')
        assert by_mx(daemon, "routed")[0] == 250
        with daemon.client() as client:
            client.sendmail(f"app@{DOMAIN}", ["accept@outcome.mtad.test"], "Subject: 1\r\n\r\nx\r\n")
            client.sendmail(f"app@{DOMAIN}", ["greylist@outcome.mtad.test"], "Subject: 2\r\n\r\nx\r\n")
            for at in (path, f"{path}-routed"):
                app.got(at)
            daemon.settled("greylist@outcome.mtad.test", "failed")
            daemon.set("clock", str(jump_s))
            client.sendmail(f"app@{DOMAIN}", ["accept@outcome.mtad.test"], "Subject: 3\r\n\r\nx\r\n")
            daemon.settled("accept@outcome.mtad.test", "delivered", 2)
        daemon.settled("greylist@outcome.mtad.test", "delivered")
        app.got(f"{path}-routed", 2)
        app.got(path, 4)  # the first one twice, and one for each of the others
        daemon.set("clock", "0")
        with daemon.client() as client:
            client.sendmail(f"app@{DOMAIN}", ["accept@outcome.mtad.test"], "Subject: 4\r\n\r\nx\r\n")
        daemon.settled("accept@outcome.mtad.test", "delivered", 3)
        daemon.until_drained()
        assert daemon.check()["faults"] == []
