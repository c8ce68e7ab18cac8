"""Submit: the only way in. Check, split by recipient, commit, and only then 250.

Room: queue. May import: mail, message, storage. Source: RFC 5321 §4.4 (trace), §6.1 (our duty after 250), §6.3 (loops).
"""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.reply import Refused, Reply
from mtad.message.headers import HeaderBlock, scan
from mtad.message.trace import complete, received, too_many_hops
from mtad.storage.database import Lane
from mtad.storage.outgoing import Accept, Flag, RecipientRow, State, StoredMessage, StoredRecipient
from mtad.storage.record import EventRow, Records

log = log_module.get("queue")

_STORE_FAILED = Reply(451, "3.0", "The message could not be stored; try again later")
_HEADER_TOO_BIG = Reply(552, "3.4", "The header of the message is too long; make its fields fewer or shorter")
_LOOP = Reply(554, "4.6", "Too many Received fields: the message goes round in a loop")


class Desk(Protocol):
    """What submit asks of the runner: room for a fresh recipient now, and the hand-over after the commit."""

    def place(self, domain: str) -> int:
        """The site id of a recipient's domain; 0 when it is not known yet."""

    def admit(self, site_id: int, domain_id: int, octets: int) -> bool:
        """True: room is set aside for this recipient; it comes by take(), or refund() if the commit failed."""

    def backlog(self, site_id: int, domain_id: int, due_at: float) -> tuple[int, float] | None:
        """A row waits in the store: (site id, when to look) for the commit, None when the site is in hand."""

    def take(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None: ...
    def refund(self, message: StoredMessage, recipients: list[StoredRecipient]) -> None: ...


class Domains(Protocol):
    def id_of(self, name: str) -> int:
        """0 when it is none of ours (any more)."""

    def is_ours(self, name: str) -> bool: ...


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
    ) -> None:
        self._accept, self._desk, self._domains, self._ids, self._clock = accept, desk, domains, ids, clock
        self._gate, self._hostname = gate, hostname
        self._give_up_after_s, self._max_hops, self._max_schedule_s = give_up_after_s, max_hops, max_schedule_s
        self._rejected = rejected
        self.accepted = 0  # recipients
        self.rejected = 0  # messages

    def __call__(self, submission: Submission, *, report: bool = False) -> "asyncio.Future[int]":
        """report: a DSN of ours, which is stored even when the doors are shut to others."""
        held = None if report else self._gate(len(submission.content))
        if held is not None:
            raise Refused(held)
        block, now = scan(submission.content), self._clock.now()
        refusal = self._fault(submission, block, now)
        if refusal is not None:
            self._reject(submission, block, refusal)
            raise Refused(refusal)
        at = submission.deliver_at
        deliver_at = at if at is not None and at > now else None
        number = self._ids.take(1 + len(submission.recipients))
        message = self._message(submission, block, number, now, deliver_at, report)
        rows, taken, sooner = self._split(submission, message, now)
        events: list[EventRow] = [
            (self._ids.next(), int(EventType.ACCEPTED), message.domain_id, number, row[0], None) for row in rows
        ]
        assert message.content is not None
        future = self._accept.put(
            Accept(
                (
                    number,
                    message.domain_id,
                    message.reverse_path,
                    message.size,
                    message.recipients,
                    message.flags,
                    deliver_at,
                    message.about,
                    None,
                    None,
                ),
                message.content,
                rows,
                Records(events),
                sooner,
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

    def _fault(self, submission: Submission, block: HeaderBlock, now: float) -> Reply | None:
        """Why this message is not taken, now or ever."""
        if block.oversized:
            return _HEADER_TOO_BIG
        if too_many_hops(block, self._max_hops):
            return _LOOP
        at = submission.deliver_at
        if at is not None and at > now + self._max_schedule_s:
            return Reply(554, "5.4", f"Scheduled too far ahead: at most {self._max_schedule_s / 86_400:g} days")
        return None

    def _reject(self, submission: Submission, block: HeaderBlock, refusal: Reply) -> None:
        """The sender's own records shall say why nothing came of it."""
        detail = {
            "reject": {"reason": "generic", "description": str(refusal)},
            "about": orjson.Fragment(_about(submission, block, "")),
            "recipient": str(submission.recipients[0]) if submission.recipients else "",
        }
        domain_id = self._domains.id_of(submission.domain)
        self._rejected.tell((self._ids.next(), int(EventType.REJECTED), domain_id, None, None, orjson.dumps(detail)))
        self.rejected += 1
        log.info("rejected", domain=submission.domain, peer=submission.peer, reply=refusal)

    def _message(
        self,
        submission: Submission,
        block: HeaderBlock,
        number: int,
        now: float,
        deliver_at: float | None,
        report: bool,
    ) -> StoredMessage:
        name = queue_id(number)
        trace = received(submission, self._hostname, name)
        made_id = f"{name}@{submission.domain or self._hostname}"
        prefix, content = complete(submission.content, block, made_id, now, self._hostname)
        ending = b"" if content.endswith(b"\r\n") else b"\r\n"  # BDAT may leave it out; a line of DATA cannot
        whole = b"".join((trace, prefix, content, ending))
        reverse = submission.reverse_path
        foreign = reverse is not None and not self._domains.is_ours(reverse.domain)
        flags = (
            (Flag.SMTPUTF8 if submission.smtputf8 else 0)
            | (0 if content.isascii() else Flag.EIGHT_BIT)
            | (Flag.REQUIRE_TLS if submission.require_tls else 0)
            | (Flag.AUTHENTICATED if submission.login else 0)
            | (Flag.FOREIGN_REVERSE_PATH if foreign else 0)
            | (Flag.REPORT if report else 0)
        )
        return StoredMessage(
            id=number,
            domain_id=self._domains.id_of(submission.domain),
            reverse_path=str(reverse) if reverse is not None else "",
            size=len(whole),
            recipients=len(submission.recipients),
            flags=int(flags),
            deliver_at=deliver_at,
            segment=None,
            position=None,
            about=_about(submission, block, made_id),
            content=whole,
        )

    def _split(
        self, submission: Submission, message: StoredMessage, now: float
    ) -> tuple[list[RecipientRow], list[StoredRecipient], list[tuple[int, float]]]:
        """One row per recipient; which of them we start on at once, and which sites must be looked at for the rest."""
        desk, number, domain_id = self._desk, message.id, message.domain_id
        due_at = message.deliver_at or now
        expire_at = due_at + self._give_up_after_s
        notify, orcpt = submission.notify, submission.orcpt
        rows: list[RecipientRow] = []
        taken: list[StoredRecipient] = []
        sooner: dict[int, float] = {}
        for place, address in enumerate(submission.recipients):
            site = desk.place(address.domain)
            text, own = str(address), number + 1 + place
            asked, original = notify.get(place), orcpt.get(place)
            if message.deliver_at is None and desk.admit(site, domain_id, message.size if not taken else 0):
                # The lease is the durable record of attempt 1: it is written before the attempt begins.
                rows.append(
                    (own, number, domain_id, site, text, int(State.LEASED), 1, None, expire_at, asked, original, None)
                )
                taken.append(
                    StoredRecipient(own, number, domain_id, site, text, 1, 0, expire_at, None, asked, original)
                )
            else:
                rows.append(
                    (
                        own,
                        number,
                        domain_id,
                        site,
                        text,
                        int(State.WAITING),
                        0,
                        due_at,
                        expire_at,
                        asked,
                        original,
                        None,
                    )
                )
                look = desk.backlog(site, domain_id, due_at)
                if look is not None:
                    sooner[look[0]] = min(look[1], sooner.get(look[0], look[1]))
        return rows, taken, list(sooner.items())


def _about(submission: Submission, block: HeaderBlock, made_id: str) -> bytes:
    """What events, DSNs and `mtad message show` tell of the message, besides its columns."""
    about: dict[str, Any] = {
        "message-id": block.message_id or made_id,
        "from": block.text(b"from"),
        "to": block.text(b"to"),
        "subject": block.text(b"subject"),
        "method": submission.method,
    }
    for key, value in (
        ("login", submission.login),
        ("peer", submission.peer),
        ("helo", submission.helo),
        ("protocol", submission.protocol),
        ("envid", submission.envid),
        ("ret", submission.ret),
    ):
        if value:
            about[key] = value
    if submission.deliver_at is not None:
        about["scheduled-for"] = submission.deliver_at
    return orjson.dumps(about)
