"""mtad stored, with and without a daemon."""

import asyncio

import orjson
import pytest

from mtad.clock import SystemClock
from mtad.mail.event import EventType
from mtad.storage.outgoing import Accept, State
from mtad.storage.record import Records
from tests.api.house import SITE, open_house, site_id

MAIL = b"""From: Ann <ann@their.example>\r
Subject: pictures\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
Two files. \x1b[31m\r
--b\r
Content-Type: text/csv; name="a.csv"\r
Content-Disposition: attachment; filename="a.csv"\r
\r
1;2\r
--b--\r
"""


@pytest.fixture
def kept(store):
    """The keys of two stored messages, the last one first."""

    async def keep():
        async with open_house(store.folder, SystemClock()) as house:
            for key in ("key-1", "key-2"):
                number, now = house.ids.take(2), house.clock.now()
                row = (number + 1, number, 1, site_id(SITE), "bob@ours.example", int(State.DELIVERED), 1)
                records = Records([(house.ids.next(), int(EventType.STORED), 1, number, number + 1, None)])
                people = '["bob@ours.example"]'
                records.stored.append((house.ids.next(), key, 1, number, people, "ann@their.example", now))
                about = orjson.dumps({"from": "Ann <ann@their.example>", "subject": "pictures"})
                fields = (number, 1, "ann@their.example", len(MAIL), 1, 4096, None, about, None, None)
                accept = Accept(fields, MAIL, [(*row, None, None, None, None, None)], records)
                await house.database.writer.write(lambda c, one=accept: house.outgoing.accept(c, [one]))

    asyncio.run(keep())
    return ["key-2", "key-1"]


def test_stored_messages_are_listed_the_last_one_first(kept, mtad, as_json):
    found = as_json("stored list")
    assert [one["key"] for one in found] == kept
    assert found[0]["recipients"] == ["bob@ours.example"]
    assert (found[0]["sender"], found[0]["subject"], found[0]["size"]) == ("ann@their.example", "pictures", len(MAIL))
    assert [one["key"] for one in as_json("stored list --limit 1 --domain ours.example")] == kept[:1]
    said = mtad("stored list").stdout
    assert "key-1" in said
    assert "<ann@their.example>" in said


def test_a_stored_message_is_shown_with_its_files(kept, mtad, as_json):
    found = as_json("stored show key-1")
    assert found["files"] == [{"number": 1, "name": "a.csv", "content_type": "text/csv", "size": 3}]
    assert found["content"] == MAIL.decode().replace("\r\n", "\n")
    said = mtad("stored show key-1").stdout
    assert "File        1  a.csv  text/csv" in said
    assert "\x1b" not in said
    assert mtad("stored show key-1 --raw").stdout_bytes == MAIL


def test_a_stored_message_is_removed(kept, mtad, as_json, refusal):
    assert as_json("stored remove key-1") == {"removed": "key-1"}
    assert [one["key"] for one in as_json("stored list")] == ["key-2"]
    assert "no stored message 'key-1'" in refusal("stored show key-1")
    assert "no stored message 'key-1'" in refusal("stored remove key-1")
    assert mtad("stored remove key-2").stdout == "Message key-2 is removed.\n"
    assert "No message is stored." in mtad("stored list").stdout


def test_the_same_by_the_running_daemon(kept, daemon, as_json, refusal):
    assert [one["key"] for one in as_json("stored list")] == kept
    assert as_json("stored show key-2")["item"]["domain"] == "ours.example"
    assert as_json("stored remove key-2") == {"removed": "key-2"}
    assert "no stored message" in refusal("stored show key-2")


def test_what_cannot_be_is_refused_in_one_line(store, refusal):
    assert "no domain nowhere.example" in refusal("stored list --domain nowhere.example")
    assert "is no full domain name" in refusal("stored list --domain nowhere")
