"""Stored operations: mail from the world that routes keep for some days: listed, read, removed.

Room: api. May import: mail, message, storage.
"""

import asyncio
import sqlite3
from dataclasses import dataclass

import orjson

from mtad import log as log_module
from mtad.api.base import Base, Impossible, NotThere, domain_name, shorten
from mtad.mail.ids import queue_id
from mtad.message.parse import parse
from mtad.storage import accounts, stored
from mtad.storage.stored import Stored

log = log_module.get("api")

MAX_PAGE = 1000  # messages of one answer


@dataclass(frozen=True, slots=True)
class StoredItem:
    """key: names it, here and in the HTTP API. message: its queue id. sender: "" the null path. size: octets."""

    key: str
    message: str
    domain: str
    recipients: tuple[str, ...]
    sender: str
    from_field: str
    subject: str
    size: int
    stored_at: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """number: counts from 1, as in the URL of the HTTP API."""

    number: int
    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredView:
    """content: as it came in, with the fields that were added."""

    item: StoredItem
    files: tuple[StoredFile, ...]
    content: bytes


class StoredOperations(Base):
    async def stored_list(self, domain: str = "", limit: int = 50) -> tuple[StoredItem, ...]:
        """The last so many, the last one first. domain "": of all."""
        if not 1 <= limit <= MAX_PAGE:
            raise Impossible(f"limit is 1 to {MAX_PAGE}")
        name = domain_name(domain) if domain else ""

        def read(connection: sqlite3.Connection) -> list[Stored] | None:
            if not name:
                return stored.newest(connection, limit)
            numbers = [row.id for row in accounts.domains(connection) if row.name == name]
            return stored.newest(connection, limit, numbers[0]) if numbers else None

        rows = await self._read(read)
        if rows is None:
            raise NotThere(f"no domain {name}; `mtad domain list` shows those there are")
        return tuple(_item(row) for row in rows)

    async def stored_show(self, key: str) -> StoredView:
        row = await self._stored(key)
        content = await self._read(lambda connection: stored.content(connection, self._outgoing, row))
        if content is None:
            raise _not_there(key)
        parsed = await asyncio.to_thread(parse, content)
        files = [
            StoredFile(number, one.name, one.content_type, one.size) for number, one in enumerate(parsed.attachments, 1)
        ]
        return StoredView(_item(row), tuple(files), content)

    async def stored_remove(self, key: str) -> StoredItem:
        """Its octets go too, unless a copy of it is still on its way."""
        row = await self._stored(key)
        if not await self._write(lambda connection: stored.remove(connection, self._outgoing, row.key)):
            raise _not_there(key)
        log.info("stored-removed", msg=queue_id(row.message_id), domain=row.domain)
        return _item(row)

    async def _stored(self, key: str) -> Stored:
        row = await self._read(lambda connection: stored.get(connection, key.strip()))
        if row is None:
            raise _not_there(key)
        return row


def _item(row: Stored) -> StoredItem:
    about = orjson.loads(row.about)
    return StoredItem(
        key=row.key,
        message=queue_id(row.message_id),
        domain=row.domain,
        recipients=row.recipients,
        sender=row.sender,
        from_field=str(about.get("from", "")),
        subject=str(about.get("subject", "")),
        size=row.size,
        stored_at=row.stored_at,
    )


def _not_there(key: str) -> NotThere:
    return NotThere(f"no stored message {shorten(key.strip())!r}; `mtad stored list` shows those there are")
