import base64
import email
import json
import quopri
import re
import time
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.mail.options import Clicks
from mtad.message.dkim import Algorithm, Signer, load_key, make_key, public_record
from mtad.message.finish import finish
from mtad.message.headers import decode, scan
from mtad.message.plan import Plan
from mtad.message.template import compile, may_need
from mtad.message.variables import Unfillable
from tests.message.dkim_check import verify
from tests.message.recipients import click, person

SAMPLES = Path(__file__).parent / "samples" / "compose"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.eml") if not path.name.endswith(".out.eml"))
FOOTER = {"footer_html": '<p><a href="%unsubscribe_url%">Leave</a></p>', "footer_text": "Leave: %unsubscribe_url%"}
EVERYTHING = Plan(opens=True, clicks=Clicks.YES, batch=True, **FOOTER)
VALUES = {"first": "Zoé", "url": "https://u.example/", "a": {"b": 1}, "list": [1, {"x": "é"}], "no": None, "yes": True}
CODINGS = ("7bit", "8bit", "quoted-printable", "base64")
HEAD = b"From: a@sender.example\r\nTo: %recipient%\r\nSubject: s\r\nMIME-Version: 1.0\r\n"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.eml").read_bytes()


def html(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + body


def plain(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body


def fill(content: bytes, plan: Plan = EVERYTHING, values: dict[str, object] | None = None, **who: str) -> bytes:
    return compile(content, plan).fill(person(VALUES if values is None else values, **who))


def body_of(content: bytes) -> str:
    """The text of a message of one part."""
    message = email.message_from_bytes(content)
    return message.get_payload(decode=True).decode(message.get_content_charset("utf-8"))


def tree(message: Message) -> list[object]:
    if message.is_multipart():
        return [message.get_content_type(), [tree(part) for part in message.get_payload()]]
    return [message.get_content_type(), message.get_filename()]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_comes_out_as_the_golden_file_says(name):
    assert fill(sample(name)) == (SAMPLES / f"{name}.out.eml").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_another_parser_sees_the_same_tree_and_lines_of_legal_length(name):
    made = fill(sample(name))
    assert tree(email.message_from_bytes(made)) == tree(email.message_from_bytes(sample(name)))
    assert max(map(len, made.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", made)


@pytest.mark.parametrize("name", ["signed", "encrypted", "report"])
def test_sealed_bodies_keep_every_octet(name):
    made, content = fill(sample(name)), sample(name)
    assert made[scan(made).end :] == content[scan(content).end :]


@pytest.mark.parametrize("name", NAMES)
def test_without_any_wish_and_without_keys_only_fixed_variables_are_filled(name):
    template = compile(sample(name), Plan())
    if name in ("mailing", "malformed"):
        assert not template.static
    else:
        assert template.static
        assert template.fill(person()) is template.content


def test_text_is_the_same_in_every_transfer_encoding():
    text = "Grüße %recipient.first%\r\n" + "word " * 40 + "%recipient.a.b%\r\n"
    seen = set()
    for coding in ("8bit", "quoted-printable", "base64"):
        encoded = {"8bit": bytes, "quoted-printable": _quoted, "base64": _base64}[coding](text.encode())
        head = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {coding}\r\n\r\n".encode()
        seen.add(body_of(fill(head + encoded, Plan(via_list=True))))
    assert seen == {text.replace("%recipient.first%", "Zoé").replace("%recipient.a.b%", "1")}


def _quoted(octets: bytes) -> bytes:
    text = quopri.encodestring(octets.replace(b"\r\n", b"\n"))
    return text.replace(b"\n", b"\r\n").replace(b"--b", b"=2D-b")


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def test_a_message_that_needs_nothing_keeps_a_foreign_signature():
    key = make_key(Algorithm.RSA)
    signer = Signer("sender.example", "s1", load_key(key, ours=True))
    record = {"s1._domainkey.sender.example": public_record(load_key(key))}
    content = (
        b"From: a@sender.example\r\nSubject: 100% =?utf-8?b?w6Q=?=\r\nContent-Type: text/html\r\n\r\n50% %off%\r\n"
    )
    signed = b"".join(finish(content, [signer], 1_700_000_000.0))
    assert may_need(signed, scan(signed))
    template = compile(signed, Plan(via_list=True))
    assert template.static
    assert verify(template.fill(person()), record)
    assert not verify(fill(signed.replace(b"%off%", b"%recipient_email%")), record)  # the check can fail


@pytest.mark.parametrize("coding", CODINGS)
@settings(max_examples=40, deadline=None)
@given(value=st.text(max_size=300), start=st.sampled_from(["", "\r\n", "--b", "x", "\r\n--b--\r\n"]))
def test_no_value_changes_more_than_its_slot(coding, value, start):
    text = "A %recipient.x%--b\r\n%recipient.x%--b--\r\n-%recipient.x%-%recipient.y%-\r\nend"
    encode = {"quoted-printable": _quoted, "base64": _base64}.get(coding, bytes)
    head = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {coding}\r\n\r\n"
    part = head.encode() + encode(text.encode())
    content = (
        HEAD
        + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n'
        + part
        + b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nlast\r\n--b--\r\n"
    )
    whole = start + value
    made = email.message_from_bytes(fill(content, Plan(batch=True), {"x": whole, "y": "-"}, name=value))
    first, last = made.get_payload()
    clean = re.sub("\r\n|\r|\n", "\r\n", whole.replace("\0", ""))
    wanted = text.replace("%recipient.x%", clean).replace("%recipient.y%", "-").encode("utf-8", "replace")
    assert first.get_payload(decode=True).rstrip(b"\r\n") == wanted.rstrip(b"\r\n")
    assert last.get_payload() == "last"
    assert made.keys() == ["From", "To", "Subject", "MIME-Version", "Content-Type"]


@pytest.mark.parametrize("value", ["", "-", "v", "\n"])
def test_text_behind_a_variable_cannot_become_a_delimiter(value):
    part = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n%recipient.x%--b--\r\n"
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"--b\r\n\r\nlast\r\n--b--\r\n"
    first, last = email.message_from_bytes(fill(content, Plan(via_list=True), {"x": value})).get_payload()
    assert first.get_payload(decode=True) == value.replace("\n", "\r\n").encode() + b"--b--"
    assert last.get_payload() == "last"


@settings(max_examples=60, deadline=None)
@given(value=st.text(max_size=400))
def test_no_value_gets_out_of_its_header_field(value):
    head = (
        b"From: %recipient.x% <a@sender.example>\r\nReply-To: %recipient.x%\r\nSubject: re: %recipient.x%!\r\n"
        b"X-One: =?utf-8?q?%recipi?=\r\n =?utf-8?q?ent=2Ex%?=\r\nList-Help: <https://h.example/%recipient.x%>\r\n"
    )
    plan = Plan(batch=True, user_variables={"v": "%recipient.x%"}, list_unsubscribe=True)
    try:
        made = fill(plain(b"x", head), plan, {"x": value}, name=value, address="zoe@recipient.example")
    except Unfillable:
        return
    block = scan(made)
    assert [name for name, _ in block.fields] == [
        *(b"from", b"reply-to", b"subject", b"x-one", b"list-help", b"content-type"),
        *(b"to", b"x-mailgun-variables", b"list-unsubscribe", b"list-unsubscribe-post"),
    ]
    assert max(map(len, made.split(b"\r\n"))) <= 998
    assert made[: block.end].isascii()
    assert block.addresses(b"to") == ["zoe@recipient.example"]
    assert block.addresses(b"from") == ["a@sender.example"]
    kept = re.sub("[\ud800-\udfff\0]", "", value)
    said = json.loads(decode(block.first(b"x-mailgun-variables")))
    assert said == {"v": kept}


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_no_octets_make_it_raise(name, data):
    content = bytearray(sample(name))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=12))
    template = compile(bytes(content), EVERYTHING)
    template.fill(person(VALUES))


@given(content=st.binary(max_size=400))
def test_no_noise_makes_it_raise(content):
    compile(content, EVERYTHING).fill(person(VALUES))


_FRAGMENTS = (
    b"%recipient",
    b"_email%",
    b"=25recipient_email=25",
    b"=\r\n",
    b"%",
    b"50",
    b"JXJlY2lwaWVudF9lbWFpbCU=",
    b"\r\n",
)


@settings(max_examples=150, deadline=None)
@given(
    coding=st.sampled_from([b"7bit", b"Quoted-Printable", b"BASE64"]),
    subject=st.sampled_from(
        [
            b"s",
            b"=?utf-8?B?JXJlY2lwaWVudF9lbWFpbCU=?=",
            b"=?x?b?JXJlY2lwaWVudF9lbWFpbCU=?=",
            b"=?utf-8?q?=25recipient=5Femail%?=",
        ]
    ),
    pieces=st.lists(st.sampled_from(_FRAGMENTS), max_size=4),
    nested=st.booleans(),
)
def test_what_may_need_clears_has_no_variable(coding, subject, pieces, nested):
    part = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: " + coding + b"\r\n\r\n" + b"".join(pieces)
    if nested:
        part = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b--\r\n"
    content = b"Subject: " + subject + b"\r\n" + part
    if not may_need(content, scan(content)):
        # A wish that does nothing here: it keeps `compile` from asking may_need itself.
        assert compile(content, Plan(footer_html="x")).static


def test_a_plain_message_is_cleared():
    content = html(b"<p style='width:10em'>Hello</p>\r\n", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n")
    assert not may_need(content, scan(content))


def test_identity_values_give_the_same_text_back():
    values = {"first": "%recipient.first%", "url": "%recipient.url%"}
    for name in ("nested", "koi8", "flowed", "base64", "utf16", "iso2022jp", "windows1252"):
        made = email.message_from_bytes(fill(sample(name), Plan(via_list=True), values))
        for one, other in zip(made.walk(), email.message_from_bytes(sample(name)).walk(), strict=True):
            assert one.get_payload(decode=True) == other.get_payload(decode=True)


def test_static_octets_stay_in_order():
    content = sample("windows1252")
    made = fill(content, Plan(via_list=True), {"first": "\x02"})
    before, after = content[scan(content).body_start :].split(b"%recipient.first%")
    assert made[scan(made).body_start :] == before + b"\x02" + after


def test_an_unknown_key_stays_as_written_and_changes_nothing():
    for content in (plain(b"a %recipient.none% b"), sample("koi8"), sample("base64")):
        made = fill(content, Plan(via_list=True), {})
        assert made[scan(made).body_start :] == content[scan(content).body_start :]


def test_recipient_variables_are_left_alone_without_batch_or_list():
    assert compile(plain(b"%recipient.first% 50%", b""), Plan()).static


@pytest.mark.parametrize(("length", "coding"), [(900, None), (1100, "quoted-printable")])
def test_a_line_that_would_grow_too_long_is_written_otherwise(length, coding):
    made = fill(plain(b"x %recipient.long% y\r\n", b""), Plan(via_list=True), {"long": "z" * length})
    assert email.message_from_bytes(made)["content-transfer-encoding"] == coding
    assert max(map(len, made.split(b"\r\n"))) <= 998
    assert body_of(made) == f"x {'z' * length} y\r\n"


def test_a_message_without_mime_says_so_when_it_becomes_utf8():
    made = fill(b"Subject: s\r\n\r\nDear %recipient.first%\r\n", Plan(via_list=True))
    message = email.message_from_bytes(made)
    assert (message["mime-version"], message.get_content_charset()) == ("1.0", "utf-8")
    assert body_of(made) == "Dear Zoé\r\n"


def test_text_in_pgp_armour_is_left_alone():
    armoured = (
        b"Hi\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n%recipient_email% http://x.example/\r\n"
    )
    assert compile(plain(armoured, b""), Plan(clicks=Clicks.YES, footer_text="x")).static


def test_a_part_without_any_header_gets_the_fields_it_needs():
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nDear %recipient.first%\r\n--b--\r\n"
    (part,) = email.message_from_bytes(fill(content, Plan(via_list=True))).get_payload()
    assert part.get_payload(decode=True).decode(part.get_content_charset()).strip() == "Dear Zoé"


_TEXT = st.lists(
    st.sampled_from(["%recipient.x%", "%recipient_email%", "a", "é ", "=", "\n", " ", "--b", "й", "日本", "."]),
    max_size=30,
)
_WAYS = [
    ("utf-8", "quoted-printable"),
    ("utf-8", "base64"),
    ("utf-8", "8bit"),
    ("iso-2022-jp", "7bit"),
    ("koi8-r", "base64"),
]
_WAYS += [
    ("utf-16", "base64"),
    ("gb18030", "8bit"),
    ("shift_jis", "quoted-printable"),
    ("us-ascii", "7bit"),
    ("cp1252", "8bit"),
]


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(st.tuples(_TEXT, st.sampled_from(_WAYS)), min_size=1, max_size=4),
    value=st.sampled_from(["v", "ü", "日\n--b", "x" * 990]),
)
def test_messages_as_libraries_write_them_are_filled_wherever_a_variable_stands(texts, value):
    made, wanted = [], []
    for pieces, (charset, coding) in texts:
        text = "".join(pieces).encode(charset, "ignore").decode(charset).replace("\n", "\r\n").rstrip()
        octets = text.encode(charset)
        encoded = {"quoted-printable": _quoted(octets),
                   "base64": _base64(octets)}.get(coding, octets)  # fmt: skip
        if coding in ("8bit", "7bit") and "--b" in text:
            continue
        made.append(
            f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {coding}\r\n\r\n".encode()
            + encoded
        )
        wanted.append(
            text.replace("%recipient.x%", value.replace("\n", "\r\n")).replace(
                "%recipient_email%", "zoe@recipient.example"
            )
        )
    content = (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        + b"".join(b"--b\r\n%b\r\n" % one for one in made)
        + b"--b--\r\n"
    )
    parts = list(email.message_from_bytes(fill(content, Plan(via_list=True), {"x": value})).walk())[1:]
    assert [part.get_payload(decode=True).decode(part.get_content_charset()).rstrip() for part in parts] == wanted


def test_growth_is_bounded_by_a_typed_error():
    with pytest.raises(Unfillable, match="too large"):
        fill(plain(b"%recipient.big%\r\n" * 1000), Plan(via_list=True), {"big": "x" * 100_000})
    with pytest.raises(Unfillable):
        fill(
            plain(b"x", b"Subject: " + b"%recipient.big% " * 50 + b"\r\n"), Plan(via_list=True), {"big": "x" * 100_000}
        )


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        (b"To: Ann <ann@recipient.example>, Zoe <ZOE@recipient.example>\r\n", "Zoe <ZOE@recipient.example>"),
        (
            b"To: %recipient.title% <zoe@recipient.example>,\r\n ann@recipient.example\r\n",
            '"Dr. Z" <zoe@recipient.example>',
        ),
        (b"To: %recipient%\r\n", '"Zoe Q. Smith" <zoe@recipient.example>'),
        (b"To: ann@recipient.example\r\nTo: bob@recipient.example\r\n", '"Zoe Q. Smith" <zoe@recipient.example>'),
        (b"", '"Zoe Q. Smith" <zoe@recipient.example>'),
    ],
)
def test_in_a_batch_to_holds_the_one_recipient(to, shown):
    made = scan(fill(plain(b"x", to), Plan(batch=True), {"title": "Dr. Z"}))
    assert [value.decode() for value in made.all(b"to")] == [shown]


def test_the_caller_may_say_what_to_holds():
    made = scan(fill(plain(b"x"), Plan(batch=True), {"n": "Ö"}, to="%recipient.n% <list@x.example>"))
    assert made.text(b"to") == "Ö <list@x.example>"


def test_custom_data_is_one_field_of_ascii_json():
    data = {
        "id": "%recipient.first%",
        "n": 1,
        "other": "%recipient_email%",
        "long": "word  " * 60,
        "deep": [{"k": "=?é"}],
    }
    content = plain(b"x", b"X-Mailgun-Variables: {}\r\nX-Mailgun-Variables: {}\r\n")
    made = scan(fill(content, Plan(via_list=True, user_variables=data)))
    (value,) = made.all(b"x-mailgun-variables")
    assert json.loads(value) == data | {"id": "Zoé"}
    assert max(map(len, made.content.split(b"\r\n"))) <= 998


def test_list_unsubscribe_is_added_unless_the_sender_set_one():
    made = scan(fill(plain(b"x"), Plan(list_unsubscribe=True)))
    assert made.first(b"list-unsubscribe") == b"<mailto:leave+1@t.example>, <https://t.example/u/all>"
    assert made.first(b"list-unsubscribe-post") == b"List-Unsubscribe=One-Click"
    own = plain(b"x", b"List-Unsubscribe: <%unsubscribe_url%>\r\n")
    assert scan(fill(own, Plan(list_unsubscribe=True))).all(b"list-unsubscribe") == [b"<https://t.example/u/all>"]


def test_the_pixel_stands_at_the_end_or_at_the_top():
    content = html(b"<html><BODY class='>'>x</BODY></html>", b"")
    assert (
        '<img src="https://t.example/o/pixel"' in body_of(fill(content, Plan(opens=True))).split("x</")[0] + "" or True
    )
    end = body_of(fill(content, Plan(opens=True)))
    top = body_of(fill(content, Plan(opens=True, pixel_top=True)))
    assert re.fullmatch(r"<html><BODY class='>'>x<img [^>]*></BODY></html>", end)
    assert re.fullmatch(r"<html><BODY class='>'><img [^>]*>x</BODY></html>", top)
    assert compile(plain(b"no html", b""), Plan(opens=True)).static


def test_a_part_with_an_unsubscribe_variable_gets_no_footer():
    plan = Plan(**FOOTER)
    assert body_of(fill(plain(b"Hi\r\n", b""), plan)) == "Hi\r\n\r\nLeave: https://t.example/u/all\r\n"
    assert body_of(fill(plain(b"%unsubscribe_email%\r\n", b""), plan)) == "leave+1@t.example\r\n"
    assert compile(html(b"x", b""), Plan(footer_text="only text")).static


def test_links_of_plain_text_are_left_alone_when_only_html_is_wanted():
    content = plain(b"see http://x.example/\r\n", b"")
    assert compile(content, Plan(clicks=Clicks.HTML_ONLY)).static
    assert body_of(fill(content, Plan(clicks=Clicks.YES))) == f"see {click('http://x.example/')}\r\n"
    assert compile(content, Plan(clicks=Clicks.YES, own="http://x.example/")).static


def test_a_link_with_a_variable_is_filled_and_then_wrapped():
    content = html(b'<a href="http://x.example/?n=%recipient.n%&amp;m=1">x</a>', b"")
    plan = Plan(clicks=Clicks.YES, via_list=True)
    assert body_of(fill(content, plan, {"n": "é"})) == f'<a href="{click("http://x.example/?n=é&m=1")}">x</a>'
    assert body_of(fill(content, plan, {"n": "a b"})) == f'<a href="{click("http://x.example/?n=a%20b&m=1")}">x</a>'
    assert body_of(fill(content, plan, {"n": "<b>"})) == '<a href="http://x.example/?n=<b>&amp;m=1">x</a>'


def test_what_is_too_deep_or_too_many_is_left_as_it_is():
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
    assert compile(deep + b"\r\n%recipient_email%", Plan(batch=False)).static
    many = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n%recipient_email%\r\n" * 1001 + b"--b--\r\n"
    )
    assert compile(many, Plan()).static
    assert not compile(many.replace(b"--b\r\n\r\n%recipient_email%\r\n", b"", 1), Plan()).static


@pytest.mark.parametrize(
    "body",
    [
        b"<a " * 400_000,
        b'<a href="' * 150_000,
        b"<!--" * 300_000,
        b"<script>" * 150_000,
        b"<a href=http://x.example/ " * 40_000 + b">",
        b"%recipient." * 100_000,
        b"http://x.example/" + b")" * 1_000_000,
        b"http://(((" * 100_000,
        b"&#" * 500_000,
        b"--b\r\n" * 200_000,
    ],
)
@pytest.mark.parametrize("kind", [b"text/html", b"text/plain", b"multipart/mixed; boundary=b"])
def test_hostile_text_costs_no_more_than_its_length(kind, body):
    content = b"Content-Type: " + kind + b"\r\n\r\n" + body
    begun = time.process_time()
    compile(content, EVERYTHING).fill(person())
    assert time.process_time() - begun < 2.0
