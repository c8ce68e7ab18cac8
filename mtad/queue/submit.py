"""Submit: the only way in. Check, split by recipient, commit, and only then 250.

Room: queue. May import: mail, message, storage. Source: RFC 5321 §4.4 (trace), §6.1 (our duty after 250), §6.3 (loops).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.feedback.record import Posts
from mtad.mail.address import Address, ListPost, Url
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.options import Options
from mtad.mail.reply import Refused, Reply
from mtad.message.headers import HeaderBlock, scan
from mtad.message.trace import too_many_hops
from mtad.queue.accepted import Accepted, Whole
from mtad.queue.prepare import Copy, Prepared, copies, prepare
from mtad.queue.stamp import Ours, Stamp, about_json, header_of
from mtad.storage.database import Lane
from mtad.storage.expansions import Step
from mtad.storage.outgoing import Accept, Flag, RecipientRow, State, StoredMessage, StoredRecipient
from mtad.storage.record import EventRow
from mtad.storage.sites import UNRESOLVED

log = log_module.get("queue")

_STORE_FAILED = Reply(451, "3.0", "The message could not be stored; try again later")
_HEADER_TOO_BIG = Reply(552, "3.4", "The header of the message is too long; make its fields fewer or shorter")
_LEASED, _WAITING = int(State.LEASED), int(State.WAITING)
_LOOP = Reply(554, "4.6", "Too many Received fields: the message goes round in a loop")


class Desk(Protocol):
    """What submit asks of the queue: room for a fresh recipient now, and the hand-over after the commit."""

    def place(self, domain: str) -> int:
        """The site id of a recipient's domain; 0 when it is not known yet."""

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        """True: room is set aside for this recipient; it comes by take(), or refund() if the commit failed."""

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        """A row waits in the store: (site id, when to look) for the commit, None when the site is in hand."""

    def take(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None: ...
    def refund(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None: ...


class Lists(Protocol):
    """The mailing lists of ours."""

    def target(self, address: Address) -> ListPost | None:
        """None: it is no list."""

    def refusal(self, address: Address, block: HeaderBlock, bound: str = "") -> Reply | None:
        """Why one of our own users may not post this to it. bound: the only domain that he may send for, "" any."""


class Campaigns(Protocol):
    def known(self, domain_id: int, options: Options) -> Options:
        """With the campaigns that the domain has; others are left out."""


class Domains(Ours, Protocol):
    def may_send(self, name: str) -> bool: ...


class Submit:
    """Call it with a Submission; the future gives the message's id once it is on disk.

    Raises Refused at once, or through the future: 451 4.3.0 when the store could not take it.
    """

    def __init__(
        self,
        *,
        accept: Lane[Accept],
        rejected: Lane[EventRow],
        desk: Desk,
        domains: Domains,
        ids: IdSource,
        clock: Clock,
        gate: Callable[[int], Reply | None],
        hostname: str,
        give_up_after_s: float,
        max_hops: int,
        max_schedule_s: float,
        posts: Posts | None = None,
        web_give_up_after_s: float | None = None,
        lists: Lists | None = None,
        campaigns: Campaigns | None = None,
    ) -> None:
        self._lists, self._campaigns = lists, campaigns
        self._web_give_up_after_s = web_give_up_after_s or give_up_after_s
        self._told, self._stamp = Accepted(ids, posts), Stamp(domains, hostname)
        self._accept, self._desk, self._domains, self._ids, self._clock = accept, desk, domains, ids, clock
        self._give_up_after_s, self._max_hops, self._max_schedule_s = give_up_after_s, max_hops, max_schedule_s
        self._gate, self._rejected = gate, rejected
        self.accepted = 0  # recipients
        self.rejected = 0  # messages

    def __call__(self, submission: Submission, *, report: bool = False) -> "asyncio.Future[int]":
        """report: a DSN of ours, which is stored even when the doors are shut to others."""
        held = None if report else self._gate(len(submission.content))
        if held is not None:
            raise Refused(held)
        block, now = scan(submission.content), self._clock.now()
        try:
            whole = self._whole(submission, block, now, report)
        except Refused as refused:
            self.reject(submission, block, refused.reply)
            raise
        return self._store(submission, whole, now)

    def routed(self, submission: Submission, copies: list[Copy], *, kept: bool) -> "asyncio.Future[int]":
        """Mail from the world whose fate is decided: one copy for each destination of each recipient, and one that is
        done already for each that was stored or that nothing more is to be done for. submission.domain: the one of
        ours it came to; its content has our fields. kept: its bytes are stored, whatever becomes of the copies.
        """
        held = self._gate(len(submission.content))
        if held is not None:
            raise Refused(held)
        now, number = self._clock.now(), self._ids.take(1 + len(copies))
        block = scan(submission.content)
        prepared = Prepared(submission.content, block)
        message = self._stamp.message(submission, prepared, number, now, None, self._stamp.routed_flags(submission))
        message.recipients = len(copies)
        needed = kept or any(copy.end is None for copy in copies)
        return self._store(submission, Whole(message, copies, None, None, needed), now)

    def expanded(
        self, message: StoredMessage, copies: list[Copy], options: Options, step: Step
    ) -> "asyncio.Future[int]":
        """Copies for members of a mailing list, and in the same commit how far that list has come. message: as all of
        them get it, without its id and number of recipients.
        """
        now = self._clock.now()
        message.id, message.recipients = self._ids.take(1 + len(copies)), len(copies)
        header = header_of(message) if self._told.wants_header(message.domain_id) else None
        whole = Whole(message, copies, options, header, step=step)
        return self._store(Submission(None, [], b"", "", now), whole, now)

    def _store(self, submission: Submission, whole: Whole, now: float) -> "asyncio.Future[int]":
        number, message = whole.message.id, whole.message
        rows, taken, sooner = self._split(submission, whole, now)
        assert message.content is not None
        place = None if message.segment is None or message.position is None else (message.segment, message.position)
        future = self._accept.put(
            Accept(
                (
                    number,
                    message.domain_id,
                    message.reverse_path,
                    message.size,
                    message.recipients,
                    message.flags,
                    message.deliver_at,
                    message.about,
                    message.options,
                    whole.header,
                ),
                message.content if whole.needed and place is None else b"",
                rows,
                self._told.records(whole, [row[0] for row in rows], now),
                sooner,
                place,
                whole.step,
            )
        )
        answer: asyncio.Future[int] = future.get_loop().create_future()
        future.add_done_callback(lambda done: self._committed(done, answer, message, taken))
        return answer

    def _committed(
        self,
        done: "asyncio.Future[None]",
        answer: "asyncio.Future[int]",
        message: StoredMessage,
        taken: list[StoredRecipient],
    ) -> None:
        failure: BaseException | None = asyncio.CancelledError() if done.cancelled() else done.exception()
        if failure is None:
            self.accepted += message.recipients
            log.info("accepted", msg=queue_id(message.id), size=message.size, recipients=message.recipients)
            if not answer.done():
                answer.set_result(message.id)
            if taken:
                # Behind the 250: the client is told before the next hop is.
                answer.get_loop().call_soon(self._desk.take, message, taken)
            return
        self._desk.refund(message, taken)
        log.error("not-stored", msg=queue_id(message.id), cause=repr(failure))
        if not answer.done():
            known = isinstance(failure, sqlite3.Error | OSError)
            answer.set_exception(Refused(_STORE_FAILED) if known else failure)

    def _whole(self, submission: Submission, block: HeaderBlock, now: float, report: bool) -> Whole:
        """The message as it will be stored. Raises Refused."""
        if not report and not self._domains.may_send(submission.domain):
            raise Refused(Reply(550, "7.1", f"The domain {submission.domain} is not allowed to send: it was disabled"))
        if block.oversized:
            raise Refused(_HEADER_TOO_BIG)
        if too_many_hops(block, self._max_hops):
            raise Refused(_LOOP)
        prepared = (
            Prepared(submission.content, block) if report else prepare(submission, block, now, self._max_schedule_s)
        )
        options = prepared.options
        if options is not None and options.campaigns and self._campaigns is not None:
            options = self._campaigns.known(self._domains.id_of(submission.domain), options)
            prepared = replace(prepared, options=options)
        deliver_at = self._deliver_at(submission, options, now)
        flags = self._stamp.flags(submission, prepared, report)
        people = copies(submission, prepared.block, options, bool(flags & Flag.COMPOSE))
        if self._lists is not None and not report:
            bound = submission.domain if submission.bound else ""
            people = [self._listed(self._lists, copy, prepared.block, bound) for copy in people]
        number = self._ids.take(1 + len(people))
        message = self._stamp.message(submission, prepared, number, now, deliver_at, flags)
        message.recipients = len(people)
        for fault in prepared.faults:
            log.info("control-ignored", msg=queue_id(number), field=fault.field, why=fault.why)
        header = header_of(message) if self._told.wants_header(message.domain_id) else None
        return Whole(message, people, options, header, needed=not flags & Flag.TEST_MODE)

    def _deliver_at(self, submission: Submission, options: Options | None, now: float) -> float | None:
        """None: at once. Raises Refused."""
        at = submission.deliver_at
        if options is not None and options.deliver_at is not None:
            at = options.deliver_at
        if at is not None and at > now + self._max_schedule_s:
            raise Refused(Reply(554, "5.4", f"Scheduled too far ahead: at most {self._max_schedule_s / 86_400:g} days"))
        return at if at is not None and at > now else None

    @staticmethod
    def _listed(lists: Lists, copy: Copy, block: HeaderBlock, bound: str) -> Copy:
        """What is for a mailing list waits as a post to it. Raises Refused."""
        target = lists.target(copy.address) if isinstance(copy.address, Address) else None
        if target is None:
            return copy
        assert isinstance(copy.address, Address)
        why = lists.refusal(copy.address, block, bound)
        if why is not None:
            raise Refused(why)
        return replace(copy, address=target, personal=None)

    def reject(self, submission: Submission, block: HeaderBlock, refusal: Reply, domain: str = "") -> None:
        """The records of the domain that sends, or that it came to, shall say why nothing came of it."""
        detail = {
            "reject": {"reason": "generic", "description": str(refusal)},
            "about": orjson.Fragment(about_json(submission, block, "", None)),
            "recipient": str(submission.recipients[0]) if submission.recipients else "",
        }
        domain_id = self._domains.id_of(domain or submission.domain)
        self._rejected.tell((self._ids.next(), int(EventType.REJECTED), domain_id, None, None, orjson.dumps(detail)))
        self.rejected += 1
        log.info("rejected", domain=domain or submission.domain, peer=submission.peer, reply=refusal)

    def _split(
        self, submission: Submission, whole: Whole, now: float
    ) -> tuple[list[RecipientRow], list[StoredRecipient], list[tuple[int, float]]]:
        """One row per copy; which of them we start on at once, and which sites must be looked at for the rest."""
        message = whole.message
        desk, number, domain_id = self._desk, message.id, message.domain_id
        due_at = message.deliver_at or now
        asked, original = submission.notify, submission.orcpt
        rows: list[RecipientRow] = []
        taken: list[StoredRecipient] = []
        sooner: dict[int, float] = {}
        if message.flags & Flag.TEST_MODE:
            return [_done(message, number + 1 + n, copy) for n, copy in enumerate(whole.copies)], taken, []
        for own, copy in enumerate(whole.copies, number + 1):
            if copy.end is not None:
                rows.append(_done(message, own, copy))
                continue
            site, text = desk.place(copy.address.domain), str(copy.address)
            last = (asked.get(copy.place), copy.orcpt or original.get(copy.place), copy.personal)
            expire_at = due_at + (self._web_give_up_after_s if isinstance(copy.address, Url) else self._give_up_after_s)
            if message.deliver_at is None and desk.admit(site, domain_id, message.size if not taken else 0):
                # The lease is the durable record of attempt 1: it is written before the attempt begins.
                rows.append((own, number, domain_id, site, text, _LEASED, 1, None, expire_at, *last))
                taken.append(StoredRecipient(own, number, domain_id, site, text, 1, 0, expire_at, None, *last))
            else:
                rows.append((own, number, domain_id, site, text, _WAITING, 0, due_at, expire_at, *last))
                look = desk.backlog(site, domain_id, due_at)
                if look is not None:
                    sooner[look[0]] = min(look[1], sooner.get(look[0], look[1]))
        return rows, taken, list(sooner.items())


def _done(message: StoredMessage, own: int, copy: Copy) -> RecipientRow:
    """A recipient that is done as soon as taken."""
    done = (int(State.DELIVERED), 0, None, None, None, copy.orcpt, copy.personal)
    return (own, message.id, message.domain_id, UNRESOLVED, str(copy.address), *done)
