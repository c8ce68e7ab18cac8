"""Sites: the `sites` table: which MX-sites have something waiting, which are suspended, what we learnt of their pace.

Room: storage. May import: mail.
"""

import hashlib
import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

UNRESOLVED = 0  # the site of recipients whose domain's MX-site is not known yet


def site_id(key: str) -> int:
    """A number for a site's key, the same everywhere and always: 62 bits of its hash. "?" is 0."""
    if key == "?":
        return UNRESOLVED
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 2 | 1


@dataclass(frozen=True, slots=True)
class SiteRow:
    id: int
    key: str
    next_due: float | None
    suspended_until: float | None
    suspended_why: str | None
    paces: dict[str, str]  # source address -> saved state, as throttle wrote it


_COLUMNS = "id, key, next_due, suspended_until, suspended_why, paces"


def _row(row: tuple[int, str, float | None, float | None, str | None, str]) -> SiteRow:
    return SiteRow(row[0], row[1], row[2], row[3], row[4], json.loads(row[5]))


def ensure(connection: sqlite3.Connection, sites: Sequence[tuple[int, str]]) -> None:
    """Make rows for (id, key) that have none. A lane's apply."""
    connection.executemany("INSERT OR IGNORE INTO sites (id, key) VALUES (?, ?)", sites)


def get(connection: sqlite3.Connection, number: int) -> SiteRow | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM sites WHERE id = ?", (number,)).fetchone()
    return _row(row) if row else None


def of_ids(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[SiteRow]:
    """Those that the table knows."""
    wanted = json.dumps(list(numbers))
    rows = connection.execute(f"SELECT {_COLUMNS} FROM sites WHERE id IN (SELECT value FROM json_each(?))", (wanted,))
    return [_row(row) for row in rows]


def find(connection: sqlite3.Connection, key: str) -> SiteRow | None:
    return get(connection, site_id(key))


def due(connection: sqlite3.Connection, now: float, limit: int) -> list[SiteRow]:
    """Sites to look at, the longest due first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM sites WHERE next_due <= ? ORDER BY next_due LIMIT ?", (now, limit)
    )
    return [_row(row) for row in rows]


def first_due(connection: sqlite3.Connection) -> float | None:
    """When the first site not in hand must be looked at."""
    [at] = connection.execute("SELECT min(next_due) FROM sites WHERE next_due IS NOT NULL").fetchone()
    return float(at) if at is not None else None


def rebuild_due(connection: sqlite3.Connection) -> None:
    """At start: nobody has any site in hand; look at every one that has a waiting row."""
    connection.execute("UPDATE sites SET next_due = NULL WHERE next_due IS NOT NULL")
    connection.execute(
        "UPDATE sites SET next_due = 0 WHERE id IN (SELECT DISTINCT site_id FROM recipients WHERE state = 0)"
    )


def rebuild_due_except(connection: sqlite3.Connection, in_hand: Sequence[int]) -> None:
    """Rows became due: look at every site that has one, but for those the daemon has in hand."""
    connection.execute(
        "UPDATE sites SET next_due = 0 WHERE id IN (SELECT DISTINCT site_id FROM recipients WHERE state = 0)"
        " AND id NOT IN (SELECT value FROM json_each(?))",
        (json.dumps(list(in_hand)),),
    )


def sooner(connection: sqlite3.Connection, times: Sequence[tuple[int, float]]) -> None:
    """Sites that nobody has in hand and that must be looked at by then: (id, at)."""
    connection.executemany(
        "UPDATE sites SET next_due = ?2 WHERE id = ?1 AND (next_due IS NULL OR next_due > ?2)", times
    )


def take_in_hand(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    connection.executemany("UPDATE sites SET next_due = NULL WHERE id = ?", [(number,) for number in numbers])


def let_go(
    connection: sqlite3.Connection,
    sites: Sequence[tuple[int, str, float | None]],
    paused: Collection[int],
    held_until: float,
) -> None:
    """The daemon forgets these sites: (id, paces, not before, as a suspension's end). The rows say when to look again.

    paused: domain ids whose mail is not looked for before held_until.
    """
    save_paces(connection, [(number, paces) for number, paces, _ in sites if paces])
    times = []
    for number, _, not_before in sites:
        first = _first_due(connection, number, paused, held_until)
        if first is not None and not_before is not None:
            first = max(first, not_before)
        times.append((number, first))
    connection.executemany("UPDATE sites SET next_due = ?2 WHERE id = ?1", times)


def _first_due(connection: sqlite3.Connection, number: int, paused: Collection[int], held_until: float) -> float | None:
    """By one index seek for each domain that has something waiting there, however much it is."""
    first: float | None = None
    tenant = -1
    while True:
        row = connection.execute(
            "SELECT domain_id, due_at FROM recipients WHERE state = 0 AND site_id = ? AND domain_id > ?"
            " ORDER BY domain_id, due_at LIMIT 1",
            (number, tenant),
        ).fetchone()
        if row is None:
            return first
        tenant, due_at = row
        if tenant in paused:
            due_at = max(due_at, held_until)
        first = due_at if first is None else min(first, due_at)


def suspend(connection: sqlite3.Connection, number: int, key: str, until: float | None, why: str | None) -> None:
    """until None and why None: resume. until None with a why: till somebody resumes it."""
    ensure(connection, [(number, key)])
    connection.execute("UPDATE sites SET suspended_until = ?, suspended_why = ? WHERE id = ?", (until, why, number))


def save_paces(connection: sqlite3.Connection, paces: Sequence[tuple[int, str]]) -> None:
    """(id, JSON of source address -> state)."""
    connection.executemany("UPDATE sites SET paces = ?2 WHERE id = ?1", paces)


@dataclass(frozen=True, slots=True)
class SiteSummary:
    row: SiteRow
    waiting: int
    leased: int
    first_due: float | None


def summaries(connection: sqlite3.Connection, limit: int) -> list[SiteSummary]:
    """Sites with something in the queue or suspended, most recipients first."""
    rows = connection.execute(
        f"""
        WITH waiting AS (SELECT site_id, count(*) AS n, min(due_at) AS first FROM recipients WHERE state = 0
                         GROUP BY site_id),
             leased AS (SELECT site_id, count(*) AS n FROM recipients WHERE state = 1 GROUP BY site_id)
        SELECT {", ".join("sites." + c.strip() for c in _COLUMNS.split(","))},
               ifnull(waiting.n, 0), ifnull(leased.n, 0), waiting.first
        FROM sites LEFT JOIN waiting ON waiting.site_id = sites.id LEFT JOIN leased ON leased.site_id = sites.id
        WHERE waiting.n IS NOT NULL OR leased.n IS NOT NULL OR suspended_why IS NOT NULL
        ORDER BY ifnull(waiting.n, 0) + ifnull(leased.n, 0) DESC, key LIMIT ?
        """,
        (limit,),
    )
    return [SiteSummary(_row(row[:6]), row[6], row[7], row[8]) for row in rows]
