"""Rule files: reading the tables of conf/bounces.toml and conf/shaping.toml strictly, and their patterns safely.

Room: feedback. Pure. May import: config. Used by feedback.classify and queue.shaping.
A rule's pattern is the operator's, the text it searches is a stranger's. So patterns are held to a form whose
search time is bounded: no open-ended repeat, no repeat of a group, few bounded ones; and texts are cut short.
"""

import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from mtad.config import ConfigError, Value
from mtad.mail.reply import Reply

MAX_TEXT = 1000  # characters of a reply that rules look at
MAX_PATTERN = 600
MAX_REPEATS = 3
MAX_REPEAT = 200

E = TypeVar("E", bound=StrEnum)
_BLANKS = re.compile(r"\s+")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[^}]*\}|\(\?[a-zA-Z<]|.", re.DOTALL)
_ESCAPES = frozenset("\\" + letter for letter in "SDWB")


def rule_text(reply: Reply) -> str:
    """What patterns search: "550 5.1.1 no such user", lower case, single blanks, at most 1,000 characters.

    Hosts repeat the enhanced code on each line of a multi-line reply (RFC 2034 §4); the repeats are taken out, so
    that a pattern may reach over a line end.
    """
    text, enhanced = reply.text[:MAX_TEXT], reply.enhanced
    if enhanced:
        text = text.replace(f" {enhanced} ", " ")
    return _BLANKS.sub(" ", f"{reply.code} {enhanced} {text}"[:MAX_TEXT]).lower()


def compile_pattern(text: str) -> re.Pattern[str]:
    """Raises ValueError whose text says what a pattern must look like."""
    if not 2 <= len(text) <= MAX_PATTERN:
        raise ValueError(f"a pattern has 2 to {MAX_PATTERN} characters")
    repeats, before = 0, ""
    for piece in _PIECE.findall(text):
        if piece in ("*", "+"):
            raise ValueError("a repeat needs an upper bound, as in .{0,60}, so that no reply can make it search long")
        if piece[0] == "{":
            repeats += 1
            _check_repeat(piece, before, repeats)
        if piece.startswith("(?") and piece != "(?<":
            raise ValueError("no flags or names in groups: write (?:...)")
        if piece != piece.lower() and piece not in _ESCAPES:
            raise ValueError("write it in lower case: replies are lower-cased before they are searched")
        before = piece
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error


def _check_repeat(piece: str, before: str, repeats: int) -> None:
    bounds = re.fullmatch(r"\{(?:\d{1,3},)?(\d{1,3})\}", piece)
    if not bounds or int(bounds[1]) > MAX_REPEAT:
        raise ValueError(f"a repeat is {{0,60}} or {{3}}, up to {MAX_REPEAT}; a brace that is meant is \\{{")
    if before == ")":
        raise ValueError("a group may be optional, as in (?: now)?, not repeated")
    if repeats > MAX_REPEATS:
        raise ValueError(f"at most {MAX_REPEATS} repeats in one pattern")


def read_file(text: str, file: str) -> "Section":
    """The whole file as a Section. Raises ConfigError when it is no TOML."""
    try:
        return Section(tomllib.loads(text), "", file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", Value.NONE, f"must be TOML: {error}", file) from error


class Section:
    """One table of the file, taken key by key. Every problem is a ConfigError; end() refuses what nobody took."""

    def __init__(self, values: object, place: str, file: str) -> None:
        self.place, self.file = place, file
        if not isinstance(values, dict):
            raise ConfigError(place, values, "must be a table", file)
        self._values: dict[str, object] = dict(values)
        self._known: list[str] = []

    def wrong(self, key: str, value: object, right: str) -> ConfigError:
        shown = Value.NONE if value is None else value
        return ConfigError(f"{self.place}.{key}" if self.place else key, shown, right, self.file)

    def _take(self, key: str) -> object:
        self._known.append(key)
        return self._values.pop(key, None)

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, default: str = "") -> str:
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, value, "must be a text in quotes, not empty")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """One text, or an array of them."""
        value = self._take(key)
        items = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
            raise self.wrong(key, value, "must be a text, or an array of texts, none empty")
        return tuple(items)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, value, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, value, f"must be a whole number from {low} to {high}")
        return value

    def wholes(self, key: str, low: int, high: int) -> tuple[int, ...]:
        value = self._take(key)
        items = [] if value is None else value
        if not isinstance(items, list) or not all(type(item) is int and low <= item <= high for item in items):
            raise self.wrong(key, value, f"must be an array of whole numbers from {low} to {high}")
        return tuple(items)

    def flag(self, key: str) -> bool | None:
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, value, "must be true or false")
        return value

    def one_of(self, key: str, words: type[E]) -> E | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, str) or value not in set(words):
            raise self.wrong(key, value, "must be one of " + ", ".join(words))
        return words(value)

    def some_of(self, key: str, words: type[E]) -> frozenset[E]:
        texts = self.texts(key)
        unknown = [text for text in texts if text not in set(words)]
        if unknown:
            raise self.wrong(key, unknown[0], "must be of " + ", ".join(words))
        return frozenset(words(text) for text in texts)

    def pattern(self, key: str) -> re.Pattern[str] | None:
        """One pattern, or an array of which one must be found."""
        texts = self.texts(key)
        for text in texts:
            try:
                compile_pattern(text)
            except ValueError as error:
                raise self.wrong(key, text, str(error)) from error
        return re.compile("|".join(texts)) if texts else None

    def section(self, key: str) -> "Section | None":
        value = self._take(key)
        return None if value is None else Section(value, f"{self.place}.{key}".lstrip("."), self.file)

    def sections(self, key: str) -> "list[Section]":
        """The tables of [[key]], in order; each names its number, and its `name` where it has one."""
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, value, f"must be written [[{key}]]")
        return [Section(item, self._numbered(key, number, item), self.file) for number, item in enumerate(value, 1)]

    def _numbered(self, key: str, number: int, item: object) -> str:
        name = item.get("name") if isinstance(item, dict) else None
        place = f"{key} {number}" + (f" ({name})" if isinstance(name, str) else "")
        return f"{self.place}, {place}" if self.place else place

    def end(self, also: Iterable[str] = ()) -> None:
        """Raises ConfigError for the first key that nobody asked for. also: keys known though not taken."""
        for key in also:
            self._take(key)
        for key, value in self._values.items():
            raise self.wrong(key, value, "is no known key; known are " + ", ".join(sorted(set(self._known))))
