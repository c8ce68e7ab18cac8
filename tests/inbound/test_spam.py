import asyncio
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from mtad.inbound.results import Session, scan_head
from mtad.inbound.spam import Scan, SpamAction, SpamSettings, spam_action
from mtad.inbound.spamd import Spamd, dialer
from mtad.message.trace import date
from tests.inbound.zones import NOW

MAIL = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: hello\r\n\r\nhello\r\n"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HEAD = b"Received: from x (unknown [192.0.2.1]) by mx.mtad.test; x\r\n"


def answer(spam="True ; 7.5 / 5.0", body=b"RULE_A,RULE_B\r\n"):
    return f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(body)}\r\nSpam: {spam}\r\n\r\n".encode() + body


class ScriptedSpamd:
    """Says to every request what it is told to; None: nothing, until it is closed."""

    def __init__(self, said):
        self.said, self.requests = said, []
        self._over = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._over.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        try:
            self.requests.append(await reader.read())
            if self.said is None:
                await self._over.wait()
            else:
                writer.write(self.said)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    def client(self, **about):
        settings = SpamSettings(**{"host": "127.0.0.1", "port": self.port, "time_limit_s": 5.0, **about})
        return Spamd(settings, dialer(settings))


async def test_the_score_and_the_rules_come_back():
    async with ScriptedSpamd(answer()) as spamd:
        found = await spamd.client().scan(HEAD, MAIL)
    assert (found.scan, found.score, found.threshold, found.is_spam) == (Scan.DONE, 7.5, 5.0, True)
    assert found.rules == ("RULE_A", "RULE_B")
    assert spamd.requests[0].startswith(b"SYMBOLS SPAMC/1.")
    assert spamd.requests[0].endswith(b"\r\n\r\n" + HEAD + MAIL)


async def test_what_is_no_spam_is_not_called_so():
    async with ScriptedSpamd(answer("False ; -0.3 / 5.0", b"\r\n")) as spamd:
        found = await spamd.client().scan(HEAD, MAIL)
    assert (found.score, found.is_spam, found.rules) == (-0.3, False, ())


@pytest.mark.parametrize(("threshold", "spam"), [(8.0, False), (7.5, True), (2.0, True)])
async def test_a_threshold_of_our_own_decides(threshold, spam):
    async with ScriptedSpamd(answer("True ; 7.5 / 5.0")) as spamd:
        found = await spamd.client(threshold=threshold).scan(HEAD, MAIL)
    assert (found.is_spam, found.threshold) == (spam, threshold)


async def test_a_long_message_is_not_sent():
    async with ScriptedSpamd(answer()) as spamd:
        found = await spamd.client(max_octets=len(MAIL) - 1).scan(HEAD, MAIL)
    assert (found.scan, found.is_spam, spamd.requests) == (Scan.TOO_LARGE, False, [])


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SPAMD/1.1 75 EX_TEMPFAIL\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n",
        answer("perhaps"),
        answer("True ; nan / 5.0"),
        answer("True ; 99999999999999999999999999999999999999999e999 / 5.0"),
        answer()[:-4],
        b"\xff" * 100,
        b"x" * 1_000_000,
    ],
)
async def test_a_strange_answer_is_none(said):
    async with ScriptedSpamd(said) as spamd:
        found = await spamd.client().scan(HEAD, MAIL)
    assert (found.scan, found.is_spam) == (Scan.UNAVAILABLE, False)
    assert found.reason


async def test_no_answer_in_time_is_none():
    async with ScriptedSpamd(None) as spamd:
        found = await spamd.client(time_limit_s=0.05).scan(HEAD, MAIL)
    assert (found.scan, found.reason) == (Scan.UNAVAILABLE, "no answer within 0.05 s")


async def test_nobody_listening_is_none():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = SpamSettings(host="127.0.0.1", port=free.getsockname()[1])
        found = await Spamd(settings, dialer(settings)).scan(HEAD, MAIL)
    assert found.scan is Scan.UNAVAILABLE


async def test_no_more_are_asked_at_once_than_may_be():
    async with ScriptedSpamd(None) as spamd:
        client = spamd.client(at_once=2, time_limit_s=0.1)
        found = await asyncio.gather(*[client.scan(HEAD, MAIL) for _ in range(5)])
    assert {one.scan for one in found} == {Scan.UNAVAILABLE}
    assert len(spamd.requests) <= 2


async def test_nothing_of_the_message_is_printed(capfd):
    async with ScriptedSpamd(b"nonsense") as spamd:
        await spamd.client().scan(HEAD, MAIL)
    assert "hello" not in "".join(capfd.readouterr())


def test_words_of_the_setting_are_read():
    assert [spam_action(word) for word in ("disabled", "Tag", "delete", "block")] == [
        SpamAction.DISABLED,
        SpamAction.TAG,
        SpamAction.DELETE,
        SpamAction.DELETE,
    ]
    with pytest.raises(ValueError):
        spam_action("maybe")


@pytest.fixture
def real_spamd(require_peer):
    """A SpamAssassin of its own, without network tests, on a socket in a temporary folder."""
    program = require_peer("spamd")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o755)
        command = [str(program), "-L", "-x", "--socketpath", f"{folder}/spamd.sock", "--min-children=1", "-m", "1"]
        command += ["-s", "stderr", "-H", str(folder)]
        environment = {**os.environ, "LC_ALL": "C"}
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        ) as process:
            try:
                for line in process.stderr:
                    if b"server started" in line:
                        break
                else:
                    pytest.fail(f"spamd ended with {process.wait()}")
                yield folder / "spamd.sock"
            finally:
                process.send_signal(signal.SIGTERM)
                process.stderr.read()


@pytest.mark.slow
async def test_a_real_spamassassin_catches_gtube_and_lets_others_pass(real_spamd):
    settings = SpamSettings(socket=real_spamd, time_limit_s=60.0)
    client = Spamd(settings, dialer(settings))
    head = scan_head("mx.mtad.test", Session("a@example.org", "192.0.2.1", "mail.example.org"), NOW)
    bad = await client.scan(head, MAIL + GTUBE + b"\r\n")
    assert (bad.scan, bad.is_spam) == (Scan.DONE, True)
    assert "GTUBE" in bad.rules
    assert bad.score > 900
    dated = b"Date: " + date(NOW) + b"\r\nMessage-Id: <20260921.1@mail.example.org>\r\n" + MAIL
    good = await client.scan(head, dated + b"Shall we meet on Thursday, as we said last week? The room is free.\r\n")
    assert good.rules
    assert (good.scan, good.is_spam, good.threshold) == (Scan.DONE, False, 5.0)
