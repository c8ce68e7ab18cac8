"""Expand: a transport of the queue whose delivery makes the copies of a list's members.

Room: lists. May import: mail, message, storage, delivery, queue. A post waits in the queue as a row for the list's own
address. Its members' rows are made some at a time; each step is one commit with how far it has come, so a crash
neither loses nor doubles a member, and no list is ever in memory as a whole.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from mtad import log as log_module
from mtad.delivery.mx import MxHost, Route
from mtad.lists.access import disabled
from mtad.lists.copies import Posted, copies_for, posted
from mtad.lists.known import Lists
from mtad.mail.address import ListPost, list_post_of
from mtad.mail.envelope import Transaction
from mtad.mail.ids import queue_id
from mtad.mail.lists import MailingList, Member
from mtad.mail.options import Options, options_from_json
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Outcome, Phase, Refused, Reply
from mtad.message.headers import scan
from mtad.message.listed import Listing, for_members
from mtad.queue.prepare import Copy
from mtad.storage import accounts, reported
from mtad.storage import lists as table
from mtad.storage.database import Database
from mtad.storage.expansions import Expansions, Progress, Stale, Step
from mtad.storage.outgoing import Flag, StoredMessage

log = log_module.get("lists")

BATCH = 1000  # members of one commit
SITE = "lists"
# In Step.last, before a key, none of which begins so: the second round has begun, of members who need SMTPUTF8
# (RFC 6531). Theirs are messages of their own: a host without it shall take the others' copies.
_WIDE = "\x7f"
_ROUTE = Route(SITE, (MxHost(SITE, 0),), 0, site=SITE)
_HOP = Hop(SITE, "")
_INLINE_OCTETS = 262_144  # a larger message is rewritten in a thread
_GONE = Reply(550, "1.1", "The mailing list is not there any more")
_NOT_YET = Reply(451, "3.0", "The daemon is starting")
_STALE = Reply(451, "3.0", "The copies of this message are being made already")


class Posting(Protocol):
    """What the copies go through (queue.submit)."""

    def expanded(
        self, message: StoredMessage, copies: list[Copy], options: Options, step: Step
    ) -> "asyncio.Future[int]": ...


@dataclass(slots=True)
class Expander:
    """rewrites: From of a message with these author domains is to be the list's, as its copies, signed by the list's
    domain (name), would fail DMARC. held_up: why nothing may be stored now. submit: set once it is there.
    """

    database: Database
    expansions: Expansions
    lists: Lists
    rewrites: Callable[[bytes, str], Awaitable[bool]]
    held_up: Callable[[int], Reply | None]
    submit: Posting | None = None
    batch: int = BATCH
    fixed_key: str | None = field(default=None, init=False)

    # --- a Transport of the queue ---

    def known(self, domain: str) -> Route | None:
        return _ROUTE

    async def route(self, domain: str) -> Route | Deferred | Failed:
        return _ROUTE

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> "ListSession | Deferred | Failed":
        return ListSession(self) if self.submit is not None else Deferred(_NOT_YET, None, Phase.LOCAL)

    # --- what a delivery is ---

    async def expand(self, post: ListPost, recipient_id: int, content: bytes) -> Outcome:
        """content: of the message that the list is a recipient of."""
        known = await self.database.read(lambda connection: reported.find(connection, recipient_id))
        found = await self.database.read(lambda connection: table.numbered(connection, post.number))
        domain_id = self.lists.domain_of(found.domain) if found is not None else 0
        if known is None or found is None or not domain_id:
            return Failed(_GONE, None, Phase.LOCAL)
        if not await self.database.read(lambda connection: accounts.may_send(connection, domain_id)):
            return Failed(disabled(found), None, Phase.LOCAL)
        progress = await self._begun(known.message, found, recipient_id, content)
        if progress.done or progress.content is None:
            return _delivered(progress.copies)
        about = posted(known.message, found, domain_id, progress.content, progress.place)
        try:
            made = await self._steps(about, progress, recipient_id)
        except Refused as refused:
            return Deferred(refused.reply, None, Phase.LOCAL)
        except Stale as error:
            log.error("expansion-stale", msg=queue_id(known.message.id), rcpt=found.address, cause=error)
            return Deferred(_STALE, None, Phase.LOCAL)
        log.info("expanded", msg=queue_id(known.message.id), rcpt=found.address, copies=made)
        return _delivered(made)

    async def _begun(self, message: StoredMessage, found: MailingList, recipient_id: int, content: bytes) -> Progress:
        """What all copies share is made once, so that those after a crash are as those before it."""
        progress = await self.database.read(lambda connection: self.expansions.find(connection, recipient_id))
        if progress is not None:
            return progress
        listing = Listing(
            found,
            self.lists.mark(found.key),
            rewrite=await self.rewrites(content, found.domain),
            stranger=bool(message.flags & Flag.ROUTED),
            alone=options_from_json(message.options).batch if message.options else False,
        )
        make = partial(_listed, content, listing)
        listed = await asyncio.to_thread(make) if len(content) > _INLINE_OCTETS else make()
        return await self.database.writer.write(
            lambda connection: self.expansions.begin(connection, recipient_id, found.number, listed)
        )

    async def _steps(self, about: Posted, progress: Progress, recipient_id: int) -> int:
        """How many copies there are in all. Raises Refused, Stale."""
        made, last, done = progress.copies, progress.last, False
        while not done:
            why = self.held_up(len(about.content))
            if why is not None:
                raise Refused(why)
            wide, after = last.startswith(_WIDE), last.removeprefix(_WIDE)
            members = await self._members(about, after, self.batch, wide)
            copies = copies_for(members, about, self.lists.target, self.lists.mark)
            to = (_WIDE if wide else "") + (members[-1].key if members else after)
            if len(members) < self.batch:
                done = wide or not await self._members(about, "", 1, True)
                to = to if done else _WIDE
            await self._store(about, copies, Step(recipient_id, last, to, len(copies), done), smtputf8=wide)
            made, last = made + len(copies), to
        return made

    async def _members(self, about: Posted, after: str, limit: int, wide: bool) -> list[Member]:
        number = about.mailing_list.number
        return await self.database.read(
            partial(table.subscribed_after, number=number, after=after, limit=limit, wide=wide)
        )

    async def _store(self, about: Posted, copies: list[Copy], step: Step, *, smtputf8: bool) -> None:
        if copies:
            assert self.submit is not None
            await self.submit.expanded(about.message(smtputf8=smtputf8), copies, about.options, step)
        else:
            await self.database.writer.write(lambda connection: self.expansions.advance(connection, [step]))


class ListSession:
    """Nothing is held open: one post after the other."""

    stale = False
    alive = True
    hop = _HOP

    def __init__(self, expander: Expander) -> None:
        self._expander = expander
        self.sent = 0

    async def send(self, tx: Transaction) -> list[Outcome]:
        self.sent += 1
        return [await self._one(tx, at) for at in range(len(tx.recipients))]

    async def _one(self, tx: Transaction, at: int) -> Outcome:
        return await self._expander.expand(list_post_of(tx.recipients[at]), tx.ids[at], b"".join(tx.chunks))

    def close(self) -> None:
        """Nothing is held open here."""


def _listed(content: bytes, listing: Listing) -> bytes:
    return for_members(scan(content), listing)


def _delivered(copies: int) -> Delivered:
    words = f"Posted to {copies} member{'' if copies == 1 else 's'}"
    return Delivered(Reply(250, "0.0", words), _HOP)
