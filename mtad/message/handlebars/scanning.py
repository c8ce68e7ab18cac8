"""Scanning: the text of a template -> its pieces of text and its tags.

Room: message. Pure, and linear in the text. White space around tags is dealt with here: {{~ and ~}} take all of it
away, and a tag of a block or a comment that has a line for itself takes the line with it.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

from mtad.message.handlebars.nodes import MAX_SOURCE, BadTemplate, Expression, Literal, Path

_MAX_TAG = 20_000  # characters
_MAX_NAMES = 32  # of one path
_MAX_ARGUMENTS = 8

_SPACE = re.compile(r"\s*+")
_CLOSE = re.compile(r"(~?)\}\}")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"|\'((?:[^\'\\]|\\.)*+)\'', re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?(?=[\s=~}])", re.ASCII)
_WORD = re.compile(r"""(?:\[[^\]]*+\]|[^\s!"#%&'()*+,;<=>\[\\\]^`{|}~])++""")
_NAME = re.compile(r"\[([^\]]*+)\]|([^./\[\]@]++)")
_QUOTED = re.compile(r"\\([\"'])")
_ELSE = re.compile(r"else(?=[\s~}])")
_REST_OF_LINE = re.compile(r"[ \t]*\r?\n?")
_COMMENT_END = re.compile(r"--(~?)\}\}")
_PLAIN_COMMENT_END = re.compile(r"(~?)\}\}")
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
_DATA = frozenset({"index", "key", "first", "last", "root"})


class Sign(Enum):
    VALUE = ""
    OPEN = "#"
    INVERSE = "^"
    CLOSE = "/"
    ELSE = "else"
    COMMENT = "!"


@dataclass(slots=True)
class Tag:
    """line: it begins on, from 1. words: as they are written; values: what they say, one each. zero: includeZero was
    said. left, right: ~ on that side.
    """

    sign: Sign
    line: int
    escaped: bool = True
    left: bool = False
    right: bool = False
    words: list[str] = field(default_factory=list)
    values: list[Expression] = field(default_factory=list)
    zero: bool = False


def scan(source: str) -> list[str | Tag]:
    """In order; text is neither empty nor followed by text. Raises BadTemplate."""
    if len(source) > MAX_SOURCE:
        raise BadTemplate(f"the template has more than {MAX_SOURCE} characters")
    return _trimmed(_Scanner(source).pieces())


class _Scanner:
    def __init__(self, source: str) -> None:
        self._source, self._at = source, 0
        self._line, self._counted = 1, 0

    def pieces(self) -> list[str | Tag]:
        """Text stands before, between and behind the tags, also where it is empty."""
        found: list[str | Tag] = []
        while True:
            text, more = self._text()
            found.append(text)
            if not more:
                return found
            found.append(self._tag())

    def _text(self) -> tuple[str, bool]:
        """Up to the next tag. \\{{ is no tag, and \\\\{{ is one behind a backslash."""
        text = ""
        while True:
            start, source = self._at, self._source
            place = source.find("{{", start)
            if place < 0:
                self._at = len(source)
                return text + source[start:], False
            self._at = place
            if source.startswith("\\\\", max(start, place - 2)) and place - 2 >= start:
                return text + source[start : place - 1], True
            if not source.startswith("\\", max(start, place - 1)) or place == start:
                return text + source[start:place], True
            text += source[start : place - 1] + "{{"
            self._at = place + 2

    def _tag(self) -> Tag:
        start, source = self._at, self._source
        self._line += source.count("\n", self._counted, start)
        self._counted = start
        self._at += 2
        tag = Tag(Sign.VALUE, self._line, left=self._taken("~"))
        if self._taken("!"):
            return self._comment(tag)
        braced = self._taken("{")
        if braced and self._taken("{"):
            self._bad("{{{{ }}}} is not known here")
        self._sign(tag, braced)
        self._space()
        while not self._closed(tag, braced):
            self._argument(tag)
            self._space()
            if self._at - start > _MAX_TAG or len(tag.words) > _MAX_ARGUMENTS:
                self._bad("a tag is too long, or has no }}")
        return tag

    def _sign(self, tag: Tag, braced: bool) -> None:
        if braced:
            tag.escaped = False
            return
        if self._taken("#"):
            tag.sign = Sign.OPEN
            if self._looking_at(">", "*"):
                self._bad("partials and decorators are not known here")
        elif self._taken("^"):
            tag.sign = Sign.INVERSE
        elif self._taken("/"):
            tag.sign = Sign.CLOSE
        elif self._taken("&"):
            tag.escaped = False
        elif self._looking_at(">", "*"):
            self._bad("partials and decorators are not known here")
        else:
            self._space()
            if _ELSE.match(self._source, self._at):
                tag.sign = Sign.ELSE
                self._at += len("else")

    def _comment(self, tag: Tag) -> Tag:
        """{{!-- … --}} may hold other tags, {{! … }} may not."""
        tag.sign = Sign.COMMENT
        end = _COMMENT_END if self._looking_at("--") else _PLAIN_COMMENT_END
        found = end.search(self._source, self._at)
        if not found:
            self._bad("a comment has no end")
        self._at, tag.right = found.end(), bool(found[1])
        return tag

    def _closed(self, tag: Tag, braced: bool) -> bool:
        brace = braced and self._taken("}")
        found = _CLOSE.match(self._source, self._at)
        if not found and not brace:
            return False
        if not found or braced != brace:
            self._bad("{{{ is closed by }}}")
        self._at, tag.right = found.end(), bool(found[1])
        return True

    def _argument(self, tag: Tag) -> None:
        source, at = self._source, self._at
        if found := _STRING.match(source, at):
            text = found[1] if found[1] is not None else found[2]
            self._add(tag, found[0], Literal(_QUOTED.sub(r"\1", text)))
        elif found := _NUMBER.match(source, at):
            self._add(tag, found[0], Literal(float(found[0]) if "." in found[0] else int(found[0])))
        elif found := _WORD.match(source, at):
            if source.startswith("=", found.end()):
                self._option(tag, found[0])
            else:
                self._add(tag, found[0], self._expression(found[0]))
        elif at >= len(source):
            self._bad("a tag has no }}")
        else:
            self._bad(f"{source[at]!r} is not known here")

    def _add(self, tag: Tag, word: str, value: Expression) -> None:
        tag.words.append(word)
        tag.values.append(value)
        self._at += len(word)

    def _option(self, tag: Tag, name: str) -> None:
        value = _WORD.match(self._source, self._at + len(name) + 1)
        if name != "includeZero" or tag.words[:1] not in (["if"], ["unless"]) or not value:
            self._bad(f"{name[:60]}= is not known here")
        tag.zero = value[0] == "true"
        self._at = value.end()

    def _expression(self, word: str) -> Expression:
        if word in _WORDS:
            return Literal(_WORDS[word])
        data = word.startswith("@")
        rest = word[1:] if data else word
        up = 0
        while rest == ".." or rest.startswith("../"):
            up, rest = up + 1, rest[3:]
        for prefix in ("this.", "this/", "./"):
            if not data and rest.startswith(prefix):
                rest = rest[len(prefix) :]
                break
        else:
            if not data and rest in ("", "this", "."):
                return Path(up, ())
        names = self._names(word, rest)
        if data and names[0] not in _DATA:
            self._bad(f"{word[:60]} is not known here")
        return Path(up, names, data)

    def _names(self, word: str, rest: str) -> tuple[str, ...]:
        """word: all of it, for the message."""
        names: list[str] = []
        at = 0
        while True:
            found = _NAME.match(rest, at)
            if not found or len(names) == _MAX_NAMES or found[2] == "this":
                self._bad(f"{word[:60]} is no path to a variable")
            names.append(found[1] if found[1] is not None else found[2])
            at = found.end()
            if at == len(rest):
                return tuple(names)
            if rest[at] not in "./":
                self._bad(f"{word[:60]} is no path to a variable")
            at += 1

    def _taken(self, sign: str) -> bool:
        if not self._source.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _looking_at(self, *signs: str) -> bool:
        return self._source.startswith(signs, self._at)

    def _space(self) -> None:
        found = _SPACE.match(self._source, self._at)
        self._at = found.end() if found else self._at

    def _bad(self, why: str) -> NoReturn:
        raise BadTemplate(f"line {self._line}: {why}")


def _trimmed(pieces: list[str | Tag]) -> list[str | Tag]:
    """pieces: text, tag, text, … text."""
    texts = [piece for piece in pieces if isinstance(piece, str)]
    tags = [piece for piece in pieces if isinstance(piece, Tag)]
    made = list(texts)
    for at, tag in enumerate(tags):
        if tag.sign is not Sign.VALUE and _alone(texts, at):
            made[at] = made[at].rstrip(" \t")
            made[at + 1] = _REST_OF_LINE.sub("", made[at + 1], count=1)
    for at, tag in enumerate(tags):
        if tag.left:
            made[at] = made[at].rstrip()
        if tag.right:
            made[at + 1] = made[at + 1].lstrip()
    found: list[str | Tag] = [made[0]]
    for tag, text in zip(tags, made[1:], strict=True):
        if tag.sign is not Sign.COMMENT:
            found.append(tag)
        found.append(text)
    return [piece for piece in found if piece != ""]


def _alone(texts: list[str], at: int) -> bool:
    """The tag between texts[at] and the next has a line for itself."""
    before, behind = texts[at], texts[at + 1]
    said, says = before.rstrip(), behind.lstrip()
    starts = "\n" in before[len(said) :] or (at == 0 and not said)
    ends = "\n" in behind[: len(behind) - len(says)] or (at + 2 == len(texts) and not says)
    return starts and ends
