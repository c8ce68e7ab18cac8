"""Quotes: the new text of an answer, without what it quotes and without the signature.

Room: message. Pure: a text in, a split out; the html of a message is in htmlquotes.py, the words in quotewords.py.
Nothing raises. Work is linear in the text and bounded: MAX_TEXT characters are looked at, and of the lines that might
introduce a quotation _MAX_TRIES; what lies beyond counts as new text.

A quotation is: lines that begin with ">"; what introduces them; what follows an introduction, a separator or a block
of header fields to the end, where no line begins with ">". A message that was forwarded is left whole.
"""

import re
from dataclasses import dataclass

from mtad.message import quotewords as words

MAX_TEXT = 500_000  # characters
_MAX_TRIES = 300
_MAX_LINE = 400  # characters; longer lines introduce nothing
_MAX_SIGNATURE = 25  # lines under "-- "
_MAX_CLOSING = 9  # lines from "Kind regards" to the end
_MAX_NAME_LINE = 90  # characters

_QUOTED = re.compile(r"[ \t]?(?:>(?!From )|\|[ \t]|[A-Za-z]{1,3}>[ \t])")
_INVISIBLE = re.compile("[\ufeff\u200b-\u200f\u2060\u202a-\u202e\u2066-\u2069\xad]+")
_MANY_BREAKS = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Split:
    """text: without quotations and signature, and without blank lines around it. signature: with its "-- "."""

    text: str
    signature: str = ""
    quoted: bool = False


def split_text(text: str, subject: str = "") -> Split:
    """subject: of the message; it tells a forward of Outlook, whose text looks as an answer does."""
    reply, quoted = without_quotes(text, subject)
    if reply is None:
        return Split(text)  # forwarded
    body, signature = _signature(reply.split("\n"))
    if not quoted and not signature:
        return Split(text)
    return Split(body, signature, quoted)


def without_quotes(text: str, subject: str = "") -> tuple[str | None, bool]:
    """(the new text, whether anything was quoted); None for a message that was forwarded."""
    seen, beyond = text[:MAX_TEXT], text[MAX_TEXT:]
    lines = seen.split("\n")
    found = _Marks(lines, bool(words.FORWARD_SUBJECT.match(subject)))
    if found.forwarded:
        return None, False
    if found.cut is not None:
        beyond = ""
    end = len(lines) if found.cut is None else found.cut
    kept = [line for at, line in enumerate(lines[:end]) if at not in found.dropped]
    reply = _MANY_BREAKS.sub("\n\n", "\n".join(_closed_up(kept))) if found.dropped or found.cut is not None else seen
    return (reply + beyond).strip("\n"), bool(found.dropped) or found.cut is not None


def _closed_up(lines: list[str]) -> list[str]:
    return ["" if not _bare(line) else line.rstrip(" \t") if not line.startswith("-- ") else line for line in lines]


def _bare(line: str) -> str:
    """Without what cannot be seen and the space around it."""
    if not line.isascii():
        line = _INVISIBLE.sub("", line).replace("\xa0", " ").replace("\u202f", " ")
    return line.strip()


class _Marks:
    """dropped: numbers of lines that quote or introduce. cut: the line from which on all is quoted."""

    def __init__(self, lines: list[str], forward_subject: bool) -> None:
        self._lines, self._tries = lines, _MAX_TRIES
        self.cut: int | None = None
        self.forwarded = False
        self.dropped = {at for at, line in enumerate(lines) if ">" in line[:5] or line[:2] in ("| ", " |")}
        self.dropped = {at for at in self.dropped if _QUOTED.match(lines[at])}
        told = False  # some text of the author's own came before
        for at, line in enumerate(lines):
            if at in self.dropped or not line or len(line) > _MAX_LINE:
                told = told or (at not in self.dropped and bool(line))
                continue
            if self._looks_like_mark(line) and self._mark(at, told, forward_subject):
                return
            told = told or (at not in self.dropped and bool(_bare(line)))

    @staticmethod
    def _looks_like_mark(line: str) -> bool:
        return ":" in line or "：" in line or "--" in line or "__" in line or line[:1] in "*=~─—" or line[:2] == " *"

    def _mark(self, at: int, told: bool, forward_subject: bool) -> bool:
        """True: nothing below this line need be looked at."""
        if self._tries <= 0:
            return True
        bare = _bare(self._lines[at])
        if not bare:
            return False
        self._tries -= 1
        if words.FORWARD.fullmatch(bare):
            self.forwarded = True
            return True
        if words.SEPARATOR.fullmatch(bare) or self._is_header(at, bare):
            if forward_subject or not (told or words.SEPARATOR.fullmatch(bare)):
                self.forwarded = True
            else:
                self.cut = self._above(at)
            return True
        glued = words.GLUED.search(bare)
        if glued and told and is_attribution(bare[: glued.start() + 1], sure=True):
            self.cut = self._above(at)
            return True
        return bool(words.ATTRIBUTION_END.search(bare)) and self._attribution(at)

    def _is_header(self, at: int, bare: str) -> bool:
        """A block of the original's header fields begins here: its From, and two others below."""
        if words.UNDERLINE.fullmatch(bare):
            at = self._next(at)
            if at < 0:
                return False
            bare = _bare(self._lines[at])
        if not words.HEADER_FIELD.fullmatch(bare[:_MAX_LINE]) and not words.HEADER_FROM.fullmatch(bare[:_MAX_LINE]):
            return False
        return is_original_header([line for line in self._lines[at : at + 9] if _bare(line)])

    def _above(self, at: int) -> int:
        """Rules and blank lines right above belong to what is cut."""
        while at and (not (bare := _bare(self._lines[at - 1])) or words.UNDERLINE.fullmatch(bare)):
            at -= 1
        return at

    def _next(self, at: int) -> int:
        """The next line that says something, -1 for none."""
        for number in range(at + 1, min(at + 6, len(self._lines))):
            if _bare(self._lines[number]):
                return number
        return -1

    def _attribution(self, end: int) -> bool:
        """Line `end` ends in a colon: does it, with some lines above, introduce a quotation? True: all below is one."""
        below = self._next(end)
        if below < 0:
            return False
        quoted = below in self.dropped
        start = self._start(end, quoted)
        if start is None:
            return False
        if not quoted:
            self.cut = start
            return True
        self.dropped.update(range(start, end + 1))
        return False

    def _start(self, end: int, quoted: bool) -> int | None:
        """The line on which the introduction that ends on line `end` begins."""
        joined, at = "", end
        fits: int | None = None
        while at >= max(0, end - 3) and at not in self.dropped and (bare := _bare(self._lines[at])):
            joined = f"{bare} {joined}".strip()[:_MAX_LINE].strip("*_ ")
            if words.OPENED.fullmatch(joined):
                return at
            if fits is None and (words.DATED.fullmatch(joined) or words.NAMED.fullmatch(joined)):
                fits = at
            at -= 1
        if fits is not None:
            return fits
        last = _bare(self._lines[end])
        if not quoted or not words.LEANING.fullmatch(last):
            return None
        # A language nobody told us: a date and a name over quoted lines. The date may stand a line higher.
        above = _bare(self._lines[end - 1]) if end else ""
        if above and "@" in last and end - 1 not in self.dropped and not words.HAS_DATE.match(last):
            return end - 1 if words.HAS_DATE.match(above) else end
        return end


def _signature(lines: list[str]) -> tuple[str, str]:
    """(text, signature) of lines without quotations."""
    while lines and not _bare(lines[-1]):
        lines = lines[:-1]
    end = _delimited(lines)
    end = _sent_from(lines, end)
    end = _closing(lines, end)
    return _text(lines[:end]), _text(lines[end:])


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n").rstrip()


def _delimited(lines: list[str]) -> int:
    """Where the last "-- " is, if few enough lines follow, else the end."""
    for at in range(len(lines) - 2, max(-1, len(lines) - 2 - _MAX_SIGNATURE), -1):
        if lines[at] == "-- " or (len(lines[at]) <= 6 and words.DELIMITER.fullmatch(_bare(lines[at]))):
            return at
    return len(lines)


def _sent_from(lines: list[str], end: int) -> int:
    """Above `end`: a line that the telephone wrote."""
    seen = 0
    for at in range(end - 1, -1, -1):
        bare = _bare(lines[at])
        if not bare:
            continue
        seen += 1
        if len(bare) <= 250 and words.SENT_FROM.fullmatch(bare):
            return at
        if seen == 3:
            break
    return end


def _closing(lines: list[str], end: int) -> int:
    """Above `end`: "Kind regards", with a name and an address below it, and text of the author's above."""
    best = end
    filled = 0
    for at in range(end - 1, max(-1, end - 1 - 2 * _MAX_CLOSING), -1):
        bare = _bare(lines[at])
        if not bare:
            continue
        if _closes(bare, filled, end < len(lines)):
            best = at
        filled += 1
        if filled > _MAX_CLOSING or len(bare) > _MAX_NAME_LINE or bare.endswith(("?", "...")):
            break
    return best if any(_bare(line) for line in lines[:best]) else end


def _closes(bare: str, below: int, signed: bool) -> bool:
    """below: lines between it and the end. signed: a signature of another kind stands at the end."""
    if words.REGARDS_NAME.fullmatch(bare):
        return True
    if words.REGARDS.fullmatch(bare):
        return below > 0 or signed
    return 0 < below <= 3 and bool(words.THANKS.fullmatch(bare))


def is_attribution(text: str, sure: bool = False) -> bool:
    """Words that introduce a quotation, on one line. sure: they would do so without one being there."""
    bare = _bare(text)[:_MAX_LINE].strip("*_ ")
    if not words.ATTRIBUTION_END.search(bare):
        return False
    if any(form.fullmatch(bare) for form in (words.OPENED, words.DATED, words.NAMED)):
        return True
    return not sure and bool(words.LEANING.fullmatch(bare))


def is_original_header(lines: list[str]) -> bool:
    """Fields of an original message: its From, as the first or the second of them, and two others."""
    names: set[str] = set()
    author = -1
    for at, line in enumerate(lines[:9]):
        bare = _bare(line)[:_MAX_LINE]
        if author < 0 and words.HEADER_FROM.fullmatch(bare):
            author = at
        elif field := words.HEADER_FIELD.fullmatch(bare):
            names.add(field[1].lower())
        elif at == 0:
            return False
    return 0 <= author <= 1 and len(names) >= 2
