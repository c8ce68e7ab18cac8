"""Logs: the events in two more shapes: GET /{domain}/log of old, a line for each, and POST /analytics/logs of today,
of all domains together, asked for by JSON.

Room: api. May import: mail, storage.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from mtad.api.http import traversal
from mtad.api.http.analytics import Condition, body_of, conditions_of, date_in
from mtad.api.http.answers import Answer, BadRequest, answer
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt, numeric
from mtad.api.http.event_fields import FIELDS, Filters
from mtad.api.http.events import View
from mtad.api.http.paging import counted
from mtad.api.http.totals import span
from mtad.api.http.traversal import DEFAULT_LIMIT, MOST, Traversal
from mtad.clock import Clock
from mtad.mail.event import Event
from mtad.mail.ids import floor_at
from mtad.storage import accounts, search
from mtad.storage.database import Database
from mtad.storage.search import Wanted
from mtad.webhooks.event_json import event_json

_DOMAIN, _EXCLUDED = "domain", "-domain"  # beside the filters of events in a traversal
_NAMES = {"message_id": "message-id", "tag": "tags"}
_COMPARATORS = {"=": False, "contains": False, "!=": True, "not contains": True}


class Logs:
    """keep_s: how long events are told of."""

    def __init__(self, database: Database, clock: Clock, keep_s: Callable[[], float]) -> None:
        self._database, self._clock, self._keep_s = database, clock, keep_s

    def rows(self) -> Sequence[Row]:
        paged = (Param("limit", "Items of a page", "integer"), Param("skip", "Items before it", "integer"))
        asked = ("start", "end", "duration", "events", "filter", "pagination")
        return (
            Row(
                method="GET",
                path="/{domain}/log",
                handler=self.log,
                about="What happened to the domain's messages, in lines for people; up to 100,000 are counted",
                chapter="Events",
                params=paged,
                versions=(2, 3),
            ),
            Row(
                method="POST",
                path="/analytics/logs",
                handler=self.logs,
                about="What happened to the messages of all domains",
                chapter="Analytics",
                params=[Param(name) for name in asked],
                versions=(1,),
            ),
        )

    async def log(self, call: Call) -> Answer:
        limit, skip = call.params.limit(), call.params.skip()
        above = floor_at(call.now - self._keep_s()) - 1
        wanted = Wanted(call.domain.id, above, self._database.writer.horizon + 1, True)
        found, total = await self._database.read(lambda connection: search.counted(connection, wanted, skip, limit))
        return counted([_line(event) for event in found], total)

    async def logs(self, call: Call) -> Answer:
        body = body_of(call)
        since, until = span(date_in(body, "start"), date_in(body, "end"), str(body.get("duration") or ""), call.now)
        asked = _asked(body, since, until)
        named = {text for name, text in asked.filters if name == _DOMAIN}
        excluded = {text for name, text in asked.filters if name == _EXCLUDED}
        view = View(self._database, self._clock, self._keep_s(), call.base_url, _wants(named, excluded))
        domain_id = None
        if len(named) == 1:  # then the store can narrow it
            ids = {row.name: row.id for row in await self._database.read(accounts.domains)}
            domain_id = ids.get(next(iter(named)), 0)
        items, (before, after) = await view.look(asked, domain_id, call.now)
        return answer(
            {
                "start": numeric(since),
                "end": numeric(until),
                "items": items,
                "pagination": {
                    "previous": traversal.encode(before),
                    "next": traversal.encode(after),
                    "first": traversal.encode(asked.first()),
                    "last": traversal.encode(asked.last()),
                },
                "aggregates": {},
            }
        )


def _wants(named: Set[str], excluded: Set[str]) -> Callable[[Event], bool]:
    """named: the domains wanted, none: all."""
    return lambda event: event.domain not in excluded and (not named or event.domain in named)


def _asked(body: Mapping[str, Any], since: float, until: float) -> Traversal:
    """Raises BadRequest."""
    paging = body.get("pagination")
    paging = paging if isinstance(paging, dict) else {}
    if paging.get("token"):
        return traversal.decode(str(paging["token"]), MOST)
    limit, order = paging.get("limit") or DEFAULT_LIMIT, str(paging.get("sort") or "timestamp:desc")
    if type(limit) is not int or limit < 1:
        raise BadRequest("pagination: limit is an integer, 1 or more")
    if order not in ("timestamp:asc", "timestamp:desc"):
        raise BadRequest("pagination: sort is timestamp:asc or timestamp:desc")
    above, below = traversal.between(since, until)
    return Traversal(above, below, order.endswith("desc"), min(limit, MOST), True, tuple(_filters(body)))


def _filters(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Those of events as they are asked for there, and _DOMAIN or _EXCLUDED for each domain."""
    conditions = conditions_of(body.get("filter"))
    events = body.get("events")
    if isinstance(events, list) and events:
        conditions.append(Condition("event", "=", tuple(str(one) for one in events)))
    found: list[tuple[str, str]] = []
    domains: set[str] | None = None
    for one in conditions:
        name = _NAMES.get(one.attribute, one.attribute)
        excluded = _COMPARATORS.get(one.comparator)
        if excluded is None or (name != _DOMAIN and name not in FIELDS):
            raise BadRequest(f"filter: {one.attribute} {one.comparator} cannot be asked for"[:200])
        if any('"' in text for text in one.values) or not one.values:
            raise BadRequest("filter: values is a list of texts without quotation marks")
        some = {text.strip().lower() for text in one.values}
        if name != _DOMAIN:
            either = " OR ".join(f'"{text}"' for text in one.values)
            found.append((name, f"NOT ({either})" if excluded else either))
        elif excluded:
            found += [(_EXCLUDED, text) for text in some]
        else:
            domains = some if domains is None else domains & some
    Filters(found)
    return found if domains is None else [*found, *[(_DOMAIN, text) for text in domains or {""}]]


def _line(event: Event) -> dict[str, str]:
    made = event_json(event)
    headers = made.get("message", {}).get("headers", {})
    return {
        "hap": event.type.word,
        "created_at": gmt(event.at),
        "type": event.type.level,
        "message": _words(made, headers),
        "message_id": str(headers.get("message-id", "")),
    }


def _words(made: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """ "Delivered: ann@x.org → bob@y.org 'Hello' (250 taken)"."""
    sender = str(made.get("envelope", {}).get("sender") or headers.get("from", ""))
    text = f"{str(made['event']).capitalize()}: {sender} \u2192 {made.get('recipient', '')}"
    if headers.get("subject"):
        text += f" '{headers['subject']}'"
    said = made.get("delivery-status") or {}
    why = said.get("message") or said.get("description") or made.get("reject", {}).get("description") or made.get("url")
    code = f"{said['code']} " if said.get("code") else ""
    return f"{text} ({code}{why})" if why else text
