"""Known: the mailing lists of this server in memory, and who may post to them.

Room: lists. May import: mail, message, storage. RCPT and each submission ask here, so nothing is read for them; members
are asked of the store.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from mtad import log as log_module
from mtad.lists import access
from mtad.lists.access import Post, Proof
from mtad.mail.address import Address, BadAddress, ListPost, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.lists import AccessLevel, MailingList
from mtad.mail.reply import Reply
from mtad.message.headers import HeaderBlock
from mtad.message.listed import has_been, loop_mark
from mtad.storage import accounts
from mtad.storage import lists as table
from mtad.storage.database import Database

log = log_module.get("lists")

_MOST_AUTHORS = 10


@dataclass(slots=True)
class Lists:
    """Call load() before use, and changed() after each change. domain_of: the id of the domain of ours that takes mail
    for a name, 0: none. loop_key: marks mail that was here.
    """

    database: Database
    domain_of: Callable[[str], int]
    loop_key: bytes
    _by_key: dict[str, MailingList]
    _turn: asyncio.Lock

    def __init__(self, database: Database, domain_of: Callable[[str], int], loop_key: bytes) -> None:
        self.database, self.domain_of, self.loop_key = database, domain_of, loop_key
        self._by_key, self._turn = {}, asyncio.Lock()

    async def load(self) -> None:
        async with self._turn:
            rows = await self.database.read(table.lists)
            self._by_key = {row.key: row for row in rows}

    async def changed(self, *keys: str) -> None:
        """The lists of these keys are others than before, new, or gone. There may be many more: they are left alone."""
        async with self._turn:
            found = await self.database.read(lambda connection: [table.find(connection, key) for key in keys])
            for key, row in zip(keys, found, strict=True):
                if row is None:
                    self._by_key.pop(key, None)
                else:
                    self._by_key[key] = row

    def find(self, address: Address) -> MailingList | None:
        """None also where its domain is none of ours any more. How many members it has may have changed."""
        if not self._by_key:
            return None
        found = self._by_key.get(address.key)
        return found if found is not None and self.domain_of(found.domain) else None

    def target(self, address: Address) -> ListPost | None:
        """What stands in the queue for mail to this address; None: it is no list."""
        found = self.find(address)
        return ListPost(found.number, address) if found is not None else None

    def open_to_strangers(self, address: Address) -> bool:
        found = self.find(address)
        return found is not None and found.access_level is not AccessLevel.READONLY

    def at_rcpt(self, address: Address) -> Reply | None:
        """Why a stranger may not write there, when it is a list and that is known already."""
        found = self.find(address)
        return access.at_rcpt(found) if found is not None else None

    def mark(self, key: str) -> str:
        return loop_mark(self.loop_key, key)

    def has_been(self, found: MailingList, block: HeaderBlock) -> bool:
        return has_been(block, found, self.mark(found.key))

    def refusal(self, address: Address, block: HeaderBlock, bound: str = "") -> Reply | None:
        """Why one of our own users may not post it. bound: the only domain that his login or key is for, "" there is no
        such bound.
        """
        found = self.find(address)
        if found is None:
            return None
        if bound and self.domain_of(bound) != self.domain_of(found.domain):
            why = access.of_another_domain(found, block)
            if why is not None:
                return why
        return access.refusal(found, block, self.mark(found.key), None)

    async def judge(self, address: Address, submission: Submission, block: HeaderBlock, proof: Proof) -> Reply | None:
        """Why a stranger may not post it. block: of the message as it came."""
        found = self.find(address)
        if found is None:
            return None
        authors = _keys(block)
        envelope = submission.reverse_path.key if submission.reverse_path is not None else ""
        asked = {*authors, envelope} - {""} if found.access_level is AccessLevel.MEMBERS else set[str]()

        def read(connection: sqlite3.Connection) -> set[str] | None:
            """None: nobody may write there."""
            if not accounts.may_send(connection, self.domain_of(found.domain)):
                return None
            return {key for key in asked if table.is_member(connection, found.number, key)}

        members = await self.database.read(read)
        if members is None:
            return access.disabled(found)
        return access.refusal(found, block, self.mark(found.key), Post(authors, envelope, proof, members))


def _keys(block: HeaderBlock) -> tuple[str, ...]:
    """Of all addresses in From; () when there is one that cannot be read."""
    found: list[str] = []
    for text in block.addresses(b"from")[: _MOST_AUTHORS + 1]:
        try:
            found.append(parse_address(text).key)
        except BadAddress:
            return ()
    return tuple(dict.fromkeys(found)) if len(found) <= _MOST_AUTHORS else ()
