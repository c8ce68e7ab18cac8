"""Expansions: the table of the same name: how far each post to a mailing list has come in becoming its members' copies.

Room: storage. May import: mail. A step is written in the transaction of the copies it tells of, and only if nobody has
gone further meanwhile: so each member gets one copy, wherever the process dies.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from mtad.storage.spool import Spool


class Stale(Exception):
    """Somebody else has made this step."""


@dataclass(frozen=True, slots=True)
class Progress:
    """last: up to where members have their copies, as lists.expand wrote it; "" none has. content: the copies' bytes,
    None once all is done. place: (segment, position) where they are in the spool, None: nowhere.
    """

    last: str
    copies: int
    done: bool
    content: bytes | None
    place: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Step:
    """Members beyond `before`, up to `last`, have their copies; done: they were the last ones."""

    recipient_id: int
    before: str
    last: str
    copies: int
    done: bool


class Expansions:
    """Methods that write run in the writer's transaction."""

    def __init__(self, spool: Spool, inline_octets: int) -> None:
        self._spool, self._inline_octets = spool, inline_octets

    def find(self, connection: sqlite3.Connection, recipient_id: int) -> Progress | None:
        """None: nothing is done yet."""
        row = connection.execute(_FIND, (recipient_id,)).fetchone()
        if row is None:
            return None
        last, copies, done, size, content, segment, position = row
        place = None if segment is None else (segment, position)
        if place is not None:
            content = self._spool.read(segment, position, size)
        return Progress(last, copies, bool(done), content, place)

    def begin(self, connection: sqlite3.Connection, recipient_id: int, number: int, content: bytes) -> Progress:
        """content: of the copies. It is kept until the last step, in the spool when it is large: then all copies share
        it there.
        """
        self.sweep(connection)
        place: tuple[int, int] | None = None
        if len(content) > self._inline_octets:
            [place] = self._spool.append(connection, [content])
        inline = content if place is None else None
        connection.execute(_BEGIN, (recipient_id, number, len(content), inline, *(place or (None, None))))
        return Progress("", 0, False, content, place)

    def advance(self, connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
        """Raises Stale."""
        for step in steps:
            row = (step.last, step.copies, step.done, step.recipient_id, step.before)
            if connection.execute(_ADVANCE, row).rowcount != 1:
                raise Stale(f"expansion of {step.recipient_id} beyond {step.before!r}")
            if step.done:
                self._let_go(connection, [step.recipient_id])

    def sweep(self, connection: sqlite3.Connection) -> int:
        """Remove those whose post is done with, or came to its end before all copies were made. How many went."""
        over = [row[0] for row in connection.execute(_OVER)]
        self._let_go(connection, over)
        connection.executemany("DELETE FROM expansions WHERE recipient_id = ?", [(number,) for number in over])
        return len(over)

    def _let_go(self, connection: sqlite3.Connection, recipients: Sequence[int]) -> None:
        for number in recipients:
            row = connection.execute(
                "SELECT segment, size FROM expansions WHERE recipient_id = ? AND segment IS NOT NULL", (number,)
            ).fetchone()
            if row is not None:
                self._spool.release(connection, [row])
            connection.execute(_EMPTY, (number,))


_FIND = "SELECT last, copies, done, size, content, segment, position FROM expansions WHERE recipient_id = ?"
_BEGIN = """
    INSERT INTO expansions (recipient_id, list_id, last, copies, done, size, content, segment, position)
    VALUES (?, ?, '', 0, 0, ?, ?, ?, ?)"""
_ADVANCE = """
    UPDATE expansions SET last = ?, copies = copies + ?, done = ? WHERE recipient_id = ? AND last = ? AND done = 0"""
_EMPTY = "UPDATE expansions SET content = NULL, segment = NULL, position = NULL WHERE recipient_id = ?"
_OVER = """
    SELECT recipient_id FROM expansions AS e
    WHERE NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.id = e.recipient_id AND r.state < 2)"""
