"""Reported: what came back later about a recipient: a bounce after delivery, a complaint, a wish to leave by mail.

Room: storage. May import: mail. Events go through `record`.
"""

import sqlite3
from dataclasses import dataclass

from mtad.mail.event import EventType
from mtad.storage import lists
from mtad.storage.outgoing import State, StoredMessage, StoredRecipient
from mtad.storage.record import Records, record

_RECIPIENT = """
    SELECT id, message_id, domain_id, site_id, address, attempts, unknown, ifnull(expire_at, 0), last_reply, notify,
           orcpt, personal, state FROM recipients WHERE id = ?"""
_MESSAGE = """
    SELECT id, domain_id, reverse_path, size, recipients, flags, deliver_at, segment, position, about, options, header
    FROM messages WHERE id = ?"""


@dataclass(frozen=True, slots=True)
class Known:
    """A recipient that a report may speak of. header: the message's header block if it was kept."""

    recipient: StoredRecipient
    state: State
    message: StoredMessage
    header: bytes


def find(connection: sqlite3.Connection, recipient_id: int) -> Known | None:
    """None: it is not in the store any more."""
    row = connection.execute(_RECIPIENT, (recipient_id,)).fetchone()
    if row is None:
        return None
    told = connection.execute(_MESSAGE, (row[1],)).fetchone()
    if told is None:
        return None
    return Known(StoredRecipient(*row[:12]), State(row[12]), StoredMessage(*told[:11]), told[11] or b"")


def add(connection: sqlite3.Connection, kind: EventType, recipient_id: int, records: Records) -> bool:
    """False, and nothing is written: the same has been told of this recipient before."""
    made = connection.execute(
        "INSERT INTO firsts (recipient_id, type) VALUES (?, ?) ON CONFLICT DO NOTHING", (recipient_id, int(kind))
    )
    if made.rowcount < 1:
        return False
    record(connection, records)
    return True


def leave(connection: sqlite3.Connection, records: Records) -> bool:
    """False, and nothing is written: all that records.unsubscribes says had been left before."""
    if all(connection.execute(_LEFT, row[:3]).fetchone() for row in records.unsubscribes):
        return False
    record(connection, records)
    return True


def leave_list(connection: sqlite3.Connection, number: int, key: str, records: Records) -> bool:
    """The member of that key stays, and gets no more of the list's mail. False: he was no subscriber any more."""
    if not lists.unsubscribe(connection, number, key):
        return False
    record(connection, records)
    return True


_LEFT = "SELECT 1 FROM unsubscribes WHERE domain_id = ? AND address = ? AND tag = ?"
