import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message.htmltext import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one<p>two", "one\n\ntwo\n"),
        ("<div>one</div><div>two</div>", "one\ntwo\n"),
        ("one<br>two<br><br>three", "one\ntwo\n\nthree\n"),
        ("<b>a</b> <i>b</i>\n c", "a b c\n"),
        ("<ul><li>a<li>b</ul><ol><li>c<li>d</ol>", "- a\n- b\n\n1. c\n2. d\n"),
        ("<table><tr><td>1<td>2</tr><tr><td>3</table>", "1 2\n3\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ('<a href="https://x.example/">here</a>', "here <https://x.example/>\n"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example\n"),
        ('<a href="javascript:x()">here</a>', "here\n"),
        ('<img src="cid:a" alt="A picture">', "A picture\n"),
        ("a<blockquote>b<br>c<blockquote>d</blockquote></blockquote>e", "a\n\n> b\n> c\n>\n> > d\n\ne\n"),
        ("<style>x</style><script>y</script><title>z</title>a<!-- c -->b", "ab\n"),
        ("&lt;b&gt; &amp;amp; &nbsp;&euro;", "<b> &amp; \xa0€\n"),
        ("Grüße \U0001f600", "Grüße \U0001f600\n"),
        ("", ""),
        ("<!-- nothing -->", ""),
        ("<?xml version='1.0' encoding='utf-16'?><p>x", "x\n"),
        ("plain", "plain\n"),
    ],
)
def test_html_is_said_in_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


def test_elements_deeper_than_the_parser_goes_still_give_their_words() -> None:
    assert "words" in html_to_text("<div>" * 5000 + "words")


@pytest.mark.parametrize(
    "piece", ["<div>", "<p>x", "<br>", "<a href=x>", "<table><tr><td>", "<blockquote>x<br>", "<", "&", "<!--", "<li>"]
)
def test_hostile_html_takes_no_time(piece: str) -> None:
    begun = time.perf_counter()
    text = html_to_text(piece * (2_000_000 // len(piece)))
    assert time.perf_counter() - begun < 5
    assert len(text) < 20_000_000


_PIECES = [
    "<div>",
    "</div>",
    "<p>",
    "<ul>",
    "<li>",
    "</ul>",
    "<pre>",
    "</pre>",
    "<br>",
    "<a href='x:y'>",
    "</a>",
    "<blockquote>",
    "&#0;",
]


@settings(max_examples=200, deadline=2000)
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=10), max_size=40))
def test_any_html_gives_text_that_can_be_written(pieces: list[str]) -> None:
    html_to_text("".join(pieces)).encode()


@settings(max_examples=100, deadline=2000)
@given(st.lists(st.sampled_from(_PIECES) | st.from_regex(r"\A[a-z]{3}\Z"), max_size=40))
def test_no_word_is_lost(pieces: list[str]) -> None:
    text = html_to_text("".join(pieces))
    assert [word for word in pieces if word.isalpha() and word not in text] == []
