"""Mail by Python's own smtplib, by every door: what comes out, what is refused, what the journal says of it."""

import base64
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest

from tests.live import PASSWORD, Daemon, field_of, wait_until

MAIL = "From: App <app@sandbox.mtad.test>\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nGood morning.\r\n.dot\r\n"
APP = "app@sandbox.mtad.test"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def send(client: smtplib.SMTP, recipient: str) -> None:
    assert client.sendmail(APP, [recipient], MAIL) == {}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("door", ["submission", "mx"])
def test_a_login_after_starttls_submits_by_either_plain_door(daemon: Daemon, door: str, mechanism: str) -> None:
    recipient = f"{door}-{mechanism.lower()}@example.net"
    with daemon.client(door, login=False) as client:
        client.starttls(context=daemon.tls())
        client.ehlo()
        client.user, client.password = daemon.login, PASSWORD
        code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        assert code == 235
        send(client, recipient)
    assert b"Good morning." in daemon.captured(recipient)


def test_a_login_by_tls_from_the_first_octet_submits(daemon: Daemon) -> None:
    with smtplib.SMTP_SSL(*daemon.address("submissions"), context=daemon.tls(), timeout=20) as client:
        client.login(daemon.login, PASSWORD)
        send(client, "tls@example.net")
    assert b"Good morning." in daemon.captured("tls@example.net")


def test_what_goes_out_is_traced_completed_and_signed_and_its_text_untouched(daemon: Daemon) -> None:
    with daemon.client() as client:
        send(client, "content@example.net")
    content = daemon.captured("content@example.net")
    received = re.sub(r"\r\n[ \t]+", " ", content.partition(b"\r\n\r\n")[0].decode())
    assert re.search(
        r"(?m)^Received: from client\.example \(.*127\.0\.0\.1.*by sandbox\.mtad\.test with ESMTPA", received
    )
    assert field_of(content, "message-id").endswith("@sandbox.mtad.test>")
    assert field_of(content, "date")
    assert content.endswith(b"\r\n\r\nGood morning.\r\n.dot\r\n")
    key = public_key(daemon)
    assert dkim.verify(content, dnsfunc=lambda name, timeout=5: key.get(name.decode().rstrip(".")))
    assert not dkim.verify(
        content.replace(b"morning", b"evening"), dnsfunc=lambda name, timeout=5: next(iter(key.values()))
    )


def public_key(daemon: Daemon) -> dict[str, bytes]:
    """The DKIM records to publish: name -> text."""
    rows = daemon.ask("SELECT selector || '._domainkey.sandbox.mtad.test', record FROM dkim_keys")
    found = {str(name): str(record).encode() for name, record in rows}
    assert all(base64.b64decode(text.rpartition(b"p=")[2]) for text in found.values())
    return found


def test_a_message_keeps_the_date_and_message_id_it_came_with(daemon: Daemon) -> None:
    own = "Message-ID: <own@client.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n" + MAIL
    with daemon.client() as client:
        client.sendmail(APP, ["own@example.net"], own)
    content = daemon.captured("own@example.net")
    assert content.lower().count(b"message-id:") == 1 + content.lower().count(b":message-id:")
    assert field_of(content, "message-id") == "<own@client.example>"
    assert field_of(content, "date") == "Mon, 23 Nov 2026 10:00:00 +0100"


@pytest.mark.parametrize(
    ("door", "recipient", "code", "status"),
    [
        ("mx", "stranger@example.net", 550, b"5.7.1"),
        ("mx", "nobody@sandbox.mtad.test", 550, b"5.1.1"),
        ("submission", "stranger@example.net", 530, b"5.7.0"),
    ],
)
def test_strangers_are_refused(daemon: Daemon, door: str, recipient: str, code: int, status: bytes) -> None:
    with daemon.client(door, login=False) as client:
        client.ehlo()
        replies = [client.mail("someone@example.com"), client.rcpt(recipient)]
    refusal = next(reply for reply in replies if reply[0] >= 400)
    assert refusal[0] == code
    assert refusal[1].startswith(status)
    assert not daemon.ask("SELECT 1 FROM recipients WHERE address = ?", recipient)


def test_a_wrong_password_is_refused(daemon: Daemon) -> None:
    with daemon.client(login=False) as client, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client.login(daemon.login, "wrong-wrong-wrong")
    assert refused.value.smtp_code == 535


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("accept", ["accepted", "delivered"]),
        ("tempfail", ["accepted", "failed temporary 451"]),
        ("greylist", ["accepted", "failed temporary 451"]),
        ("full", ["accepted", "failed temporary 452"]),
        ("hardfail", ["accepted", "failed permanent 550"]),
        ("spamblock", ["accepted", "failed permanent 554"]),
        ("disconnect", ["accepted", "failed temporary 451"]),
    ],
)
def test_magic_recipients_have_the_events_they_ask_for(daemon: Daemon, name: str, told: list[str]) -> None:
    recipient = f"{name}@outcome.mtad.test"
    with daemon.client() as client:
        send(client, recipient)
    query = "SELECT count(*) FROM recipients AS r JOIN events AS e ON e.recipient_id = r.id WHERE r.address = ?"
    wait_until(lambda: daemon.ask(query, recipient)[0][0] >= len(told), what=f"events of {recipient}")
    assert [summary(event) for event in daemon.events("--recipient", recipient)] == told


def summary(event: dict[str, object]) -> str:
    status = event.get("delivery-status")
    if event["event"] != "failed":
        return str(event["event"])
    assert isinstance(status, dict)
    return f"failed {event['severity']} {status['code']}"


def test_the_store_is_whole_and_all_are_accounted_for(daemon: Daemon) -> None:
    with daemon.client() as client:
        send(client, "check@example.net")
    daemon.captured("check@example.net")
    report = daemon.check()
    assert report["accepted"] >= 1
    assert report["accepted"] == sum(report[key] for key in ("delivered", "failed", "waiting", "sending"))


def test_credentials_and_queue_outlive_a_restart(tmp_path: Path) -> None:
    with Daemon(tmp_path, "queue.retry_waits_s=[1.0]") as daemon:
        with daemon.client() as client:
            client.sendmail(APP, ["tempfail@outcome.mtad.test", "greylist@outcome.mtad.test"], MAIL)
        before = daemon.ready
        daemon.restart()
        assert {key: daemon.ready[key] for key in ("login", "password", "api_key", "domain", "data")} == {
            key: before[key] for key in ("login", "password", "api_key", "domain", "data")
        }
        with daemon.client() as client:
            send(client, "after@example.net")
        assert daemon.captured("after@example.net")
        query = "SELECT attempts FROM recipients WHERE address = 'tempfail@outcome.mtad.test' AND state = 0"
        wait_until(lambda: daemon.ask(query) and daemon.ask(query)[0][0] >= 2, what="a further attempt")
        daemon.check()
        assert daemon.stop() == 0
