import email
import email.policy
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.inbound.payload import (
    Field,
    File,
    Stored,
    Text,
    attachment_list,
    content_id_map,
    forwarded,
    letter,
    raw,
    stored,
)
from mtad.message.parse import parse

CONTENT = (
    b"Received: by mx.example.org\r\nX-Envelope-From: <alice@example.com>\r\nX-Mailgun-Incoming: Yes\r\n"
    b"From: =?utf-8?q?Alice_=C3=84rger?= <alice@example.com>\r\nTo: support@example.org\r\nReceived: by a\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nMessage-ID: <1@example.com>\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nYes.\r\n\r\n-- \r\nAlice\r\n\r\n"
    b"On 5 Jan 2026 10:12, Bob wrote:\r\n> Well?\r\n"
    b'--b\r\nContent-Type: text/html\r\n\r\n<p>Yes.</p><blockquote type="cite">Well?</blockquote>\r\n'
    b"--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n"
    b'--b\r\nContent-Type: image/png; name="a.png"\r\nContent-ID: <pic@x>\r\n\r\nPNG\r\n'
    b"--b\r\nContent-Type: application/pdf\r\n\r\nPDF\r\n--b--\r\n"
)
PLAIN = b"From: a@example.com\r\nTo: b@example.org\r\n\r\nHello\r\n"
PLACE = Stored("example.org", "https://api/v3/domains/example.org/messages/k", lambda number: f"https://api/k/{number}")


def fields(content: bytes) -> list[Field]:
    return list(forwarded(letter(parse(content)), "support@example.org", "alice@example.com"))


def names(some: Iterable[Field]) -> list[str]:
    return [one.name for one in some]


def value(some: Iterable[Field], name: str) -> str:
    (only,) = [one.value for one in some if isinstance(one, Text) and one.name == name]
    return only


HEADERS = ["Received", "X-Envelope-From", "X-Mailgun-Incoming", "From", "To", "Received", "Subject", "Mime-Version"]
HEADERS += ["Message-Id", "Content-Type"]


def test_a_forward_has_the_documented_fields_in_order() -> None:
    assert names(fields(CONTENT)) == [
        *("recipient", "sender", "from", "subject", "body-plain", "stripped-text", "stripped-signature"),
        *("body-html", "stripped-html", "body-calendar"),
        *("attachment-count", "attachment-1", "attachment-2", "content-id-map", "message-headers"),
        *HEADERS,
    ]


def test_the_values_of_a_forward() -> None:
    posted = fields(CONTENT)
    assert value(posted, "recipient") == "support@example.org"
    assert value(posted, "sender") == "alice@example.com"
    assert value(posted, "from") == value(posted, "From") == "Alice Ärger <alice@example.com>"
    assert value(posted, "subject") == value(posted, "Subject") == "Grüße"
    assert value(posted, "stripped-text") == "Yes."
    assert value(posted, "stripped-signature") == "-- \nAlice"
    assert "> Well?" in value(posted, "body-plain")
    assert "Well?" not in value(posted, "stripped-html")
    assert value(posted, "attachment-count") == "2"
    assert orjson.loads(value(posted, "content-id-map")) == {"<pic@x>": "attachment-1"}
    pairs = orjson.loads(value(posted, "message-headers"))
    assert [name for name, _ in pairs] == HEADERS
    assert ["X-Mailgun-Incoming", "Yes"] in pairs


def test_attachments_are_files_with_their_own_type_and_a_name() -> None:
    files = [one for one in fields(CONTENT) if isinstance(one, File)]
    assert files == [
        File("attachment-1", "a.png", "image/png", b"PNG"),
        File("attachment-2", "attachment-2.pdf", "application/pdf", b"PDF"),
    ]


def test_a_plain_message_has_no_field_that_says_nothing() -> None:
    posted = fields(PLAIN)
    assert names(posted) == [
        *("recipient", "sender", "from", "subject", "body-plain", "stripped-text", "stripped-signature"),
        *("message-headers", "From", "To"),
    ]
    assert value(posted, "subject") == value(posted, "stripped-signature") == ""
    assert value(posted, "stripped-text") == value(posted, "body-plain") == "Hello\n"


def test_the_new_text_of_html_alone_is_that_of_the_stripped_html() -> None:
    html = b"<p>Yes</p><div class=gmail_attr>Bob:</div><blockquote class=gmail_quote>q</blockquote>"
    posted = fields(b"Content-Type: text/html\r\n\r\n" + html)
    assert value(posted, "stripped-text").strip() == "Yes"
    assert "q" in value(posted, "body-plain")


def test_a_raw_forward_has_the_message_and_its_header_fields_only() -> None:
    posted = list(raw(CONTENT, "support@example.org", "alice@example.com"))
    assert names(posted) == ["recipient", "sender", "from", "subject", "body-mime", "message-headers", *HEADERS]
    assert value(posted, "body-mime").encode() == CONTENT


def test_the_notice_of_a_stored_message_says_where_things_are() -> None:
    posted = list(stored(letter(parse(CONTENT)), "support@example.org", "alice@example.com", PLACE))
    assert names(posted) == [
        *("recipient", "sender", "from", "subject", "domain", "body-plain", "stripped-text", "stripped-signature"),
        *("body-html", "stripped-html", "body-calendar", "attachment-count", "attachments", "message-url"),
        *("content-id-map", "message-headers"),
        *HEADERS,
    ]
    picture = {"url": "https://api/k/1", "content-type": "image/png", "name": "a.png", "size": 3}
    assert orjson.loads(value(posted, "attachments"))[0] == picture
    assert orjson.loads(value(posted, "content-id-map")) == {"<pic@x>": picture}
    assert value(posted, "message-url") == PLACE.message_url
    assert value(posted, "domain") == "example.org"
    assert all(isinstance(one, Text) for one in posted)


def test_a_stored_message_without_files_has_no_list_of_them() -> None:
    posted = names(stored(letter(parse(PLAIN)), "b@example.org", "a@example.com", PLACE))
    assert not {"attachments", "attachment-count", "content-id-map"} & {*posted}


def test_the_api_lists_attachments_as_the_notice_does() -> None:
    parsed = parse(CONTENT)
    told = attachment_list(parsed.attachments, PLACE.attachment_url)
    assert [one["size"] for one in told] == [3, 3]
    assert content_id_map(parsed, PLACE.attachment_url) == {"<pic@x>": told[0]}


@settings(max_examples=150, deadline=2000)
@given(
    st.lists(
        st.sampled_from([b"event: x\r\n", b"attachments: x\r\n", b"-event: y\r\n", b"timestamp: 1\r\n", b"token:\r\n"])
        | st.sampled_from([b"Content-Type: text/event\r\n", b"Content-Disposition: attachment\r\n", b"\r\n"])
        | st.binary(max_size=30),
        max_size=12,
    ).map(b"".join)
)
def test_no_message_makes_a_field_that_receivers_take_for_another_kind_of_post(content: bytes) -> None:
    for posted in (fields(content), list(raw(content, "a@b.example", ""))):
        assert not {"event", "attachments", "timestamp", "token", "signature"} & {*names(posted)}
        for one in posted:
            if isinstance(one, Text):
                one.value.encode()


# Raw messages as text


@pytest.mark.parametrize(
    ("head", "octets", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        (
            b'Content-Type: text/plain; charset="us-ascii"; x=y',
            b"Gr\xfc\xdfe aus M\xfcnchen",
            "Grüße aus München",
        ),
        (b"Content-Type: text/plain", b"Gr\xfc\xdfe aus M\xfcnchen", "Grüße aus München"),
        (b"X: y", b"Gr\xfc\xdfe aus M\xfcnchen", "Grüße aus München"),
    ],
)
def test_a_text_that_is_not_utf_8_is_written_so_and_says_so(head: bytes, octets: bytes, text: str) -> None:
    for content in (
        head + b"\r\n\r\n" + octets,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + head + b"\r\n\r\n" + octets,
    ):
        posted = value(raw(content, "a@b.example", ""), "body-mime")
        leaves = [one for one in email.message_from_bytes(posted.encode(), policy=email.policy.default).walk()]
        assert leaves[-1].get_content_charset() == "utf-8"
        assert leaves[-1].get_content().rstrip("\n") == text


def test_a_file_in_octets_becomes_base64_and_loses_none() -> None:
    octets = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"")
    content = b"From: \xfc <a@b.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    content += (
        b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets + b"\r\n--b--\r\n"
    )
    posted = value(raw(content, "a@b.example", ""), "body-mime")
    assert posted.startswith("From: ü <a@b.example>\r\n")
    assert [one.content for one in parse(posted.encode()).attachments] == [octets]


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=300).map(lambda octets: b"Content-Type: text/plain; charset=koi8-r\r\n" + octets))
def test_any_message_can_be_posted_raw(content: bytes) -> None:
    assert "\x00" not in value(raw(content, "a@b.example", ""), "body-mime").encode().decode()
