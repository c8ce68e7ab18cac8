"""Event fields: what of an event each filter is compared with, and what the store can narrow by.

Room: api. Pure. May import: mail, storage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtad.api.http.answers import BadRequest
from mtad.api.http.filters import MAX_TEXT, Kind, Node, Values, contained, matches, needed, parse
from mtad.mail.event import EventType
from mtad.storage.lookups import Named
from mtad.storage.search import PUBLIC, Need


@dataclass(frozen=True, slots=True)
class Field:
    kind: Kind
    values: Callable[[Mapping[str, Any]], Values]  # of an event object
    named: Named | None = None


def _at(*names: str) -> Callable[[Mapping[str, Any]], Sequence[str]]:
    """The texts at the end of the path; of each member where it leads through a list."""

    def values(made: Mapping[str, Any]) -> Sequence[str]:
        found: list[Any] = [made]
        for name in names:
            found = [one[name] for one in found if isinstance(one, Mapping) and name in one]
            found = [inner for one in found for inner in (one if isinstance(one, list | tuple) else (one,))]
        return [str(one) for one in found]

    return values


def _size(made: Mapping[str, Any]) -> Sequence[float]:
    size = made.get("message", {}).get("size")
    return [size] if isinstance(size, int | float) else []


FIELDS: Mapping[str, Field] = {
    "event": Field(Kind.WHOLE, _at("event")),
    "severity": Field(Kind.WHOLE, _at("severity")),
    "list": Field(Kind.TEXT, _at("mailing-list", "address")),
    "attachment": Field(Kind.TEXT, _at("message", "attachments", "filename")),
    "from": Field(Kind.TEXT, _at("message", "headers", "from")),
    "to": Field(Kind.TEXT, _at("message", "headers", "to")),
    "subject": Field(Kind.TEXT, _at("message", "headers", "subject")),
    "message-id": Field(Kind.ID, _at("message", "headers", "message-id"), Named.MESSAGE_ID),
    "size": Field(Kind.NUMBER, _size),
    "recipient": Field(Kind.ADDRESS, _at("recipient"), Named.ADDRESS),
    "recipients": Field(Kind.ADDRESS, _at("message", "recipients")),
    "tags": Field(Kind.WHOLE, _at("tags"), Named.TAG),
}
_SEVERITIES = {
    EventType.FAILED_TEMPORARY: ("temporary",),
    EventType.FAILED_PERMANENT: ("permanent",),
    EventType.FAILED_LATE: ("permanent",),
}
ALL_MAIL = "*"  # the tag of an event that tells of who left all mail: no message has it
_LEFT: frozenset[str] | None = frozenset((ALL_MAIL,))


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter as it was given, and its tree."""

    name: str
    text: str
    node: Node

    def matches(self, made: Mapping[str, Any]) -> bool:
        """made: an event object."""
        field = FIELDS[self.name]
        return matches(self.node, field.kind, field.values(made))


class Filters:
    """All filters of a request; an event must match each."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """pairs: names and texts; names that are no field's are left out. Raises BadRequest."""
        self.filters: list[Filter] = []
        length = 0
        for name, text in pairs:
            field = FIELDS.get(name)
            if field is None:
                continue
            length += len(text)
            if length > MAX_TEXT:
                raise BadRequest(f"The filters are longer than {MAX_TEXT} characters together")
            try:
                node = parse(text, field.kind)
            except ValueError as error:
                raise BadRequest(f"{name} parameter {error}") from None
            if node is not None:
                self.filters.append(Filter(name, text, node))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(one.name, one.text) for one in self.filters]

    def matches(self, made: Mapping[str, Any]) -> bool:
        return all(one.matches(made) for one in self.filters)

    @property
    def types(self) -> tuple[EventType, ...]:
        """The types of events that can match."""
        return tuple(kind for kind in PUBLIC if self._may_be(kind))

    def _may_be(self, kind: EventType) -> bool:
        for one in self.filters:
            if one.name == "event" and not matches(one.node, Kind.WHOLE, [kind.word]):
                return False
            if one.name == "severity" and not matches(one.node, Kind.WHOLE, _SEVERITIES.get(kind, ())):
                return False
            if one.name == "tags" and needed(one.node, Kind.WHOLE) == _LEFT and kind is not EventType.UNSUBSCRIBED:
                return False
        return True

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the store has an index for."""
        found = []
        for one in self.filters:
            field = FIELDS[one.name]
            texts = needed(one.node, field.kind) if field.named is not None else None
            if field.named is not None and texts is not None and ALL_MAIL not in texts:
                found.append(Need(field.named, texts))
            elif field.named is Named.ADDRESS:
                parts = contained(one.node)
                if parts is not None and all(part.isascii() for part in parts):
                    found.append(Need(field.named, parts=parts))
        return tuple(found)
