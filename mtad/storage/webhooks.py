"""Webhooks: the table `webhooks`, where each kind of news of a domain is posted, and the key posts are signed with.

Room: storage. May import: mail.
"""

import sqlite3
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """name: an id of either family. url: as it was given, perhaps with a password: not for logs. paused_why: None is
    not paused."""

    id: int
    domain_id: int
    domain: str
    name: str
    url: str = field(repr=False)
    place: int
    paused_why: str | None
    created_at: float


def webhooks(connection: sqlite3.Connection) -> list[WebhookRow]:
    rows = connection.execute(
        "SELECT w.id, w.domain_id, d.name, w.name, w.url, w.place, w.paused_why, w.created_at FROM webhooks AS w"
        " JOIN domains AS d ON d.id = w.domain_id ORDER BY d.name, w.name, w.place, w.id"
    )
    return [WebhookRow(*row) for row in rows]


def add_webhook(connection: sqlite3.Connection, domain_id: int, name: str, url: str, place: int, now: float) -> int:
    """Its id. Raises sqlite3.IntegrityError when it is there already."""
    [number] = connection.execute(
        "INSERT INTO webhooks (domain_id, name, url, place, created_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (domain_id, name, url, place, now),
    ).fetchone()
    return int(number)


def remove_webhook(connection: sqlite3.Connection, webhook: int) -> None:
    """Its posts that wait are given up by and by (`give_up_lane`): there may be a million."""
    connection.execute("DELETE FROM webhooks WHERE id = ?", (webhook,))


def pause_webhook(connection: sqlite3.Connection, webhook: int, why: str | None) -> None:
    """why None: go on."""
    connection.execute("UPDATE webhooks SET paused_why = ? WHERE id = ?", (why, webhook))


def track(connection: sqlite3.Connection, domain_id: int, *, opens: bool = False, clicks: bool = False) -> None:
    """Turn the tracking on that a webhook needs; how links are rewritten, if they are, stays as it is."""
    if opens:
        connection.execute("UPDATE domains SET opens = 1 WHERE id = ?", (domain_id,))
    if clicks:
        connection.execute("UPDATE domains SET clicks = 'yes' WHERE id = ? AND clicks = 'no'", (domain_id,))


def signing_key(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM settings WHERE name = 'signing-key'").fetchone()
    return bytes(row[0]).decode("ascii") if row else None


def set_signing_key(connection: sqlite3.Connection, key: str) -> None:
    connection.execute(
        "INSERT INTO settings (name, value) VALUES ('signing-key', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        (key.encode("ascii"),),
    )


def ensure_signing_key(connection: sqlite3.Connection, otherwise: str) -> str:
    """The key there is; `otherwise` when there is none yet."""
    connection.execute(
        "INSERT OR IGNORE INTO settings (name, value) VALUES ('signing-key', ?)", (otherwise.encode("ascii"),)
    )
    return signing_key(connection) or otherwise
