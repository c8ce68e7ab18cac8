"""Counters: reading what `record` counted, by hour, day or month; the tags; and forgetting what is old.

Room: storage. May import: mail. Hours are whole hours since 1970 (UTC). label: "" all of a domain, "t:" and a tag in
lower case, "c:" and the number of a campaign.
"""

import calendar
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import orjson

from mtad.mail.metric import HOUR_S, PERIOD_H, Metric

BATCH = 5000  # rows of one transaction
MAX_STEPS = 20_000  # of one answer
MAX_TAG_ROWS = 20_000
DAY_H = 24


class Resolution(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(slots=True)
class Step:
    """at: where it begins, epoch seconds. counts: those that are not 0."""

    at: int
    counts: dict[Metric, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tag:
    """shown: as first spelt."""

    shown: str
    description: str
    first_at: float
    last_at: float


def step_of(at: float, resolution: Resolution) -> int:
    """Where the step begins that `at` is in (epoch seconds, UTC)."""
    match resolution:
        case Resolution.HOUR:
            return int(at) // HOUR_S * HOUR_S
        case Resolution.DAY:
            return int(at) // 86_400 * 86_400
        case Resolution.MONTH:
            year, month = time.gmtime(at)[:2]
            return calendar.timegm((year, month, 1, 0, 0, 0))


def after_step(at: int, resolution: Resolution) -> int:
    """Where the next step begins. at: where one does."""
    match resolution:
        case Resolution.HOUR:
            return at + HOUR_S
        case Resolution.DAY:
            return at + 86_400
        case Resolution.MONTH:
            return step_of(at + 31 * 86_400, Resolution.MONTH)


def steps(since: float, until: float, resolution: Resolution) -> list[Step]:
    """Empty ones, from that of `since` to that of `until`, both included. Raises ValueError beyond MAX_STEPS."""
    first, last = step_of(since, resolution), step_of(until, resolution)
    found: list[Step] = []
    while first <= last:
        if len(found) == MAX_STEPS:
            raise ValueError(f"the time asked for has more than {MAX_STEPS} steps; ask for less, or for longer steps")
        found.append(Step(first))
        first = after_step(first, resolution)
    return found


def stats(
    connection: sqlite3.Connection,
    domain_ids: Sequence[int],
    label: str,
    since: float,
    until: float,
    resolution: Resolution,
    metrics: Sequence[Metric] = (),
) -> list[Step]:
    """What was counted in each step, of the domains together; empty steps too. metrics: none is all.

    Raises ValueError when there are too many steps.
    """
    found = steps(since, until, resolution)
    if not found:
        return []
    ids, numbers = orjson.dumps(list(domain_ids)).decode(), [int(metric) for metric in metrics or Metric]
    end = after_step(found[-1].at, resolution) // HOUR_S
    statement = _HOURS if resolution is Resolution.HOUR else _DAYS
    rows = connection.execute(
        statement, (ids, label, orjson.dumps(numbers).decode(), found[0].at // HOUR_S, end)
    ).fetchall()
    known = {int(metric): metric for metric in Metric}
    if resolution is Resolution.MONTH:
        rows = [(number, step_of(hour * HOUR_S, resolution) // HOUR_S, n) for number, hour, n in rows]
    by_hour = {step.at // HOUR_S: step.counts for step in found}
    for number, hour, n in rows:  # of half a year 80,000
        counts, metric = by_hour[hour], known[number]
        counts[metric] = counts.get(metric, 0) + n
    return found


def tag_days(
    connection: sqlite3.Connection, domain_id: int, since: float, until: float
) -> dict[int, dict[str, dict[Metric, int]]]:
    """Day (epoch seconds) -> tag, as first spelt -> what was counted of it. From the day of `since` to that of
    `until`, both included; of at most MAX_TAG_ROWS counters.
    """
    found: dict[int, dict[str, dict[Metric, int]]] = {}
    first = step_of(since, Resolution.DAY) // HOUR_S
    end = step_of(until, Resolution.DAY) // HOUR_S + DAY_H
    for day, shown, number, n in connection.execute(_TAG_DAYS, (domain_id, first, end, MAX_TAG_ROWS)):
        found.setdefault(day * 86_400, {}).setdefault(shown, {})[Metric(number)] = n
    return found


def totals(connection: sqlite3.Connection, label: str) -> dict[Metric, int]:
    """What is counted under a label in all domains there are, as long as counters are kept."""
    return {Metric(number): n for number, n in connection.execute(_TOTALS, (label,))}


def aggregates(
    connection: sqlite3.Connection, domain_id: int, label: str, kind: str, limit: int = 1000
) -> dict[str, dict[Metric, int]]:
    """What was counted by value ("us", "gmail.com", "mobile"), as long as it is kept.

    kind: "country", "provider", "device".
    """
    found: dict[str, dict[Metric, int]] = {}
    for value, number, n in connection.execute(_AGGREGATES, (domain_id, label, kind, limit)):
        found.setdefault(value, {})[Metric(number)] = n
    return found


def expire_counters(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to BATCH counters of hours that ended by `before` (epoch seconds). How many went."""
    return connection.execute(_EXPIRE, (int(before) // HOUR_S, BATCH)).rowcount


def expire_aggregates(connection: sqlite3.Connection, before: float) -> int:
    """Remove up to BATCH aggregates of periods that ended by `before` (epoch seconds). How many went."""
    return connection.execute(_EXPIRE_AGGREGATES, (int(before) // (PERIOD_H * HOUR_S), BATCH)).rowcount


def tags(
    connection: sqlite3.Connection,
    domain_id: int,
    limit: int,
    *,
    beyond: str | None = None,
    backwards: bool = False,
    prefix: str = "",
) -> list[Tag]:
    """In the order of the alphabet, any case: those after `beyond`, or the nearest before it; None: from the end."""
    where, given = "domain_id = ?1", [domain_id, limit]
    values: list[str | int] = list(given)
    if beyond is not None:
        values.append(beyond.lower())
        where += f" AND tag {'<' if backwards else '>'} ?{len(values)}"
    if prefix:
        values += [prefix.lower(), prefix.lower() + "\U0010ffff"]
        where += f" AND tag >= ?{len(values) - 1} AND tag < ?{len(values)}"
    rows = connection.execute(
        f"SELECT {_TAG} FROM tags WHERE {where} ORDER BY tag {'DESC' if backwards else ''} LIMIT ?2", values
    ).fetchall()
    return [Tag(*row) for row in (reversed(rows) if backwards else rows)]


def count_tags(connection: sqlite3.Connection, domain_id: int) -> int:
    [number] = connection.execute("SELECT count(*) FROM tags WHERE domain_id = ?", (domain_id,)).fetchone()
    return int(number)


def tag(connection: sqlite3.Connection, domain_id: int, name: str) -> Tag | None:
    """name: any case."""
    row = connection.execute(
        f"SELECT {_TAG} FROM tags WHERE domain_id = ? AND tag = ?", (domain_id, name.lower())
    ).fetchone()
    return Tag(*row) if row else None


def describe_tag(connection: sqlite3.Connection, domain_id: int, name: str, description: str) -> bool:
    statement = "UPDATE tags SET description = ? WHERE domain_id = ? AND tag = ?"
    return connection.execute(statement, (description, domain_id, name.lower())).rowcount > 0


def all_tags(connection: sqlite3.Connection, limit: int, skip: int, part: str = "") -> tuple[list[Tag], int]:
    """Of all domains, those that have `part` in them, and how many such there are."""
    rows = connection.execute(_ALL_TAGS, (part, limit, skip)).fetchall()
    [total] = connection.execute("SELECT count(DISTINCT tag) FROM tags WHERE instr(tag, lower(?))", (part,)).fetchone()
    return [Tag(*row) for row in rows], int(total)


def domains_of_tag(connection: sqlite3.Connection, name: str) -> list[int]:
    """Ids of the domains that have the tag."""
    return [row[0] for row in connection.execute("SELECT domain_id FROM tags WHERE tag = ?", (name.lower(),))]


def delete_tag(connection: sqlite3.Connection, domain_id: int, name: str, limit: int = BATCH) -> int:
    """Remove the tag and up to about `limit` of what was counted under it; how many rows went. 0: nothing is left."""
    label = f"t:{name.lower()}"
    went = connection.execute("DELETE FROM tags WHERE domain_id = ? AND tag = ?", (domain_id, name.lower())).rowcount
    return went + forget_label(connection, domain_id, label, limit)


def forget_label(connection: sqlite3.Connection, domain_id: int, label: str, limit: int = BATCH) -> int:
    """Remove up to `limit` rows each of what was counted under a label; how many went."""
    went = connection.execute(_FORGET_COUNTERS, (domain_id, label, limit)).rowcount
    return went + connection.execute(_FORGET_AGGREGATES, (domain_id, label, limit)).rowcount


_TAG = "shown, description, first_at, last_at"
_COUNTED = """
    FROM counters WHERE domain_id IN (SELECT value FROM json_each(?1)) AND label = ?2
        AND metric IN (SELECT value FROM json_each(?3)) AND hour >= ?4 AND hour < ?5"""
_HOURS = f"SELECT metric, hour, n {_COUNTED}"
_DAYS = f"SELECT metric, hour / 24 * 24, sum(n) {_COUNTED} GROUP BY 1, 2"
# By the index on hours: a domain may have thousands of tags, and few days are asked for.
_TAG_DAYS = """
    SELECT c.hour / 24 AS day, ifnull(t.shown, substr(c.label, 3)), c.metric, sum(c.n)
    FROM counters AS c INDEXED BY counters_hour LEFT JOIN tags AS t ON t.domain_id = ?1 AND t.tag = substr(c.label, 3)
    WHERE c.hour >= ?2 AND c.hour < ?3 AND c.domain_id = ?1 AND c.label >= 't:' AND c.label < 't;'
    GROUP BY day, c.label, c.metric LIMIT ?4"""
_ALL_TAGS = """
    SELECT min(shown), max(description), min(first_at), max(last_at) FROM tags
    WHERE instr(tag, lower(?1)) GROUP BY tag ORDER BY tag LIMIT ?2 OFFSET ?3"""
# The limit is one of values, not of rows: a value comes with all it has.
_AGGREGATES = """
    SELECT value, metric, sum(n) FROM aggregates WHERE domain_id = ?1 AND label = ?2 AND kind = ?3 AND value IN (
        SELECT value FROM aggregates WHERE domain_id = ?1 AND label = ?2 AND kind = ?3
        GROUP BY value ORDER BY sum(n) DESC LIMIT ?4)
    GROUP BY value, metric"""
_TOTALS = """
    SELECT metric, sum(n) FROM counters WHERE domain_id IN (SELECT id FROM domains) AND label = ? GROUP BY metric"""
_EXPIRE = """
    DELETE FROM counters WHERE (domain_id, label, metric, hour) IN (
        SELECT domain_id, label, metric, hour FROM counters WHERE hour < ? ORDER BY hour LIMIT ?)"""
_EXPIRE_AGGREGATES = """
    DELETE FROM aggregates WHERE (domain_id, label, kind, value, metric, period) IN (
        SELECT domain_id, label, kind, value, metric, period FROM aggregates
        WHERE period < ? ORDER BY period LIMIT ?)"""
_FORGET_COUNTERS = """
    DELETE FROM counters WHERE (domain_id, label, metric, hour) IN (
        SELECT domain_id, label, metric, hour FROM counters WHERE domain_id = ? AND label = ? LIMIT ?)"""
_FORGET_AGGREGATES = """
    DELETE FROM aggregates WHERE (domain_id, label, kind, value, metric, period) IN (
        SELECT domain_id, label, kind, value, metric, period FROM aggregates
        WHERE domain_id = ? AND label = ? LIMIT ?)"""
