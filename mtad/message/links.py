"""Links: where in the octets of a text the links are, and which of them may be rewritten.

Room: message. Pure. Html is not parsed into a tree and printed again, which would change octets nobody asked for: its
tags are found as a browser's tokenizer finds them (WHATWG HTML §13.2.5), comments, scripts and quoted attributes
respected, in one pass. Octets are of a charset in which ASCII syntax means itself.
"""

import html
import html.entities
import re
from dataclasses import dataclass, field

MAX_URL = 2000  # octets; a longer one is left alone

_TAG = re.compile(
    rb"<(?:([A-Za-z][^\s/>]*+)"
    rb"((?:[\s/]++|[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+|(?=>)))?+)*+)"
    rb"|(/[A-Za-z][^>]*+)|(!--)|(!\[CDATA\[)|[!?][^>]*+)"
)
_ATTRIBUTE = re.compile(rb"([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+|(?=>)))?+")
# Elements whose content is text up to their end tag.
_RAW = {
    name: re.compile(rb"</%b(?=[\s/>])" % name, re.IGNORECASE)
    for name in (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
}
_URL = re.compile(rb"(?<![\w.@/-])https?://[!#-&(-;=?-Z\[\]_a-z~'\x01]++", re.IGNORECASE)
_GOES_ON = re.compile(rb"[\x80-\xff{}|\\^]")
_HOST = re.compile(rb"https?://[A-Za-z0-9\[\x01]", re.IGNORECASE)
_TRACKABLE = re.compile(r"https?://[^\s<>\x00-\x1f\x7f]+", re.IGNORECASE)
_REFERENCE = re.compile(r"&(?:#[0-9]{1,8}+;?|#[xX][0-9A-Fa-f]{1,7}+;?|[A-Za-z][A-Za-z0-9]{0,40}+;?)(=?)")
_EDGES = "".join(map(chr, range(0x21)))
_BREAKS = str.maketrans("", "", "\t\r\n")
_NAMED = html.entities.html5


@dataclass(slots=True)
class Html:
    """Offsets. hrefs: values of href, with their quotes. cuts: attributes that were meant for us only.

    body_start: behind <body …>; body_end: before the last </body>, else </html>; None when there is no such tag.
    """

    hrefs: list[tuple[int, int]] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)
    body_start: int | None = None
    body_end: int | None = None


def scan_html(text: bytes) -> Html:
    """Total and linear: what is never closed swallows the rest, as it does in a browser."""
    found, place = Html(), 0
    root_end: int | None = None
    while (tag := _TAG.search(text, place)) is not None:
        place = tag.end()
        if tag[4] or tag[5]:
            place = text.find(b"-->", tag.end() - 2) if tag[4] else text.find(b"]]>", place)
            if place < 0:
                break
            place += 3
            continue
        if not text.startswith(b">", place):
            break  # never closed
        place += 1
        if tag[1]:
            name = tag[1].lower()
            if name in (b"a", b"area"):
                _anchor(text, tag.start(2), tag.end(2), found)
            elif name == b"body" and found.body_start is None:
                found.body_start = place
            elif name in _RAW:
                end = _RAW[name].search(text, place)
                if end is None:
                    break
                place = end.start()
        elif tag[3]:
            name = tag[3][1:].strip().lower()
            if name == b"body":
                found.body_end = tag.start()
            elif name == b"html":
                root_end = tag.start()
    if found.body_end is None:
        found.body_end = root_end
    return found


def _anchor(text: bytes, start: int, end: int, found: Html) -> None:
    href: tuple[int, int] | None = None
    cuts: list[tuple[int, int]] = []
    for attribute in _ATTRIBUTE.finditer(text, start, end):
        name = attribute[1].lower()
        if name == b"href" and href is None:
            href = attribute.span(2) if attribute[2] else (-1, -1)
        elif name == b"disable-tracking" and (attribute[2] or b"").strip(b"\"'").lower() == b"true":
            before = text[start : attribute.start()]
            cuts.append((start + len(before.rstrip()), attribute.end()))
    if cuts:
        found.cuts += cuts
    elif href is not None and href[0] >= 0:
        found.hrefs.append(href)


def scan_text(text: bytes) -> list[tuple[int, int]]:
    """Offsets of the URLs in plain text, without the punctuation that follows them.

    A URL whose end cannot be told (a letter beyond ASCII follows at once) is left out: half of it must not change.
    """
    found = []
    for match in _URL.finditer(text):
        start, end = match.span()
        if _GOES_ON.match(text, end) or not _HOST.match(text, start):
            continue
        end = _trimmed(text, start, _within_brackets(text, start, min(end, start + MAX_URL + 1)))
        if end - start <= MAX_URL:
            found.append((start, end))
    return found


def _within_brackets(text: bytes, start: int, end: int) -> int:
    """Where a "]" closes what was opened before the URL: "[https://a.example](b)"."""
    close = text.find(b"]", start, end)
    return close if close >= 0 and text.find(b"[", start, close) < 0 else end


def _trimmed(text: bytes, start: int, end: int) -> int:
    while end > start:
        last = text[end - 1 : end]
        if last in b".,;:!?'*":
            end -= 1
        elif last in b")]":
            opening = b"(" if last == b")" else b"["
            if text.count(last, start, end) <= text.count(opening, start, end):
                break
            end -= 1
        else:
            break
    return end


def href_target(value: str) -> str:
    """The URL that a browser reads from an href's source: references decoded, white space dropped or encoded."""
    if "&" in value:
        value = _REFERENCE.sub(_referred, value)
    return value.strip(_EDGES).translate(_BREAKS).replace(" ", "%20")


def _referred(found: re.Match[str]) -> str:
    bare = found[0].removesuffix("=")
    # "&copy=1" within an attribute is a parameter and no sign (WHATWG HTML §13.2.5.73)
    known = bare[1] == "#" or (bare[1:] in _NAMED and (bare.endswith(";") or not found[1]))
    return html.unescape(bare) + found[1] if known else found[0]


def trackable(target: str, own: str) -> bool:
    """own: what URLs of ours begin with, "" unknown: those lead to us already."""
    if len(target) > MAX_URL or not _TRACKABLE.fullmatch(target):
        return False
    if own and target.startswith(own.rstrip("/")) and target[len(own.rstrip("/")) :][:1] in ("", "/", "?", "#"):
        return False  # but "https://ours.example.net" does not lead to "https://ours.example"
    return target.isascii() or len(target.encode("utf-8", "replace")) <= MAX_URL
