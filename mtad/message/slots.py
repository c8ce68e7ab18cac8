"""Slots: the places in a text that differ from recipient to recipient, and what stands in each.

Room: message. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mtad.message.links import href_target, trackable
from mtad.message.variables import VARIABLE, Filling, usable

_BREAK = re.compile(r"\r\n|\r|\n")


class Slot(Protocol):
    def text(self, filling: Filling) -> str | None:
        """What stands here for one recipient; None: what stood here."""


@dataclass(frozen=True, slots=True)
class Value:
    """A variable; name without its percent signs."""

    name: str

    @property
    def written(self) -> str:
        return f"%{self.name}%"

    def text(self, filling: Filling) -> str | None:
        return filling.text(self.name)


Pieces = tuple[str | Value, ...]


def pieces(text: str, keys: bool) -> Pieces:
    """`text` cut at its variables. keys: recipient.* are variables."""
    cut: list[str | Value] = []
    place = 0
    for found in VARIABLE.finditer(text):
        if not usable(found[1]) or (not keys and found[1].startswith("recipient.")):
            continue
        if found.start() > place:
            cut.append(text[place : found.start()])
        cut.append(Value(found[1]))
        place = found.end()
    if place < len(text):
        cut.append(text[place:])
    return tuple(cut)


def varies(cut: Sequence[str | Value]) -> bool:
    return any(isinstance(one, Value) for one in cut)


def fill(cut: Sequence[str | Value], filling: Filling) -> tuple[str, bool]:
    """(the text, whether any variable was filled). A variable that has no value stays as written."""
    texts, filled, size = [], False, 0
    for one in cut:
        if isinstance(one, str):
            texts.append(one)
            continue
        value = one.text(filling)
        filled = filled or value is not None
        texts.append(one.written if value is None else value)
        size += len(texts[-1])
    filling.spend(size)  # before they are put together
    return "".join(texts), filled


@dataclass(frozen=True, slots=True)
class Mixed:
    """A text of ours that is put in: the footer."""

    cut: Pieces

    def text(self, filling: Filling) -> str | None:
        return fill(self.cut, filling)[0]


class Pixel:
    def text(self, filling: Filling) -> str | None:
        url = escaped(filling.person.links.open_url())
        return f'<img src="{url}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'


@dataclass(frozen=True, slots=True)
class Link:
    """A link whose target is the same for all. html: written as an attribute, within quotes."""

    target: str
    html: bool

    def text(self, filling: Filling) -> str | None:
        url = filling.person.links.click_url(self.target)
        return f'"{escaped(url)}"' if self.html else url


@dataclass(frozen=True, slots=True)
class VariableLink:
    """A link with variables in its target, without its quotes: filled, and then wrapped if that is a link.

    own: what URLs of ours begin with.
    """

    cut: Pieces
    html: bool
    quote: str
    own: str

    def text(self, filling: Filling) -> str | None:
        source, _ = fill(self.cut, filling)
        target = href_target(source) if self.html else source
        if trackable(target, self.own):
            return Link(target, self.html).text(filling)
        return f"{self.quote}{source}{self.quote}"


def escaped(url: str) -> str:
    """`url` as the source of an attribute in double quotes."""
    for sign, reference in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        if sign in url:
            url = url.replace(sign, reference)
    return url


def lines(text: str, flowed: bool) -> str:
    """With CRLF line ends, as content has them. flowed: no line of it flows, or is taken for a quotation."""
    if "\n" not in text and "\r" not in text:
        return text
    cut = _BREAK.split(text)
    if flowed:  # RFC 3676 §4.1 and §4.4
        cut = [line.rstrip(" ") for line in cut[:-1]] + cut[-1:]
        cut[1:] = [f" {line}" if line.startswith((" ", ">", "From ")) else line for line in cut[1:]]
    return "\r\n".join(cut)
