"""Totals: what the counters hold, in the members that answers show, and the time a request asks them for.

Room: api. Pure. May import: mail, storage.
"""

import calendar
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtad.api.http.answers import BadRequest
from mtad.api.http.dates import gmt
from mtad.api.http.params import Params
from mtad.mail.metric import Metric
from mtad.storage.counters import Resolution, Step, step_of

Counts = Mapping[Metric, int]

DEFAULT_S = 7 * 86_400
_DURATION = re.compile(r"(\d{1,5})([hdm])", re.ASCII)
_LATEST = 4e9

# Words of other times for the same.
ALIASES = {
    "open": "opened",
    "click": "clicked",
    "deliver": "delivered",
    "bounce": "bounced",
    "drop": "dropped",
    "complain": "complained",
    "unsubscribe": "unsubscribed",
}

SUPPRESSED = (Metric.SUPPRESSED_BOUNCE, Metric.SUPPRESSED_UNSUBSCRIBE, Metric.SUPPRESSED_COMPLAINT)
TEMPORARY = (Metric.FAILED_TEMPORARY, Metric.FAILED_ESPBLOCK)
PERMANENT = (Metric.FAILED_BOUNCE, Metric.FAILED_OTHER, Metric.FAILED_DELAYED, *SUPPRESSED)

# What the daily numbers are sums of. A hard bounce is dropped too: both webhooks tell of it.
DAILY: Mapping[str, tuple[Metric, ...]] = {
    "sent": (Metric.ACCEPTED_OUTGOING,),
    "accepted": (Metric.ACCEPTED_OUTGOING, Metric.ACCEPTED_INCOMING),
    "delivered": (Metric.DELIVERED_SMTP, Metric.DELIVERED_HTTP),
    "failed": (*TEMPORARY, *PERMANENT),
    "bounced": (Metric.FAILED_BOUNCE, Metric.FAILED_DELAYED),
    "dropped": (Metric.FAILED_BOUNCE, Metric.FAILED_OTHER, *SUPPRESSED),
    "opened": (Metric.OPENED,),
    "clicked": (Metric.CLICKED,),
    "unsubscribed": (Metric.UNSUBSCRIBED,),
    "complained": (Metric.COMPLAINED,),
    "stored": (Metric.STORED,),
}


def total(counts: Counts, metrics: Iterable[Metric]) -> int:
    count_of = counts.get
    return sum([count_of(metric, 0) for metric in metrics])


def _accepted(counts: Counts) -> dict[str, Any]:
    outgoing, incoming = counts.get(Metric.ACCEPTED_OUTGOING, 0), counts.get(Metric.ACCEPTED_INCOMING, 0)
    return {"outgoing": outgoing, "incoming": incoming, "total": outgoing + incoming}


def _delivered(counts: Counts) -> dict[str, Any]:
    smtp, http = counts.get(Metric.DELIVERED_SMTP, 0), counts.get(Metric.DELIVERED_HTTP, 0)
    return {"smtp": smtp, "http": http, "optimized": 0, "total": smtp + http}


def _failed(counts: Counts) -> dict[str, Any]:
    return {
        "temporary": {"espblock": counts.get(Metric.FAILED_ESPBLOCK, 0), "total": total(counts, TEMPORARY)},
        "permanent": {
            "suppress-bounce": counts.get(Metric.SUPPRESSED_BOUNCE, 0),
            "suppress-unsubscribe": counts.get(Metric.SUPPRESSED_UNSUBSCRIBE, 0),
            "suppress-complaint": counts.get(Metric.SUPPRESSED_COMPLAINT, 0),
            "bounce": counts.get(Metric.FAILED_BOUNCE, 0),
            "delayed-bounce": counts.get(Metric.FAILED_DELAYED, 0),
            "total": total(counts, PERMANENT),
        },
    }


def _with_unique(all_of: Metric, unique: Metric) -> Callable[[Counts], dict[str, Any]]:
    return lambda counts: {"total": counts.get(all_of, 0), "unique": counts.get(unique, 0)}


def _only(metric: Metric) -> Callable[[Counts], dict[str, Any]]:
    return lambda counts: {"total": counts.get(metric, 0)}


SHAPES: Mapping[str, Callable[[Counts], dict[str, Any]]] = {
    "accepted": _accepted,
    "delivered": _delivered,
    "failed": _failed,
    "opened": _with_unique(Metric.OPENED, Metric.OPENED_UNIQUE),
    "clicked": _with_unique(Metric.CLICKED, Metric.CLICKED_UNIQUE),
    "unsubscribed": _only(Metric.UNSUBSCRIBED),
    "complained": _only(Metric.COMPLAINED),
    "stored": _only(Metric.STORED),
}


def words(params: Params, known: Iterable[str]) -> list[str]:
    """Of `event`, in order, each once. Raises BadRequest."""
    known = list(known)
    found: dict[str, None] = {}
    for text in params.all("event"):
        for word in text.replace(",", " ").lower().split():
            name = ALIASES.get(word, word)
            if name not in known:
                raise BadRequest(f"event parameter is none of {', '.join(known)}")
            found[name] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Time:
    """since, until: epoch seconds, where the first and the last step begin."""

    since: int
    until: int
    resolution: Resolution


def read_time(params: Params, now: float) -> Time:
    """Of start, end, resolution and duration. Raises BadRequest."""
    return time_of(
        params.date("start", days=True),
        params.date("end", days=True),
        params.text("resolution", ""),
        params.text("duration", ""),
        now,
    )


def time_of(start: float | None, end: float | None, resolution: str, duration: str, now: float) -> Time:
    """resolution: "" is day; duration: "7d", "" none, else it goes before start. Raises BadRequest."""
    try:
        step = Resolution(resolution.strip().lower() or "day")
    except ValueError:
        raise BadRequest("resolution parameter is none of hour, day and month") from None
    since, until = span(start, end, duration, now)
    return Time(step_of(since, step), step_of(until, step), step)


def span(start: float | None, end: float | None, duration: str, now: float) -> tuple[float, float]:
    """From when to when. Raises BadRequest."""
    until = min(max(now if end is None else end, 0.0), _LATEST)
    since = until - DEFAULT_S if start is None else start
    if duration.strip():
        found = _DURATION.fullmatch(duration.strip().lower())
        if found is None:
            raise BadRequest("duration parameter is not a number and one of h, d and m, such as 7d")
        since = _before(until, int(found[1]), found[2])
    if since > until:
        raise BadRequest("start is later than end")
    return max(since, 0.0), until


def _before(until: float, count: int, unit: str) -> float:
    if unit != "m":
        return until - count * (3600 if unit == "h" else 86_400)
    at = time.gmtime(until)
    months = at.tm_year * 12 + at.tm_mon - 1 - count
    if months < 1970 * 12:
        return 0.0
    year, month = divmod(months, 12)
    day = min(at.tm_mday, calendar.monthrange(year, month + 1)[1])
    return calendar.timegm((year, month + 1, day, at.tm_hour, at.tm_min, at.tm_sec))


def totals_json(asked: Time, events: Sequence[str], steps: Sequence[Step], description: str = "") -> dict[str, Any]:
    return {
        "description": description,
        "start": gmt(asked.since),
        "end": gmt(asked.until),
        "resolution": asked.resolution.value,
        "stats": _stats([(name, SHAPES[name]) for name in events], steps),
    }


def _stats(shapes: Sequence[tuple[str, Callable[[Counts], dict[str, Any]]]], steps: Sequence[Step]) -> list[Any]:
    """There may be thousands of steps: each day is written once."""
    found = []
    day, day_at = "", -1
    for step in steps:
        if step.at // 86_400 != day_at:
            day, day_at = gmt(step.at)[:17], step.at // 86_400
        shown: dict[str, Any] = {"time": f"{day}{step.at % 86_400 // 3600:02d}:00:00 GMT"}
        for name, shape in shapes:
            shown[name] = shape(step.counts)
        found.append(shown)
    return found


def metrics_of(events: Iterable[str]) -> tuple[Metric, ...]:
    """The counters that the events' numbers come from."""
    return tuple(dict.fromkeys(metric for name in events for metric in (*DAILY[name], *_UNIQUE.get(name, ()))))


_UNIQUE = {"opened": (Metric.OPENED_UNIQUE,), "clicked": (Metric.CLICKED_UNIQUE,)}
