"""Expiry: recipients that became too old where nothing is tried at present.

Room: storage. May import: mail. A place is (site id, domain id), or (site id, None) for all that waits for the site.
"""

import sqlite3
from collections.abc import Sequence

import orjson

from mtad.storage.outgoing import StoredRecipient

Place = tuple[int, int | None]

_WHERE = "state = 0 AND site_id = ?1 AND (?2 IS NULL OR domain_id = ?2) AND expire_at <= ?3"
_ANY = f"SELECT 1 FROM recipients WHERE {_WHERE} LIMIT 1"
_ROWS = f"""
    SELECT id, message_id, domain_id, site_id, address, attempts, unknown, expire_at, last_reply,
           notify, orcpt, personal
    FROM recipients WHERE {_WHERE} LIMIT ?4"""
_LEASE = "UPDATE recipients SET state = 1 WHERE id IN (SELECT value FROM json_each(?))"


def places(connection: sqlite3.Connection, asked: Sequence[Place], now: float) -> list[Place]:
    """Those of them where something is too old. Reads only."""
    return [place for place in asked if connection.execute(_ANY, (*place, now)).fetchone() is not None]


def lease(connection: sqlite3.Connection, place: Place, now: float, limit: int) -> list[StoredRecipient]:
    """Up to `limit` of them, to be settled as failed. No attempt is counted."""
    rows = connection.execute(_ROWS, (*place, now, limit)).fetchall()
    if rows:
        connection.execute(_LEASE, (orjson.dumps([row[0] for row in rows]).decode(),))
    return [StoredRecipient(*row) for row in rows]
