"""Suppressions: the tables `bounces`, `unsubscribes`, `complaints` and `allowlist`.

Room: storage. May import: mail. Addresses are in the form for comparing (mail.address.key_of) wherever they come in
and go out, tags in lower case. What events cause is written by `record`; this is for the delivery's question, and for
what people add, look at and take away.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson

from mtad.mail.suppression import Suppressed, Why
from mtad.storage.record import BounceRow, ComplaintRow, UnsubscribeRow

BATCH = 1000  # rows of one transaction
ALL = "*"

# (domain_id, an address or "@" and a domain, reason, created_at)
AllowRow = tuple[int, str, str, float]


class Table(StrEnum):
    BOUNCES = "bounces"
    UNSUBSCRIBES = "unsubscribes"
    COMPLAINTS = "complaints"
    ALLOWLIST = "allowlist"


@dataclass(frozen=True, slots=True)
class Entry:
    """One address of one table, or of the allowlist "@" and a domain. words: what a bounce's host said, why it is on
    the allowlist. rule: of the bounces' file; "" a person entered it. tags: what was left, "*" is all. count: of
    complaints.
    """

    address: str
    created_at: float
    code: str = ""
    words: str = ""
    rule: str = ""
    tags: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """One row of `unsubscribes`: an address and one tag."""

    address: str
    tag: str
    created_at: float

    def id(self, domain_id: int) -> str:
        """24 hexadecimal digits: ten of the second it was made in, and fourteen that tell it from others of it."""
        text = f"{domain_id}\n{self.address}\n{self.tag}".encode("utf-8", "surrogatepass")
        return f"{int(self.created_at):010x}{hashlib.blake2b(text, digest_size=7).hexdigest()}"


def find(connection: sqlite3.Connection, domain_id: int, address: str, tags: Sequence[str]) -> Suppressed | None:
    """Why the domain does not write to `address` a message with these tags (any case); None: it may."""
    row = connection.execute(
        "SELECT error, code FROM bounces WHERE domain_id = ? AND address = ?", (domain_id, address)
    )
    bounce = row.fetchone()
    if bounce is not None:
        return Suppressed(Why.BOUNCE, bounce[0] or bounce[1])
    wanted = orjson.dumps([ALL, *(tag.lower() for tag in tags)]).decode()
    left = connection.execute(_LEFT, (domain_id, address, wanted)).fetchone()
    if left is not None:
        return Suppressed(Why.UNSUBSCRIBE, "" if left[0] == ALL else left[0])
    if connection.execute(
        "SELECT 1 FROM complaints WHERE domain_id = ? AND address = ?", (domain_id, address)
    ).fetchone():
        return Suppressed(Why.COMPLAINT)
    return None


def add_bounces(connection: sqlite3.Connection, rows: Sequence[BounceRow]) -> None:
    """By a person's wish: also an address of the allowlist; what is there is replaced."""
    connection.executemany(_ADD_BOUNCE, rows)


def add_unsubscribes(connection: sqlite3.Connection, rows: Sequence[UnsubscribeRow]) -> None:
    connection.executemany(_ADD_UNSUBSCRIBE, rows)


def add_complaints(connection: sqlite3.Connection, rows: Sequence[ComplaintRow]) -> None:
    """Another one of an address raises its count."""
    connection.executemany(_ADD_COMPLAINT, rows)


def allow(connection: sqlite3.Connection, rows: Sequence[AllowRow]) -> None:
    """Bounces that are there already stay; new ones are not entered."""
    connection.executemany(_ALLOW, rows)


def get(connection: sqlite3.Connection, table: Table, domain_id: int, address: str) -> Entry | None:
    row = connection.execute(
        f"{_SELECT[table]} AND {_KEY[table]} = ?2 {_GROUP[table]}", (domain_id, address)
    ).fetchone()
    return _entry(table, row) if row else None


def count(connection: sqlite3.Connection, table: Table, domain_id: int) -> int:
    """Entries: addresses, however many tags one left."""
    key = _KEY[table]
    [number] = connection.execute(
        f"SELECT count(DISTINCT {key}) FROM {table.value} WHERE domain_id = ?", (domain_id,)
    ).fetchone()
    return int(number)


def page(
    connection: sqlite3.Connection,
    table: Table,
    domain_id: int,
    limit: int,
    *,
    beyond: str | None = None,
    backwards: bool = False,
    term: str = "",
    skip: int = 0,
) -> list[Entry]:
    """Up to `limit` entries in the order of their addresses: those after `beyond`, or the nearest before it.

    beyond None: from the first one, or the last ones when backwards. term: addresses that begin with it.
    """
    key = _KEY[table]
    where, values = "", [domain_id]
    given: list[str | int] = list(values)
    if beyond is not None:
        where += f" AND {key} {'<' if backwards else '>'} ?{len(given) + 1}"
        given.append(beyond)
    if term:
        where += f" AND {key} >= ?{len(given) + 1} AND {key} < ?{len(given) + 2}"
        given += [term, term + "\U0010ffff"]
    statement = (
        f"{_SELECT[table]}{where} {_GROUP[table]} ORDER BY {key} {'DESC' if backwards else ''}"
        f" LIMIT ?{len(given) + 1} OFFSET ?{len(given) + 2}"
    )
    rows = connection.execute(statement, (*given, limit, skip)).fetchall()
    return [_entry(table, row) for row in (reversed(rows) if backwards else rows)]


def left_part(connection: sqlite3.Connection, domain_id: int, limit: int, skip: int) -> tuple[int, list[Left]]:
    """How many unsubscribes there are, tag by tag, and `limit` of them behind the first `skip`."""
    [total] = connection.execute("SELECT count(*) FROM unsubscribes WHERE domain_id = ?", (domain_id,)).fetchone()
    return int(total), [Left(*row) for row in connection.execute(_LEFT_PART, (domain_id, limit, skip))]


def left_by(connection: sqlite3.Connection, domain_id: int, address: str) -> list[Left]:
    """What one address has left, in the order of the tags."""
    return [Left(*row) for row in connection.execute(_LEFT_BY, (domain_id, address))]


def left_near(connection: sqlite3.Connection, domain_id: int, id: str, after: Left | None, limit: int) -> list[Left]:
    """Unsubscribes of the second that `id` (Left.id) names, beyond `after`: one of them may have that id."""
    second = int(id[:10], 16)
    at, address, tag = (after.created_at, after.address, after.tag) if after else (float(second), "", "")
    rows = connection.execute(_LEFT_NEAR, (domain_id, second + 1, at, address, tag, limit))
    return [Left(*row) for row in rows]


def remove(connection: sqlite3.Connection, table: Table, domain_id: int, address: str, tag: str = "") -> bool:
    """tag: only that one of an unsubscribed address; "" all. False: nothing of the kind was there."""
    if tag and table is Table.UNSUBSCRIBES:
        statement = "DELETE FROM unsubscribes WHERE domain_id = ? AND address = ? AND tag = ?"
        return connection.execute(statement, (domain_id, address, tag.lower())).rowcount > 0
    statement = f"DELETE FROM {table.value} WHERE domain_id = ? AND {_KEY[table]} = ?"
    return connection.execute(statement, (domain_id, address)).rowcount > 0


def clear(connection: sqlite3.Connection, table: Table, domain_id: int, limit: int = BATCH) -> int:
    """Remove up to about `limit` rows of a domain; how many went. 0: none are left."""
    key = _KEY[table]
    statement = f"""
        DELETE FROM {table.value} WHERE domain_id = ?1 AND {key} IN (
            SELECT {key} FROM {table.value} WHERE domain_id = ?1 ORDER BY {key} LIMIT ?2)"""
    return connection.execute(statement, (domain_id, limit)).rowcount


def undo(
    connection: sqlite3.Connection, rule: str, since: float, until: float, domain_id: int | None, limit: int = BATCH
) -> int:
    """Remove up to `limit` bounces that a rule caused from `since` to before `until` (epoch seconds), of one domain
    or of all; how many went. 0: none are left.
    """
    return connection.execute(_UNDO, (rule, since, until, domain_id, limit)).rowcount


def count_undo(connection: sqlite3.Connection, rule: str, since: float, until: float, domain_id: int | None) -> int:
    """How many there are for `undo`."""
    [number] = connection.execute(_COUNT_UNDO, (rule, since, until, domain_id)).fetchone()
    return int(number)


def after(
    connection: sqlite3.Connection, table: Table, domain_id: int, address: str, limit: int
) -> list[tuple[int, str]]:
    """(domain id, address) of all domains in their order, beyond the given one: to read a table whole, in pieces."""
    key = _KEY[table]
    rows = connection.execute(
        f"SELECT DISTINCT domain_id, {key} FROM {table.value} WHERE (domain_id, {key}) > (?, ?)"
        f" ORDER BY domain_id, {key} LIMIT ?",
        (domain_id, address, limit),
    )
    return rows.fetchall()


def rows(connection: sqlite3.Connection) -> int:
    """Of all tables that suppress, together."""
    [number] = connection.execute(_ROWS).fetchone()
    return int(number)


def _entry(table: Table, row: tuple[str, float, str, str, str, str, int]) -> Entry:
    tags = tuple(sorted(row[5].split("\n"))) if table is Table.UNSUBSCRIBES else ()
    return Entry(row[0], row[1], row[2], row[3], row[4], tags, row[6])


_KEY = {table: "value" if table is Table.ALLOWLIST else "address" for table in Table}
_GROUP = {table: "GROUP BY address" if table is Table.UNSUBSCRIBES else "" for table in Table}
_SELECT = {
    Table.BOUNCES: "SELECT address, created_at, code, error, rule, '', 0 FROM bounces WHERE domain_id = ?1",
    Table.UNSUBSCRIBES: (
        "SELECT address, max(created_at), '', '', '', group_concat(tag, char(10)), 0 FROM unsubscribes"
        " WHERE domain_id = ?1"
    ),
    Table.COMPLAINTS: "SELECT address, created_at, '', '', '', '', count FROM complaints WHERE domain_id = ?1",
    Table.ALLOWLIST: "SELECT value, created_at, '', reason, '', '', 0 FROM allowlist WHERE domain_id = ?1",
}
_ROWS = """
    SELECT (SELECT count(*) FROM bounces) + (SELECT count(*) FROM unsubscribes) + (SELECT count(*) FROM complaints)"""
_LEFT = """
    SELECT tag FROM unsubscribes WHERE domain_id = ? AND address = ? AND tag IN (SELECT value FROM json_each(?))
    ORDER BY tag = '*' DESC, tag LIMIT 1"""
_LEFT_PART = """
    SELECT address, tag, created_at FROM unsubscribes WHERE domain_id = ? ORDER BY address, tag LIMIT ? OFFSET ?"""
_LEFT_BY = """
    SELECT address, tag, created_at FROM unsubscribes WHERE domain_id = ? AND address = ? ORDER BY tag"""
_LEFT_NEAR = """
    SELECT address, tag, created_at FROM unsubscribes
    WHERE domain_id = ? AND created_at < ? AND (created_at, address, tag) > (?, ?, ?)
    ORDER BY created_at, address, tag LIMIT ?"""
_ADD_BOUNCE = """
    INSERT INTO bounces (domain_id, address, code, error, rule, created_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET code = excluded.code, error = excluded.error, rule = excluded.rule,
        created_at = excluded.created_at"""
_ADD_UNSUBSCRIBE = """
    INSERT INTO unsubscribes (domain_id, address, tag, created_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET created_at = excluded.created_at"""
_ADD_COMPLAINT = """
    INSERT INTO complaints (domain_id, address, count, created_at) VALUES (?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET count = count + 1, created_at = excluded.created_at"""
_ALLOW = """
    INSERT INTO allowlist (domain_id, value, reason, created_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET reason = excluded.reason, created_at = excluded.created_at"""
_OF_RULE = "rule = ?1 AND rule <> '' AND created_at >= ?2 AND created_at < ?3 AND (?4 IS NULL OR domain_id = ?4)"
_UNDO = f"""
    DELETE FROM bounces WHERE (domain_id, address) IN (
        SELECT domain_id, address FROM bounces WHERE {_OF_RULE} LIMIT ?5)"""
_COUNT_UNDO = f"SELECT count(*) FROM bounces WHERE {_OF_RULE}"
