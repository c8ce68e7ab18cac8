"""Campaign reports: what became of the mail of a campaign: each event, totals, and clicks, opens, unsubscribes and
complaints in groups.

Room: api. May import: mail, storage, webhooks. Answers are arrays. What is long takes its time on a connection of its
own, and is given up after PATIENCE_S.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson

from mtad.api.http.answers import Answer, BadRequest, NotFound, TooSlow, answer
from mtad.api.http.call import Call, Handler, Param, Row
from mtad.api.http.campaigns import NOT_FOUND
from mtad.api.http.dates import gmt
from mtad.api.http.params import Params, missing
from mtad.clock import Clock
from mtad.mail.event import Event, EventType
from mtad.mail.ids import made_at
from mtad.mail.options import options_from_json
from mtad.storage import campaign_reports, campaigns
from mtad.storage.campaign_events import TOLD, Word
from mtad.storage.campaign_reports import PLACES, TIMES, Group, Key, Page, Told, Totals, Value, Wanted
from mtad.storage.campaigns import CampaignRow
from mtad.storage.database import Database, TooLong
from mtad.webhooks.personal import variables_of

T = TypeVar("T")

PATIENCE_S = 20.0
MAX_LIMIT = 100
MAX_PAGE = 1_000_000_000
_CHAPTER = "Campaigns"
_WORDS: Mapping[str, Word] = {word.name.lower(): word for word in TOLD}
_DATED = frozenset((Key.MONTH, Key.DAY, Key.HOUR, Key.MINUTE))
_WHERE = (Key.DOMAIN, *PLACES)
_STATS = (Key.DOMAIN, Key.DAILY_HOUR, *PLACES)
# The last segment of the path -> (what is counted, what it can be grouped by)
_GROUPED: Mapping[str, tuple[Word, Sequence[Key]]] = {
    "clicks": (Word.CLICKED, (Key.LINK, Key.RECIPIENT, *_WHERE, *TIMES)),
    "opens": (Word.OPENED, (Key.RECIPIENT, *_WHERE, *TIMES)),
    "unsubscribes": (Word.UNSUBSCRIBED, (*_WHERE, *TIMES)),
    "complaints": (Word.COMPLAINED, (Key.RECIPIENT, Key.DOMAIN, *TIMES)),
}
_PAGING = (
    Param("limit", "Rows of a page: 100 at most", "integer"),
    Param("page", "Which page, from 1 on", "integer"),
    Param("count", "How many rows there are, in place of them", "boolean"),
)


class CampaignReports:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def rows(self) -> Sequence[Row]:
        places = tuple(Param(key.value, f"Only of this {key.value}") for key in PLACES)
        told = (Param("event", "Which: " + ", ".join(_WORDS), many=True), Param("recipient", "Only of this address"))
        grouped = [
            self._row(
                name,
                partial(self.grouped, word=word, allowed=keys),
                f"{name.capitalize()} in groups",
                (_groupby(keys, required=True), *(places if set(PLACES) <= set(keys) else ()), *_PAGING),
            )
            for name, (word, keys) in _GROUPED.items()
        ]
        return (
            self._row("events", self.events, "What happened, newest first", (*told, *places, *_PAGING)),
            self._row("stats", self.stats, "Totals, of all or in groups", (_groupby(_STATS), *_PAGING)),
            *grouped,
        )

    def _row(self, name: str, handler: Handler, about: str, params: Sequence[Param]) -> Row:
        path = "/{domain}/campaigns/{id}/" + name
        return Row(
            method="GET", path=path, handler=handler, about=about, chapter=_CHAPTER, params=params, versions=(2, 3)
        )

    async def events(self, call: Call) -> Answer:
        params, page = call.params, _page(call.params)
        wanted = Wanted(_words(params), params.text("recipient", "").strip(), _places(params))

        def count(connection: sqlite3.Connection, campaign: CampaignRow) -> int:
            return campaign_reports.count_events(connection, campaign.number, wanted)

        def rows(connection: sqlite3.Connection, campaign: CampaignRow) -> list[dict[str, Any]]:
            found = campaign_reports.events(connection, campaign.number, wanted, page)
            return [_event(one) for one in found]

        return await self._answer(call, count, rows)

    async def stats(self, call: Call) -> Answer:
        keys, page = _keys(call.params, _STATS), _page(call.params)

        def count(connection: sqlite3.Connection, campaign: CampaignRow) -> int:
            return campaign_reports.count_stats(connection, campaign.number, keys) if keys else 1

        def rows(connection: sqlite3.Connection, campaign: CampaignRow) -> Any:
            if not keys:
                return _totals(keys, campaign_reports.totals(connection, campaign.number))
            return [_totals(keys, one) for one in campaign_reports.stats(connection, campaign.number, keys, page)]

        return await self._answer(call, count, rows)

    async def grouped(self, call: Call, word: Word, allowed: Sequence[Key]) -> Answer:
        keys, page = _keys(call.params, allowed), _page(call.params)
        if not keys:
            raise missing("groupby")
        places = _places(call.params) if set(PLACES) <= set(allowed) else {}

        def count(connection: sqlite3.Connection, campaign: CampaignRow) -> int:
            return campaign_reports.count_groups(connection, campaign.number, word, keys, places)

        def rows(connection: sqlite3.Connection, campaign: CampaignRow) -> list[dict[str, Any]]:
            found = campaign_reports.grouped(connection, campaign.number, word, keys, places, page)
            return [_group(word, keys, one) for one in found]

        return await self._answer(call, count, rows)

    async def _answer(
        self,
        call: Call,
        count: Callable[[sqlite3.Connection, CampaignRow], int],
        rows: Callable[[sqlite3.Connection, CampaignRow], Any],
    ) -> Answer:
        domain, id = call.domain, call["id"].strip()
        campaign = await self._database.read(lambda connection: campaigns.find(connection, domain.id, id))
        if campaign is None:
            raise NotFound(NOT_FOUND)
        if call.params.flag("count", False):
            return answer({"count": await self._ask(lambda connection: count(connection, campaign))})
        return answer(await self._ask(lambda connection: rows(connection, campaign)))

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        until = self._clock.steady() + PATIENCE_S
        try:
            return await self._database.study(work, lambda: self._clock.steady() > until)
        except TooLong:
            raise TooSlow(f"The report takes longer than {PATIENCE_S:g} seconds; ask for less of it") from None


def _groupby(keys: Sequence[Key], required: bool = False) -> Param:
    return Param("groupby", "Any of " + ", ".join(keys), required=required, many=True)


def _page(params: Params) -> Page:
    limit, page = params.limit(MAX_LIMIT, MAX_LIMIT), params.integer("page", 1)
    if not 1 <= page <= MAX_PAGE:
        raise BadRequest(f"'page' parameter must be 1 to {MAX_PAGE}")
    return Page(limit, (page - 1) * limit)


def _keys(params: Params, allowed: Sequence[Key]) -> list[Key]:
    """Those of groupby, each once. Raises BadRequest."""
    found: dict[Key, None] = {}
    for text in params.all("groupby"):
        word = text.strip().lower()
        if not word:
            continue
        if word not in set(allowed):
            raise BadRequest("groupby parameter is none of " + ", ".join(allowed))
        found[Key(word)] = None
    return list(found)


def _words(params: Params) -> tuple[Word, ...]:
    found = []
    for text in params.all("event"):
        name = text.strip().lower()
        if not name:
            continue
        if name not in _WORDS:
            raise BadRequest("event parameter is none of " + ", ".join(_WORDS))
        found.append(_WORDS[name])
    return tuple(found)


def _places(params: Params) -> dict[Key, str]:
    return {key: text for key in PLACES if (text := params.text(key.value, "").strip())}


def _shown(keys: Sequence[Key], values: Sequence[Value]) -> dict[str, Any]:
    return {key.value: gmt(int(value)) if key in _DATED else value for key, value in zip(keys, values, strict=True)}


def _group(word: Word, keys: Sequence[Key], group: Group) -> dict[str, Any]:
    row = {**_shown(keys, group.keys), "total": group.total}
    unique: dict[str, int] = {}
    if word is Word.CLICKED:
        unique["link"] = group.links
    if word in (Word.CLICKED, Word.OPENED):
        unique["recipient"] = group.recipients
        row["unique"] = {name: n for name, n in unique.items() if name not in keys}
    return row


def _totals(keys: Sequence[Key], found: Totals) -> dict[str, Any]:
    return {
        **_shown(keys, found.keys),
        "total": {word.name.lower(): found.totals[word] for word in Word},
        "unique": {
            "clicked": {"link": found.links_clicked, "recipient": found.recipients_clicked},
            "opened": {"recipient": found.recipients_opened},
        },
    }


def _event(told: Told) -> dict[str, Any]:
    options = options_from_json(told.options) if told.options else None
    copied = Event(
        id=told.id,
        type=EventType.DELIVERED,
        at=made_at(told.id),
        domain="",
        queue_id="",
        recipient=told.recipient,
        reverse_path="",
        size=0,
        about={},
        detail={},
        options=options,
        personal=orjson.loads(told.personal) if told.personal else {},
    )
    row: dict[str, Any] = {
        "event": told.word.name.lower(),
        "recipient": told.recipient,
        "domain": told.domain,
        "tags": list(options.tags) if options is not None else [],
        "timestamp": gmt(made_at(told.id)),
        "user_vars": variables_of(copied),
    }
    for name in ("country", "region", "city", "ip", "link"):
        value = getattr(told, name)
        if value:
            row[name] = value
    return row
