"""Receive: mail from the world for an address of ours: whose it is, and what is done before it is answered 250.

Room: inbound. May import: mail, message, storage, feedback, queue. Addresses with a token of ours take reports about
what we sent (RFC 3464, RFC 5965) and wishes to leave; a token that is not ours is an unknown mailbox.
"""

import asyncio
import ipaddress
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.feedback.classify import Cause, Classifier, Kind, Verdict
from mtad.feedback.incoming import (
    AutoReply,
    Bounce,
    Complaint,
    Delayed,
    Incoming,
    NoReport,
    RecipientStatus,
    Relayed,
    Returned,
)
from mtad.feedback.reading import read_incoming
from mtad.feedback.record import Posts, counts_of, labels_of
from mtad.mail.address import Address, key_of
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, queue_id
from mtad.mail.metric import Metric
from mtad.mail.options import options_from_json
from mtad.mail.reply import Hop, Refused, Reply
from mtad.mail.token import Mark, Purpose, Tokens
from mtad.queue.work import Held
from mtad.storage import reported
from mtad.storage.database import Database
from mtad.storage.outgoing import StoredRecipient
from mtad.storage.record import Records
from mtad.storage.reported import Known

log = log_module.get("inbound")

ALL = "*"  # the tag that stands for all mail of a domain
_NO_REPORT = Reply(550, "6.0", "This address takes delivery reports, and this is none that can be read; nobody sees it")
_TOO_MANY = Reply(452, "4.5", "Too much mail comes in at one time; try again later")
_STORE_FAILED = Reply(451, "3.0", "The report could not be stored; try again later")
_MAX_WORDS = 1000


class Taking(Protocol):
    """Mail that is no report (inbound.take)."""

    def takes(self, address: Address) -> bool: ...
    def routes_take(self, address: Address) -> bool:
        """Not only a mailing list."""

    async def __call__(self, submission: Submission) -> int: ...


@dataclass(slots=True)
class Tally:
    """Since the start, for /metrics."""

    bounces: int = 0
    complaints: int = 0
    unsubscribes: int = 0
    ignored: int = 0


@dataclass(slots=True)
class Receive:
    """Call it with mail of somebody who has not logged in; the future gives an id once all is on disk.

    classifier: the rules in force. failed: told of each late bounce: the sender of relayed mail may want a DSN.
    suppressed: told of each (domain id, address in the form for comparing) that is not written to any more. take: what
    the routes want, None: there are none. at_once, at_once_each: messages, in all and of one peer (of IPv6: one /64,
    which is one site): who makes us wait for his DNS does not keep the others out.
    """

    tokens: Tokens
    database: Database
    ids: IdSource
    clock: Clock
    posts: Posts
    classifier: Callable[[], Classifier]
    is_ours: Callable[[str], bool]
    name_of: Callable[[int], str]
    failed: Callable[[Held, StoredRecipient, Reply, Hop | None], None]
    suppressed: Callable[[int, str], None]
    take: Taking | None = None
    at_once: int = 200
    at_once_each: int = 50
    tally: Tally = field(default_factory=Tally)
    _tasks: set["asyncio.Task[int]"] = field(default_factory=set)
    _peers: Counter[str] = field(default_factory=Counter)

    def takes(self, address: Address) -> bool:
        """There is somebody, or something, behind this address of ours."""
        return self._mark(address) is not None or (self.take is not None and self.take.takes(address))

    def wants(self, address: Address) -> bool:
        """What our own users send there comes here too: lists, which they write to by the queue, left out."""
        return self._mark(address) is not None or (self.take is not None and self.take.routes_take(address))

    def _mark(self, address: Address) -> Mark | None:
        return self.tokens.read_local_part(address.local) if self.is_ours(address.domain) else None

    def __call__(self, submission: Submission) -> "asyncio.Future[int]":
        peer = _site(submission.peer)
        if len(self._tasks) >= self.at_once or self._peers[peer] >= self.at_once_each:
            raise Refused(_TOO_MANY)
        task = asyncio.get_running_loop().create_task(self._receive(submission), name="receive")
        self._tasks.add(task)
        self._peers[peer] += 1
        task.add_done_callback(lambda done: self._left(done, peer))
        return task

    def _left(self, task: "asyncio.Task[int]", peer: str) -> None:
        self._tasks.discard(task)
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]

    async def finish(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _receive(self, submission: Submission) -> int:
        number = self.ids.next()
        incoming: Incoming | None = None
        try:
            routed = [address for address in submission.recipients if self._mark(address) is None]
            for address in submission.recipients:
                mark = self._mark(address)
                if mark is None:
                    continue
                if mark.purpose is Purpose.LEAVE:
                    await self._leave(mark, submission, number)
                    continue
                if incoming is None:
                    null_path = submission.reverse_path is None
                    incoming = await asyncio.to_thread(read_incoming, submission.content, self.classifier(), null_path)
                await self._report(mark, incoming, submission, number)
            if routed and self.take is not None:
                return await self.take(replace(submission, recipients=routed))
        except sqlite3.Error as error:
            log.error("report-not-stored", msg=queue_id(number), cause=error)
            raise Refused(_STORE_FAILED) from None
        return number

    async def _report(self, mark: Mark, incoming: Incoming, submission: Submission, number: int) -> None:
        known = await self.database.read(lambda connection: reported.find(connection, mark.recipient_id))
        if known is None:
            self.tally.ignored += 1
            log.info("report-too-late", msg=queue_id(number), peer=submission.peer, about=mark.recipient_id)
            return
        about = {"msg": queue_id(number), "about": queue_id(known.message.id), "rcpt": known.recipient.address}
        match incoming:
            case Bounce():
                await self._bounced(known, incoming, about)
            case Complaint():
                await self._complained(known, incoming, about)
            case Delayed() | Relayed() | AutoReply():
                self.tally.ignored += 1
                log.info("report-noted", kind=type(incoming).__name__.lower(), **about)
            case NoReport():
                self.tally.ignored += 1
                log.info("no-report", peer=submission.peer, **about)
                if submission.reverse_path is not None:
                    raise Refused(_NO_REPORT)

    async def _bounced(self, known: Known, bounce: Bounce, about: dict[str, str]) -> None:
        recipient = known.recipient
        status = _about(recipient, bounce.failed)
        if status is None:
            log.info("report-of-others", **about)
            return
        verdict = self.classifier().verdict(status.reply, status.phase, status.remote_mta)
        now, key = self.clock.now(), key_of(recipient.address)
        records = self._records(
            EventType.FAILED_LATE, Metric.FAILED_DELAYED, known, _late(status, verdict), bounce.returned
        )
        if verdict.suppresses and recipient.domain_id:
            code = status.status or str(status.reply.code)
            records.bounces.append((recipient.domain_id, key, code, str(status.reply)[:_MAX_WORDS], verdict.rule, now))
            self.suppressed(recipient.domain_id, key)
        if not await self._store(EventType.FAILED_LATE, recipient.id, records):
            return
        self.tally.bounces += 1
        log.info("bounced-late", reply=status.reply, cause=verdict.cause, host=status.remote_mta or None, **about)
        hop = Hop(status.remote_mta, "") if status.remote_mta else None
        known.message.content = known.header or bounce.returned.original_header  # of which a DSN returns the header
        self.failed(Held(known.message, 1), recipient, status.reply, hop)

    async def _complained(self, known: Known, complaint: Complaint, about: dict[str, str]) -> None:
        recipient, key = known.recipient, key_of(known.recipient.address)
        detail = {"feedback-type": complaint.feedback_type, "reporter": complaint.user_agent[:200]}
        records = self._records(EventType.COMPLAINED, Metric.COMPLAINED, known, detail, complaint.returned)
        if recipient.domain_id:
            records.complaints.append((recipient.domain_id, key, self.clock.now()))
            self.suppressed(recipient.domain_id, key)
        if await self._store(EventType.COMPLAINED, recipient.id, records):
            self.tally.complaints += 1
            log.info("complained", type=complaint.feedback_type, **about)

    async def _leave(self, mark: Mark, submission: Submission, number: int) -> None:
        known = await self.database.read(lambda connection: reported.find(connection, mark.recipient_id))
        if known is None or not known.recipient.domain_id:
            self.tally.ignored += 1
            log.info("unsubscribe-too-late", msg=queue_id(number), peer=submission.peer)
            return
        recipient, key = known.recipient, key_of(known.recipient.address)
        through = options_from_json(known.message.options).list_number if known.message.options else 0
        detail = {"tags": [] if through else [ALL], "ip": submission.peer.strip("[]"), "by": "mail"}
        records = self._records(EventType.UNSUBSCRIBED, Metric.UNSUBSCRIBED, known, detail, Returned())
        if through:
            leaving = partial(reported.leave_list, number=through, key=key, records=records)
        else:
            records.unsubscribes.append((recipient.domain_id, key, ALL, self.clock.now()))
            self.suppressed(recipient.domain_id, key)
            leaving = partial(reported.leave, records=records)
        if await self.database.writer.write(leaving):
            self.tally.unsubscribes += 1
            log.info("unsubscribed", msg=queue_id(number), about=queue_id(known.message.id), rcpt=recipient.address)

    def _records(
        self, kind: EventType, metric: Metric, known: Known, detail: dict[str, Any], returned: Returned
    ) -> Records:
        recipient, now, event = known.recipient, self.clock.now(), self.ids.next()
        options = options_from_json(known.message.options) if known.message.options else None
        domain_id = recipient.domain_id
        row = (event, int(kind), domain_id, known.message.id, recipient.id, orjson.dumps(detail))
        return Records(
            events=[row],
            counts=counts_of(domain_id, labels_of(options), metric, now),
            posts=self.posts.rows(kind, domain_id, (event,), now),
            files=[
                (event, place, part.name, part.content_type, part.content)
                for place, part in enumerate(returned.parts, 1)
            ],
            campaigned=[(event, 1)] if options is not None and options.campaign_keys else [],
        )

    async def _store(self, kind: EventType, recipient_id: int, records: Records) -> bool:
        return await self.database.writer.write(
            partial(reported.add, kind=kind, recipient_id=recipient_id, records=records)
        )


def _site(peer: str) -> str:
    """Whom a message counts for: "[192.0.2.1]", or the /64 of "[IPv6:2001:db8::1]"."""
    try:
        address = ipaddress.IPv6Address(peer.strip("[]").removeprefix("IPv6:"))
    except ValueError:
        return peer
    return str(int(address) >> 64) if address.ipv4_mapped is None else peer


def _about(recipient: StoredRecipient, failed: Sequence[RecipientStatus]) -> RecipientStatus | None:
    """What the report says of this recipient: the token names him, so a report of one alone is his, whatever address
    it gives: mail may have been forwarded.
    """
    key = key_of(recipient.address)
    for one in failed:
        if any(address is not None and address.key == key for address in (one.address, one.final)):
            return one
    return failed[0] if len(failed) == 1 else None


def _late(status: RecipientStatus, verdict: Verdict) -> dict[str, Any]:
    """The members of the event."""
    reason = "bounce" if verdict.kind is Kind.HARD else "espblock" if verdict.kind is Kind.POLICY else "generic"
    return {
        "severity": "permanent",
        "reason": reason,
        "cause": verdict.cause if verdict.cause is not Cause.UNKNOWN else "unknown",
        "delivery-status": {
            "code": status.reply.code,
            "message": (status.reply.text or status.diagnostic)[:_MAX_WORDS],
            "description": "A report came in after the message had been taken",
            "enhanced-code": status.status,
            "mx-host": status.remote_mta,
            "attempt-no": 1,
        },
    }
