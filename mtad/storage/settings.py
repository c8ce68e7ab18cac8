"""Settings: the table of the same name: what the daemon made or was told once, and needs for ever.

Room: storage.
"""

import sqlite3


def ensure(connection: sqlite3.Connection, name: str, value: bytes) -> bytes:
    """The value of `name`; `value` if there was none."""
    connection.execute("INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", (name, value))
    [kept] = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return bytes(kept)


def get(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return bytes(row[0]) if row else None


def put(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute(
        "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        (name, value),
    )
