"""Mail from the world that meets more than a route: sub-domains, several domains, spam, a crash, a hanging receiver."""

import asyncio
import json
import os
import signal
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email.policy import SMTP
from pathlib import Path

import pytest

from tests.flows.application import Application, NameServer, Threaded
from tests.flows.inland import API_KEY, DOMAIN, Inland, letter, zones
from tests.flows.test_postfix import free_port
from tests.live import wait_until

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n"


class ScriptedSpamd(Threaded):
    """Calls spam what has GTUBE in it."""

    def __init__(self) -> None:
        self.asked = 0

    async def main(self, serve: Callable[[], Awaitable[None]]) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            await serve()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spam = b"GTUBE" in await reader.read()
        self.asked += 1
        said, rules = ("True ; 1000.0 / 5.0", b"GTUBE\r\n") if spam else ("False ; 0.1 / 5.0", b"\r\n")
        writer.write(f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(rules)}\r\nSpam: {said}\r\n\r\n".encode() + rules)
        writer.close()


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with Application() as application:
        yield application


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer(zones) as server:
        yield server


@pytest.fixture(scope="module")
def spamd() -> Iterator[ScriptedSpamd]:
    with ScriptedSpamd() as server:
        yield server


@pytest.fixture(scope="module")
def inland(tmp_path_factory: pytest.TempPathFactory, names: NameServer, spamd: ScriptedSpamd) -> Iterator[Inland]:
    """Of three domains: one takes its sub-domains too, one marks spam, one wants none."""
    setting = f'inbound.spamd="127.0.0.1:{spamd.port}"'
    with Inland(tmp_path_factory.mktemp("inland"), names, setting) as daemon:
        for words in (
            ("set", DOMAIN, "--wildcard"),
            ("add", "marked.example"),
            ("set", "marked.example", "--spam-action", "tag"),
            ("add", "clean.example"),
            ("set", "clean.example", "--spam-action", "delete"),
        ):
            done = daemon.mtad("domain", *words)
            assert done.returncode == 0, done.stderr
        yield daemon
        daemon.until_drained()
        assert daemon.check()["faults"] == []


def test_mail_to_sub_domains_is_taken_where_the_domain_is_set_so(inland: Inland, app: Application) -> None:
    inland.route("", f'forward("{app.url("sub")}")', expression=r'match_recipient("bob@(.*)\.(sandbox|marked)\.")')
    inland.receive(letter(), f"bob@a.b.{DOMAIN}")
    assert app.one("sub")["recipient"] == f"bob@a.b.{DOMAIN}"
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        inland.receive(letter(), "bob@a.marked.example")


def test_spam_is_marked_where_a_domain_wants_it_marked(inland: Inland, app: Application) -> None:
    spam_only = 'match_recipient("tag@marked") and match_header("X-Mailgun-Sflag", "Yes")'
    inland.route("", f'forward("{app.url("spam")}")', "stop()", expression=spam_only)
    inland.route("", f'forward("{app.url("ham")}")', expression='match_recipient("tag@marked")', priority=1)
    inland.receive(letter(text=GTUBE), "tag@marked.example")
    inland.receive(letter(text="Shall we meet?\n"), "tag@marked.example")
    assert (app.one("spam")["X-Mailgun-Sflag"], app.one("spam")["X-Mailgun-Sscore"]) == ("Yes", "1000.0")
    assert (app.one("ham")["X-Mailgun-Sflag"], app.one("ham")["X-Mailgun-Spf"]) == ("No", "Neutral")


def test_spam_is_taken_and_dropped_where_a_domain_wants_none_and_its_owner_is_told(
    inland: Inland, app: Application
) -> None:
    inland.route("", f'forward("{app.url("clean")}")', expression='match_recipient("in@clean")')
    inland.receive(letter(text=GTUBE), "in@clean.example")
    inland.receive(letter(text="Shall we meet?\n"), "in@clean.example")
    assert app.one("clean")["body-plain"].startswith("Shall we meet?")
    [event] = inland.settled("in@clean.example", "rejected")
    assert "Taken for spam, score 1000" in event["reject"]["description"]


def test_one_message_for_several_domains_is_what_each_wants(
    inland: Inland, app: Application, spamd: ScriptedSpamd
) -> None:
    inland.route("", f'forward("{app.url("several")}")', expression='match_recipient("several@")')
    before = spamd.asked
    inland.receive(letter(text=GTUBE), f"several@{DOMAIN}", "several@marked.example", "several@clean.example")
    posts = app.got("several", 2)
    inland.settled("several@clean.example", "rejected")
    assert {post["recipient"]: "X-Mailgun-Sflag" in post for post in posts} == {
        f"several@{DOMAIN}": False,
        "several@marked.example": True,
    }
    assert spamd.asked - before == 2


def test_nothing_is_posted_when_the_message_is_refused_for_one_domain(inland: Inland, app: Application) -> None:
    inland.route(
        "", f'forward("{app.url("half")}")', expression='match_recipient("half@") and match_header("x-a", "b")'
    )
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        inland.receive(letter(), f"half@{DOMAIN}", "half@marked.example")
    assert refusal.value.smtp_code == 550
    inland.until_drained()
    assert app.at("half") == []


def test_the_explainer_tells_why(inland: Inland, tmp_path: Path) -> None:
    made = inland.route(
        "", 'forward("http://a.example/\\1/mime")', expression='match_header("subject", "Order (\\d+)")'
    )
    file = tmp_path / "msg.eml"
    file.write_bytes(letter("Order 17 is late").as_bytes(policy=SMTP))
    said = inland.mtad("route", "test", "--recipient", f"why@{DOMAIN}", "--file", str(file))
    assert said.returncode == 0, said.stderr
    assert f"{made.id}  priority 0: matched" in said.stdout
    assert "-> forward http://a.example/17/mime (the message itself)" in said.stdout
    done = inland.mtad("route", "test", "--recipient", f"why@{DOMAIN}", "--file", str(file), "--json")
    [verdict] = [one for one in json.loads(done.stdout) if one["id"] == made.id]
    assert verdict["captures"] == [{"reference": "\\1", "text": "17"}]


def test_a_receiver_that_hangs_does_not_hold_up_others(inland: Inland, app: Application) -> None:
    with Application() as hanging:
        hanging.hang.add("stuck")
        inland.route("stuck", f'forward("{hanging.url("stuck")}")')
        inland.route("fast", f'forward("{app.url("fast")}")')
        for _ in range(20):
            inland.receive(letter(), "stuck")
        begun = time.monotonic()
        inland.receive(letter(), "fast")
        app.got("fast")
        assert time.monotonic() - begun < 5.0
        hanging.hang.clear()
        done = inland.mtad("queue", "list", "--json")
        assert done.returncode == 0


def test_killed_after_the_250_every_post_is_still_made(tmp_path: Path, names: NameServer, app: Application) -> None:
    with Inland(tmp_path, names) as daemon:
        daemon.route(
            "", f'forward("{app.url("killed")}")', f'store(notify="{app.url("kept")}")', expression="catch_all()"
        )
        app.answers["killed"] = [503] * 5
        taken = []
        with daemon.client("mx", login=False) as client:
            for number in range(60):
                mail = letter(f"number {number}").as_bytes(policy=SMTP)
                client.sendmail("ann@elsewhere.example", [f"n{number}@{DOMAIN}"], mail)
                taken.append(f"n{number}@{DOMAIN}")
                if number == 40:
                    daemon.kill9()
                    break
        daemon.start()
        daemon.until_drained()
        for path in ("killed", "kept"):
            assert {post["recipient"] for post in app.at(path)} == set(taken)
        assert all(post.is_signed(API_KEY) for post in app.posts)
        report = daemon.check()
        assert report["faults"] == []


@contextmanager
def real_spamd(program: Path) -> Iterator[int]:
    """A SpamAssassin of its own, without network tests; its port."""
    with tempfile.TemporaryDirectory(prefix="mtad-spamd-") as folder:
        os.chmod(folder, 0o755)
        port = free_port()
        words = [str(program), "-L", "-x", "-i", "127.0.0.1", "-p", str(port), "--min-children=1", "-m", "1"]
        words += ["-s", "stderr", "-H", folder]
        environment = {**os.environ, "LC_ALL": "C"}
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        ) as process:
            assert process.stderr is not None
            try:
                assert any(b"server started" in line for line in process.stderr)
                yield port
            finally:
                process.send_signal(signal.SIGTERM)
                process.stderr.read()


@pytest.mark.slow
def test_a_real_spamassassin_keeps_gtube_out(
    tmp_path: Path, names: NameServer, app: Application, require_peer: Callable[..., Path]
) -> None:
    with (
        real_spamd(require_peer("spamd")) as port,
        Inland(tmp_path, names, f'inbound.spamd="127.0.0.1:{port}"', "inbound.spamd_timeout_s=60") as daemon,
    ):
        assert daemon.mtad("domain", "set", DOMAIN, "--spam-action", "delete").returncode == 0
        daemon.route("", f'forward("{app.url("assassin")}")', expression="catch_all()")
        daemon.receive(letter(text=GTUBE), "a")
        daemon.receive(letter("Thursday", "Shall we meet on Thursday, as we said? The room is free.\n"), "b")
        post = app.one("assassin")
        assert (post["recipient"], post["X-Mailgun-Sflag"]) == (f"b@{DOMAIN}", "No")
        [event] = daemon.settled(f"a@{DOMAIN}", "rejected")
        assert "Taken for spam" in event["reject"]["description"]
        wait_until(lambda: not daemon.queued(), what="drained")
        assert daemon.check()["faults"] == []
