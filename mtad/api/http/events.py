"""Events: GET /{domain}/events: pages through what happened, both ways, filtered, without a gap while more happens.

Room: api. May import: mail, storage, webhooks. Ids are taken before their rows are committed, so a later event can be
there before an earlier one is. Pages end at the writer's horizon, behind which nothing is added any more: so whoever
went on from an event has seen all that came before it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mtad.api.http import traversal
from mtad.api.http.answers import Answer, TooSlow, answer
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.event_fields import Filters
from mtad.api.http.traversal import Traversal, Way
from mtad.clock import Clock
from mtad.mail.event import Event
from mtad.mail.ids import floor_at
from mtad.storage import journal
from mtad.storage.database import Database
from mtad.storage.search import Search, SearchAll, Wanted
from mtad.webhooks.event_json import event_json

PATIENCE_S = 20.0  # how long an unindexed filter may be looked for
STEP = 2000  # events looked at, at most, before others get the connection
_CHAPTER = "Events"
_PARAMS = (
    Param("begin", "Where to begin: an RFC 2822 date or Unix seconds; now if it is left out"),
    Param("end", "Where to end"),
    Param("ascending", "Earlier events first", "boolean"),
    Param("limit", "Events of a page: 100, at most 300", "integer"),
    Param("pretty", "Indent the answer", "boolean"),
    Param("page", "A page by its token; all else is ignored then"),
    Param("event", "Types, as an expression: rejected OR failed"),
    Param("severity", "temporary or permanent"),
    Param("list", "Address of the mailing list"),
    Param("attachment", "Names of attached files"),
    Param("from", "The From field"),
    Param("to", "The To field"),
    Param("subject", "The Subject field"),
    Param("message-id", "The Message-Id"),
    Param("size", "Octets: >10000 <20000"),
    Param("recipient", "Whom the event is about"),
    Param("recipients", "Any recipient of the message"),
    Param("tags", "Tags of the message"),
)


class Events:
    """keep_s: how long events are told of."""

    def __init__(self, database: Database, clock: Clock, keep_s: Callable[[], float]) -> None:
        self._database, self._clock, self._keep_s = database, clock, keep_s

    def rows(self) -> Sequence[Row]:
        return (
            Row(
                method="GET",
                path="/{domain}/events",
                handler=self.page,
                about="What happened to the domain's messages",
                chapter=_CHAPTER,
                params=_PARAMS,
            ),
            Row(
                method="GET",
                path="/{domain}/events/{token}",
                handler=self.page,
                about="Another page of events, by a link of one before",
                chapter=_CHAPTER,
            ),
        )

    async def page(self, call: Call) -> Answer:
        most = traversal.MOST_OLD if call.old else traversal.MOST
        token = call.variables.get("token") or call.params.text("page", "").strip()
        asked = traversal.decode(token, most) if token else traversal.read(call.params, call.now, most)
        view = View(self._database, self._clock, self._keep_s(), call.base_url)
        items, ends = await view.look(asked, call.domain.id, call.now)
        before, after = ends
        paging = {
            "next": _link(call, after),
            "previous": _link(call, before),
            "first": _link(call, asked.first()),
            "last": _link(call, asked.last()),
        }
        return answer({"items": items, "paging": paging}, pretty=asked.pretty)


@dataclass(frozen=True, slots=True)
class View:
    """keep_s: how long events are told of."""

    database: Database
    clock: Clock
    keep_s: float
    base_url: str
    wants: Callable[[Event], bool] = lambda event: True

    async def look(
        self, asked: Traversal, domain_id: int | None, now: float
    ) -> tuple[list[dict[str, Any]], tuple[Traversal, Traversal]]:
        """The items of the page, and the pages before and after it. domain_id None: of all domains."""
        horizon, filters = self.database.writer.horizon, Filters(asked.filters)
        above, below = asked.bounds
        above = max(above, floor_at(now - self.keep_s) - 1)
        wanted = Wanted(domain_id or 0, above, min(below, horizon + 1), asked.down, filters.types, filters.needs)
        search = SearchAll(wanted) if domain_id is None else Search(wanted)
        found = await self._found(search, filters, asked.limit)
        newest = 0
        if search.finished and len(found) < asked.limit and not asked.descending:
            newest = await self.database.read(lambda connection: journal.newest(connection, min(horizon, below - 1)))
        if asked.against:
            found.reverse()
        return [made for _, made in found], _ends(asked, [number for number, _ in found], newest)

    async def _found(
        self, search: Search | SearchAll, filters: Filters, limit: int
    ) -> list[tuple[int, dict[str, Any]]]:
        found = list[tuple[int, dict[str, Any]]]()
        until = self.clock.steady() + PATIENCE_S
        size = min(limit, STEP)

        def step(connection: sqlite3.Connection) -> list[tuple[int, dict[str, Any]]]:
            events = [event for event in search.step(connection, size) if self.wants(event)]
            made = [(event.id, event_json(event, self.base_url)) for event in events]
            return [one for one in made if filters.matches(one[1])]

        while len(found) < limit and not search.finished:
            found += await self.database.read(step)
            size = min(2 * size, STEP)  # what the store narrows by leaves little to be passed over
            if self.clock.steady() > until and not search.finished:
                if not found:
                    raise TooSlow("No event was found in time; narrow it down by begin and end, recipient or event")
                break  # a short page is not the last one
        return found[:limit]


def _ends(asked: Traversal, ids: Sequence[int], newest: int) -> tuple[Traversal, Traversal]:
    """The pages before and after one with these events, in its order. newest: the last event there was, if the page
    came to the end of what there was, else 0: rising, all up to it was looked at, and need not be again.
    """
    one = -1 if asked.descending else 1  # from an event towards those behind it
    if ids:
        before, after = asked.previous(ids[0]), asked.next(ids[-1])
    elif asked.way is Way.NEXT:
        before, after = asked.previous(asked.pivot + one), asked
    elif asked.way is Way.PREVIOUS:
        before, after = asked, asked.next(asked.pivot - one)
    else:
        start = asked.below if asked.descending else asked.above
        before, after = asked.previous(start), asked.first()
    if newest and not asked.descending and not asked.against:
        seen = max(newest, after.pivot if after.way is Way.NEXT else asked.above)
        after = asked.next(seen)
        if not ids:
            before = asked.previous(seen + 1)
    return before, after


def _link(call: Call, to: Traversal) -> str:
    """Both ways: some readers take the path, others the query."""
    token = traversal.encode(to)
    return f"{call.base_url}/v{call.version}/{quote(call['domain'])}/events/{token}?page={token}"
