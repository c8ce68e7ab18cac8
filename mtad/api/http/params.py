"""Params: the parameters of one request, in order, with typed readers that say what is wrong in the API's words.

Room: api. Pure. May import: mail, message. Query and form are one list; `to[]`, `to[0]` and `to` are one name.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

import orjson

from mtad.api.http.answers import BadRequest
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.message.fields import display, entries
from mtad.message.values import BadValue, parse_bool, parse_date, parse_object

T = TypeVar("T")

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

_BRACKETS = re.compile(r"\[\d{0,9}\]\Z")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)


def plain_name(name: str) -> str:
    """ "to[]" and "to[0]" -> "to"."""
    return _BRACKETS.sub("", name) if name.endswith("]") else name


class Params:
    """Names and texts, in the order they came. A reader of one value takes the last.

    Every reader raises BadRequest; `name` stands in its text as the caller wrote it.
    """

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = [(plain_name(name), value) for name, value in pairs]
        self._by_name: dict[str, list[str]] = {}
        for name, value in self._pairs:
            self._by_name.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def all(self, name: str) -> list[str]:
        return self._by_name.get(name, [])

    @overload
    def text(self, name: str) -> str | None: ...
    @overload
    def text(self, name: str, default: str) -> str: ...
    def text(self, name: str, default: str | None = None) -> str | None:
        """The last value, as it came; "" is a value."""
        values = self._by_name.get(name)
        return values[-1] if values else default

    def need(self, name: str) -> str:
        """The last value, without white space around it; missing and blank are 400 `<name> parameter is missing`."""
        value = self.text(name, "").strip()
        if not value:
            raise missing(name)
        return value

    @overload
    def flag(self, name: str) -> bool | None: ...
    @overload
    def flag(self, name: str, default: bool) -> bool: ...
    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """yes, no, true, false, 1, 0, on, off, in any case; blank is not said."""
        text = self.text(name)
        if text is None or not text.strip():
            return default
        return self.value(name, lambda given: parse_bool(given, form=True))

    @overload
    def integer(self, name: str) -> int | None: ...
    @overload
    def integer(self, name: str, default: int) -> int: ...
    def integer(self, name: str, default: int | None = None) -> int | None:
        text = self.text(name)
        if text is None or not text.strip():
            return default
        if not _INTEGER.fullmatch(text.strip()):
            raise BadRequest(f"'{name}' parameter is not an integer")
        return int(text)

    def limit(self, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
        """1 to `most`; more is `most`, less is 400."""
        limit = self.integer("limit", default)
        if limit < 1:
            raise BadRequest("'limit' parameter must be 1 or more")
        return min(limit, most)

    def skip(self) -> int:
        skip = self.integer("skip", 0)
        if skip < 0:
            raise BadRequest("'skip' parameter must be 0 or more")
        return skip

    def date(self, name: str, *, days: bool = False) -> float | None:
        """Epoch seconds of an RFC 2822 date or Unix seconds. days: also "2026-11-23" and RFC 3339."""
        text = self.text(name)
        if text is None or not text.strip():
            return None
        given = text.strip()
        if days:
            at = _iso(given)
            if at is not None:
                return at
        try:
            return parse_date(given)
        except BadValue:
            raise BadRequest(f"{name} is neither an RFC 2822 date nor Unix seconds") from None

    def address(self, name: str) -> Address | None:
        """One address, with or without a name before it."""
        text = self.text(name)
        if text is None or not text.strip():
            return None
        found = mailboxes(name, text)
        if len(found) != 1:
            raise BadRequest(f"{name} parameter is not a valid address")
        return found[0].address

    def addresses(self, name: str) -> list[Address]:
        """Of every value and comma, in order; the same address twice stays twice."""
        return [one.address for text in self.all(name) for one in mailboxes(name, text)]

    def object(self, name: str) -> dict[str, Any] | None:
        """A JSON object."""
        text = self.text(name)
        if text is None or not text.strip():
            return None
        return self.value(name, parse_object)

    def json(self, name: str) -> Any:
        """Any JSON value; None also for a parameter that is not there."""
        text = self.text(name)
        if text is None or not text.strip():
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise BadRequest(f"{name} parameter is not valid JSON") from None

    def value(self, name: str, parse: Callable[[str], T]) -> T:
        """The last value by a parser of message.values; its BadValue is worded as ours."""
        try:
            return parse(self.text(name, ""))
        except BadValue as error:
            raise BadRequest(f"{name} parameter {error}") from None

    def starting(self, prefix: str) -> list[tuple[str, str]]:
        """(name without `prefix`, text) of "v:…" or "h:…", in order."""
        return [(name[len(prefix) :], text) for name, text in self._pairs if name.startswith(prefix)]


class Mailbox:
    """One entry of an address list. phrase: its display name, decoded, "" when there is none."""

    __slots__ = ("address", "phrase")

    def __init__(self, address: Address, phrase: str = "") -> None:
        self.address, self.phrase = address, phrase


def mailboxes(name: str, text: str) -> list[Mailbox]:
    """The entries of an address list. Raises BadRequest in the name of the parameter `name`."""
    bare = text.strip()
    if '"' not in bare and "," not in bare and "<" not in bare and "(" not in bare:
        return [Mailbox(_address(name, bare))] if bare else []
    found = []
    for entry in entries(bare):
        if entry.address:
            found.append(Mailbox(_address(name, entry.address), display(entry.phrase) if entry.phrase else ""))
        else:
            raise BadRequest(f"{name} parameter is not a valid address")
    return found


def _address(name: str, text: str) -> Address:
    try:
        return parse_address(text)
    except BadAddress:
        raise BadRequest(f"{name} parameter is not a valid address") from None


def missing(name: str) -> BadRequest:
    return BadRequest(f"{name} parameter is missing")


def _iso(text: str) -> float | None:
    try:
        if _DAY.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return None
