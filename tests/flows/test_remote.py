"""A remote host that refuses, defers or goes away, at every phase: the event each becomes."""

import asyncio
from pathlib import Path

import pytest

from tests.live import Daemon, wait_until
from tests.scripted import DROP, Act, Peer

RCPT = "bob@example.net"
MAIL = f"From: app@sandbox.mtad.test\r\nTo: {RCPT}\r\nSubject: hello\r\n\r\nGood morning.\r\n"
TEMPORARY, PERMANENT = "temporary", "permanent"


@pytest.mark.parametrize(
    ("phase", "answer", "severity", "code"),
    [
        ("mail", "451 4.3.0 later", TEMPORARY, 451),
        ("mail", "550 5.7.1 not from you", PERMANENT, 550),
        ("rcpt", "450 4.2.0 greylisted", TEMPORARY, 450),
        ("rcpt", "550 5.1.1 no such user", PERMANENT, 550),
        ("data", "451 4.3.0 later", TEMPORARY, 451),
        ("data", "554 5.7.1 no", PERMANENT, 554),
        ("final", "452 4.2.2 mailbox full", TEMPORARY, 452),
        ("final", "554 5.7.1 spam", PERMANENT, 554),
        ("mail", Act("421 4.3.2 closing", drop=True), TEMPORARY, 421),
        ("connect", DROP, TEMPORARY, None),
        ("rcpt", DROP, TEMPORARY, None),
        ("final", DROP, TEMPORARY, None),
    ],
)
async def test_an_answer_becomes_its_event(
    tmp_path: Path, phase: str, answer: str | Act, severity: str, code: int | None
) -> None:
    async with Peer(**{phase: answer}) as peer:
        event = await asyncio.to_thread(outcome, tmp_path, peer.port)
    assert event["event"] == "failed"
    assert event["severity"] == severity
    if code is not None:
        assert event["delivery-status"]["code"] == code
    assert peer.taken == []


def outcome(folder: Path, port: int) -> dict:
    """The event after `accepted` of a message to RCPT through a daemon whose relay is the port."""
    with Daemon(folder, relay=f"127.0.0.1:{port}") as daemon:
        with daemon.client() as client:
            client.sendmail("app@sandbox.mtad.test", [RCPT], MAIL)
        wait_until(lambda: daemon.ask("SELECT count(*) FROM events")[0][0] >= 2, what="an outcome")
        daemon.check()
        return daemon.events("--recipient", RCPT)[1]
