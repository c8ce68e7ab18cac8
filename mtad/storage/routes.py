"""Routes: the table `routes`, what becomes of mail that comes in.

Room: storage. May import: mail. Expressions and actions are texts here; who writes them has checked them.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass

_COLUMNS = "id, priority, description, expression, actions, created_at"
_ID_LENGTH = 24


@dataclass(frozen=True, slots=True)
class RouteRow:
    """number: of the row; it grows with time. actions: in order."""

    number: int
    priority: int
    description: str
    expression: str
    actions: tuple[str, ...]
    created_at: float

    @property
    def id(self) -> str:
        """24 hexadecimal digits: the name the world uses."""
        return public_id(self.number)


def public_id(number: int) -> str:
    """The number in 16 hexadecimal digits, and eight that tell a slip of the pen."""
    return f"{number:016x}{_check(number)}"


def from_public_id(text: str) -> int | None:
    """None: it is no id of a route."""
    text = text.strip().lower()
    if len(text) != _ID_LENGTH or not text.isascii() or not all(c in "0123456789abcdef" for c in text):
        return None
    number = int(text[:16], 16)
    return number if number < 1 << 63 and _check(number) == text[16:] else None


def _check(number: int) -> str:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=4, person=b"route").hexdigest()


def routes(connection: sqlite3.Connection) -> list[RouteRow]:
    """All, in the order they are looked at."""
    return [_row(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM routes ORDER BY priority, id")]


def page(connection: sqlite3.Connection, limit: int, skip: int) -> tuple[int, list[RouteRow]]:
    """How many there are, and `limit` of them behind the first `skip`."""
    [total] = connection.execute("SELECT count(*) FROM routes").fetchone()
    found = connection.execute(f"SELECT {_COLUMNS} FROM routes ORDER BY priority, id LIMIT ? OFFSET ?", (limit, skip))
    return int(total), [_row(row) for row in found]


def find(connection: sqlite3.Connection, number: int) -> RouteRow | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM routes WHERE id = ?", (number,)).fetchone()
    return _row(row) if row else None


def count(connection: sqlite3.Connection) -> int:
    [number] = connection.execute("SELECT count(*) FROM routes").fetchone()
    return int(number)


def add(connection: sqlite3.Connection, row: RouteRow) -> None:
    """Raises sqlite3.IntegrityError when the number is taken."""
    connection.execute(f"INSERT INTO routes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", _values(row))


def replace(connection: sqlite3.Connection, row: RouteRow) -> bool:
    """All of it but its number and time of creation. False: there is no such route any more."""
    return (
        connection.execute(
            "UPDATE routes SET priority = ?, description = ?, expression = ?, actions = ? WHERE id = ?",
            (*_values(row)[1:5], row.number),
        ).rowcount
        > 0
    )


def remove(connection: sqlite3.Connection, number: int) -> bool:
    return connection.execute("DELETE FROM routes WHERE id = ?", (number,)).rowcount > 0


def _values(row: RouteRow) -> tuple[int, int, str, str, str, float]:
    return row.number, row.priority, row.description, row.expression, json.dumps(row.actions), row.created_at


def _row(row: tuple[int, int, str, str, str, float]) -> RouteRow:
    return RouteRow(row[0], row[1], row[2], row[3], tuple(json.loads(row[4])), row[5])
