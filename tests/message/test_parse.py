import base64
import encodings
import quopri
import time
from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message.parse import Parsed, parse
from mtad.message.pieces import MAX_DEPTH, MAX_PARTS, Verdict


def message(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode() + body


def mixed(*parts: bytes, kind: str = "mixed") -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return message(f"Content-Type: multipart/{kind}; boundary=b", body=body + b"--b--\r\n")


def part(head: str, body: bytes = b"x") -> bytes:
    return head.encode() + b"\r\n\r\n" + body


def names(parsed: Parsed) -> list[str]:
    return [one.name for one in parsed.attachments]


# Headers


def test_header_fields_are_canonical_unfolded_decoded_and_in_order() -> None:
    parsed = parse(
        message(
            "MIME-version: 1.0",
            "DKIM-Signature: a=b;\r\n c=d",
            "Subject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=",
            "X-a: 1",
            "X-A: 2",
        )
    )
    assert parsed.headers == (
        ("Mime-Version", "1.0"),
        ("Dkim-Signature", "a=b; c=d"),
        ("Subject", "Grüße"),
        ("X-A", "1"),
        ("X-A", "2"),
    )


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("=?utf-8?q?J=C3=BCrgen?= <j@x.example>", "Jürgen <j@x.example>"),
        ("=?utf-8?q?M=C3=BCller=2C_J?= <j@x.example>", '"Müller, J" <j@x.example>'),
        ('"=?utf-8?q?M=C3=BCller=2C_J?=" <j@x.example>', '"Müller, J" <j@x.example>'),
        ("=?utf-8?q?a_=22b=22?= <j@x.example>, c@x.example", '"a \\"b\\"" <j@x.example>, c@x.example'),
    ],
)
def test_a_decoded_name_does_not_change_a_list_of_addresses(written: str, shown: str) -> None:
    assert parse(message(f"From: {written}")).header("From") == shown


def test_no_line_end_or_nul_gets_into_a_value() -> None:
    parsed = parse(b"Subject: =?utf-8?q?a=0D=0ABcc:_x=00?=\r\n\r\n")
    assert parsed.subject == "a Bcc: x\ufffd"


def test_a_long_value_is_not_cut() -> None:
    assert len(parse(message("X-Long: " + "é" * 50_000)).header("X-Long")) == 50_000


# Bodies


def test_all_plain_texts_are_joined_and_html_is_kept() -> None:
    parsed = parse(
        mixed(
            part("Content-Type: text/plain", b"one"), part("Content-Type: text/html", b"<b>h</b>"), part("X: y", b"two")
        )
    )
    assert parsed.html == "<b>h</b>"
    assert parsed.plain == "one\ntwo"
    assert not parsed.plain_from_html


def test_of_alternatives_the_plain_one_is_the_text() -> None:
    parsed = parse(
        mixed(
            part("Content-Type: text/plain", b"one"), part("Content-Type: text/html", b"<b>h</b>"), kind="alternative"
        )
    )
    assert (parsed.plain, parsed.html) == ("one", "<b>h</b>")


def test_of_html_alone_a_text_is_made() -> None:
    parsed = parse(message("Content-Type: text/html", body=b"<p>Hi<p>there"))
    assert parsed.plain == "Hi\n\nthere\n"
    assert parsed.plain_from_html


def test_html_with_a_footer_in_plain_text_below_it_is_not_the_footer_alone() -> None:
    parsed = parse(mixed(part("Content-Type: text/html", b"<b>h</b>"), part("Content-Type: text/plain", b"a list")))
    assert parsed.plain == "h\na list"
    assert not parsed.plain_from_html


def test_an_empty_plain_part_beside_html_does_not_hide_it() -> None:
    parsed = parse(
        mixed(part("Content-Type: text/plain", b" "), part("Content-Type: text/html", b"h"), kind="alternative")
    )
    assert parsed.plain.strip() == "h"


def test_further_kinds_of_text_are_bodies_of_their_own() -> None:
    parsed = parse(
        mixed(part("Content-Type: text/calendar", b"BEGIN:VCALENDAR"), part("Content-Type: text/foo", b"bar"))
    )
    assert parsed.others == (("calendar", "BEGIN:VCALENDAR"), ("foo", "bar"))
    assert not parsed.attachments


def test_a_text_that_calls_itself_mime_is_a_file_and_never_taken_for_the_message() -> None:
    parsed = parse(mixed(part("Content-Type: text/MIME", b"From: forged@example.org")))
    assert parsed.others == ()
    assert [one.content for one in parsed.attachments] == [b"From: forged@example.org"]


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("iso-2022-jp", "こんにちは"),
        ("koi8-r", "Привет"),
        ("windows-1252", "“Grüße” – 5 €"),
        ("gb2312", "你好"),
        ("utf-16", "Grüße"),
        ("utf-7", "Grüße"),
        ("ks_c_5601-1987", "안녕하세요"),
    ],
)
def test_a_named_charset_is_read(charset: str, text: str) -> None:
    octets = text.encode({"ks_c_5601-1987": "cp949"}.get(charset, charset))
    head = ("Content-Type: text/plain; charset=" + charset, "Content-Transfer-Encoding: base64")
    parsed = parse(message(*head, body=base64.encodebytes(octets)))
    assert parsed.plain == text
    assert not parsed.attachments


@pytest.mark.parametrize("said", ["", "; charset=us-ascii", "; charset=x-unknown", "; charset=utf-8", '; charset=""'])
@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("utf-8", "Grüße aus München"),
        ("cp1252", "Grüße aus München, schöne Straße, über alles müssen wir reden"),
        ("cp1252", "Ça va très bien, merci. L'été a été beau, où j'étais"),
        ("koi8-r", "Привет, как дела? Мы завтра встречаемся в офисе в десять часов."),
        ("cp1251", "Привет, как дела? Мы завтра встречаемся в офисе в десять часов."),
        ("shift_jis", "こんにちは、明日の会議は十時からです。よろしくお願いします。"),
        ("iso2022_jp", "こんにちは、明日の会議は十時からです。"),
    ],
)
def test_a_wrong_or_missing_charset_is_found_out(said: str, codec: str, text: str) -> None:
    parsed = parse(message("Content-Type: text/plain" + said, body=text.encode(codec)))
    assert parsed.plain == text
    assert not parsed.attachments


def test_octets_that_are_no_text_are_kept_beside_what_could_be_read() -> None:
    octets = "Grüße, viele Grüße\r\n".encode() * 5 + b"\xff\x00\r\n"
    parsed = parse(message("Content-Type: text/plain; charset=utf-8", body=octets))
    assert parsed.plain == "Grüße, viele Grüße\n" * 5 + "\ufffd\ufffd\n"
    assert [(one.name, one.content) for one in parsed.attachments] == [("undecoded-1.txt", octets)]


def test_lines_of_flowed_text_and_uuencoded_files_stay_as_they_are() -> None:
    text = "one \r\ntwo\r\n-- \r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n"
    parsed = parse(message("Content-Type: text/plain; format=flowed", body=text.encode()))
    assert parsed.plain == text.replace("\r\n", "\n")


# Attachments


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: text/plain\r\nContent-Disposition: attachment",
        "Content-Type: text/plain; name=a.txt",
        "Content-Type: text/html\r\nContent-Disposition: inline; filename=a.html",
        "Content-Type: image/png\r\nContent-Disposition: inline",
        "Content-Type: message/rfc822",
        "Content-Type: application/ms-tnef; name=winmail.dat",
        "Content-Type: text/plain\r\nContent-Disposition: something",
    ],
)
def test_files_are_attachments(head: str) -> None:
    parsed = parse(mixed(part("X: y", b"words"), part(head, b"file")))
    assert parsed.plain == "words"
    assert [one.content for one in parsed.attachments] == [b"file"]


def test_a_message_within_stays_whole() -> None:
    inner = message("Subject: inner", "Content-Type: multipart/mixed; boundary=c", body=b"--c\r\n\r\nx\r\n--c--\r\n")
    parsed = parse(mixed(part("Content-Type: message/rfc822", inner)))
    (one,) = parsed.attachments
    assert (one.name, one.type, one.content) == ("attachment-1.eml", "message/rfc822", inner)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("Content-Disposition: attachment; filename=plain.pdf", "plain.pdf"),
        ('Content-Disposition: attachment; filename="with space; and.pdf"', "with space; and.pdf"),
        ("Content-Disposition: attachment; filename=no quotes.pdf", "no quotes.pdf"),
        ("Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.pdf", "résumé.pdf"),
        (
            "Content-Disposition: attachment; filename*0*=utf-8''r%C3%A9s;\r\n filename*1=\"um.\"; filename*2*=p%64f",
            "résum.pdf",
        ),
        ("Content-Disposition: attachment; filename*1=b.pdf; filename*0=a", "ab.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?B?csOpc3Vtw6kucGRm?="', "résumé.pdf"),
        ('Content-Disposition: attachment; filename="=?utf-8?Q?a b=C3=A9.pdf?="', "a bé.pdf"),
        ('Content-Type: application/pdf; name="=?iso-8859-1?q?=E9.pdf?="', "é.pdf"),
        ('Content-Disposition: attachment; filename="C:\\temp\\new.txt"', "new.txt"),
        ('Content-Disposition: attachment; filename="../../etc/passwd"', "passwd"),
        ("Content-Disposition: attachment; filename=x\u202etxt.exe", "xtxt.exe"),
        ("Content-Disposition: attachment", "attachment-1.txt"),
        ("Content-Type: image/jpeg", "attachment-1.jpg"),
        ("Content-Type: application/x-nobody-knows", "attachment-1.bin"),
    ],
)
def test_names_of_files_are_read_or_made_up(head: str, name: str) -> None:
    assert names(parse(mixed(part(head)))) == [name]


def test_a_name_in_octets_of_latin_1_is_read() -> None:
    assert names(parse(mixed(b'Content-Disposition: attachment; filename="\xe9t\xe9.txt"\r\n\r\nx'))) == ["été.txt"]


def test_content_ids_name_the_attachments() -> None:
    image = "Content-Type: image/png\r\nContent-ID: "
    parsed = parse(
        mixed(part(image + "<a@x>"), part("Content-Type: image/gif"), part(image + "b@x"), part(image + "<a@x>"))
    )
    assert parsed.content_ids == {"<a@x>": 1, "<b@x>": 3}


def test_attachments_tell_their_type_with_the_charset_and_their_size() -> None:
    (one,) = parse(mixed(part("Content-Type: Text/CSV; charset=iso-8859-1; name=a.csv", b"a\xe9"))).attachments
    assert (one.content_type, one.size, one.content) == ("text/csv; charset=iso-8859-1", 2, b"a\xe9")


# Broken mail


@pytest.mark.parametrize(
    ("coding", "written", "text"),
    [
        ("base64", b"SGVs bG8=\r\n", "Hello"),
        ("base64", b"SGVsbG8\r\n", "Hello"),
        ("base64", b"SGVs\r\nbG8=\r\nIHlv\r\ndQ==\r\n", "Hello you"),
        ("BASE64", b"SGVsbG8=\r\n__\r\nA list's footer\r\n", "Hello\n__\nA list's footer\n"),
        ("base64", b"This is no base 64 at all!\r\n", "This is no base 64 at all!\n"),
        ("quoted-printable", b"a=3Db =C3=A9=\r\nc =zz =\r\n", "a=b éc =zz "),
        ("quoted-printable", b"soft=  \r\nbreak", "softbreak"),
        ("quoted-printable", b"a=\rb\r\nc", "a=\nb\nc"),
        ("8-bit", b"as it is", "as it is"),
        ("x-uuencode", b"begin 644 a\r\n", "begin 644 a\n"),
    ],
)
def test_a_badly_written_transfer_encoding_is_read(coding: str, written: bytes, text: str) -> None:
    parsed = parse(
        message("Content-Type: text/plain; charset=utf-8", f"Content-Transfer-Encoding: {coding}", body=written)
    )
    assert parsed.plain == text


def test_base64_that_was_cut_off_is_also_kept_as_it_stood() -> None:
    parsed = parse(message("Content-Transfer-Encoding: base64", body=b"SGVsbG8hI\r\n"))
    assert parsed.plain == "Hello!"
    assert [one.content for one in parsed.attachments] == [b"SGVsbG8hI\r\n"]


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=w\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nwords\r\n--b--\r\n",
        b"Content-Type: multipart/mixed\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nwords\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nwords",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nwo\r\n--b--\r\n--b\r\n\r\nrds\r\n--b--",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nwords\n--b--\n",
        b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(b"--b\r\n\r\nwords\r\n--b--\r\n"),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nwords",
        b"Content-Type: text\r\n\r\nwords",
        b"Content-Type: ;;;\r\n\r\nwords",
        b"no header at all\r\n\r\nwords",
    ],
)
def test_a_broken_structure_still_gives_its_words(content: bytes) -> None:
    assert "words" in parse(content).plain.replace("wo\nrds", "words")


# Bounds


def quick(content: bytes, limit_s: float = 3) -> Parsed:
    begun = time.perf_counter()
    parsed = parse(content)
    assert time.perf_counter() - begun < limit_s
    return parsed


def test_more_parts_than_allowed_are_one_attachment() -> None:
    parsed = quick(mixed(*[part("X: y", b"%d" % number) for number in range(MAX_PARTS + 5)]))
    assert parsed.verdict is Verdict.TOO_MANY_PARTS == "too-many-parts"
    assert parsed.plain.count("\n") == MAX_PARTS - 1
    assert parsed.attachments[-1].content.endswith(b"%d\r\n--b--\r\n" % (MAX_PARTS + 4))


def test_parts_nested_deeper_than_allowed_are_an_attachment() -> None:
    content = b"\r\n\r\nwords"
    for number in range(MAX_DEPTH + 5):
        content = (
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number)
            + content.lstrip()
            + b"\r\n"
        )
    parsed = quick(content)
    assert parsed.verdict is Verdict.TOO_DEEP
    assert b"words" in parsed.attachments[0].content


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 300_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bx\r\n" * 300_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 20_000,
        b"Content-Type: text/plain; charset=x\r\n\r\n" + b"\x81\xfe\r\n" * 300_000,
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QU=D" * 300_000,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=\r" * 500_000,
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"= " * 500_000,
        b"Content-Type: text/plain" + b"; a*1*=b" * 30_000 + b"\r\n\r\nx",
        b"Content-Type: text/plain; " + b'a="\\' * 60_000 + b"\r\n\r\nx",
        b"From: " + b"=?utf-8?q?=2C?= " * 15_000 + b"\r\n\r\n",
        b"From: " + b'"=?utf-8?q?' * 20_000 + b"\r\n\r\n",
        b"Content-Type: text/html\r\n\r\n" + b"<div>" * 300_000,
        b"Content-Type: text/html\r\n\r\n" + b"<!--" * 300_000,
        b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000,
    ],
    ids=range(14),
)
def test_hostile_content_takes_no_time(content: bytes) -> None:
    quick(content)


# Properties


@settings(max_examples=300, deadline=2000)
@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from([b"\r\n", b"\n", b"--b", b"--b\r\n", b"--b--\r\n", b"\r\n\r\n", b"Content-Type: "])
        | st.sampled_from([b"multipart/mixed; boundary=b\r\n", b"text/html; charset=utf-16\r\n", b"; filename*0*=a''%"])
        | st.sampled_from(
            [b"Content-Transfer-Encoding: base64\r\n", b"Content-Disposition: attachment", b"=?utf-7?b?2AA=?="]
        ),
        max_size=25,
    ).map(b"".join)
)
def test_any_octets_are_parsed_into_what_can_be_posted(content: bytes) -> None:
    parsed = parse(content)
    texts = [
        parsed.plain,
        parsed.html or "",
        *(text for _, text in parsed.others),
        *(value for _, value in parsed.headers),
    ]
    for text in [*texts, *names(parsed), *parsed.content_ids]:
        assert "\x00" not in text
        text.encode()  # no half of a pair
    assert all(names(parsed))


_BODY = st.binary(max_size=60) | st.text(max_size=30).map(str.encode)
_CODINGS = {
    "base64": base64.encodebytes,
    "quoted-printable": lambda octets: quopri.encodestring(octets, quotetabs=True).replace(b"\r", b"=0D"),
}
_LEAF = st.tuples(
    st.sampled_from(
        [
            "text/plain",
            "text/html",
            "text/plain; charset=utf-8",
            "text/plain; charset=shift_jis",
            "image/png",
            "text/x-y",
        ]
    ),
    st.sampled_from([*_CODINGS]),
    st.sampled_from(["", "Content-Disposition: attachment\r\n", "Content-Disposition: inline\r\n"]),
    _BODY,
)


@settings(max_examples=200, deadline=5000)
@given(st.recursive(_LEAF, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=8))
def test_every_leaf_is_found_in_a_body_or_an_attachment(tree: object) -> None:
    leaves: list[tuple[str, bytes]] = []

    def write(node: object, depth: int) -> bytes:
        if isinstance(node, list):
            mark = b"mark-%d-%d" % (depth, id(node))
            inner = b"".join(b"--" + mark + b"\r\n" + write(one, depth + 1) + b"\r\n" for one in node)
            return b'Content-Type: multipart/mixed; boundary="' + mark + b'"\r\n\r\n' + inner + b"--" + mark + b"--"
        assert isinstance(node, tuple)
        kind, coding, where, octets = node
        leaves.append((kind, octets))
        head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {coding}\r\n{where}\r\n".encode()
        return head + _CODINGS[coding](octets)

    parsed = parse(write(tree, 0))
    assert parsed.verdict is None
    bodies = "\n".join([parsed.plain, parsed.html or "", *(text for _, text in parsed.others)])
    files = [one.content for one in parsed.attachments]
    for _, octets in leaves:
        if octets in files or octets.decode("latin-1") in bodies:
            continue
        assert any(text in bodies for text in readings(octets)), octets


_TEXT_CODECS = sorted(
    {one.name for one in iter_modules(encodings.__path__)} - {"idna", "punycode", "mbcs", "oem", "unicode_escape"}
)


def readings(octets: bytes) -> Iterator[str]:
    """In every charset there is, as it stands in a body."""
    for codec in _TEXT_CODECS:
        try:
            text = octets.decode(codec)
        except (UnicodeError, ValueError, LookupError, AssertionError):
            continue
        if isinstance(text, str):
            yield text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def test_the_samples_of_composing_are_parsed() -> None:
    found = 0
    for file in (Path(__file__).parent / "samples").rglob("*.eml"):
        found += 1
        assert parse(file.read_bytes()).headers
    assert found
