import asyncio
import io
import re
import sqlite3
from email.utils import formatdate

import aiohttp
import pytest

from mtad.api.http.answers import NotFound
from mtad.api.http.messages import Limits, Rendered
from mtad.mail.options import Clicks
from mtad.mail.reply import Reply
from tests.api.http.house import DOMAIN, KEY, OTHER, open_house, serve
from tests.virtualclock import VirtualClock

SEND, MIME = f"/v3/{DOMAIN}/messages", f"/v3/{DOMAIN}/messages.mime"
PLAIN = [("from", "Ann <ann@mg.example.com>"), ("to", "bob@example.net"), ("subject", "Hello"), ("text", "Text")]
NOW = 1_795_000_000.0
RAW = (
    b"From: Ann <ann@mg.example.com>\nTo: shown@example.net\nSubject: Raw\nMessage-Id: <own@x>\nBcc: c@x.org\n\nText\n"
)


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path, VirtualClock(NOW)) as house:
        yield house


@pytest.fixture
async def client(house):
    async with serve(house, [house.messages()]) as client:
        yield client


def form(*pairs, files=()):
    """multipart/form-data."""
    made = aiohttp.FormData(quote_fields=False)
    for name, value in pairs:
        made.add_field(name, value, content_type="text/plain" if isinstance(value, bytes) else None)
    for name, filename, content, kind in files:
        made.add_field(name, content, filename=filename, content_type=kind)
    return made


def but(*pairs, without=()):
    """PLAIN with other values."""
    names = {name for name, _ in pairs} | set(without)
    return [(name, value) for name, value in PLAIN if name not in names] + list(pairs)


async def test_a_message_is_queued_and_its_id_told(client, house):
    found = await client.json("POST", SEND, data=PLAIN)
    assert found["message"] == "Queued. Thank you."
    kept = await house.only()
    assert kept.recipients == ["bob@example.net"]
    assert kept.reverse_path == "ann@mg.example.com"
    assert kept.about["method"] == "http"
    message = kept.message
    assert found["id"] == message["Message-Id"]
    assert re.fullmatch(rf"<[^<>@\s]+@{DOMAIN}>", found["id"])
    assert message["From"] == "Ann <ann@mg.example.com>"
    assert message["To"] == "bob@example.net"
    assert message["Subject"] == "Hello"
    assert message["Date"]
    assert message.get_content().split() == ["Text"]


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
async def test_every_version_sends(client, house, version):
    await client.json("POST", f"/v{version}//{DOMAIN.upper()}/messages/", data=PLAIN)
    assert len(await house.stored()) == 1


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (but(without=["from"]), "from parameter is missing"),
        (but(("from", " ")), "from parameter is missing"),
        (but(without=["to"]), "to parameter is missing"),
        (but(("bcc", "x@example.net"), without=["to"]), "to parameter is missing"),
        (but(("to", "nobody")), "to parameter is not a valid address"),
        (but(("to", "a@example.net, b@")), "to parameter is not a valid address"),
        (but(("from", "Na, me <a@b.c>")), "from parameter is not a valid address"),
        (but(("cc", "a b@c.d")), "cc parameter is not a valid address"),
        (but(("bcc", "a@b@c")), "bcc parameter is not a valid address"),
        (but(without=["text"]), "text, html or template is needed"),
        (but(("template", "t"), ("html", "")), "html and template exclude each other"),
        (but(("to", ",".join(f"u{n}@example.net" for n in range(1001)))), "more than 1000 recipients"),
        (
            but(*[("to", f"u{n}@example.net") for n in range(600)], *[("cc", f"v{n}@x.org") for n in range(401)]),
            "more than 1000 recipients",
        ),
        (but(("recipient-variables", "nonsense")), "recipient-variables is not a JSON object of objects"),
        (but(("recipient-variables", '{"bob@example.net": 1}')), "recipient-variables is not a JSON object of objects"),
        (but(("o:deliverytime", "soon")), "o:deliverytime is neither an RFC 2822 date nor Unix seconds"),
        (but(("o:deliverytime", str(NOW + 260_000))), "o:deliverytime is more than 3 days ahead"),
        (but(("o:tag", "t" * 129)), "o:tag is longer than 128 characters"),
        (but(("o:tag", "t\xe4g")), "o:tag is not printable ASCII"),
        (but(("o:dkim", "perhaps")), "o:dkim is neither yes nor no"),
        (but(("o:tracking-clicks", "perhaps")), "o:tracking-clicks is none of yes, no and htmlonly"),
        (but(("h:Gr\xfc\xdfe", "x")), "header name is not ASCII: Gr\xfc\xdfe"),
        (but(("h:a b", "x")), "header name is not valid: a b"),
        (but(("h:X-Mailgun-Variables", "[1]")), "h:X-Mailgun-Variables is not a JSON object"),
        (but(("v:big", "x" * 17_000)), "options are larger than 16 kB"),
        (but(("t:variables", "{")), "t:variables is not valid JSON"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_queued(client, house, pairs, said):
    found = await client.json("POST", SEND, 400, data=pairs)
    assert found == {"message": said}
    assert await house.stored() == []


@pytest.mark.parametrize("path", [SEND, MIME])
async def test_a_disabled_domain_is_403_and_says_so(client, house, path):
    await house.database.writer.write(lambda c: c.execute("UPDATE domains SET is_disabled = 1"))
    await house.tenants.load()
    found = await client.json("POST", path, 403, data=PLAIN)
    assert found["message"].startswith(f"Domain {DOMAIN} is not allowed to send: ")
    assert await house.stored() == []


async def test_an_unknown_domain_is_told_as_clients_look_for_it(client):
    found = await client.json("POST", "/v3/nowhere.example/messages", 404, data=PLAIN)
    assert found == {"message": "Domain not found: nowhere.example"}


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([("o:tag", "a"), ("o:tag", "A"), ("o:tag", "b"), ("o:tag", "c"), ("o:tag", "d")], {"tags": ("a", "b", "c")}),
        ([("o:tag[]", "a"), ("o:tag[1]", "b"), ("o:tag", "")], {"tags": ("a", "b")}),
        ([("o:campaign", "c1")], {"campaigns": ("c1",)}),
        ([("o:dkim", "no")], {"dkim": False}),
        ([("o:testmode", "True")], {"test_mode": True}),
        ([("o:tracking", "on")], {"track_opens": True, "track_clicks": Clicks.YES}),
        ([("o:tracking", "0")], {"track_opens": False, "track_clicks": Clicks.NO}),
        ([("o:tracking", "no"), ("o:tracking-opens", "yes")], {"track_opens": True, "track_clicks": Clicks.NO}),
        ([("o:tracking-clicks", "htmlonly")], {"track_clicks": Clicks.HTML_ONLY}),
        ([("o:tracking-clicks", "false")], {"track_clicks": Clicks.NO}),
        ([("o:tracking-pixel-location-top", "yes")], {"pixel_top": True}),
        ([("o:tracking-pixel-location-top", "htmlonly")], {}),
        ([("o:require-tls", "1"), ("o:skip-verification", "off")], {"require_tls": True, "skip_verification": False}),
        ([("o:deliverytime", str(NOW + 60))], {"deliver_at": NOW + 60}),
        ([("o:deliverytime", str(NOW - 60))], {}),
        ([("v:my", '{"a": 1}'), ("v:n", "2")], {"variables": {"my": '{"a": 1}', "n": "2"}}),
        ([("h:x-mailgun-variables", '{"a": 1, "b": 2}'), ("v:b", "3")], {"variables": {"a": 1, "b": "3"}}),
        ([("recipient-variables", "{}")], {"recipient_variables": {}}),
        ([("h:X-Mailgun-Tag", "t")], {"tags": ("t",)}),
        ([("h:X-Mailgun-Tag", "t"), ("o:tag", "u")], {"tags": ("u",)}),
        (
            [
                (f"o:{name}", "whatever \xe9")
                for name in ("sending-ip", "sending-ip-pool", "secondary-dkim", "archive-to")
            ]
            + [
                (f"o:{name}", "?")
                for name in ("deliver-within", "time-zone-localize", "sender", "native-send", "unheard")
            ]
            + [("t:unheard", "?"), ("unheard", "?")],
            {},
        ),
    ],
)
async def test_options_are_kept_with_the_message(client, house, pairs, wanted):
    await client.json("POST", SEND, data=[*PLAIN, *pairs])
    options = (await house.only()).options
    assert {name: getattr(options, name) for name in wanted} == wanted
    if not wanted:
        assert options.to_json() == b""


@pytest.mark.parametrize("written", [formatdate(NOW + 3600), formatdate(NOW + 3600, usegmt=True), f"{NOW + 3600}"])
async def test_a_time_to_come_is_waited_for(client, house, written):
    await client.json("POST", SEND, data=but(("o:deliverytime", written)))
    assert (await house.only()).deliver_at == NOW + 3600


async def test_recipients_are_sent_to_once_and_bcc_is_not_shown(client, house):
    pairs = but(
        ("to", 'Bob <bob@example.net>, "Na, me" <c@x.org>'),
        ("to[]", "BOB@example.net"),
        ("cc", "c@x.org, d@x.org"),
        ("bcc", "e@x.org"),
    )
    await client.json("POST", SEND, data=pairs)
    kept = await house.only()
    assert kept.recipients == ["bob@example.net", "c@x.org", "d@x.org", "e@x.org"]
    assert kept.message["To"] == 'Bob <bob@example.net>, "Na, me" <c@x.org>'
    assert kept.message["Cc"] == "c@x.org, d@x.org"
    assert b"e@x.org" not in kept.raw


async def test_a_batch_makes_personal_copies_and_hides_bcc(client, house):
    people = '{"a@x.org": {"name": "A"}, "b@x.org": {"name": "B"}}'
    pairs = but(
        ("to", "a@x.org, b@x.org"), ("bcc", "c@x.org"), ("recipient-variables", people), ("text", "%recipient.name%")
    )
    await client.json("POST", SEND, data=pairs)
    kept = await house.only()
    assert sorted(kept.recipients) == ["a@x.org", "b@x.org", "c@x.org", "c@x.org"]
    assert b"c@x.org" not in kept.raw


async def test_several_authors_all_stand_in_from_and_the_first_sends(client, house):
    await client.json("POST", SEND, data=[*PLAIN, ("from", "dan@x.org")])
    kept = await house.only()
    assert kept.message["From"] == "Ann <ann@mg.example.com>, dan@x.org"
    assert kept.message["Sender"] == "Ann <ann@mg.example.com>"
    assert kept.reverse_path == "ann@mg.example.com"


async def test_an_author_elsewhere_has_the_postmaster_send_for_him(client, house):
    await client.json("POST", SEND, data=but(("from", "ann@elsewhere.example")))
    kept = await house.only()
    assert kept.reverse_path == f"postmaster@{DOMAIN}"
    assert kept.message["Sender"] == f"ann=elsewhere.example@{DOMAIN}"


async def test_headers_are_set_added_and_replaced(client, house):
    pairs = [
        ("h:Reply-To", "B\xf6b <bob@x.org>"),
        ("h:X-Twice", "one"),
        ("h:X-Twice", "two"),
        ("h:List-Unsubscribe", "<https://x.org/%recipient.id%>, <mailto:u@x.org>"),
        ("h:Subject", "first"),
        ("h:subject", "Grüße"),
        ("h:Message-Id", "mine@x.org"),
        ("h:To", "everybody:;"),
        ("h:X-Evil", "a\r\nBcc: x@y.z"),
        ("h:Bcc", "z@x.org"),
        ("h:Content-Type", "text/html"),
        ("h:X-Idempotency-Key", "k"),
    ]
    found = await client.json("POST", SEND, data=[*PLAIN, *pairs])
    assert found["id"] == "<mine@x.org>"
    kept = await house.only()
    message = kept.message
    assert str(message["Reply-To"]) == "B\xf6b <bob@x.org>"
    assert message.get_all("X-Twice") == ["one", "two"]
    assert message["List-Unsubscribe"] == "<https://x.org/%recipient.id%>, <mailto:u@x.org>"
    assert message.get_all("Subject") == ["Grüße"]
    assert message.get_all("Message-Id") == ["<mine@x.org>"]
    assert message["X-Evil"] == "aBcc: x@y.z"
    assert message.get_content_type() == "text/plain"
    assert message.get_all("To") == ["everybody:;"]
    for name in ("Bcc", "X-Idempotency-Key"):
        assert name not in message


async def test_files_are_attached_in_order_and_shown_inline(client, house):
    data = form(
        *PLAIN,
        ("html", '<img src="cid:logo.png">'),
        files=[
            ("attachment", "a.txt", b"one", "text/plain; charset=koi8-r"),
            ("attachment", "\u65e5\u672c.pdf", b"%PDF", "application/pdf"),
            ("inline", "logo.png", b"\x89PNG", "image/png"),
        ],
    )
    await client.json("POST", SEND, data=data)
    message = (await house.only()).message
    attached = list(message.iter_attachments())
    assert [one.get_filename() for one in attached] == ["a.txt", "\u65e5\u672c.pdf"]
    assert [one.get_payload(decode=True) for one in attached] == [b"one", b"%PDF"]
    assert attached[0].get_content_charset() == "koi8-r"
    (picture,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-Id"] == "<logo.png>"
    assert picture.get_content_disposition() == "inline"


async def test_files_are_found_under_names_with_brackets(client, house):
    files = [
        ("attachment[0]", "a.txt", b"a", "text/plain"),
        ("attachment[]", "b.txt", b"b", "text/plain"),
        ("inline[1]", "c.png", b"c", "image/png"),
    ]
    await client.json("POST", SEND, data=form(*PLAIN, ("html", '<img src="cid:c.png">'), files=files))
    names = [part.get_filename() for part in (await house.only()).message.walk()]
    assert [name for name in names if name] == ["c.png", "a.txt", "b.txt"]


async def test_events_are_told_what_is_attached(client, house):
    data = form(
        *PLAIN,
        files=[("attachment", "a.txt", b"one", "text/plain; charset=koi8-r"), ("inline", "b.png", b"\x89PNG", "")],
    )
    await client.json("POST", SEND, data=data)
    mime = b"From: a@x.org\nContent-Type: image/png; name=c.png\nContent-Transfer-Encoding: base64\n\niVBO\n"
    await client.json("POST", f"{SEND}.mime", data=form(("to", "b@x.org"), files=[("message", "m", mime, "")]))
    letter, whole = [one.about["attachments"] for one in await house.stored()]
    assert letter == [
        {"filename": "b.png", "content-type": "image/png", "size": 4},
        {"filename": "a.txt", "content-type": "text/plain", "size": 3},
    ]
    assert whole == [{"filename": "c.png", "content-type": "image/png", "size": 3}]


async def test_an_attachment_without_a_file_name_is_ignored(client, house):
    await client.json("POST", SEND, data=form(*PLAIN, ("attachment", "no file")))
    assert (await house.only()).message.get_content_type() == "text/plain"


async def test_a_message_of_more_than_its_limit_is_413(house):
    async with serve(house, [house.messages(limits=Limits(message=100_000))]) as client:
        data = form(*PLAIN, files=[("attachment", "a", b"x" * 90_000, "x/y")])
        assert "larger than" in (await client.json("POST", SEND, 413, data=data))["message"]
        await client.json(
            "POST", MIME, 413, data=form(("to", "a@x.org"), files=[("message", "m", b"x" * 100_001, "x/y")])
        )
    async with serve(house, [house.messages()], max_body_octets=1_048_576) as client:
        await client.json("POST", SEND, 413, data=io.BytesIO(b"x" * 1_048_577))
    assert await house.stored() == []


async def test_when_the_store_cannot_take_it_nothing_is_sent_and_503_says_so(client, house):
    house.gate = Reply(452, "3.1", "The disk is nearly full; try again later")
    assert await client.json("POST", SEND, 503, data=PLAIN) == {"message": "The disk is nearly full; try again later"}
    house.gate = None
    await house.database.writer.write(lambda c: c.execute("DROP TABLE recipients"))
    assert "could not be stored" in (await client.json("POST", SEND, 503, data=PLAIN))["message"]


# --- messages.mime ---


@pytest.mark.parametrize("as_file", [True, False])
async def test_a_mime_message_goes_as_it_is_to_those_in_to(client, house, as_file):
    pairs = [("to", "Bob <bob@example.net>"), ("to", "c@x.org, bob@example.net"), ("o:tag", "t")]
    files = [("message", "mime", RAW, "message/rfc822")] if as_file else []
    pairs += [] if as_file else [("message", RAW.decode())]
    found = await client.json("POST", MIME, data=form(*pairs, files=files))
    assert found == {"id": "<own@x>", "message": "Queued. Thank you."}
    kept = await house.only()
    assert kept.recipients == ["bob@example.net", "c@x.org"]
    assert kept.reverse_path == f"postmaster@{DOMAIN}"
    assert kept.options.tags == ("t",)
    assert kept.raw.endswith(b"\r\n\r\nText\r\n")
    assert b"From: Ann <ann@mg.example.com>\r\nTo: shown@example.net\r\nSubject: Raw\r\n" in kept.raw
    assert b"c@x.org" not in kept.raw.partition(b"\r\n\r\n")[0].replace(b"for <", b"")


async def test_an_option_goes_before_the_control_header_in_the_mime(client, house):
    raw = b'X-Mailgun-Tag: low\r\nX-Mailgun-Dkim: no\r\nX-Mailgun-Variables: {"a": 1}\r\n' + RAW.replace(b"\n", b"\r\n")
    pairs = [("to", "b@x.org"), ("o:dkim", "yes"), ("v:b", "2"), ("h:Subject", "New"), ("h:X-More", "m")]
    await client.json("POST", MIME, data=form(*pairs, files=[("message", "m", raw, "x/y")]))
    kept = await house.only()
    assert kept.options.tags == ("low",)
    assert kept.options.dkim is True
    assert kept.options.variables == {"a": 1, "b": "2"}
    assert kept.message.get_all("Subject") == ["New"]
    assert kept.message["X-More"] == "m"
    assert b"X-Mailgun-Tag" not in kept.raw


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("to", "b@x.org")], "message parameter is missing"),
        ([("to", "b@x.org"), ("message", "")], "message parameter is missing"),
        ([("message", "Subject: x\r\n\r\n")], "to parameter is missing"),
        ([("to", "b@x.org"), ("message", "Subject: x\r\n\r\n\0")], "message parameter holds a NUL octet"),
    ],
)
async def test_a_mime_send_says_what_is_missing(client, pairs, said):
    assert await client.json("POST", MIME, 400, data=pairs) == {"message": said}


# --- templates ---


async def test_a_template_makes_the_texts_and_what_is_not_said(house):
    asked = []

    async def render(domain, name, version, variables, text):
        asked.append((domain.name, name, version, variables, text))
        if name == "none":
            raise NotFound("template not found")
        return Rendered("<p>Hi</p>", "Hi" if text else "", {"Subject": "From the template", "Reply-To": "r@x.org"})

    pairs = [("template", "t"), ("t:version", "v2"), ("t:text", "yes"), ("v:n", "[1]"), ("v:s", "x")]
    async with serve(house, [house.messages(render=render)]) as client:
        await client.json("POST", SEND, data=but(*pairs, without=["text", "subject"]))
        message = (await house.only()).message
        assert message["Subject"] == "From the template"
        assert message["Reply-To"] == "r@x.org"
        assert message.get_body(("html",)).get_content().strip() == "<p>Hi</p>"
        assert message.get_body(("plain",)).get_content().strip() == "Hi"
        assert asked == [(DOMAIN, "t", "v2", {"n": [1], "s": "x"}, True)]
        await client.json("POST", SEND, 404, data=but(("template", "none")))


@pytest.mark.parametrize("by", ["parameter", "header parameter", "header in the MIME"])
async def test_a_mime_message_gets_its_texts_from_the_template_that_is_named(house, by):
    asked = []

    async def render(domain, name, version, variables, text):
        asked.append((name, version, variables))
        return Rendered("<p>Hi</p>", "", {"Subject": "From the template"})

    named = {
        "parameter": [("template", "t"), ("t:version", "v2"), ("t:variables", '{"n": 1}')],
        "header parameter": [
            ("h:X-Mailgun-Template-Name", "t"),
            ("h:x-mailgun-template-version", "v2"),
            ("h:X-Mailgun-Template-Variables", '{"n": 1}'),
        ],
        "header in the MIME": [],
    }[by]
    head = b'X-Mailgun-Template-Name: t\nX-Mailgun-Template-Version: v2\nX-Mailgun-Template-Variables: {"n": 1}\n'
    content = RAW if named else head + RAW
    async with serve(house, [house.messages(render=render)]) as client:
        data = form(("to", "a@example.net"), *named, files=[("message", "m", content, "x/y")])
        await client.json("POST", MIME, data=data)
    kept = await house.only()
    assert asked == [("t", "v2", {"n": 1})]
    assert kept.message["Subject"] == "Raw"
    assert kept.message.get_body(("html",)).get_content().strip() == "<p>Hi</p>"
    assert b"Text" not in kept.raw.partition(b"Subject")[2]
    assert kept.options.template == "t"


async def test_a_control_header_names_a_template_too(house):
    async def render(domain, name, version, variables, text):
        return Rendered(f"<p>{name}</p>")

    async with serve(house, [house.messages(render=render)]) as client:
        pairs = but(("h:X-Mailgun-Template-Name", "t"), without=["text"])
        await client.json("POST", SEND, data=pairs)
        long = but(("h:X-Mailgun-Template-Name", "t" * 300), without=["text"])
        assert "h:X-Mailgun-Template-Name" in (await client.json("POST", SEND, 400, data=long))["message"]
    assert (await house.only()).message.get_content().strip() == "<p>t</p>"


# --- idempotency ---


async def test_the_same_key_is_answered_and_sends_nothing(client, house):
    first = await client.json("POST", SEND, data=[*PLAIN, ("h:X-Idempotency-Key", "k1")])
    again = await client.json("POST", SEND, data=but(("h:X-Idempotency-Key", "k1"), ("subject", "other")))
    by_header = await client.json("POST", MIME, headers={"Idempotency-Key": "k1"}, data=PLAIN)
    assert first == again == by_header
    assert len(await house.stored()) == 1
    other = await client.json("POST", SEND, headers={"Idempotency-Key": "k2"}, data=PLAIN)
    elsewhere = await client.json("POST", f"/v3/{OTHER}/messages", headers={"Idempotency-Key": "k1"}, data=PLAIN)
    assert len({first["id"], other["id"], elsewhere["id"]}) == 3


async def test_the_same_key_at_the_same_time_waits_for_the_first(client, house):
    sends = [client.json("POST", SEND, data=[*PLAIN, ("h:X-Idempotency-Key", "k")]) for _ in range(20)]
    found = await asyncio.gather(*sends)
    assert len({one["id"] for one in found}) == 1
    assert len(await house.stored()) == 1


async def test_a_refused_send_may_be_mended_under_its_key(client, house):
    headers = {"Idempotency-Key": "k"}
    await client.json("POST", SEND, 400, headers=headers, data=but(without=["from"]))
    house.gate = Reply(451, "3.0", "later")
    await client.json("POST", SEND, 503, headers=headers, data=PLAIN)
    house.gate = None
    await client.json("POST", SEND, headers=headers, data=PLAIN)
    assert len(await house.stored()) == 1


async def test_a_commit_that_fails_leaves_no_answer_behind(client, house):
    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no'); END")

    headers = {"Idempotency-Key": "k"}
    await house.database.writer.write(refuse)
    await client.json("POST", SEND, 503, headers=headers, data=PLAIN)
    await house.database.writer.write(lambda c: c.execute("DROP TRIGGER no"))
    await client.json("POST", SEND, headers=headers, data=PLAIN)
    assert len(await house.stored()) == 1


async def test_a_key_is_free_again_after_a_day(client, house):
    headers = {"Idempotency-Key": "k"}
    await client.json("POST", SEND, headers=headers, data=PLAIN)
    house.clock.advance(86_401)
    await client.json("POST", SEND, headers=headers, data=PLAIN)
    assert len(await house.stored()) == 2


async def test_a_key_of_any_length_is_refused_with_reason(client):
    found = await client.json("POST", SEND, 400, headers={"Idempotency-Key": "k" * 256}, data=PLAIN)
    assert found == {"message": "the idempotency key is longer than 255 characters"}


# --- keys ---


async def test_a_sending_key_sends_for_its_domain_and_does_nothing_else(client, house):
    await house.add_key("key-of-the-domain", DOMAIN)
    await client.json("POST", SEND, key="key-of-the-domain", data=PLAIN)
    found = await client.json("POST", f"/v3/{OTHER}/messages", 403, key="key-of-the-domain", data=PLAIN)
    assert found == {"message": f"This key may only send messages of {DOMAIN}"}


async def test_without_a_key_the_body_is_not_read(client, house):
    await client.json("POST", SEND, 401, key=KEY + "x", data=PLAIN)
    assert await house.stored() == []
