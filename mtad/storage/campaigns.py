"""Campaigns: the table `campaigns`, the names under which mail of a domain is counted and looked at.

Room: storage. May import: mail. What is counted hangs on the number, which stays; the id may be changed.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from mtad.mail.metric import Metric

_COLUMNS = "number, domain_id, id, name, created_at"


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """id: unique in its domain, upper and lower case apart."""

    number: int
    domain_id: int
    id: str
    name: str
    created_at: float

    @property
    def label(self) -> str:
        return label_of(self.number)


def label_of(number: int) -> str:
    """Of the counters."""
    return f"c:{number}"


def all_campaigns(connection: sqlite3.Connection) -> list[CampaignRow]:
    """Of all domains."""
    return [CampaignRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM campaigns")]


def page(connection: sqlite3.Connection, domain_id: int, limit: int, skip: int) -> tuple[int, list[CampaignRow]]:
    """How many a domain has, and `limit` of them behind the first `skip`, in the order they were made."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE domain_id = ? ORDER BY number LIMIT ? OFFSET ?",
        (domain_id, limit, skip),
    ).fetchall()
    return count(connection, domain_id), [CampaignRow(*row) for row in rows]


def count(connection: sqlite3.Connection, domain_id: int) -> int:
    [number] = connection.execute("SELECT count(*) FROM campaigns WHERE domain_id = ?", (domain_id,)).fetchone()
    return int(number)


def find(connection: sqlite3.Connection, domain_id: int, id: str) -> CampaignRow | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM campaigns WHERE domain_id = ? AND id = ?", (domain_id, id)
    ).fetchone()
    return CampaignRow(*row) if row else None


def add(connection: sqlite3.Connection, domain_id: int, id: str, name: str, now: float) -> bool:
    """False: the domain has one of that id."""
    done = connection.execute(
        "INSERT INTO campaigns (domain_id, id, name, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (domain_id, id, name, now),
    )
    return done.rowcount > 0


def change(connection: sqlite3.Connection, number: int, id: str, name: str) -> bool:
    """False: it is gone. Raises sqlite3.IntegrityError when the domain has another one of that id."""
    done = connection.execute("UPDATE campaigns SET id = ?, name = ? WHERE number = ?", (id, name, number))
    return done.rowcount > 0


def remove(connection: sqlite3.Connection, number: int) -> bool:
    """From now on it has no data either: what is left of it belongs to nobody, and goes in time."""
    return connection.execute("DELETE FROM campaigns WHERE number = ?", (number,)).rowcount > 0


def counted(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, dict[Metric, int]]:
    """What was counted of each, since counters are kept; nothing of one is no entry. Mail through a mailing list is
    counted for the list's domain, which may be another than the campaign's: so all of them are looked at.
    """
    found: dict[int, dict[Metric, int]] = {}
    labels = {label_of(number): number for number in numbers}
    rows: Iterable[tuple[Any, ...]] = connection.execute(_COUNTED, (orjson.dumps(list(labels)).decode(),))
    for label, metric, n in rows:
        found.setdefault(labels[label], {})[Metric(metric)] = n
    return found


_COUNTED = """
    SELECT label, metric, sum(n) FROM counters WHERE domain_id IN (SELECT id FROM domains)
        AND label IN (SELECT value FROM json_each(?1)) GROUP BY label, metric"""
