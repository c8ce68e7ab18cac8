"""Where opens and clicks came from: a database that is half written, then whole, then written over, under a daemon."""

import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.live import Daemon, wait_until
from tests.receiver import Receiver
from tests.tracking.mmdb import write

OURS = "sandbox.mtad.test"
HERE = {
    "country": {"iso_code": "US"},
    "subdivisions": [{"iso_code": "TX"}],
    "city": {"names": {"en": "Austin"}},
}
NOWHERE = {"country": "Unknown", "region": "Unknown", "city": "Unknown"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def visit(daemon: Daemon, reader: str, kind: str) -> None:
    """What a reader's program does with the link of that kind in his message."""
    text = daemon.captured(reader).decode()
    [link] = re.findall(rf"http://127\.0\.0\.1:\d+/{kind}/[A-Za-z0-9_-]+", text)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(link, timeout=10).close()
    except urllib.error.HTTPError as redirect:
        redirect.close()


def places(daemon: Daemon, reader: str, word: str) -> list[dict[str, str]]:
    return [one["geolocation"] for one in daemon.events("--event", word) if one["recipient"] == reader]


def hang_up(daemon: Daemon, line: str) -> None:
    assert daemon.process is not None
    before = daemon.log.count(line)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: daemon.log.count(line) > before, what=line)


def test_a_database_is_used_once_it_is_whole_and_survives_being_written_over(
    tmp_path: Path, receiver: Receiver
) -> None:
    whole = write(tmp_path / "whole.mmdb", {"127.0.0.0/8": HERE}).read_bytes()
    file = tmp_path / "city.mmdb"
    file.write_bytes(whole[: len(whole) // 2])
    with Daemon(tmp_path, f'tracking.geoip_file="{file}"') as daemon:
        assert daemon.log.count("geoip-unusable") == 1
        for name in ("open", "click", "opened", "clicked"):
            assert daemon.mtad("webhook", "add", OURS, name, receiver.url(name)).returncode == 0
        for reader in ("una@a.example", "zoe@a.example"):
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = f"app@{OURS}", reader, "Hello"
            message["X-Mailgun-Track"] = "yes"
            message.set_content('<p><a href="http://shop.example/">shop</a></p>', "html")
            with daemon.client() as client:
                assert client.send_message(message) == {}
        visit(daemon, "una@a.example", "o")
        assert wait_until(lambda: places(daemon, "una@a.example", "opened")) == [NOWHERE]

        file.write_bytes(whole)
        hang_up(daemon, "geoip-loaded")
        known = {"country": "US", "region": "TX", "city": "Austin"}
        for kind, word, older in (("o", "opened", "open"), ("c", "clicked", "click")):
            visit(daemon, "zoe@a.example", kind)
            assert wait_until(lambda word=word: places(daemon, "zoe@a.example", word)) == [known]
            [form] = wait_until(lambda older=older: [p for p in receiver.at(older) if p.first("recipient")[0] == "z"])
            assert {name: form.first(name) for name in known} == known
            posts = wait_until(lambda word=word: [p for p in receiver.at(word) if "zoe@" in p.body.decode()])
            assert posts[0].data["event-data"]["geolocation"] == known
        [form] = [post for post in receiver.at("open") if post.first("recipient")[0] == "u"]
        assert {name: form.first(name) for name in known} == dict.fromkeys(known, "unknown")

        file.write_bytes(b"")
        visit(daemon, "una@a.example", "c")
        assert wait_until(lambda: places(daemon, "una@a.example", "clicked")) == [known]
        hang_up(daemon, "geoip-unusable")
        visit(daemon, "zoe@a.example", "c")
        assert wait_until(lambda: len(seen := places(daemon, "zoe@a.example", "clicked")) == 2 and seen) == [known] * 2
