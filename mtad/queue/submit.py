"""Submit: the only way in. Check, split by recipient, commit, and only then 250.

Room: queue. May import: mail, message, storage. Source: RFC 5321 §4.4 (trace), §6.1 (our duty after 250), §6.3 (loops).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.feedback.record import Posts, counts_of, labels_of, providers_of
from mtad.mail.address import Address, ListPost, Url
from mtad.mail.envelope import AttachedFile, Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, event_id, queue_id
from mtad.mail.metric import Metric
from mtad.mail.options import Options
from mtad.mail.reply import Refused, Reply
from mtad.message.files import MAX_FILES, files_of
from mtad.message.headers import HeaderBlock, scan
from mtad.message.heading import variables_field
from mtad.message.own import sender_field
from mtad.message.template import may_need
from mtad.message.trace import complete, received, too_many_hops
from mtad.queue.prepare import Copy, End, Prepared, copies, prepare
from mtad.storage.database import Lane
from mtad.storage.expansions import Step
from mtad.storage.outgoing import Accept, Flag, RecipientRow, State, StoredMessage, StoredRecipient
from mtad.storage.record import EventRow, Records
from mtad.storage.sites import UNRESOLVED

log = log_module.get("queue")

_STORE_FAILED = Reply(451, "3.0", "The message could not be stored; try again later")
_HEADER_TOO_BIG = Reply(552, "3.4", "The header of the message is too long; make its fields fewer or shorter")
_LEASED, _WAITING = int(State.LEASED), int(State.WAITING)
_TEST_DETAIL = orjson.dumps(
    {
        "delivery-status": {
            "code": 650,
            "message": "",
            "description": "Test mode: the message was accepted, and not sent",
            "attempt-no": 0,
        }
    }
)
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


class Lists(Protocol):
    """The mailing lists of ours."""

    def target(self, address: Address) -> ListPost | None:
        """None: it is no list."""

    def refusal(self, address: Address, block: HeaderBlock) -> Reply | None:
        """Why one of our own users may not post this to it."""


class Campaigns(Protocol):
    def known(self, domain_id: int, options: Options) -> Options:
        """With the campaigns that the domain has; others are left out."""


class Domains(Protocol):
    def id_of(self, name: str) -> int:
        """0 when it is none of ours (any more)."""

    def is_ours(self, name: str) -> bool: ...
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
        self._posts, self._web_give_up_after_s = posts, web_give_up_after_s or give_up_after_s
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
        flags = Flag.ROUTED | (Flag.VERP if submission.reverse_path is not None else 0)
        flags |= 0 if submission.content.isascii() else Flag.EIGHT_BIT
        flags |= Flag.SMTPUTF8 if submission.smtputf8 else 0
        prepared = Prepared(submission.content, block)
        message = self._message(submission, prepared, number, now, None, flags)
        message.recipients = len(copies)
        needed = kept or any(copy.end is None for copy in copies)
        return self._store(submission, _Whole(message, copies, None, None, needed), now)

    def expanded(
        self, message: StoredMessage, copies: list[Copy], options: Options, step: Step
    ) -> "asyncio.Future[int]":
        """Copies for members of a mailing list, and in the same commit how far that list has come. message: as all of
        them get it, without its id and number of recipients.
        """
        now = self._clock.now()
        message.id, message.recipients = self._ids.take(1 + len(copies)), len(copies)
        keeps = self._posts is not None and self._posts.wants_header(message.domain_id)
        whole = _Whole(message, copies, options, _header(message) if keeps else None, step=step)
        return self._store(Submission(None, [], b"", "", now), whole, now)

    def _store(self, submission: Submission, whole: "_Whole", now: float) -> "asyncio.Future[int]":
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
                self._records(whole, [row[0] for row in rows], now),
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

    def _whole(self, submission: Submission, block: HeaderBlock, now: float, report: bool) -> "_Whole":
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
        at = submission.deliver_at
        if options is not None and options.deliver_at is not None:
            at = options.deliver_at
        if at is not None and at > now + self._max_schedule_s:
            raise Refused(Reply(554, "5.4", f"Scheduled too far ahead: at most {self._max_schedule_s / 86_400:g} days"))
        flags = self._flags(submission, prepared, report)
        people = copies(submission, prepared.block, options, bool(flags & Flag.COMPOSE))
        if self._lists is not None and not report:
            people = [self._listed(self._lists, copy, prepared.block) for copy in people]
        number = self._ids.take(1 + len(people))
        message = self._message(submission, prepared, number, now, at if at is not None and at > now else None, flags)
        message.recipients = len(people)
        for fault in prepared.faults:
            log.info("control-ignored", msg=queue_id(number), field=fault.field, why=fault.why)
        keeps = self._posts is not None and self._posts.wants_header(message.domain_id)
        needed = not flags & Flag.TEST_MODE
        header = _header(message) if keeps else None
        return _Whole(message, people, options, header, needed)

    @staticmethod
    def _listed(lists: Lists, copy: Copy, block: HeaderBlock) -> Copy:
        """What is for a mailing list waits as a post to it. Raises Refused."""
        target = lists.target(copy.address) if isinstance(copy.address, Address) else None
        if target is None:
            return copy
        assert isinstance(copy.address, Address)
        why = lists.refusal(copy.address, block)
        if why is not None:
            raise Refused(why)
        return replace(copy, address=target, personal=None)

    def _flags(self, submission: Submission, prepared: Prepared, report: bool) -> int:
        options, reverse = prepared.options, submission.reverse_path
        own = not report and self._domains.is_ours(submission.domain)
        flags = 0
        for flag, wanted in (
            (Flag.SMTPUTF8, submission.smtputf8),
            (Flag.EIGHT_BIT, not prepared.content.isascii()),
            (Flag.REQUIRE_TLS, submission.require_tls or (options is not None and options.require_tls)),
            (Flag.SKIP_VERIFICATION, options is not None and options.skip_verification),
            (Flag.AUTHENTICATED, submission.login),
            (Flag.FOREIGN_REVERSE_PATH, reverse is not None and not self._domains.is_ours(reverse.domain)),
            (Flag.REPORT, report),
            (Flag.VERP, own and reverse is not None),
            (Flag.TRACK, own),
            (Flag.TEST_MODE, options is not None and options.test_mode),
        ):
            if wanted:
                flags |= flag
        if own and ((options is not None and options.batch) or may_need(prepared.content, prepared.block)):
            flags |= Flag.COMPOSE
        return flags

    def _records(self, whole: "_Whole", recipients: list[int], now: float) -> Records:
        """The events of the message's acceptance, and all that goes with them."""
        message, options = whole.message, whole.options
        domain_id, number = message.domain_id, message.id
        accepted = int(EventType.ACCEPTED)
        records = Records(
            [
                (self._ids.next(), accepted, domain_id, number, one, copy.told)
                for one, copy in zip(recipients, whole.copies, strict=True)
            ]
        )
        if message.flags & Flag.REPORT:
            return records
        labels, told = labels_of(options), [row[0] for row in records.events]
        metric = Metric.ACCEPTED_INCOMING
        if not message.flags & Flag.ROUTED:  # a list's members are counted and told of, each for himself
            metric = Metric.ACCEPTED_OUTGOING
            told = [event for event, copy in zip(told, whole.copies, strict=True) if not _is_post(copy)]
        records.counts = counts_of(domain_id, labels, metric, now, len(told)) if told else []
        if options is not None and options.tags:
            records.tags = [(domain_id, tag, now) for tag in options.tags]
            if metric is Metric.ACCEPTED_OUTGOING:
                domains = [copy.address.domain for copy in whole.copies if not _is_post(copy)]
                records.aggregates = providers_of(domain_id, labels, metric, now, domains)
        if options is not None and options.campaign_keys:
            records.campaigned = [(event, 1) for event in told]
        if self._posts is not None:
            records.posts = self._posts.rows(EventType.ACCEPTED, domain_id, told, now)
        if message.flags & Flag.TEST_MODE:
            self._pretend(records, whole, recipients, now)
        for own, copy in zip(recipients, whole.copies, strict=True):
            if copy.end is not None:
                self._end(records, message, own, copy.end, now)
        return records

    def _end(self, records: Records, message: StoredMessage, own: int, end: End, now: float) -> None:
        """This copy is done as soon as it is taken: stored by a route, or consumed."""
        domain_id, number, event = message.domain_id, message.id, self._ids.next()
        records.events.append((event, int(end.kind), domain_id, number, own, end.detail))
        records.counts += counts_of(domain_id, (), end.metric, now)
        if self._posts is not None:
            records.posts += self._posts.rows(end.kind, domain_id, [event], now)
        if end.key:
            people = orjson.dumps(list(end.recipients)).decode()
            sender = message.reverse_path
            records.stored.append((self._ids.next(), end.key, domain_id, number, people, sender, now))

    def _pretend(self, records: Records, whole: "_Whole", recipients: list[int], now: float) -> None:
        """Test mode: told as delivered, with a code that nobody else uses."""
        number, domain_id = whole.message.id, whole.message.domain_id
        events: list[EventRow] = [
            (self._ids.next(), int(EventType.DELIVERED), domain_id, number, one, _TEST_DETAIL) for one in recipients
        ]
        records.events += events
        if self._posts is not None:
            records.posts += self._posts.rows(EventType.DELIVERED, domain_id, [row[0] for row in events], now)

    def reject(self, submission: Submission, block: HeaderBlock, refusal: Reply, domain: str = "") -> None:
        """The records of the domain that sends, or that it came to, shall say why nothing came of it."""
        detail = {
            "reject": {"reason": "generic", "description": str(refusal)},
            "about": orjson.Fragment(_about(submission, block, "", None)),
            "recipient": str(submission.recipients[0]) if submission.recipients else "",
        }
        domain_id = self._domains.id_of(domain or submission.domain)
        self._rejected.tell((self._ids.next(), int(EventType.REJECTED), domain_id, None, None, orjson.dumps(detail)))
        self.rejected += 1
        log.info("rejected", domain=domain or submission.domain, peer=submission.peer, reply=refusal)

    def _message(
        self,
        submission: Submission,
        prepared: Prepared,
        number: int,
        now: float,
        deliver_at: float | None,
        flags: int,
    ) -> StoredMessage:
        name, options = queue_id(number), prepared.options
        trace = received(submission, self._hostname, name)
        made_id = f"{name}@{submission.domain or self._hostname}"
        prefix, content, own = b"", prepared.content, b""
        if not flags & Flag.ROUTED:  # what is sent on for others is not completed
            prefix, content = complete(prepared.content, prepared.block, made_id, now, self._hostname, prepared.hidden)
            own = b"" if flags & Flag.REPORT else self._own_fields(submission, prepared, number)
        ending = b"" if content.endswith(b"\r\n") else b"\r\n"  # BDAT may leave it out; a line of DATA cannot
        whole = b"".join((trace, own, prefix, content, ending))
        reverse = submission.reverse_path
        submission.number, submission.message_id = number, prepared.block.message_id or made_id
        return StoredMessage(
            id=number,
            domain_id=self._domains.id_of(submission.domain),
            reverse_path=str(reverse) if reverse is not None else "",
            size=len(whole),
            recipients=len(submission.recipients),
            flags=flags,
            deliver_at=deliver_at,
            segment=None,
            position=None,
            about=_about(
                submission,
                prepared.block,
                made_id,
                deliver_at,
                bool(flags & Flag.ROUTED),
                _files(submission, prepared, flags),
            ),
            options=(options.to_json() or None) if options is not None else None,
            content=whole,
        )

    def _own_fields(self, submission: Submission, prepared: Prepared, number: int) -> bytes:
        """What recipients see of us beside the trace."""
        fields = [b"X-Mailgun-Sid: %b\r\n" % event_id(number).encode()]
        domain = submission.domain
        if self._domains.is_ours(domain):
            fields.append(sender_field(prepared.block, domain))
        options = prepared.options
        if options is not None and options.variables and not options.batch:
            fields.append(variables_field(options.variables))
        return b"".join(fields)

    def _split(
        self, submission: Submission, whole: "_Whole", now: float
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


@dataclass(frozen=True, slots=True)
class _Whole:
    """A message to store. header: kept for webhooks that tell it, else None. needed: so are its bytes. step: of the
    mailing list whose copies it has.
    """

    message: StoredMessage
    copies: list[Copy]
    options: Options | None
    header: bytes | None
    needed: bool = True
    step: Step | None = None


def _is_post(copy: Copy) -> bool:
    return isinstance(copy.address, ListPost)


def _done(message: StoredMessage, own: int, copy: Copy) -> RecipientRow:
    """A recipient that is done as soon as taken."""
    done = (int(State.DELIVERED), 0, None, None, None, copy.orcpt, copy.personal)
    return (own, message.id, message.domain_id, UNRESOLVED, str(copy.address), *done)


def _header(message: StoredMessage) -> bytes:
    """The header block with the fields of ours, as recipients see it but for what differs between them."""
    block = scan(message.content or b"")
    return block.content[: block.end]


def _files(submission: Submission, prepared: Prepared, flags: int) -> Sequence[AttachedFile]:
    """What is passed on as it came is not taken to pieces, so nothing is known of its parts."""
    if submission.files is not None:
        return submission.files
    return files_of(prepared.block) if flags & (Flag.COMPOSE | Flag.ROUTED) else ()


def _about(
    submission: Submission,
    block: HeaderBlock,
    made_id: str,
    deliver_at: float | None,
    routed: bool = False,
    files: Sequence[AttachedFile] = (),
) -> bytes:
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
    if deliver_at is not None:
        about["scheduled-for"] = deliver_at
    if routed:
        about["is-routed"] = True
    if files:
        about["attachments"] = [
            {"filename": one.name, "content-type": one.type, "size": one.size} for one in files[:MAX_FILES]
        ]
    return orjson.dumps(about)
