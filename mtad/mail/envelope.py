"""Envelopes: a message on its way, as the SMTP side sees it.

Room: mail. Pure. Source: RFC 5321 §2.3.1 (envelope and content), RFC 3461 (DSN parameters).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mtad.mail.address import Address
from mtad.mail.options import Options


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """What is told of a file in a message. type: "text/csv". size: octets, transfer encoding undone."""

    name: str
    type: str
    size: int


@dataclass(slots=True)
class Submission:
    """What a door hands to queue.submit: one message for one or more recipients, not yet ours.

    reverse_path: None is the null path "<>" (RFC 5321 §4.5.5). content: header block and body with CRLF line
    ends, dot-stuffing undone, no trace field of ours yet. domain: the domain of ours that sends it. bound: whoever
    gave it to us may send for that domain alone.
    notify, orcpt: RFC 3461 parameters per recipient index; ret "FULL" or "HDRS"; envid as given.
    deliver_at: epoch seconds, None for now. options: what was asked for beside the message. controls: control fields in
    the content count; False for a message that a stranger wrote. peer: address literal of the client, "" unknown.
    files: what is attached, None: nobody has looked.
    number, message_id: set by queue.submit when it takes the message, before it is on disk: its id, and its Message-ID
    without brackets.
    """

    reverse_path: Address | None
    recipients: list[Address]
    content: bytes
    domain: str
    received_at: float
    method: str = "smtp"
    login: str = ""
    peer: str = ""
    helo: str = ""
    protocol: str = "ESMTP"  # the "with" of Received: ESMTP, ESMTPS, ESMTPA, ESMTPSA (RFC 3848)
    smtputf8: bool = False
    eight_bit: bool = False
    require_tls: bool = False
    deliver_at: float | None = None
    ret: str = ""
    envid: str = ""
    notify: dict[int, str] = field(default_factory=dict)
    orcpt: dict[int, str] = field(default_factory=dict)
    options: Options | None = None
    controls: bool = True
    files: tuple[AttachedFile, ...] | None = None
    bound: bool = False
    number: int = 0
    message_id: str = ""


@dataclass(slots=True)
class Transaction:
    """One SMTP mail transaction: what delivery puts on the wire.

    reverse_path: "" is the null path. chunks: the message as sent, CRLF line ends, not dot-stuffed; joined they
    end with CRLF. size: their octets together (RFC 1870). read: gives them in place of chunks to those who post, None
    when they are gone. timeouts are the connection's. notify, orcpt: RFC 3461
    parameters of each recipient as they came, "" where there was none; () when no recipient has any. personal, ids:
    what is stored with each recipient, and his number, for those who deliver by other means than SMTP.
    """

    reverse_path: str
    recipients: tuple[str, ...]
    chunks: tuple[bytes, ...]
    size: int
    smtputf8: bool = False
    eight_bit: bool = False
    envid: str = ""
    ret: str = ""
    require_tls: bool = False
    read: Callable[[], Awaitable[bytes | None]] | None = None
    notify: tuple[str, ...] = ()
    orcpt: tuple[str, ...] = ()
    personal: tuple[bytes | None, ...] = ()
    ids: tuple[int, ...] = ()
