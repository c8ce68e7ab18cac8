"""Trace: what we add to a message on its way through: Received, and the fields it must have and lacks.

Room: message. Pure. Source: RFC 5321 §4.4 (Received), RFC 3848 and RFC 6531 §4.3 (its "with"), RFC 5322 §3.6,
RFC 6409 §8 (what a submission server may add). Fields come out whole, with CRLF.
"""

import re
import time
from functools import lru_cache

from mtad.mail.envelope import Submission
from mtad.message.headers import CRLF, HeaderBlock

DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path"})  # not for recipients; the last MTA writes Return-Path
_MIME = (b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HELO = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253})|\[[A-Za-z0-9.:]{1,60}\]")
_NOT_HELO = re.compile(r"[^A-Za-z0-9._\[\]:-]")
_PEER = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_PROTOCOL = re.compile(r"[A-Z0-9]{1,16}")


def date(at: float) -> bytes:
    """ "Mon, 05 Jan 2026 10:00:00 +0000" for epoch seconds `at` (RFC 5322 §3.3)."""
    return _date(int(at))


@lru_cache(maxsize=8)
def _date(second: int) -> bytes:
    t = time.gmtime(second)  # not strftime: its names change with the locale
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return (
        f"{day}, {t.tm_mday:02d} {month} {t.tm_year:04d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"
    ).encode()


def received(submission: Submission, hostname: str, queue_id: str) -> bytes:
    """The Received field of the message we took. The recipient is named only when there is no other to betray."""
    lines = [f"from {_client(submission.helo, submission.peer)}"]
    lines.append(f"by {hostname} with {_protocol(submission)} id {queue_id}")
    if len(submission.recipients) == 1:
        lines.append(f"for <{submission.recipients[0]}>")
    text = "\r\n\t".join(lines)
    return b"Received: %b;\r\n\t%b\r\n" % (text.encode("utf-8", "replace"), date(submission.received_at))


def _client(helo: str, peer: str) -> str:
    """ "client.example ([192.0.2.1])": what the client calls itself, then where it really was (§4.4)."""
    name = helo if _HELO.fullmatch(helo) else _NOT_HELO.sub("_", helo[:255])
    literal = _literal(peer)
    if not name:
        return f"unknown ({literal})" if literal else "unknown"
    return f"{name} ({literal})" if literal else name


def _literal(peer: str) -> str:
    """ "192.0.2.1", "[192.0.2.1]" or "2001:db8::1" -> an address literal (§4.1.3); "" for anything else."""
    bare = peer.strip("[]").removeprefix("IPv6:").partition("%")[0]  # a scope id is of no use to others
    if not _PEER.fullmatch(bare):
        return ""
    return f"[IPv6:{bare}]" if ":" in bare else f"[{bare}]"


def _protocol(submission: Submission) -> str:
    protocol = submission.protocol
    if submission.smtputf8 and protocol.startswith("ESMTP"):
        return "UTF8SMTP" + protocol[5:]  # RFC 6531 §4.3
    return protocol if _PROTOCOL.fullmatch(protocol) else "ESMTP"


def complete(
    content: bytes,
    block: HeaderBlock,
    message_id: str,
    now: float,
    hostname: str,
    hidden: frozenset[bytes] = frozenset(),
) -> tuple[bytes, bytes]:
    """(fields that were missing, content without the fields nobody should see, and without those of `hidden`).

    message_id: for Message-ID if there is none, without angle brackets; "@hostname" is added when it has no "@".
    An empty Message-ID or Date counts as missing. Where the header block ends at a line that is no field, a blank
    line is put in, so that all who read the message agree where its body begins. Content that needs no change is
    returned as the same object.
    """
    added, dropped = [], {name for name in (*DROPPED, *hidden) if name in block}
    for name, value in _missing(block, message_id, now, hostname):
        added.append(value)
        dropped.add(name)  # the empty one
    if not block.start and not block.broken and not any(name in block for name in dropped):
        return b"".join(added), block.content
    parts = (block.without(dropped), CRLF if block.broken else b"", block.content[block.end :])
    return b"".join(added), b"".join(parts)


def _missing(block: HeaderBlock, message_id: str, now: float, hostname: str) -> list[tuple[bytes, bytes]]:
    missing = []
    if not block.message_id:
        full_id = message_id if "@" in message_id else f"{message_id}@{hostname}"
        missing.append((b"message-id", b"Message-ID: <%b>\r\n" % full_id.encode("utf-8", "replace")))
    if not block.first(b"date"):
        missing.append((b"date", b"Date: %b\r\n" % date(now)))
    if not block.first(b"mime-version") and any(name in block for name in _MIME):
        missing.append((b"mime-version", b"MIME-Version: 1.0\r\n"))
    return missing


def too_many_hops(block: HeaderBlock, limit: int) -> bool:
    """RFC 5321 §6.3: more Received fields than `limit` mean that the message goes round in circles."""
    return block.received_count > limit
