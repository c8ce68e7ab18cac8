"""Search: the events of a domain in the order of time, either way, by whatever index narrows them most.

Room: storage. May import: mail. What is found is a superset: whoever asks looks at each event. A search is done in
steps that each take a bounded time, so that no long one holds a reading connection.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson

from mtad.mail.event import INTERNAL, Event, EventType
from mtad.storage import journal, lookups
from mtad.storage.lookups import Named

PUBLIC = tuple(kind for kind in EventType if kind not in INTERNAL)
MOST = 10_000  # recipients or messages worth being looked up one by one: of more, every so many-th event is one of them
SLICE = 10_000  # events that one step passes over
COUNTED = 100_000  # events of a domain that are counted one by one


@dataclass(frozen=True, slots=True)
class Need:
    """An event may only be wanted if it is about one of these. named: ADDRESS, MESSAGE_ID or TAG. texts: any case.

    parts: of an ADDRESS, of which it must have one in it; lower-case ASCII.
    """

    named: Named
    texts: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """above, below: ids between which the events lie; neither is wanted itself. needs: all of them must be met."""

    domain_id: int
    above: int
    below: int
    descending: bool
    types: Sequence[EventType] = PUBLIC
    needs: tuple[Need, ...] = ()


class Search:
    """finished: there is nothing more."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._parts: list[_Part] | None = None
        self.finished = wanted.above + 1 >= wanted.below or not wanted.types

    def step(self, connection: sqlite3.Connection, most: int) -> list[Event]:
        """The next up to `most` events, in order; perhaps none, though it is not finished."""
        if self._parts is None:
            self._parts = _plan(connection, self._wanted)
        if not self._parts:
            self.finished = True
            return []
        ids, more = self._parts[0].take(connection, most)
        if not more:
            self._parts.pop(0)
            self.finished = not self._parts
        found, kinds = journal.by_ids(connection, ids), set(self._wanted.types)
        return [found[number] for number in ids if number in found and found[number].type in kinds]


class SearchAll:
    """The same for all domains together: all events of a time are looked at. wanted: its domain and needs play no part.

    finished: there is nothing more.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._position = wanted.below if wanted.descending else wanted.above
        self.finished = wanted.above + 1 >= wanted.below or not wanted.types

    def step(self, connection: sqlite3.Connection, most: int) -> list[Event]:
        wanted, kinds = self._wanted, {int(kind) for kind in self._wanted.types}
        descending = wanted.descending
        above, below = (wanted.above, self._position) if descending else (self._position, wanted.below)
        rows = connection.execute(
            f"SELECT id, type FROM events WHERE id > ? AND id < ? ORDER BY id {'DESC' if descending else ''} LIMIT ?",
            (above, below, most),
        ).fetchall()
        self.finished = len(rows) < most
        if rows:
            self._position = rows[-1][0]
        ids = [number for number, kind in rows if kind in kinds]
        found = journal.by_ids(connection, ids)
        return [found[number] for number in ids if number in found]


def counted(connection: sqlite3.Connection, wanted: Wanted, skip: int, most: int) -> tuple[list[Event], int]:
    """Up to `most` events behind the first `skip`, and how many there are: at most COUNTED. The needs play no part."""
    ids = _Scan(wanted).page(connection, skip, most) if skip < COUNTED else []
    kinds = ",".join(str(int(kind)) for kind in wanted.types)
    [total] = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM events"
        f" WHERE domain_id = ? AND type IN ({kinds}) AND id > ? AND id < ? LIMIT {COUNTED})",
        (wanted.domain_id, wanted.above, wanted.below),
    ).fetchone()
    found = journal.by_ids(connection, ids)
    return [found[number] for number in ids if number in found], int(total)


class _Part(Protocol):
    def take(self, connection: sqlite3.Connection, most: int) -> tuple[list[int], bool]:
        """Up to `most` ids in order, and whether there is more to come."""


class _Listed:
    """Ids that are known."""

    def __init__(self, ids: Iterable[int], descending: bool) -> None:
        self._ids = sorted(ids, reverse=not descending)  # the next one last

    def take(self, connection: sqlite3.Connection, most: int) -> tuple[list[int], bool]:
        taken = [self._ids.pop() for _ in range(min(most, len(self._ids)))]
        return taken, bool(self._ids)


class _Scan:
    """Through the index, one run per type, merged. narrowed: only events that meet the needs."""

    def __init__(self, wanted: Wanted, narrowed: bool = False) -> None:
        self._wanted, self._narrowed = wanted, narrowed
        self._position = wanted.below if wanted.descending else wanted.above

    def take(self, connection: sqlite3.Connection, most: int) -> tuple[list[int], bool]:
        if not self._narrowed:
            ids = self._ids(connection, self._bounds(), most)
            if ids:
                self._position = ids[-1]
            return ids, len(ids) == most
        above, below = self._bounds()
        end = self._ids(connection, (above, below), 1, SLICE)
        if end:  # the step ends with this one
            above, below = (end[0] - 1, below) if self._wanted.descending else (above, end[0] + 1)
        ids = self._ids(connection, (above, below), most, narrowed=True)
        if len(ids) == most:
            self._position = ids[-1]
            return ids, True
        if end:
            self._position = end[0]
        return ids, bool(end)

    def page(self, connection: sqlite3.Connection, skip: int, most: int) -> list[int]:
        return self._ids(connection, self._bounds(), most, skip)

    def _bounds(self) -> tuple[int, int]:
        wanted = self._wanted
        return (wanted.above, self._position) if wanted.descending else (self._position, wanted.below)

    def _ids(
        self,
        connection: sqlite3.Connection,
        bounds: tuple[int, int],
        most: int,
        skip: int = 0,
        *,
        narrowed: bool = False,
    ) -> list[int]:
        wanted = self._wanted
        values: list[int | str] = [wanted.domain_id, *bounds, most, skip]
        only = ""
        if narrowed:
            for need in wanted.needs:
                condition = _HAS_PART if need.parts else _MET[need.named]
                only += " AND " + condition.format(len(values) + 1)
                values.append(_texts(need.parts) if need.parts else _keys(wanted.domain_id, need.named, need.texts))
        run = "SELECT id FROM events AS e WHERE domain_id = ?1 AND type = {} AND id > ?2 AND id < ?3" + only
        runs = " UNION ALL ".join(run.format(int(kind)) for kind in wanted.types)
        order = "DESC" if wanted.descending else ""
        rows = connection.execute(f"{runs} ORDER BY id {order} LIMIT ?4 OFFSET ?5", values)
        return [number for (number,) in rows]


def _plan(connection: sqlite3.Connection, wanted: Wanted) -> list[_Part]:
    exact = tuple(need for need in wanted.needs if not need.parts)
    if not exact:
        return [_Scan(wanted, narrowed=bool(wanted.needs))]
    # What came after `upto` has no rows in the table yet; the events of it came after that too.
    upto = lookups.upto(connection)
    early, late = replace(wanted, below=min(wanted.below, upto + 1)), replace(wanted, above=max(wanted.above, upto))
    parts: list[_Part] = []
    if early.above + 1 < early.below:
        ids = _smallest(connection, early, exact)
        parts.append(_Scan(early, narrowed=True) if ids is None else _Listed(ids, wanted.descending))
    if late.above + 1 < late.below:
        parts.append(_Scan(late))
    return parts[::-1] if wanted.descending else parts


def _smallest(connection: sqlite3.Connection, wanted: Wanted, needs: Sequence[Need]) -> set[int] | None:
    """The events of the need that fewest can meet; None: that is many."""
    best: tuple[Need, list[int]] | None = None
    for need in needs:
        most = len(best[1]) if best else MOST + 1
        numbers = _found(connection, wanted, need.named, need.texts, most)
        if len(numbers) < most:
            best = (need, numbers)
    if best is None:
        return None
    need, numbers = best
    bounds = (wanted.above, wanted.below)
    types = _list(int(kind) for kind in wanted.types) if set(wanted.types) != set(PUBLIC) else None
    rows = connection.execute(_OF[need.named], (_list(numbers), *bounds, types))
    ids = {number for (number,) in rows}
    alone = _ALONE.get(need.named)
    if alone is not None:
        found = _found(connection, wanted, alone, need.texts, MOST + 1)
        if len(found) > MOST:
            return None
        ids.update(number for number in found if number > wanted.above)
    return ids


def _found(connection: sqlite3.Connection, wanted: Wanted, named: Named, texts: Iterable[str], most: int) -> list[int]:
    keys = [lookups.key_of(wanted.domain_id, named, text) for text in texts]
    return lookups.find(connection, keys, wanted.below, most)


def _keys(domain_id: int, named: Named, texts: Iterable[str]) -> str:
    return _list(lookups.key_of(domain_id, named, text) for text in texts)


def _texts(texts: Iterable[str]) -> str:
    return orjson.dumps(list(texts)).decode()


def _list(numbers: Iterable[int]) -> str:
    return orjson.dumps(list(numbers)).decode()


_ALONE = {Named.ADDRESS: Named.ADDRESS_ALONE, Named.MESSAGE_ID: Named.MESSAGE_ID_ALONE}

_OF_RECIPIENTS = """
    SELECT e.id FROM json_each(?1) AS j CROSS JOIN events AS e ON e.recipient_id = j.value
    WHERE e.id > ?2 AND e.id < ?3 AND (?4 IS NULL OR e.type IN (SELECT value FROM json_each(?4)))"""
_OF_MESSAGES = """
    SELECT e.id FROM json_each(?1) AS j CROSS JOIN messages AS m ON m.id = j.value
    CROSS JOIN events AS e ON e.recipient_id > m.id AND e.recipient_id <= m.id + m.recipients
    WHERE e.id > ?2 AND e.id < ?3 AND (?4 IS NULL OR e.type IN (SELECT value FROM json_each(?4)))"""
_OF = {Named.ADDRESS: _OF_RECIPIENTS, Named.MESSAGE_ID: _OF_MESSAGES, Named.TAG: _OF_MESSAGES}

_IS_MET = f"""
    (e.{{0}} IS NULL OR EXISTS (
        SELECT 1 FROM lookups AS l WHERE l.span = e.{{0}} >> {lookups.SPAN_SHIFT}
            AND l.key IN (SELECT value FROM json_each(?{{{{}}}})) AND l.id = e.{{0}}))"""
_MET = {
    Named.ADDRESS: _IS_MET.format("recipient_id"),
    Named.MESSAGE_ID: _IS_MET.format("message_id"),
    Named.TAG: _IS_MET.format("message_id"),
}
# SQLite folds ASCII alone: an address with other letters is left to whoever asks.
_HAS_PART = """
    (e.recipient_id IS NULL OR EXISTS (
        SELECT 1 FROM recipients AS r WHERE r.id = e.recipient_id
            AND (r.address GLOB '*[^ -~]*'
                 OR EXISTS (SELECT 1 FROM json_each(?{}) AS part WHERE instr(lower(r.address), part.value)))))"""
