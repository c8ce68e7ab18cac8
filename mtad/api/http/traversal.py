"""Traversal: which events a request asks for, in which direction, and how far it has come; as a token for links.

Room: api. Pure. May import: mail, storage. A token holds all of it, so it outlives a restart; what was mistyped or cut
is told by a checksum. It is no secret and opens nothing: the key of the caller does.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import orjson

from mtad.api.http.answers import BadRequest
from mtad.api.http.event_fields import FIELDS, Filters
from mtad.api.http.params import Params
from mtad.mail.ids import floor_at

END_OF_TIME = 1 << 62  # above every id
MOST, MOST_OLD = 300, 100
DEFAULT_LIMIT = 100
_MAX_TOKEN, _MAX_JSON = 6000, 20_000
_CHECK = 6  # octets
_LATEST = 4e9  # epoch seconds


class Way(Enum):
    """A page begins at an end of what is asked for, or behind or before an event."""

    FIRST = "f"
    LAST = "l"
    NEXT = "n"
    PREVIOUS = "p"


@dataclass(frozen=True, slots=True)
class Traversal:
    """above, below: ids between which the events lie; neither is wanted itself. pivot: an id, for NEXT and PREVIOUS:
    the page is behind or before it, as one goes; it is not on it. filters: names and texts.
    """

    above: int
    below: int
    descending: bool
    limit: int
    pretty: bool
    filters: Sequence[tuple[str, str]] = ()
    way: Way = Way.FIRST
    pivot: int = 0

    @property
    def against(self) -> bool:
        """The page is read from its far end: against the direction of the traversal."""
        return self.way in (Way.LAST, Way.PREVIOUS)

    @property
    def down(self) -> bool:
        """The page is read from later events to earlier ones."""
        return self.descending != self.against

    @property
    def bounds(self) -> tuple[int, int]:
        """Ids between which the page is."""
        if self.way in (Way.FIRST, Way.LAST):
            return self.above, self.below
        if self.down:
            return self.above, min(self.below, self.pivot)
        return max(self.above, self.pivot), self.below

    def first(self) -> "Traversal":
        return replace(self, way=Way.FIRST, pivot=0)

    def last(self) -> "Traversal":
        return replace(self, way=Way.LAST, pivot=0)

    def next(self, pivot: int) -> "Traversal":
        return replace(self, way=Way.NEXT, pivot=pivot)

    def previous(self, pivot: int) -> "Traversal":
        return replace(self, way=Way.PREVIOUS, pivot=pivot)


def read(params: Params, now: float, most: int) -> Traversal:
    """Of the parameters of a first page. Raises BadRequest."""
    begin, end = params.date("begin"), params.date("end")
    ascending = params.flag("ascending")
    start = now if begin is None else begin
    if end is not None:
        rising = end >= start
        if ascending is not None and ascending != rising and end != start:
            raise BadRequest("ascending parameter and the order of begin and end disagree")
        descending = not (rising if ascending is None else ascending)
    else:
        descending = not ascending
    low, high = (end, start) if descending else (start, end)
    above, below = between(low, high)
    return Traversal(
        above=above,
        below=below,
        descending=descending,
        limit=params.limit(DEFAULT_LIMIT, most),
        pretty=params.flag("pretty", True),
        filters=tuple(Filters((name, text) for name, text in params if name in FIELDS).pairs),
    )


def between(start: float | None, end: float | None) -> tuple[int, int]:
    """Ids that lie just outside of this time, both ends of which belong to it; None: no end."""
    return (
        _floor(start) - 1 if start is not None else -1,
        _floor(end + 0.001) if end is not None else END_OF_TIME,
    )


def _floor(at: float) -> int:
    return floor_at(min(max(at, 0.0), _LATEST))


def encode(traversal: Traversal) -> str:
    """URL-safe letters, digits, "-" and "_"."""
    said = [
        1,
        traversal.above,
        traversal.below,
        int(traversal.descending),
        traversal.limit,
        int(traversal.pretty),
        traversal.way.value,
        traversal.pivot,
        list(traversal.filters),
    ]
    body = zlib.compress(orjson.dumps(said), 6)
    return base64.urlsafe_b64encode(_check(body) + body).decode("ascii").rstrip("=")


def decode(token: str, most: int) -> Traversal:
    """Raises BadRequest."""
    try:
        if len(token) > _MAX_TOKEN:
            raise ValueError
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
        check, body = raw[:_CHECK], raw[_CHECK:]
        if check != _check(body):
            raise ValueError
        inflated = zlib.decompressobj().decompress(body, _MAX_JSON)
        version, above, below, descending, limit, pretty, way, pivot, filters = orjson.loads(inflated)
        if version != 1 or not all(type(n) is int and -1 <= n <= END_OF_TIME for n in (above, below, limit, pivot)):
            raise ValueError
        pairs = tuple((str(name), str(text)) for name, text in filters)
        return Traversal(above, below, bool(descending), min(max(limit, 1), most), bool(pretty), pairs, Way(way), pivot)
    except (ValueError, TypeError, binascii.Error, zlib.error):
        raise BadRequest("page parameter is not valid") from None


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK, person=b"mtad events").digest()
