"""Keys: the table `api_keys`. A key comes in as its SHA-256; this room never sees one in the clear.

Room: storage.
"""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyRow:
    """domain: the only one it may send for; None: the account's key."""

    id: int
    domain: str | None
    name: str
    hash: bytes
    created_at: float

    def __repr__(self) -> str:
        return f"KeyRow({self.id}, {self.domain!r}, {self.name!r})"


def keys(connection: sqlite3.Connection) -> list[KeyRow]:
    """In the order they were made."""
    rows = connection.execute(
        "SELECT k.id, d.name, k.name, k.hash, k.created_at FROM api_keys AS k"
        " LEFT JOIN domains AS d ON d.id = k.domain_id ORDER BY k.id"
    )
    return [KeyRow(*row) for row in rows]


def add_key(connection: sqlite3.Connection, domain_id: int | None, name: str, hash_: bytes, now: float) -> int:
    """The new key's id. Raises sqlite3.IntegrityError when it is there already."""
    [number] = connection.execute(
        "INSERT INTO api_keys (domain_id, name, hash, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        (domain_id, name, hash_, now),
    ).fetchone()
    return int(number)


def remove_key(connection: sqlite3.Connection, key: int) -> bool:
    """False: there was none."""
    return connection.execute("DELETE FROM api_keys WHERE id = ?", (key,)).rowcount > 0
