"""Stamp: what we put on a message that is taken: its flags, the fields of ours, and what events tell of it.

Room: queue. May import: mail, message, storage. Source: RFC 5321 §4.4 (trace).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from mtad.mail.envelope import AttachedFile, Submission
from mtad.mail.ids import event_id, queue_id
from mtad.message.files import MAX_FILES, files_of
from mtad.message.headers import HeaderBlock, scan
from mtad.message.heading import variables_field
from mtad.message.own import sender_field
from mtad.message.template import may_need
from mtad.message.trace import complete, received
from mtad.queue.prepare import Prepared
from mtad.storage.outgoing import Flag, StoredMessage


class Ours(Protocol):
    """The domains of ours."""

    def id_of(self, name: str) -> int:
        """0 when it is none of ours (any more)."""

    def is_ours(self, name: str) -> bool: ...


class Stamp:
    def __init__(self, domains: Ours, hostname: str) -> None:
        self._domains, self._hostname = domains, hostname

    def flags(self, submission: Submission, prepared: Prepared, report: bool) -> int:
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

    @staticmethod
    def routed_flags(submission: Submission) -> int:
        """Of mail from the world that is sent on."""
        flags = Flag.ROUTED | (Flag.VERP if submission.reverse_path is not None else 0)
        flags |= 0 if submission.content.isascii() else Flag.EIGHT_BIT
        return flags | (Flag.SMTPUTF8 if submission.smtputf8 else 0)

    def message(
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
            about=about_json(
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


def header_of(message: StoredMessage) -> bytes:
    """The header block with the fields of ours, as recipients see it but for what differs between them."""
    block = scan(message.content or b"")
    return block.content[: block.end]


def _files(submission: Submission, prepared: Prepared, flags: int) -> Sequence[AttachedFile]:
    """What is passed on as it came is not taken to pieces, so nothing is known of its parts."""
    if submission.files is not None:
        return submission.files
    return files_of(prepared.block) if flags & (Flag.COMPOSE | Flag.ROUTED) else ()


def about_json(
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
