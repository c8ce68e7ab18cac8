"""The corpus in samples/replies: answers as mail programs write them, each with the split that is expected of it.

A file has `client`, `language`, `kind` and `subject`, then the text, what should be left of it, and for most programs
the html and the words that should be left of that. The rates below were measured and are published in
docs/parsing.rst; the tests fail when one of them falls.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.message.htmlquotes import split_html
from mtad.message.htmltext import html_to_text
from mtad.message.quotes import MAX_TEXT, Split, split_text

FOLDER = Path(__file__).parent / "samples" / "replies"
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "ru", "ja")
TEXT_RATE, HTML_RATE = 1.0, 1.0  # of the whole corpus; each client and each language has them too


@dataclass(frozen=True)
class Sample:
    name: str
    client: str
    language: str
    subject: str
    text: str
    stripped: str
    signature: str
    html: str
    html_words: str


def read(file: Path) -> Sample:
    head, _, rest = file.read_text(encoding="utf-8").partition("=== text\n")
    about = dict(line.split(":", 1) for line in head.strip().split("\n"))
    parts = dict(
        zip(["text", *re.findall(r"^=== (.*)$", rest, re.M)], re.split(r"^=== .*\n", rest, flags=re.M), strict=True)
    )
    return Sample(
        file.stem,
        about["client"].strip(),
        about["language"].strip(),
        about["subject"].strip(),
        parts["text"],
        parts["stripped text"],
        parts["stripped signature"],
        parts.get("html", ""),
        parts.get("words of the stripped html", ""),
    )


SAMPLES = [read(file) for file in sorted(FOLDER.glob("*.txt"))]


def same(text: str, expected: str) -> bool:
    """But for blank lines and the space at the end of lines."""
    return [line.strip() for line in text.split("\n") if line.strip()] == [
        line.strip() for line in expected.split("\n") if line.strip()
    ]


def words(text: str) -> str:
    """Without what is only there to be looked at: quotation signs, targets of links."""
    text = re.sub(r"<(?:mailto|https?):[^>]*>", "", text).replace("bob@example.com", "")
    return re.sub(r"[\s><\ufeff]+", "", text)


def text_is_right(sample: Sample) -> bool:
    split = split_text(sample.text, sample.subject)
    return same(split.text, sample.stripped) and same(split.signature, sample.signature)


def html_is_right(sample: Sample) -> bool:
    return words(html_to_text(split_html(sample.html, sample.subject))) == words(sample.html_words)


def rates(right: dict[str, bool], key: str) -> Iterator[tuple[str, float]]:
    by = {sample.name: getattr(sample, key) for sample in SAMPLES}
    total, passed = Counter[str](), Counter[str]()
    for name, good in right.items():
        total[by[name]] += 1
        passed[by[name]] += good
    return ((one, passed[one] / total[one]) for one in sorted(total))


def test_the_corpus_has_ten_languages_and_the_programs_people_use() -> None:
    assert len(SAMPLES) >= 120
    for client in (
        "gmail-web",
        "gmail-android",
        "outlook-desktop",
        "outlook-web",
        "outlook-mobile",
        "apple-mail",
        "ios",
    ):
        assert {one.language for one in SAMPLES if one.client == client} >= set(LANGUAGES)
    for client in ("ios", "thunderbird", "yahoo", "mutt", "k9"):
        assert {one.language for one in SAMPLES if one.client == client} >= set(LANGUAGES)
    assert {"lotus", "mailru", "gmx", "samsung"} <= {one.client for one in SAMPLES}


@pytest.mark.parametrize("key", ["client", "language"])
def test_texts_are_split_at_the_published_rate(key: str) -> None:
    right = {one.name: text_is_right(one) for one in SAMPLES}
    low = {name: rate for name, rate in rates(right, key) if rate < TEXT_RATE}
    assert not low, (low, [name for name, good in right.items() if not good])


@pytest.mark.parametrize("key", ["client", "language"])
def test_html_is_split_at_the_published_rate(key: str) -> None:
    right = {one.name: html_is_right(one) for one in SAMPLES if one.html}
    low = {name: rate for name, rate in rates(right, key) if rate < HTML_RATE}
    assert not low, (low, [name for name, good in right.items() if not good])


def test_a_text_without_quotation_and_signature_is_given_back_as_it_is() -> None:
    text = "Hello,  \n\n\n\nwhat does it cost?\n\n"
    assert split_text(text) == Split(text)


def test_a_message_that_is_only_quoted_has_no_new_text() -> None:
    assert split_text("On Mon, 5 Jan 2026 at 10:12, Bob <bob@example.com> wrote:\n> a\n> b\n").text == ""


def test_an_introduction_over_several_lines_goes_whole() -> None:
    introduction = "On Mon, Jan 5, 2026 at 10:12 AM A Person With A Long Name\n<somebody@a.long.example.org>\nwrote:"
    assert split_text(f"Yes.\n\n{introduction}\n\n> Well?\n").text == "Yes."


@pytest.mark.parametrize(
    "line",
    [
        "On page 3 you wrote:",
        "The agenda for Tuesday 10:30 is:",
        "He wrote me this:",
        "Le prix est de 10:",
        "Am Ende schrieb er:",
    ],
)
def test_prose_that_ends_in_a_colon_does_not_cut_the_text(line: str) -> None:
    text = f"Hello,\n\n{line}\n\nfirst this, then that.\n"
    assert split_text(text) == Split(text)


def test_what_a_forward_holds_is_kept_also_where_only_the_subject_tells() -> None:
    text = "See below.\n\nFrom: Bob\nSent: Monday\nTo: Alice\nSubject: x\n\nWords\n"
    assert split_text(text, "FW: x").text == text
    assert split_text(text, "RE: x").text == "See below."


@pytest.mark.parametrize("forward", ["---------- Forwarded message ---------", "Begin forwarded message:"])
def test_an_answer_to_a_forward_is_an_answer(forward: str) -> None:
    quote = '<blockquote type="cite" class="gmail_quote">'
    introduction = '<div class="gmail_attr">On 5 Jan 2026 10:12, Bob wrote:</div>'
    inner = f'<div class="gmail_quote"><div class="gmail_attr">{forward}</div>old</div>'
    html = f'<div>New</div><div class="gmail_quote">{introduction}{quote}FYI {inner}</blockquote></div>'
    assert html_to_text(split_html(html)) == "New\n"
    text = f"New\n\nOn 5 Jan 2026 10:12, Bob wrote:\n\n> FYI\n> {forward}\n> old\n"
    assert split_text(text).text == "New"


def test_html_without_quotation_is_not_touched() -> None:
    html = "<P class=a>Unquoted attributes & entities &nbsp; <br/>stay<p>as they are"
    assert split_html(html) is html


def test_html_of_a_fragment_stays_a_fragment() -> None:
    html = '<p>Yes &amp; no</p><div class="gmail_quote"><blockquote class="gmail_quote">q</blockquote></div>'
    stripped = split_html(html)
    assert "<p>Yes &amp; no</p>" in stripped
    assert "<body" not in stripped
    assert ">q<" not in stripped


def test_a_document_keeps_its_doctype_and_head() -> None:
    html = (
        '<!DOCTYPE html><html><head><title>t</title></head><body>a<blockquote type="cite">q</blockquote></body></html>'
    )
    stripped = split_html(html)
    assert stripped.startswith("<!DOCTYPE html>")
    assert "<title>t</title>" in stripped


def test_text_behind_a_quotation_in_html_is_kept() -> None:
    assert "below" in split_html('<div>above<blockquote type="cite">q</blockquote>below</div>')


@settings(max_examples=150, deadline=2000)
@given(
    st.lists(
        st.sampled_from(
            ["> a", "b", "", "-- ", "On 5 Jan 2026 10:12, Bob <b@x.example> wrote:", "From: x", "To: y", "Sent: z"]
        )
        | st.text(max_size=40),
        max_size=30,
    ),
    st.text(max_size=10),
)
def test_any_text_is_split_into_lines_that_were_in_it(lines: list[str], subject: str) -> None:
    text = "\n".join(lines)
    split = split_text(text, subject)
    had = {line.strip() for line in text.split("\n")}
    assert {line.strip() for line in f"{split.text}\n{split.signature}".split("\n")} <= had | {""}


@settings(max_examples=150, deadline=2000)
@given(
    st.lists(
        st.sampled_from(
            ["<div>", "</div>", "<blockquote type=cite>", "</blockquote>", "<hr>", "<br>", "x wrote 2026 10:10:"]
        )
        | st.sampled_from(
            ['<div id="divRplyFwdMsg">', '<div class="gmail_quote">', "<b>From:</b> a<br>Sent: b<br>To: c", "&#0;"]
        )
        | st.text(max_size=10),
        max_size=30,
    )
)
def test_any_html_is_split(pieces: list[str]) -> None:
    assert isinstance(split_html("".join(pieces)), str)


@pytest.mark.parametrize(
    "text",
    [
        "On 10:12 " + "a wrote " * 60 + ":\n",
        "x@y 10:12 wrote 2026:\n",
        "From: a\nTo: b\nx\n",
        "-- \n",
        "Sent from my iPhone\n",
        "-----" + "wrote " * 60 + "\n",
        "> x\n",
        ":\n",
        "A 1:11 " + "schreef" * 50 + ":\n",
    ],
    ids=lambda text: text[:12].strip(),
)
def test_hostile_texts_take_no_time(text: str) -> None:
    begun = time.perf_counter()
    split_text(text * (2 * MAX_TEXT // len(text)))
    assert time.perf_counter() - begun < 3


@pytest.mark.parametrize(
    "piece",
    [
        "<blockquote type=cite>",
        "<div class=gmail_quote><br>",
        "<b>From:</b>",
        "x wrote:<br><blockquote>q</blockquote>",
        "<hr>",
    ],
)
def test_hostile_html_takes_no_time(piece: str) -> None:
    begun = time.perf_counter()
    split_html(piece * (MAX_TEXT // len(piece)))
    assert time.perf_counter() - begun < 5


def test_deep_html_with_much_in_it_takes_no_time() -> None:
    begun = time.perf_counter()
    split_html("<div>" * 2000 + "<b></b>" * 60_000 + "<blockquote type=cite>x")
    assert time.perf_counter() - begun < 5
