"""Lexing: the words, marks and strings of which route expressions and actions are made.

Room: inbound. Pure. Work is linear in the text, which is bounded.
"""

import re
from dataclasses import dataclass

MAX_TEXT = 4000  # characters of an expression or an action
_SPACE = re.compile(r"\s*+")
_WORD = re.compile(r"[A-Za-z_]\w*+", re.ASCII)
_STRINGS = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.)*+)'", re.DOTALL),
}
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_LOOKALIKES = "“”„‟‘’‚‛«»`´"
_SHOWN = 20  # characters of the text behind a fault


class BadRoute(ValueError):
    """The text cannot be used. The message says what is wrong, where, and what would be right.

    place: offset in characters, None when the fault has none.
    """

    def __init__(self, why: str, place: int | None = None) -> None:
        super().__init__(why)
        self.place = place


@dataclass(frozen=True, slots=True)
class Token:
    """kind: "word", "string", "mark" or "end". text: of a string, its value."""

    kind: str
    text: str
    place: int


class Tokens:
    """The tokens of a text one after the other; `what` is its name in errors. Raises BadRoute."""

    def __init__(self, text: str, what: str) -> None:
        if len(text) > MAX_TEXT:
            raise BadRoute(f"the {what} has {len(text)} characters; {MAX_TEXT} is the most", MAX_TEXT)
        if not text.strip():
            raise BadRoute(f"the {what} is empty")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadRoute(f"the {what} has half a character (a lone surrogate)", error.start) from None
        self._text, self._what, self._at = text, what, 0
        self.next = self._read()

    def take(self) -> Token:
        token, self.next = self.next, self._read()
        return token

    def taken(self, mark: str) -> bool:
        """Take this mark if it is next."""
        if self.next.kind == "mark" and self.next.text == mark:
            self.take()
            return True
        return False

    def expect(self, mark: str, where: str) -> None:
        if not self.taken(mark):
            raise self.wrong(f"{mark!r} is expected {where}")

    def string(self, what: str) -> Token:
        """A string that is not empty."""
        if self.next.kind != "string":
            raise self.wrong(f"{what} is expected, in \"double\" or 'single' quotes")
        token = self.take()
        if not token.text.strip():
            raise BadRoute(f"{what} is empty {self._where(token.place)}", token.place)
        return token

    def wrong(self, why: str, token: Token | None = None) -> BadRoute:
        place = (token or self.next).place
        return BadRoute(f"{why} {self._where(place)}", place)

    def _where(self, place: int) -> str:
        rest = " ".join(self._text[place : place + _SHOWN + 1].split())
        if not rest:
            return f"at the end of the {self._what}"
        return f"at character {place + 1}, before {rest[:_SHOWN]}{'…' if len(rest) > _SHOWN else ''}"

    def _read(self) -> Token:
        found = _SPACE.match(self._text, self._at)
        start = self._at = found.end() if found else self._at
        if start == len(self._text):
            return Token("end", "", start)
        character = self._text[start]
        if character in _STRINGS:
            return self._read_string(character, start)
        word = _WORD.match(self._text, start)
        if word:
            self._at = word.end()
            return Token("word", word[0], start)
        if character in _LOOKALIKES:
            raise BadRoute(f"{character} is no quote here: use \" or ' {self._where(start)}", start)
        self._at = start + 1
        return Token("mark", character, start)

    def _read_string(self, quote: str, start: int) -> Token:
        found = _STRINGS[quote].match(self._text, start)
        if not found:
            raise BadRoute(f"a string has no closing {quote} {self._where(start)}", start)
        self._at = found.end()
        return Token("string", _unescaped(found[1], quote), start)


def quoted(value: str) -> str:
    """A string of the language that is read as `value`: one that was read from it."""
    for quote in "\"'":
        inner = _escaped(value, quote)
        written = f"{quote}{inner}{quote}"
        found = _STRINGS[quote].fullmatch(written)
        if found and _unescaped(inner, quote) == value:
            return written
    raise ValueError("no string of the language has this value")


def _unescaped(inner: str, quote: str) -> str:
    return _PAIR.sub(lambda pair: pair[1] if pair[1] == quote else pair[0], inner)


def _escaped(value: str, quote: str) -> str:
    """A backslash before each quote; pairs that begin with a backslash stay as they are."""
    return re.sub(
        rf"\\.|{quote}", lambda found: "\\" + quote if found[0] == quote else found[0], value, flags=re.DOTALL
    )
