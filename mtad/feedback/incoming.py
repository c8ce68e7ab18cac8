"""Incoming: what a message that came back says: a bounce, a complaint, a delay, an automatic answer, or nothing of it.

Room: feedback. Pure. Made by feedback.reading.
"""

from dataclasses import dataclass
from enum import StrEnum

from mtad.mail.address import Address
from mtad.mail.reply import Phase, Reply


class Action(StrEnum):
    """RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What a report says of one recipient.

    address: whom we wrote to as far as the report knows, None when it names nobody. final: where the message ended
    up, which is another one where mail is forwarded. status: the field as "5.1.1", "" for none. diagnostic: the words
    of the field or of the text. remote_mta: host name, "" unknown. reply and phase: for Classifier.verdict, with
    remote_mta as the host; the code is one from 400 to 599 when the action is failed or delayed.
    """

    address: Address | None
    final: Address | None
    action: Action
    status: str
    diagnostic: str
    remote_mta: str
    reply: Reply
    phase: Phase


@dataclass(frozen=True, slots=True)
class ReturnedPart:
    """One file of a report. name: never empty, no folders. content: as it came, its transfer encoding undone."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    """What came with a report. text: its words for people, bounded.

    original_header: the header block of the message it is about, CRLF line ends, b"" when it did not come along.
    original_message_id: without angle brackets, "" unknown.
    """

    text: str = ""
    parts: tuple[ReturnedPart, ...] = ()
    original_header: bytes = b""
    original_message_id: str = ""


@dataclass(frozen=True, slots=True)
class Bounce:
    """Delivery failed for at least one recipient; the others may have another action."""

    recipients: tuple[RecipientStatus, ...]
    returned: Returned

    @property
    def failed(self) -> tuple[RecipientStatus, ...]:
        return tuple(one for one in self.recipients if one.action is Action.FAILED)


@dataclass(frozen=True, slots=True)
class Delayed:
    """Not delivered yet, and they go on trying: no bounce. recipients may be empty."""

    recipients: tuple[RecipientStatus, ...]
    returned: Returned


@dataclass(frozen=True, slots=True)
class Relayed:
    """Delivered, or handed on to where no report comes from."""

    recipients: tuple[RecipientStatus, ...]
    returned: Returned


@dataclass(frozen=True, slots=True)
class Complaint:
    """A recipient says that a message is unwanted (RFC 5965).

    feedback_type: "abuse", "fraud", "opt-out" or "other". original_mail_from: as its envelope had it, else the
    Return-Path of the message that came along; None for neither. Providers take out whom it went to, so a message is
    best found by what it carries of ours: original_mail_from or returned.original_header. source_ip: "" unknown.
    arrived_at: epoch seconds.
    """

    feedback_type: str
    original_rcpt_to: tuple[Address, ...]
    original_mail_from: Address | None
    source_ip: str
    user_agent: str
    arrived_at: float | None
    returned: Returned

    @property
    def message_id(self) -> str:
        return self.returned.original_message_id


@dataclass(frozen=True, slots=True)
class AutoReply:
    """An answer of a program: on holiday, read receipt. mark: what shows it, as "auto-submitted: auto-replied"."""

    mark: str


@dataclass(frozen=True, slots=True)
class NoReport:
    """None of these, as far as can be told."""


Incoming = Bounce | Complaint | Delayed | Relayed | AutoReply | NoReport
