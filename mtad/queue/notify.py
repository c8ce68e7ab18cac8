"""Notify: the sender of relayed mail is told of its failure by a DSN, when its own server relies on that, and on
request that it was passed on to a server that will not tell.

Room: queue. May import: mail, message, storage, feedback. Source: RFC 3461 §5, RFC 3464, RFC 5321 §4.5.5 and §6.1.
"""

import asyncio
from collections.abc import Callable

import orjson

from mtad import log as log_module
from mtad.clock import Clock
from mtad.config import BounceConfig
from mtad.feedback.reports import Action, RecipientReport, Report, dsn, may_report
from mtad.mail.address import BadAddress, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.ids import IdSource, made_at, queue_id
from mtad.mail.reply import Hop, Refused, Reply
from mtad.message.headers import scan
from mtad.queue.submit import Submit
from mtad.queue.work import Held
from mtad.storage.database import Database
from mtad.storage.outgoing import Flag, Outgoing, StoredMessage, StoredRecipient
from mtad.storage.record import EventRow

log = log_module.get("queue")


class Notifier:
    """failed() is called for each recipient given up, relayed() where a host without DSN took the message. The report
    goes into the queue at once when the message's bytes are in memory, so that it is committed with the outcome; else
    as soon as they are read. told: takes the event of each report sent.
    """

    def __init__(
        self,
        *,
        submit: Submit,
        database: Database,
        outgoing: Outgoing,
        ids: IdSource,
        clock: Clock,
        config: BounceConfig,
        hostname: str,
        max_hops: int,
        wants: Callable[[int], bool],
        name_of: Callable[[int], str],
        told: Callable[[EventRow], None],
    ) -> None:
        self._submit, self._database, self._outgoing, self._ids = submit, database, outgoing, ids
        self._clock, self._config, self._hostname, self._max_hops = clock, config, hostname, max_hops
        self._wants, self._name_of, self._told = wants, name_of, told
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent = 0

    def failed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        self._tell(held, recipient, reply, hop, Action.FAILED)

    def relayed(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None) -> None:
        """Told of all; who did not say NOTIFY=SUCCESS gets nothing."""
        self._tell(held, recipient, reply, hop, Action.RELAYED)

    def _tell(self, held: Held, recipient: StoredRecipient, reply: Reply, hop: Hop | None, action: Action) -> None:
        message = held.message
        relayed = message.flags & Flag.FOREIGN_REVERSE_PATH and not message.flags & Flag.REPORT
        if not self._config.dsn or not relayed or not self._wants(message.domain_id):
            return
        if message.content is not None:
            self._report(message, message.content, recipient, reply, hop, action)
            return
        task = asyncio.get_running_loop().create_task(self._read_and_report(message, recipient, reply, hop, action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for reports being made."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _read_and_report(
        self, message: StoredMessage, recipient: StoredRecipient, reply: Reply, hop: Hop | None, action: Action
    ) -> None:
        content = await self._database.read(lambda connection: self._outgoing.content(connection, message))
        self._report(message, content or b"", recipient, reply, hop, action)

    def _report(
        self,
        message: StoredMessage,
        content: bytes,
        recipient: StoredRecipient,
        reply: Reply,
        hop: Hop | None,
        action: Action,
    ) -> None:
        try:
            sender, address = parse_address(message.reverse_path), parse_address(recipient.address)
        except BadAddress:
            return  # nobody to tell
        if not may_report(sender, scan(content), recipient.notify or "", self._max_hops, action):
            return
        about = orjson.loads(message.about)
        report = Report(
            hostname=self._hostname,
            report_id=queue_id(self._ids.next()),
            to=sender,
            recipients=(
                RecipientReport(
                    address,
                    action,
                    reply,
                    self._clock.now(),
                    hop.host if hop else "",
                    recipient.orcpt or "",
                ),
            ),
            original=content,
            arrival_at=made_at(message.id),
            now=self._clock.now(),
            envid=about.get("envid", ""),
            ret=about.get("ret", ""),
            smtputf8=bool(message.flags & Flag.SMTPUTF8),
            max_return_octets=self._config.max_return_octets,
        )
        submission = Submission(
            reverse_path=None,
            recipients=[sender],
            content=dsn(report),
            domain=self._name_of(message.domain_id),
            received_at=report.now,
            method="report",
            protocol="ESMTP",
            smtputf8=report.in_utf8,
        )
        try:
            self._submit(submission, report=True)
        except Refused as refused:
            log.error("report-refused", msg=queue_id(message.id), rcpt=str(sender), reply=refused.reply)
            return
        self.sent += 1
        kind = int(EventType.NOTIFIED)
        self._told((self._ids.next(), kind, recipient.domain_id, message.id, recipient.id, None))
        log.info("sender-notified", msg=queue_id(message.id), rcpt=str(sender))
