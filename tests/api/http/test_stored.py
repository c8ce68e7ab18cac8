"""Stored messages by HTTP: read in pieces and whole, by file, sent again, deleted; each domain sees its own."""

import asyncio
import threading
from contextlib import suppress

import pytest

from mtad.api.http import stored
from mtad.api.http.stored import StoredMessages
from mtad.mail.event import EventType
from mtad.message.parse import parse
from mtad.storage.outgoing import Accept, State
from mtad.storage.record import Records
from tests.api.http.house import DOMAIN, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

MAIL = (
    b"Received: from x by y; now\r\nReceived: from a by b; before\r\nX-Mailgun-Incoming: Yes\r\n"
    b"From: =?utf-8?q?Z=C3=B6e?= <z@their.example>\r\nTo: bob@mg.example.com\r\n"
    b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n"
    b"Message-ID: <m1@their.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee it.\r\n-- \r\nZ\xc3\xb6e\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-ID: <pic@x>\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: inline; filename*=utf-8''Gr%C3%B6%C3%9Fe.png\r\n\r\niVBORwD/\r\n"
    b'--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename="x.html"\r\n\r\n'
    b"<script>x</script>\r\n"
    b"--b--\r\n"
)
BASE = f"/v3/domains/{DOMAIN}/messages"
KEY_OF_OTHER = "key-of-other"


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock()) as house:
        yield house


@pytest.fixture
async def client(house):
    async with serve(house, [StoredMessages(house.database, house.outgoing, house.submit)]) as client:
        yield client


@pytest.fixture
async def keep(house):
    async def call(key, domain=1, content=MAIL):
        number, now = house.ids.take(2), house.clock.now()
        row = (number + 1, number, domain, 0, f"bob@{DOMAIN}", int(State.DELIVERED), 1, None, None, None, None, None)
        records = Records([(house.ids.next(), int(EventType.STORED), domain, number, number + 1, None)])
        records.stored.append((house.ids.next(), key, domain, number, f'["bob@{DOMAIN}"]', "z@their.example", now))
        fields = (number, domain, "z@their.example", len(content), 1, 4096, None, b"{}", None, None)
        accept = Accept(fields, content, [row], records)
        await house.database.writer.write(lambda c: house.outgoing.accept(c, [accept]))

    await call("k1")
    return call


async def test_a_message_is_read_in_pieces(client, keep):
    found = await client.json("GET", f"{BASE}/k1")
    assert (found["recipients"], found["recipient"], found["sender"]) == (f"bob@{DOMAIN}",) * 2 + ("z@their.example",)
    assert (found["from"], found["subject"], found["Subject"]) == ("Zöe <z@their.example>", "Größe", "Größe")
    assert (found["stripped-text"].strip(), "Zöe" in found["stripped-signature"]) == ("See it.", True)
    assert found["body-plain"].startswith("See it.")
    assert "body-html" not in found
    assert [pair[1] for pair in found["message-headers"] if pair[0] == "Received"] == [
        "from x by y; now",
        "from a by b; before",
    ]
    assert found["Received"] == "from x by y; now"
    url = f"{client.base}{BASE}/k1"
    assert found["message-url"] == url
    assert found["attachments"] == [
        {"url": f"{url}/attachments/1", "content-type": "image/png", "name": "Größe.png", "size": 6},
        {"url": f"{url}/attachments/2", "content-type": "text/html", "name": "x.html", "size": 18},
    ]
    assert found["content-id-map"] == {"<pic@x>": found["attachments"][0]}


async def test_a_message_without_files_says_so(client, keep):
    await keep("k2", content=b"Subject: x\r\n\r\ntext\r\n")
    found = await client.json("GET", f"{BASE}/k2")
    assert (found["attachments"], found["content-id-map"], found["from"]) == ([], {}, "")


async def test_a_message_is_read_whole(client, keep):
    found = await client.json("GET", f"{BASE}/k1", headers={"Accept": "Message/RFC2822"})
    assert sorted(found) == ["body-mime", "from", "recipient", "recipients", "sender", "subject"]
    assert found["body-mime"] == MAIL.decode()
    assert found["subject"] == "Größe"


async def test_a_file_is_its_octets_and_no_page_of_ours(client, keep):
    answer = await client("GET", f"{BASE}/k1/attachments/1")
    assert ((await answer.text("latin-1")).encode("latin-1"), answer.headers["Content-Type"]) == (
        b"\x89PNG\x00\xff",
        "image/png",
    )
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png"
    )
    page = await client("GET", f"{BASE}/k1/attachments/2")
    assert page.headers["Content-Disposition"] == 'attachment; filename="x.html"'
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("number", ["0", "3", "-1", "x", "%D9%A1", "9" * 400, "0000000019", "0" * 5000 + "1", "1.0"])
async def test_a_file_that_is_not_there_is_not_found(client, keep, number):
    assert (await client("GET", f"{BASE}/k1/attachments/{number}")).status == 404


async def test_a_file_alone_cannot_be_deleted(client, keep):
    assert (await client("DELETE", f"{BASE}/k1/attachments/1")).status == 405


async def test_a_deleted_message_is_gone(client, house, keep):
    assert await client.json("DELETE", f"{BASE}/k1") == {"message": "Message has been deleted"}
    for method in ("GET", "DELETE", "POST"):
        answer = await client(method, f"{BASE}/k1", data={"to": "a@b.example"} if method == "POST" else None)
        assert answer.status == 404
    assert (await client("GET", f"{BASE}/k1/attachments/1")).status == 404
    assert await house.database.read(lambda c: c.execute("SELECT count(*) FROM bodies").fetchone()) == (0,)


async def test_a_message_is_sent_again_as_it_is(client, house, keep):
    said = await client.json(
        "POST", f"{BASE}/k1", data=[("to", "Ann <a@b.example>, c@d.example"), ("to", "e@f.example")]
    )
    assert said == {"id": "<m1@their.example>", "message": "Queued. Thank you."}
    kept = (await house.stored())[-1]
    assert kept.recipients == ["a@b.example", "c@d.example", "e@f.example"]
    assert kept.reverse_path == f"postmaster@{DOMAIN}"
    assert kept.about["login"].startswith("key ")  # as of every message that came by HTTP
    assert kept.raw.endswith(MAIL)


async def test_nobody_gets_it_twice(client, house, keep):
    await client.json("POST", f"{BASE}/k1", data=[("to", "a@b.example, A@B.example"), ("to", "Ann <a@b.example>")])
    assert (await house.stored())[-1].recipients == ["a@b.example"]


async def test_a_disabled_domain_sends_nothing_again(client, house, keep):
    await house.database.writer.write(lambda c: c.execute("UPDATE domains SET is_disabled = 1"))
    await house.tenants.load()
    assert (await client("POST", f"{BASE}/k1", data={"to": "a@b.example"})).status == 403


@pytest.mark.parametrize(
    "data",
    [None, {"to": ""}, {"to": "nobody"}, {"to": ",".join(f"u{n}@b.example" for n in range(1001))}],
    ids=["none", "empty", "no address", "too many"],
)
async def test_sent_again_to_nobody_is_a_bad_request(client, keep, data):
    assert (await client("POST", f"{BASE}/k1", data=data)).status == 400


async def test_control_fields_that_a_stranger_wrote_are_not_followed(client, house, keep):
    await keep("k2", content=b"From: a@b.example\r\nX-Mailgun-Drop-Message: yes\r\nX-Mailgun-Tag: x\r\n\r\ntext\r\n")
    await client.json("POST", f"{BASE}/k2", data={"to": "a@b.example"})
    kept = (await house.stored())[-1]
    assert (kept.options.test_mode, kept.options.tags) == (False, ())


async def test_each_domain_and_each_key_sees_its_own(client, house, keep):
    await house.add_key(KEY_OF_OTHER, OTHER)
    assert (await client("GET", f"/v3/domains/{OTHER}/messages/k1")).status == 404
    assert (await client("GET", f"/v3/domains/{OTHER}/messages/k1", key=KEY_OF_OTHER)).status == 403
    assert (await client("GET", f"{BASE}/k1", key=KEY_OF_OTHER)).status in (401, 403, 404)
    assert (await client("GET", f"{BASE}/k1", key=None)).status == 401
    assert (await client("DELETE", f"{BASE}/k1", key=KEY_OF_OTHER)).status in (401, 403, 404)
    assert (await client("GET", f"{BASE}/k1")).status == 200


async def test_the_old_version_answers_too(client, keep):
    found = await client.json("GET", f"/v2/domains/{DOMAIN}/messages/k1")
    assert "/v2/domains/" in found["message-url"]


@pytest.mark.parametrize(
    "content", [b"\r\n", b"\x00\xff" * 50, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b"]
)
async def test_broken_mail_is_answered_too(client, keep, content):
    await keep("k3", content=content)
    for headers in ({}, {"Accept": "message/rfc2822"}):
        assert (await client("GET", f"{BASE}/k3", headers=headers)).status == 200


async def test_messages_that_are_asked_for_at_one_time_are_read_when_there_is_room_for_them(house, keep, monkeypatch):
    two_at_a_time, met = threading.Barrier(2), []

    def look(content):
        with suppress(threading.BrokenBarrierError):
            two_at_a_time.wait(0.05)
            met.append(content)
        return parse(content)

    monkeypatch.setattr(stored, "parse", look)
    chapter = StoredMessages(house.database, house.outgoing, house.submit, memory=stored.GROWTH * len(MAIL))
    async with serve(house, [chapter]) as client:
        paths = [f"{BASE}/k1", f"{BASE}/k1/attachments/1"] * 3
        answers = await asyncio.gather(*[client("GET", path) for path in paths])
    assert {one.status for one in answers} == {200}
    assert met == []
