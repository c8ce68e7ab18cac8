import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.message.links import MAX_URL, href_target, scan_html, scan_text, trackable


def hrefs(text: bytes) -> list[bytes]:
    return [text[start:end] for start, end in scan_html(text).hrefs]


def urls(text: bytes) -> list[bytes]:
    return [text[start:end] for start, end in scan_text(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'<a href="http://x">', [b'"http://x"']),
        (b"<A\r\nHREF = 'http://x' >", [b"'http://x'"]),
        (b"<a/href=http://x/>", [b"http://x/"]),
        (b'<area shape="rect" href=http://x>', [b"http://x"]),
        (b"<a href='http://x'href=\"http://y\">", [b"'http://x'"]),
        (b"<a b='x>' href=http://x>", [b"http://x"]),
        (b"<a data-href='http://n'>", []),
        (b"<abbr href='http://n'>", []),
        (b"<a href>", []),
        (b"</a href='http://n'>", []),
        (b"<title><a href=http://n></TITLE ><a href=http://x>", [b"http://x"]),
        (b"<style><a href=http://n></style-x></style><a href=http://x>", [b"http://x"]),
        (b"<scripty><a href=http://x>", [b"http://x"]),
        (b"<!--><a href=http://x>", [b"http://x"]),
        (b"<!-- <a href=http://n> --><a href=http://x>", [b"http://x"]),
        (b"<!--[if mso]><a href=http://n><![endif]-->", []),
        (b"<![if !mso]><a href=http://x><![endif]>", [b"http://x"]),
        (b"<![CDATA[<a href=http://n>]]><a href=http://x>", [b"http://x"]),
        (b"<img alt='<a href=\"http://n\">'>", []),
        (b"1 < 2 <a href=http://x>", [b"http://x"]),
        (b"<!-- never closed <a href=http://n>", []),
        (b"<a href='http://never.closed", []),
        (b"<script><a href=http://n>", []),
    ],
)
def test_links_are_found_where_a_browser_finds_them(text, found):
    assert hrefs(text) == found


def test_an_untracked_link_loses_only_the_mark_that_says_so():
    text = b'<a href="http://x"  disable-tracking="TRUE" class=c>'
    ((start, end),) = scan_html(text).cuts
    assert text[:start] + text[end:] == b'<a href="http://x" class=c>'
    assert hrefs(text) == []
    assert hrefs(b'<a href="http://x" disable-tracking="false">') == [b'"http://x"']


def test_the_body_begins_and_ends_at_its_tags():
    text = b"<html><body class='>'>x<!-- </body> --></body>y</BODY ></html>"
    found = scan_html(text)
    assert (text[: found.body_start], text[found.body_end :]) == (b"<html><body class='>'>", b"</BODY ></html>")
    assert scan_html(b"x</html>").body_end == 1
    assert scan_html(b"x").body_end is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"see http://x.example/.", [b"http://x.example/"]),
        (b"(http://x.example/a_(b))!", [b"http://x.example/a_(b)"]),
        (b"<HTTPS://x.example/c>", [b"HTTPS://x.example/c"]),
        (b"[link](http://x.example/) [http://y.example/](z)", [b"http://x.example/", b"http://y.example/"]),
        (b'"http://x.example/?a=b&c=d",', [b"http://x.example/?a=b&c=d"]),
        (b"https://[2001:db8::1]/", [b"https://[2001:db8::1]/"]),
        ("http://x.example/gr\u00f6\u00dfe".encode(), []),
        (b"http://x.example/?q={a}", []),
        (b"xhttp://x.example/ http:// http://", []),
        (b"http://x.example/" + b"a" * MAX_URL, []),
    ],
)
def test_urls_in_text_end_where_a_reader_ends_them(text, found):
    assert urls(text) == found


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("http://x/?a=1&amp;b=2", "http://x/?a=1&b=2"),
        ("http://x/?a&copy=1&lt=2&notit;", "http://x/?a&copy=1&lt=2&notit;"),
        ("http://x/&copy;&#38;&#x26", "http://x/©&&"),
        ("http://x/?a=&amp;=1", "http://x/?a=&=1"),
        (" \r\nhttp://x/\r\n\ta b ", "http://x/a%20b"),
    ],
)
def test_a_target_is_read_as_a_browser_reads_it(source, target):
    assert href_target(source) == target


def test_only_web_links_of_others_are_trackable():
    assert trackable("HTTP://x.example/ä", "")
    for own in ("https://t.example/", "https://t.example"):
        assert not trackable("https://t.example/u/1", own)
        assert not trackable("https://t.example", own)
        assert trackable("https://t.example.net/", own)
    for target in (
        "mailto:a@b.example",
        "tel:1",
        "#top",
        "/x",
        "ftp://x",
        "javascript:http://x",
        "http://a<b",
        "http://",
    ):
        assert not trackable(target, "")
    assert not trackable("http://x/" + "ä" * 1000, "")


@given(
    st.lists(
        st.sampled_from(
            [b"<a ", b"href=", b'"', b"'", b"http://x", b">", b"<!--", b"-->", b" ", b"/", b"<script>", b"="]
        )
    )
)
def test_any_soup_gives_places_within_it_in_order(pieces):
    text = b"".join(pieces)
    found = scan_html(text)
    places = [place for span in found.hrefs for place in span]
    assert places == sorted(places)
    assert all(0 <= place <= len(text) for place in places)
