"""Templates: stored templates as senders use them, read once and kept in memory.

Room: api. May import: message, storage. Whoever changes templates calls changed() after the commit.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mtad.message.handlebars.letter import Filled, LetterTemplate, read_letter
from mtad.message.handlebars.nodes import BadTemplate
from mtad.storage import templates
from mtad.storage.database import Database
from mtad.storage.templates import VersionRow

MAX_KEPT = 2_097_152  # characters of the templates in memory
_FAST = 4096  # characters that are read on the loop


class NoTemplate(LookupError):
    """There is no such template, or no such version of it. The text is for the caller."""


class Templates:
    """A domain's own template goes before one of the account with the same name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[int, str, str], LetterTemplate] = OrderedDict()
        self._size = self._generation = 0

    def changed(self) -> None:
        """What is stored is different now."""
        self._kept.clear()
        self._size = 0
        self._generation += 1

    async def fill(
        self, domain_id: int, name: str, version: str, variables: Mapping[str, Any], *, text: bool = False
    ) -> Filled:
        """version "": the active one. Raises NoTemplate and BadTemplate."""
        found = await self.find(domain_id, name, version)
        return await asyncio.to_thread(found.fill, variables, text=text)  # loops take time

    async def find(self, domain_id: int, name: str, version: str = "") -> LetterTemplate:
        """name, version: in any letter case. Raises NoTemplate."""
        key = (domain_id, name.lower(), version.lower())
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known
        generation = self._generation
        row = await self._database.read(lambda connection: _look_up(connection, *key))
        large = len(row.content) > _FAST
        made = await asyncio.to_thread(_read, row) if large else _read(row)
        if generation == self._generation:  # else it may be older than what is stored now
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[int, str, str], made: LetterTemplate) -> None:
        old = self._kept.pop(key, None)
        self._kept[key] = made
        self._size += made.size - (old.size if old else 0)
        while self._size > MAX_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size


def _look_up(connection: sqlite3.Connection, domain_id: int, name: str, version: str) -> VersionRow:
    row = templates.find(connection, domain_id, name) or templates.find(connection, 0, name)
    if row is None:
        raise NoTemplate(f"template '{name}' not found")
    found = templates.version(connection, row.number, version)
    if found is None:
        raise NoTemplate(
            f"template '{name}' has no version '{version}'" if version else f"template '{name}' has no active version"
        )
    return found


def _read(row: VersionRow) -> LetterTemplate:
    try:
        return read_letter(row.content, row.headers)
    except BadTemplate as error:  # stored by a release that knew more than this one
        raise NoTemplate(f"version '{row.tag}' of the template cannot be used: {error}") from None
