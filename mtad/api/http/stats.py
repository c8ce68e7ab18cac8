"""Stats: what was counted, by day (old) and by step of time (totals), of a domain or the account.

Room: api. May import: mail, storage.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtad.api.http import totals
from mtad.api.http.answers import Answer, BadRequest, NotFound, answer
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted
from mtad.api.http.params import missing
from mtad.api.http.totals import DAILY, SHAPES, Time
from mtad.mail.metric import Metric
from mtad.storage import accounts, counters
from mtad.storage.counters import Resolution, Step
from mtad.storage.database import Database

_CHAPTER = "Stats"
TIME_PARAMS = (
    Param("event", "What to count: " + ", ".join(SHAPES), many=True, required=True),
    Param("start", "An RFC 2822 date or Unix seconds; 7 days before the end if it is left out"),
    Param("end", "The same; now if it is left out"),
    Param("resolution", "hour, day or month"),
    Param("duration", "Back from the end: 24h, 7d, 2m"),
)


class Stats:
    """keep_s: how long counters are kept."""

    def __init__(self, database: Database, keep_s: Callable[[], float]) -> None:
        self._database, self._keep_s = database, keep_s

    def rows(self) -> Sequence[Row]:
        def row(path: str, handler: Any, about: str, params: Sequence[Param] = TIME_PARAMS) -> Row:
            return Row(method="GET", path=path, handler=handler, about=about, chapter=_CHAPTER, params=params)

        daily = (
            Param("event", "What to count: " + ", ".join(DAILY), many=True),
            Param("start-date", "The first day: 2026-11-23"),
            Param("limit", "Items of a page", "integer"),
            Param("skip", "Items before it", "integer"),
        )
        by = (Param("filter", "domain:mg.example.com"),)
        return (
            row("/{domain}/stats", self.daily, "Numbers of each day, newest first", daily),
            row("/{domain}/stats/total", self.of_domain, "Numbers of a domain"),
            row("/stats/total", self.of_account, "Numbers of all domains together"),
            row("/stats/filter", self.filtered, "Numbers of all domains, or of one", (*TIME_PARAMS, *by)),
        )

    async def of_domain(self, call: Call) -> Answer:
        return await totals_answer(self._database, call, [call.domain.id])

    async def of_account(self, call: Call) -> Answer:
        return await totals_answer(self._database, call, list((await self._domains()).values()))

    async def filtered(self, call: Call) -> Answer:
        domains = await self._domains()
        text = call.params.text("filter", "").strip()
        if not text:
            return await totals_answer(self._database, call, list(domains.values()))
        kind, _, name = text.partition(":")
        if kind.strip().lower() != "domain":
            raise BadRequest("filter parameter is not of the form domain:mg.example.com")
        number = domains.get(name.strip().lower())
        if number is None:
            raise NotFound(f"Domain not found: {name.strip()[:255]}")
        return await totals_answer(self._database, call, [number])

    async def _domains(self) -> Mapping[str, int]:
        return {row.name: row.id for row in await self._database.read(accounts.domains)}

    async def daily(self, call: Call) -> Answer:
        domain, limit, skip = call.domain, call.params.limit(), call.params.skip()
        names = totals.words(call.params, DAILY) or list(DAILY)
        start = call.params.date("start-date", days=True)
        oldest = call.now - self._keep_s()
        since = min(max(oldest, start if start is not None else oldest), call.now)
        steps = await self._database.read(
            lambda connection: counters.stats(connection, [domain.id], "", since, call.now, Resolution.DAY)
        )
        found = [
            (step, name, n)
            for step in reversed(steps)
            for name in names
            if (n := totals.total(step.counts, DAILY[name])) > 0
        ]
        page = found[skip : skip + limit]
        tags: dict[int, dict[str, dict[Metric, int]]] = {}
        if page:
            first, last = page[-1][0].at, page[0][0].at
            tags = await self._database.read(lambda c: counters.tag_days(c, domain.id, first, last))
        return counted([_daily_json(domain.name, *one, tags.get(one[0].at, {})) for one in page], len(found))


def _daily_json(domain: str, step: Step, name: str, n: int, tags: dict[str, dict[Metric, int]]) -> dict[str, Any]:
    by_tag = {tag: number for tag, counts in tags.items() if (number := totals.total(counts, DAILY[name]))}
    known = f"{domain}\0{step.at}\0{name}".encode()
    return {
        "event": name,
        "total_count": n,
        "created_at": gmt(step.at),
        "id": hashlib.blake2b(known, digest_size=12).hexdigest(),
        "tags": by_tag,
    }


async def totals_answer(
    database: Database, call: Call, domain_ids: Sequence[int], label: str = "", description: str = "", **more: Any
) -> Answer:
    """The totals that the request asks for. more: members before them."""
    names = totals.words(call.params, SHAPES)
    if not names:
        raise missing("event")
    asked = totals.read_time(call.params, call.now)
    steps = await steps_of(database, domain_ids, label, asked, totals.metrics_of(names))
    return answer({**more, **totals.totals_json(asked, names, steps, description)})


async def steps_of(
    database: Database, domain_ids: Sequence[int], label: str, asked: Time, metrics: Sequence[Metric]
) -> list[Step]:
    """Raises BadRequest when they are too many."""
    try:
        return await database.read(
            lambda connection: counters.stats(
                connection, domain_ids, label, asked.since, asked.until, asked.resolution, metrics
            )
        )
    except ValueError as error:
        raise BadRequest(str(error)) from None
