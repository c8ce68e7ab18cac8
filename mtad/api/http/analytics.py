"""Analytics: the newer calls for numbers and tags, account-wide, by JSON. Numbers come by time or all together; what is
asked by another dimension has no items.

Room: api. May import: mail, storage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtad.api.http import totals
from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import numeric, rfc3339
from mtad.api.http.params import MAX_LIMIT, Params
from mtad.api.http.stats import steps_of
from mtad.api.http.tags import forget
from mtad.api.http.totals import DAILY, PERMANENT, TEMPORARY, Counts, Time, time_of
from mtad.mail.metric import Metric
from mtad.storage import accounts, counters
from mtad.storage.counters import Step
from mtad.storage.database import Database

LIMIT = 100_000
_CHAPTER = "Analytics"
_METRICS: Mapping[str, tuple[Metric, ...]] = {
    "accepted_count": DAILY["accepted"],
    "accepted_incoming_count": (Metric.ACCEPTED_INCOMING,),
    "accepted_outgoing_count": (Metric.ACCEPTED_OUTGOING,),
    "sent_count": DAILY["sent"],
    "processed_count": (*DAILY["delivered"], *PERMANENT),
    "delivered_count": DAILY["delivered"],
    "delivered_smtp_count": (Metric.DELIVERED_SMTP,),
    "delivered_http_count": (Metric.DELIVERED_HTTP,),
    "failed_count": DAILY["failed"],
    "temporary_failed_count": TEMPORARY,
    "permanent_failed_count": PERMANENT,
    "temporary_failed_esp_block_count": (Metric.FAILED_ESPBLOCK,),
    "bounced_count": DAILY["bounced"],
    "hard_bounces_count": (Metric.FAILED_BOUNCE,),
    "delayed_bounces_count": (Metric.FAILED_DELAYED,),
    "suppressed_bounces_count": (Metric.SUPPRESSED_BOUNCE,),
    "suppressed_unsubscribed_count": (Metric.SUPPRESSED_UNSUBSCRIBE,),
    "suppressed_complaints_count": (Metric.SUPPRESSED_COMPLAINT,),
    "opened_count": (Metric.OPENED,),
    "unique_opened_count": (Metric.OPENED_UNIQUE,),
    "clicked_count": (Metric.CLICKED,),
    "unique_clicked_count": (Metric.CLICKED_UNIQUE,),
    "unsubscribed_count": (Metric.UNSUBSCRIBED,),
    "complained_count": (Metric.COMPLAINED,),
    "stored_count": (Metric.STORED,),
}
# A share of what was delivered, or of what was tried; a text with four decimals, as clients expect it.
_TRIED = "processed_count"
_RATES: Mapping[str, tuple[str, str]] = {
    "delivered_rate": ("delivered_count", _TRIED),
    "bounced_rate": ("bounced_count", _TRIED),
    "permanent_fail_rate": ("permanent_failed_count", _TRIED),
    "opened_rate": ("opened_count", "delivered_count"),
    "unique_opened_rate": ("unique_opened_count", "delivered_count"),
    "clicked_rate": ("clicked_count", "delivered_count"),
    "unique_clicked_rate": ("unique_clicked_count", "delivered_count"),
    "unsubscribed_rate": ("unsubscribed_count", "delivered_count"),
    "complained_rate": ("complained_count", "delivered_count"),
}
_DEFAULT = ("accepted_count", "delivered_count", "failed_count", "opened_count", "clicked_count")


class Analytics:
    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> Sequence[Row]:
        def row(method: str, path: str, handler: Callable[..., Any], about: str, *names: str) -> Row:
            params = [Param(name) for name in names]
            return Row(
                method=method,
                path=path,
                handler=handler,
                about=about,
                chapter=_CHAPTER,
                params=params,
                versions=(1,),
            )

        asked = ("start", "end", "resolution", "duration", "dimensions", "metrics", "filter", "pagination")
        return (
            row("POST", "/analytics/metrics", self.metrics, "Numbers by time, or all together", *asked),
            row("POST", "/analytics/tags", self.tags, "The tags of all domains", "tag", "pagination"),
            row("PUT", "/analytics/tags", self.change, "Describe a tag", "tag", "description"),
            row("DELETE", "/analytics/tags", self.delete, "Forget a tag and its numbers", "tag"),
            row("GET", "/analytics/tags/limits", self.limits, "How many tags there may be"),
        )

    async def metrics(self, call: Call) -> Answer:
        asked, body = _time(call), body_of(call)
        names = [name for name in _texts(body.get("metrics")) if name in _METRICS or name in _RATES]
        names = names or list(_DEFAULT)
        dimensions = _texts(body.get("dimensions"))
        rows = await self._database.read(accounts.domains)
        wanted = _domains(body.get("filter"))
        ids = [row.id for row in rows if wanted is None or row.name in wanted]
        counted = {one for name in names for one in _RATES.get(name, (name,))}
        metrics = tuple({metric for name in counted for metric in _METRICS[name]})
        steps = await steps_of(self._database, ids, "", asked, metrics)
        items = [] if set(dimensions) - {"time"} else _items(steps, names, "time" in dimensions)
        limit, skip = _page(body.get("pagination"))
        return answer(
            {
                "start": numeric(asked.since),
                "end": numeric(asked.until),
                "resolution": asked.resolution.value,
                "duration": str(body.get("duration") or ""),
                "dimensions": dimensions,
                "pagination": {"sort": "", "skip": skip, "limit": limit, "total": len(items)},
                "items": items[skip : skip + limit],
                "aggregates": {"metrics": _numbers(_sum(steps), names)},
            }
        )

    async def tags(self, call: Call) -> Answer:
        body = body_of(call)
        limit, skip = _page(body.get("pagination"))
        part = str(body.get("tag") or "").strip()
        found, total = await self._database.read(lambda connection: counters.all_tags(connection, limit, skip, part))
        items = [
            {
                "tag": tag.shown,
                "description": tag.description,
                "first_seen": rfc3339(tag.first_at),
                "last_seen": rfc3339(tag.last_at),
            }
            for tag in found
        ]
        return answer({"items": items, "pagination": {"sort": "tag:asc", "limit": limit, "skip": skip, "total": total}})

    async def change(self, call: Call) -> Answer:
        name, description = call.params.need("tag"), call.params.text("description", "")[:1000]

        def describe(connection: Any) -> int:
            ids = counters.domains_of_tag(connection, name)
            return sum(counters.describe_tag(connection, number, name, description) for number in ids)

        if not await self._database.writer.write(describe):
            raise NotFound("Tag not found")
        return said("Tag updated")

    async def delete(self, call: Call) -> Answer:
        name = call.params.need("tag")
        for number in await self._database.read(lambda connection: counters.domains_of_tag(connection, name)):
            await forget(self._database, number, name)
        return said("Tag deleted")

    async def limits(self, call: Call) -> Answer:
        _, count = await self._database.read(lambda connection: counters.all_tags(connection, 0, 0))
        return answer({"limit": LIMIT, "count": count, "limit_reached": count >= LIMIT})


def body_of(call: Call) -> Mapping[str, Any]:
    return call.body if isinstance(call.body, dict) else {name: text for name, text in call.params}


def _time(call: Call) -> Time:
    body = body_of(call)
    resolution, duration = str(body.get("resolution") or ""), str(body.get("duration") or "")
    return time_of(date_in(body, "start"), date_in(body, "end"), resolution, duration, call.now)


def date_in(body: Mapping[str, Any], name: str) -> float | None:
    return Params([(name, str(body[name]))]).date(name, days=True) if body.get(name) else None


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _page(value: Any) -> tuple[int, int]:
    """limit and skip."""
    said = value if isinstance(value, dict) else {}
    limit, skip = said.get("limit", 100), said.get("skip", 0)
    if type(limit) is not int or type(skip) is not int or limit < 0 or skip < 0:
        raise BadRequest("pagination: limit and skip are integers, 0 or more")
    return min(limit, MAX_LIMIT), min(skip, LIMIT)


@dataclass(frozen=True, slots=True)
class Condition:
    """One of a filter: all of them must be met. values: texts, one of which is to be met, or none of which."""

    attribute: str
    comparator: str
    values: tuple[str, ...]


def conditions_of(value: Any) -> list[Condition]:
    """Of {"AND": [{"attribute": …, "comparator": "=", "values": ["x", {"value": "x"}]}]}. Raises BadRequest."""
    given = value.get("AND") if isinstance(value, dict) else None
    found = []
    for one in given if isinstance(given, list) else []:
        if not isinstance(one, dict):
            raise BadRequest("filter: AND is a list of objects")
        values = one.get("values")
        texts = [
            str(each.get("value") if isinstance(each, dict) else each)
            for each in (values if isinstance(values, list) else [])
        ]
        found.append(Condition(str(one.get("attribute")), str(one.get("comparator")), tuple(texts)))
    return found


def _domains(value: Any) -> set[str] | None:
    """Those that the filter allows; None: all. Of other attributes nothing is known, so nothing is found."""
    wanted: set[str] | None = None
    for one in conditions_of(value):
        known = one.attribute == "domain" and one.comparator == "="
        allowed = {text.lower() for text in one.values} if known else set()
        wanted = allowed if wanted is None else wanted & allowed
    return wanted


def _items(steps: Sequence[Step], names: Sequence[str], by_time: bool) -> list[dict[str, Any]]:
    if not by_time:
        return [{"dimensions": [], "metrics": _numbers(_sum(steps), names)}]
    return [
        {
            "dimensions": [{"dimension": "time", "value": numeric(step.at), "display_value": numeric(step.at)}],
            "metrics": _numbers(step.counts, names),
        }
        for step in steps
    ]


def _numbers(counts: Counts, names: Iterable[str]) -> dict[str, int | str]:
    return {name: _rate(counts, *_RATES[name]) if name in _RATES else _number(counts, name) for name in names}


def _number(counts: Counts, name: str) -> int:
    return totals.total(counts, _METRICS[name])


def _rate(counts: Counts, part: str, whole: str) -> str:
    of = _number(counts, whole)
    return f"{_number(counts, part) / of if of else 0.0:.4f}"


def _sum(steps: Iterable[Step]) -> dict[Metric, int]:
    found: dict[Metric, int] = {}
    for step in steps:
        for metric, n in step.counts.items():
            found[metric] = found.get(metric, 0) + n
    return found
