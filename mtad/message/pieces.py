"""Pieces: a message cut into its leaves, however deep, broken or hostile it is.

Room: message. Pure. Source: RFC 2046 §5.1, read leniently: the boundary may be missing, wrong or closed too early.
Nothing raises. Parts, depth, searched octets and found delimiters are bounded for the whole message; what lies beyond
a bound is one leaf as it stands, so nothing is lost, and the verdict names the bound.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mtad.message.decoding import undo
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.parameters import Parameters, disposition, media_type

MAX_PARTS = 10_000
MAX_DEPTH = 50
_MAX_PART_HEADER = 65_536  # octets
_MAX_SCANS = 16  # times the octets of the message that may be searched for delimiters
_MAX_HITS = 100_000  # places that look like delimiters
_MAX_PADDING = 200  # octets behind a boundary on its line
_MAX_BOUNDARY = 1000  # octets; RFC 2046 §5.1.1 has 70

_GUESS = re.compile(rb"(?:\A|\r\n)--([^\r\n]{1,200}+)\r\nContent-", re.IGNORECASE)
_NO_HEADER = scan(b"")


class Verdict(StrEnum):
    """Why a message was not taken to pieces wholly."""

    TOO_MANY_PARTS = "too-many-parts"
    TOO_DEEP = "too-deep"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One part without parts of its own.

    type: lower case, "text/plain" where nothing is said; a multipart type: beyond a bound, so octets has its header.
    coding: as named, b"" for none. octets: as they stand in the message. choice: a number for the multipart/alternative
    it is offered in, 0 for none. source, start, body_start, end: where it lies; source is the message itself unless
    a multipart around it was encoded.
    """

    block: HeaderBlock
    type: str
    parameters: Parameters
    disposition: str
    file: Parameters
    coding: bytes
    choice: int
    source: bytes
    start: int
    body_start: int
    end: int

    @property
    def octets(self) -> bytes:
        if not self.body_start and self.end == len(self.source):
            return self.source
        return self.source[self.body_start : self.end]


class Pieces:
    """leaves: from top to bottom. verdict: None when no bound was met."""

    __slots__ = ("_choices", "_hits", "_parts", "_work", "leaves", "verdict")

    def __init__(self, content: bytes, block: HeaderBlock) -> None:
        self.leaves: list[Leaf] = []
        self.verdict: Verdict | None = None
        self._parts = self._choices = 0
        self._hits, self._work = _MAX_HITS, _MAX_SCANS * len(content) + 1_000_000
        self._entity(content, block, block.start, block.body_start, len(content), 0, 0, "text/plain")

    def _entity(
        self,
        source: bytes,
        block: HeaderBlock,
        start: int,
        body_start: int,
        end: int,
        depth: int,
        choice: int,
        default: str,
    ) -> None:
        said = block.first(b"content-type")
        kind, parameters = media_type(said) if said is not None else (default, {})
        coding = (block.first(b"content-transfer-encoding") or b"").strip().lower()
        if kind.startswith("multipart/"):
            if depth >= MAX_DEPTH:
                self.verdict = self.verdict or Verdict.TOO_DEEP
                self._leave(source, start, end)
                return
            if kind == "multipart/alternative":
                self._choices += 1
                choice = self._choices
            child = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            boundary = parameters.get("boundary", "").encode("utf-8", "replace")[:_MAX_BOUNDARY]
            if self._multipart(source, body_start, end, boundary, depth, choice, child):
                return
            decoded = undo(coding, source[body_start:end]).octets if coding else b""
            if decoded and decoded != source[body_start:end]:  # RFC 2045 §6.4 forbids it, and it is met
                self._work -= end - body_start
                if self._multipart(decoded, 0, len(decoded), boundary, depth, choice, child):
                    return
            kind, parameters = "text/plain", {}  # no parts in it: what stands there is text
        raw = block.first(b"content-disposition")
        where, file = disposition(raw) if raw is not None else ("", {})
        if not kind:  # RFC 2045 §5.2, but a file stays a file
            kind = "application/octet-stream" if "filename" in file or "name" in parameters else "text/plain"
        self.leaves.append(Leaf(block, kind, parameters, where, file, coding, choice, source, start, body_start, end))

    def _leave(self, source: bytes, start: int, end: int) -> None:
        """What lies beyond a bound: one leaf."""
        kind = "application/octet-stream"
        self.leaves.append(Leaf(_NO_HEADER, kind, {}, "attachment", {}, b"", 0, source, start, start, end))

    def _multipart(
        self, source: bytes, start: int, end: int, boundary: bytes, depth: int, choice: int, default: str
    ) -> bool:
        """False: there are no parts."""
        parts = self._cut(source, boundary, start, end) if boundary else []
        if not parts:
            self._work -= end - start
            guess = _GUESS.search(source, max(0, start - 2), end) if self._work > 0 else None
            parts = self._cut(source, guess[1].rstrip(b" \t"), start, end) if guess else []
        for part_start, part_end in parts:
            self._parts += 1
            if self._parts > MAX_PARTS:
                self.verdict = Verdict.TOO_MANY_PARTS
                self._leave(source, part_start, end)
                return True
            block, body_start = self._header(source, part_start, part_end)
            self._entity(source, block, part_start, body_start, part_end, depth + 1, choice, default)
        return bool(parts)

    def _header(self, source: bytes, start: int, end: int) -> tuple[HeaderBlock, int]:
        """The header of a part, and where its body begins."""
        if source.startswith(CRLF, start):
            return _NO_HEADER, min(end, start + 2)
        limit = min(end, start + _MAX_PART_HEADER)
        blank = source.find(b"\r\n\r\n", start, limit)
        block = scan(source[start : blank + 4 if blank >= 0 else limit])
        if block.start or block.end == block.start:
            return _NO_HEADER, start  # text without a header
        return block, min(end, start + block.body_start)

    def _cut(self, source: bytes, boundary: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """(start, end) of each part. What follows a closing delimiter is no part until another one opens."""
        self._work -= end - start
        if self._work < 0:
            self.verdict = Verdict.TOO_MANY_PARTS
            return []
        parts: list[tuple[int, int]] = []
        opened: int | None = None
        for hit, behind, closing in self._delimiters(source, b"\r\n--" + boundary, start, end):
            if opened is not None:
                parts.append((opened, max(opened, hit)))
            opened = None if closing else behind
            if len(parts) > MAX_PARTS:
                break
        if opened is not None:
            parts.append((opened, end))  # the end was cut off, or lies beyond a bound
        return parts

    def _delimiters(self, source: bytes, mark: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """(where the line end before it begins, where the line behind it begins, whether it closes)."""
        place = max(0, start - 2)
        if source.startswith(mark[2:], start) and not source.startswith(mark, place):
            place = start  # the body begins with it, and no line end stands before
            hit, size = start, len(mark) - 2
        else:
            hit, size = source.find(mark, place, end), len(mark)
        while hit >= 0:
            self._hits -= 1
            if self._hits < 0:
                self.verdict = Verdict.TOO_MANY_PARTS
                return
            place = hit + size
            line_end = source.find(CRLF, place, min(end, place + _MAX_PADDING))
            stop = line_end if line_end >= 0 else min(end, place + _MAX_PADDING)
            rest = source[place:stop]
            closing = rest.startswith(b"--")
            if not rest[2 if closing else 0 :].strip(b" \t"):
                yield hit, min(end, stop + 2), closing
                place = stop
            hit, size = source.find(mark, place, end), len(mark)
