import base64
import quopri
import time
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.message.container import BadContainer, unwrap
from mtad.message.headers import scan

SAMPLES = Path(__file__).parent / "samples" / "control"
DAY = 86_400
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp()

INNER = b"From: a@b.c\r\nSubject: Hi %recipient.name%\r\nX-Mailgun-Dkim: no\r\n\r\nHello\r\n"
JSON = b'{"bob@example.org": {"name": "Bob"}}'
JSON_PART = b"Content-Type: application/json\r\n\r\n" + JSON
MESSAGE_PART = b"Content-Type: message/rfc822\r\n\r\n" + INNER


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes().replace(b"\n", b"\r\n")


def container(*parts: bytes, boundary: bytes = b"b", close: bytes = b"--", fields: bytes = b"") -> bytes:
    head = fields + b'Content-Type: multipart/mailgun-variables; boundary="' + boundary + b'"\r\n\r\n'
    line = b"--" + boundary
    return head + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + close + b"\r\n"


def opened(content: bytes):
    return unwrap(content, scan(content))


def refused(content: bytes) -> str:
    with pytest.raises(BadContainer) as caught:
        opened(content)
    reply = str(caught.value.reply)
    assert reply == f"554 5.6.0 {caught.value}"
    assert reply.isascii()
    assert len(reply) < 300
    return str(caught.value)


def test_the_manuals_example():
    """One object for everybody; the message comes out as it stands there."""
    found = opened(sample("manual.eml"))
    assert found is not None
    assert found.recipient_variables == {}
    assert found.shared_variables == {"description": "klizhentas"}
    assert found.content.startswith(b"Date: Thu, 26 Jul 2012 19:42:55 +0400\r\nTo: %recipient.description% <support@")
    assert found.content.endswith(b"\r\n\r\nsupport@mailgunhq.com %recipient.description%\r\n")
    assert found.block.message_id == "20120726154302.29322.40670@definebox.com"
    assert b"\r\nSubject: (rackspace) Hello\r\n MSK 2012 support@" in found.content
    options = found.control(NOW, DAY).options
    assert options.batch
    assert options.recipient_variables == {}
    assert options.shared_variables == {"description": "klizhentas"}


def test_variables_by_address_quoted_printable_and_a_multipart_within():
    content = sample("by-address.eml")
    found = opened(content)
    assert found is not None
    assert found.recipient_variables == {"bob@example.com": {"name": "Bob ✓"}, "carol@example.com": {"name": "Carol"}}
    assert found.shared_variables == {}
    assert found.content in content
    assert found.content.startswith(b"X-Mailgun-Tag: inner\r\n")
    assert found.content.endswith(b"<p>Hello</p>\r\n--outer-2--")
    assert found.block.content is found.content
    assert found.block.text(b"subject") == "Hello %recipient.name%"


def test_control_fields_of_both_headers_count_the_inner_winning():
    control = opened(sample("by-address.eml")).control(NOW, DAY)
    assert control.options.tags == ("inner", "outer")
    assert control.options.variables == {"a": 1, "b": 2}
    assert control.options.dkim is True
    assert control.options.track_opens is True
    assert control.options.batch
    assert control.names == {b"x-mailgun-tag", b"x-mailgun-variables", b"x-mailgun-dkim"}
    assert control.refusal is None


def test_a_field_with_recipient_variables_adds_to_those_of_the_json_part():
    field = b'X-Mailgun-Recipient-Variables: {"bob@example.org": {"x": 1, "name": "B."}, "d@e.f": {}}\r\n'
    control = opened(container(JSON_PART, MESSAGE_PART, fields=field)).control(NOW, DAY)
    assert control.options.recipient_variables == {"bob@example.org": {"name": "B.", "x": 1}, "d@e.f": {}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        INNER,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n",
        b"Content-Type: multipart/mailgun-variables-too; boundary=b\r\n\r\n",
        b"Content-Type: text/plain; name=multipart/mailgun-variables\r\n\r\n",
        b"Subject: multipart/mailgun-variables\r\n\r\nContent-Type: multipart/mailgun-variables\r\n",
    ],
)
def test_other_messages_are_no_container(content):
    assert opened(content) is None


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/mailgun-variables; boundary=b",
        b"MULTIPART/Mailgun-Variables;boundary=b",
        b'multipart/mailgun-variables; charset="a;boundary=x"; BOUNDARY = "b "',
        b"multipart/mailgun-variables;\r\n\tboundary=\r\n b",
        b'multipart/mailgun-variables; boundary="\\b"; x=y',
    ],
)
def test_content_types_are_read_as_mime_writes_them(kind):
    content = container(JSON_PART, MESSAGE_PART).partition(b"\r\n\r\n")[2]
    found = opened(b"Content-Type: " + kind + b"\r\n\r\n" + content)
    assert found is not None
    assert found.content == INNER


@pytest.mark.parametrize("parts", [(JSON_PART, MESSAGE_PART), (MESSAGE_PART, JSON_PART)])
def test_the_parts_may_stand_in_either_order(parts):
    found = opened(container(*parts))
    assert found is not None
    assert found.content == INNER
    assert found.recipient_variables == {"bob@example.org": {"name": "Bob"}}


ENCODED = {
    b"7bit": INNER,
    b"8Bit": INNER,
    b"binary": INNER,
    b"base64": base64.encodebytes(INNER).replace(b"\n", b"\r\n"),
    b"BASE64": base64.b64encode(INNER.replace(b"\r\n", b"\n")),
    b"base64 ": base64.b64encode(INNER.replace(b"\r\n", b"\r")),
    b"quoted-printable": quopri.encodestring(INNER.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_the_message_may_have_any_transfer_encoding(encoding):
    part = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + ENCODED[encoding]
    found = opened(container(JSON_PART, part))
    assert found is not None
    assert found.content == INNER


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "base64", "quoted-printable"])
def test_the_json_may_have_any_transfer_encoding(encoding):
    octets = '{"bob@example.org": {"name": "J%s"}}' % ("ü" if encoding != "7bit" else "\\u00fc")
    raw = octets.encode()
    body = {"base64": base64.encodebytes(raw), "quoted-printable": quopri.encodestring(raw)}.get(encoding, raw)
    part = b"Content-Type: application/json\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode(), body)
    found = opened(container(part, MESSAGE_PART))
    assert found is not None
    assert found.recipient_variables == {"bob@example.org": {"name": "Jü"}}


@pytest.mark.parametrize(
    ("text", "people", "shared", "doubts"),
    [
        (b"{}", {}, {}, 0),
        (b'{"a@b.c": {}}', {"a@b.c": {}}, {}, 0),
        (b'{"a": {"x": 1}}', {}, {"a": {"x": 1}}, 0),
        (b'{"a@b.c": "x"}', {}, {"a@b.c": "x"}, 0),
        (b'{"a@b.c": {}, "note": "x"}', {}, {"a@b.c": {}, "note": "x"}, 1),
        (b'{"a@b.c": {}, "d@": {}}', {}, {"a@b.c": {}, "d@": {}}, 1),
    ],
)
def test_json_is_by_address_or_for_everybody(text, people, shared, doubts):
    found = opened(container(b"Content-Type: application/json\r\n\r\n" + text, MESSAGE_PART))
    assert found is not None
    assert (found.recipient_variables, found.shared_variables) == (people, shared)
    assert len(found.control(NOW, DAY).faults) == doubts


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (container(), "has one application/json part and one message/rfc822 part"),
        (container(JSON_PART), "has one application/json part and one message/rfc822 part"),
        (container(MESSAGE_PART), "has one application/json part and one message/rfc822 part"),
        (container(JSON_PART, JSON_PART, MESSAGE_PART), "has one application/json part"),
        (container(JSON_PART, MESSAGE_PART, MESSAGE_PART), "has one application/json part"),
        (container(JSON_PART, MESSAGE_PART, b"\r\na footer"), "has one application/json part"),
        (container(JSON_PART, b"", MESSAGE_PART), "has one application/json part"),
        (
            container(JSON_PART, MESSAGE_PART).replace(b"\r\n--b--", b"\r\n--b\r\n--b--"),
            "has one application/json part",
        ),
        (container(*[JSON_PART] * 50, MESSAGE_PART), "has more parts"),
        (container(JSON_PART, MESSAGE_PART, close=b""), "no closing boundary line"),
        (container(JSON_PART, MESSAGE_PART).replace(b"--b--", b"--b--x"), "no closing boundary line"),
        (b"Content-Type: multipart/mailgun-variables; boundary=b\r\n\r\n", "no closing boundary line"),
        (b"Content-Type: multipart/mailgun-variables\r\n\r\n--b--\r\n", "no usable boundary"),
        (container(JSON_PART, MESSAGE_PART, boundary=b"x" * 201), "no usable boundary"),
        (b'Content-Type: multipart/mailgun-variables; boundary=""\r\n\r\n--\r\n', "no usable boundary"),
        (container(JSON_PART + b"}", MESSAGE_PART), "is not valid JSON"),
        (container(b"Content-Type: application/json\r\n\r\n[1]", MESSAGE_PART), "is not a JSON object"),
        (container(b"Content-Type: application/json\r\n{}", MESSAGE_PART), "a blank line is missing"),
        (container(JSON_PART, b"Content-Type: message/rfc822\r\n\r\nno header"), "no message with a header"),
        (container(JSON_PART, b"Content-Type: message/rfc822\r\n\r\n"), "no message with a header"),
        (container(JSON_PART, b"Content-Type: message/rfc822\r\n\r\n\r\nonly text"), "no message with a header"),
        (
            container(JSON_PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx"), MESSAGE_PART),
            "says it is base64 and is not",
        ),
        (
            container(JSON_PART, b"Content-Transfer-Encoding: x-uuencode\r\n" + MESSAGE_PART),
            "an unknown transfer encoding",
        ),
        (
            container(
                JSON_PART, b"Content-Transfer-Encoding: quoted-printable\r\n" + MESSAGE_PART.replace(b"Hello", b"=00")
            ),
            "has a NUL octet",
        ),
        (
            container(
                JSON_PART,
                b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + base64.b64encode(b"A: b\n\n" + b"\n" * 5000),
            ),
            "is larger than the container",
        ),
        (
            container(JSON_PART, MESSAGE_PART.replace(INNER, container(JSON_PART, MESSAGE_PART)), boundary=b"o"),
            "a variables container within the variables container",
        ),
        (
            container(
                b"Content-Type: application/json\r\n\r\n{%b}" % b",".join(b'"r%d@b.c": {}' % n for n in range(1001)),
                MESSAGE_PART,
            ),
            "has more than 1000 recipients",
        ),
    ],
)  # fmt: skip
def test_a_broken_container_is_refused_with_a_reason(content, said):
    assert said in refused(content)


def test_only_whole_boundary_lines_part_the_container():
    text = b"--bb\r\n--b-\r\n--b x\r\n --b--\r\ntext --b--\r\n--B--\r\n"
    found = opened(container(JSON_PART, MESSAGE_PART + text))
    assert found is not None
    assert found.content == INNER + text


def test_preamble_epilogue_and_padding_are_nothing():
    content = container(JSON_PART, MESSAGE_PART).replace(b"\r\n\r\n--b\r\n", b"\r\n\r\npreamble\r\n--b \t\r\n", 1)
    found = opened(content + b"epilogue\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n")
    assert found is not None
    assert found.content == INNER


def test_a_closing_line_without_line_end_closes():
    found = opened(container(JSON_PART, MESSAGE_PART)[:-2])
    assert found is not None
    assert found.content == INNER


def test_a_large_batch_is_read():
    people = b",".join(b'"r%d@example.org": {"text": "%b"}' % (n, b"x" * 1000) for n in range(1000))
    found = opened(container(b"Content-Type: application/json\r\n\r\n{" + people + b"}", MESSAGE_PART))
    assert found is not None
    assert len(found.recipient_variables) == 1000


@pytest.mark.parametrize(
    "piece", [b"\r\n--b", b"\r\n--bx", b"\r\n--b   ", b"\r\n--b\r\n", b"--b", b"\r\n", b"=3D", b"=\r\n"]
)
def test_hostile_bodies_cost_little(piece):
    head = b"Content-Type: multipart/mailgun-variables; boundary=b\r\n\r\n"
    began = time.process_time()
    for content in (head + piece * (2_000_000 // len(piece)), container(JSON_PART, MESSAGE_PART + piece * 200_000)):
        try:
            opened(content)
        except BadContainer:
            continue
    assert time.process_time() - began < 2


BODY = st.lists(
    st.sampled_from([b"\r\n", b"--b", b"--b2", b"--", b" ", b"b", b"text", b"\xc3\xbc", b"A: b"]), max_size=20
).map(b"".join)


@given(BODY)
def test_the_message_comes_out_octet_for_octet(body):
    inner = b"Subject: x\r\n\r\n" + body
    found = opened(container(JSON_PART, b"Content-Type: message/rfc822\r\n\r\n" + inner, boundary=b"=_outer_="))
    assert found is not None
    assert found.content == inner


@given(BODY.filter(lambda body: not body.endswith(b"\r")))
def test_the_standard_library_finds_the_same_message(body):
    inner = b"Subject: x\r\n\r\n" + body.replace(b"--b", b"-b")
    content = container(JSON_PART, b"Content-Type: message/rfc822\r\n\r\n" + inner, fields=b"MIME-Version: 1.0\r\n")
    found = opened(content)
    parts = message_from_bytes(content, policy=SMTP).get_payload()
    assert found is not None
    theirs = parts[1].get_payload(0).get_payload(decode=True)
    assert found.content.partition(b"\r\n\r\n")[2].splitlines() == theirs.splitlines()


PIECES = [
    b"--b\r\n", b"--b--\r\n", b"Content-Type: application/json\r\n", b"Content-Type: message/rfc822\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"\r\n", b"{}", b"A: b\r\n", b"e30=\r\n", b"x", JSON_PART + b"\r\n",
    MESSAGE_PART,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join) | st.binary(max_size=100))
def test_any_octets_are_a_container_or_a_bad_one(body):
    content = b"Content-Type: multipart/mailgun-variables; boundary=b\r\n\r\n" + body
    try:
        found = opened(content)
    except BadContainer:
        return
    assert found is not None
    assert found.block.end > found.block.start
    assert len(found.content) <= len(content)


@given(st.binary(max_size=80))
def test_any_content_type_is_looked_at_calmly(value):
    content = b"Content-Type: multipart/mailgun-variables" + value + b"\r\n\r\n--b--\r\n"
    try:
        assert opened(content) is None
    except BadContainer as error:
        assert str(error).isascii()  # noqa: PT017
