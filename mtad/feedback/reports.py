"""Reports: delivery status notifications, written for the sender of a message we could not deliver.

Room: feedback. Pure. Source: RFC 3464 (the report), RFC 3461 §6 (what it says of the DSN parameters), RFC 6522
(multipart/report), RFC 6533 (UTF-8 addresses), RFC 3834 §5 (Auto-Submitted), RFC 5321 §4.5.5 (null reverse-path).
Text of remote hosts is hostile: nothing of it can end a field or a part.
"""

import binascii
import hashlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.trace import date, too_many_hops

MARKER = b"x-mtad-report"  # a message with this field is a report of ours, or of another mtad

_MAX_DIAGNOSTIC = 800  # characters of what a host said
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LONG_WORD = re.compile(r"([^ ]{180})(?=[^ ])")  # what textwrap would not break: a no-break space parts no words
_XTEXT = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 §4
_ORCPT = re.compile(r"([A-Za-z0-9-]{1,32});(\S{1,500})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 §3
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")
_MESSAGE_ID = re.compile(r"[!-;=?-~]{3,500}")


class Action(StrEnum):
    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"  # to a host that tells nobody more of it (RFC 3461 §5.2.3)


_CASES = {Action.FAILED: "FAILURE", Action.DELAYED: "DELAY", Action.RELAYED: "SUCCESS"}  # in NOTIFY


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient.

    reply: the last one. remote: name of the host that gave it, "" when it was decided here. orcpt: the ORCPT
    parameter as it stood in RCPT, "" for none. retry_until: epoch seconds, of a delay.
    """

    address: Address
    action: Action
    reply: Reply
    last_attempt_at: float
    remote: str = ""
    orcpt: str = ""
    retry_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report about one message, for one or more of its recipients.

    to: the reverse-path of the message. report_id: unique, becomes the Message-ID. original: the content as we sent
    it. envid, ret: parameters of MAIL as they stood there. smtputf8: the message came with SMTPUTF8, so its sender
    can take a report with UTF-8 in its fields.
    """

    hostname: str
    report_id: str
    to: Address
    recipients: tuple[RecipientReport, ...]
    original: bytes
    arrival_at: float
    now: float
    envid: str = ""
    ret: str = ""
    smtputf8: bool = False
    max_return_octets: int = 65_536

    @property
    def in_utf8(self) -> bool:
        """The forms of RFC 6533 §4 to §6: whoever gets it must take SMTPUTF8."""
        return self.smtputf8 or self.to.needs_utf8

    @property
    def failed(self) -> bool:
        return any(one.action is Action.FAILED for one in self.recipients)

    @property
    def relayed(self) -> bool:
        return all(one.action is Action.RELAYED for one in self.recipients)


@dataclass(frozen=True, slots=True)
class _Part:
    type: str
    encoding: str
    content: bytes


def may_report(
    reverse_path: Address | None, block: HeaderBlock, notify: str, hop_limit: int, action: Action = Action.FAILED
) -> bool:
    """Whether a sender may be told. block: of the message. notify: the NOTIFY parameter, "" when there was none.

    Never about a message with a null reverse-path (RFC 5321 §4.5.5) or a report of ours, when NOTIFY is NEVER or
    does not name the case (RFC 3461 §4.1), or when the message goes round in circles. Success is told to nobody who
    did not ask for it.
    """
    if reverse_path is None or MARKER in block or too_many_hops(block, hop_limit):
        return False
    wanted = {word.strip() for word in notify.upper().split(",")} - {""}
    if not wanted:
        return action is not Action.RELAYED
    return "NEVER" not in wanted and _CASES[action] in wanted


def dsn(report: Report) -> bytes:
    """The content of the report, CRLF line ends. It is to be sent from the null reverse-path.

    With `report.in_utf8` it needs SMTPUTF8; otherwise 8BITMIME where it is not ASCII, which only happens when the
    message it returns is not.
    """
    block = scan(report.original)
    whole = report.failed and report.ret.upper() != "HDRS" and len(report.original) <= report.max_return_octets
    parts = (_text_part(report, block, whole), _status_part(report), _returned_part(report, block, whole))
    digest = hashlib.sha256(report.report_id.encode("utf-8", "replace"))
    for part in parts:
        digest.update(part.content)
    boundary = f"=_mtad_{digest.hexdigest()[:32]}".encode()  # no part can hold a digest of itself
    chunks = [_head(report, block, boundary, any(part.encoding == "8bit" for part in parts))]
    for part in parts:
        head = f"Content-Type: {part.type}\r\nContent-Transfer-Encoding: {part.encoding}\r\n\r\n"
        chunks += [b"--", boundary, CRLF, head.encode(), part.content, CRLF]
    return b"".join([*chunks, b"--", boundary, b"--\r\n"])


def _head(report: Report, block: HeaderBlock, boundary: bytes, eight_bit: bool) -> bytes:
    if report.failed:
        subject = "Your message could not be delivered"
    else:
        subject = "Your message was passed on" if report.relayed else "Your message is delayed"
    lines = [
        f"From: MAILER-DAEMON@{report.hostname}",
        f"To: {report.to}",
        f"Subject: {subject}",
        f"Date: {date(report.now).decode()}",
        f"Message-ID: <{report.report_id}@{report.hostname}>",
    ]
    if _MESSAGE_ID.fullmatch(block.message_id):
        lines.append(f"References: <{block.message_id}>")
    lines += [
        "Auto-Submitted: auto-replied",
        f"X-Mtad-Report: {report.hostname}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary.decode()}"',
    ]
    if eight_bit:
        lines.append("Content-Transfer-Encoding: 8bit")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


# -- for people


_ADVICE = (  # the first whose numbers begin the enhanced status code behind its class digit
    ("1.1", "Check the part of the address before the @ for typing errors. If it is right, the mailbox is gone."),
    ("1.2", "Check the part of the address behind the @ for typing errors. If it is right, it takes no mail."),
    ("1.10", "The domain says that it takes no mail. Reach the recipient in another way."),
    ("1.", "Check the address, or ask the recipient for the right one."),
    ("2.2", "The mailbox is full. Reach the recipient in another way, or send the message again later."),
    ("2.3", "The message is too large for the recipient. Send it without attachments, or in parts."),
    ("3.4", "The message is too large for the recipient. Send it without attachments, or in parts."),
    ("4.7", "We have tried for as long as we may. Send the message again when their server is back."),
    ("4.", "Their server could not be reached or had trouble. Send the message again later."),
    ("7.", "Their server refuses the message by its rules. Show its answer to whoever runs your mail server."),
)
_NO_ADVICE = "Show this report to whoever runs your mail server if the answer does not say enough."


def _text_part(report: Report, block: HeaderBlock, whole: bool) -> _Part:
    text = "\r\n".join(_text_lines(report, block, whole)) + "\r\n"
    if text.isascii():
        return _Part("text/plain; charset=utf-8", "7bit", text.encode())
    octets = binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True)
    return _Part("text/plain; charset=utf-8", "quoted-printable", octets)


def _text_lines(report: Report, block: HeaderBlock, whole: bool) -> Iterator[str]:
    yield f"This is the mail server {report.hostname}."
    yield ""
    if report.failed:
        yield "Your message could not be delivered to the recipients below. We will not"
        yield "try again for those whose delivery failed."
    elif report.relayed:
        yield "Your message was taken by the mail server of the recipients below. That server"
        yield "does not report what becomes of it: this is the last notice you get."
    else:
        yield "Your message has not been delivered yet to the recipients below. We go on"
        yield "trying: you need not send it again."
    yield ""
    yield from _wrapped(f"Subject: {block.text(b'subject') or '(none)'}", "")
    yield f"Received here: {date(report.arrival_at).decode()}"
    for one in report.recipients:
        yield ""
        yield f"<{one.address}>: delivery {one.action}"
        yield from _wrapped(f"{one.remote} answered:" if one.remote else "Reason:", "    ")
        yield from _wrapped(_said(one), "        ")
        if one.action is Action.RELAYED:
            continue
        if one.action is Action.FAILED:
            yield from _wrapped(_advice(one.reply), "    ")
        elif one.retry_until is not None:
            yield f"    We try until {date(one.retry_until).decode()}."
    yield ""
    yield "The next part says the same for programs. Behind it is " + ("your message." if whole else "its header.")


def _advice(reply: Reply) -> str:
    return next((advice for prefix, advice in _ADVICE if _is_under(reply.detail, prefix)), _NO_ADVICE)


def _is_under(detail: str, prefix: str) -> bool:
    return detail.startswith(prefix) if prefix.endswith(".") else detail == prefix


def _wrapped(text: str, indent: str) -> list[str]:
    words = _LONG_WORD.sub(r"\1 ", _clean(text))
    return textwrap.wrap(
        words, 76, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _clean(text: str) -> str:
    """One line of bearable length, whatever it was."""
    return _CONTROL.sub(" ", text[:_MAX_DIAGNOSTIC]).strip()


# -- for programs


def _status_part(report: Report) -> _Part:
    groups = [_message_fields(report)] + [_recipient_fields(one, report.in_utf8) for one in report.recipients]
    text = "\r\n\r\n".join("\r\n".join(group) for group in groups) + "\r\n"
    if report.in_utf8:
        octets = text.encode("utf-8", "replace")
        return _Part("message/global-delivery-status", "7bit" if octets.isascii() else "8bit", octets)
    return _Part("message/delivery-status", "7bit", text.encode("ascii", "replace"))


def _message_fields(report: Report) -> list[str]:
    fields = [_field("Reporting-MTA", f"dns; {report.hostname}")]
    if report.envid:
        fields.append(_field("Original-Envelope-Id", _from_xtext(report.envid)))
    return [*fields, _field("Arrival-Date", date(report.arrival_at).decode())]


def _recipient_fields(one: RecipientReport, in_utf8: bool) -> list[str]:
    original = _original_recipient(one.orcpt, in_utf8)
    fields = [_field("Original-Recipient", original)] if original else []
    fields += [
        _field("Final-Recipient", _typed("utf-8" if one.address.needs_utf8 else "rfc822", str(one.address), in_utf8)),
        _field("Action", one.action),
        _field("Status", _status(one)),
    ]
    if one.remote:
        fields.append(_field("Remote-MTA", f"dns; {one.remote}"))
    # RFC 3464 §2.3.6: "smtp" is for what a host said; the numbers we decide on ourselves are not SMTP's
    fields.append(_folded("Diagnostic-Code", f"{'smtp' if one.remote else 'x-mtad'}; {_said(one)}"))
    fields.append(_field("Last-Attempt-Date", date(one.last_attempt_at).decode()))
    if one.action is Action.DELAYED and one.retry_until is not None:
        fields.append(_field("Will-Retry-Until", date(one.retry_until).decode()))
    return fields


def _said(one: RecipientReport) -> str:
    return str(one.reply) if one.remote else f"{one.reply.code} {one.reply.text}"


def _status(one: RecipientReport) -> str:
    """An enhanced status code. Its class is 2, 4 or 5 (RFC 3463 §2), also where the number is one of ours."""
    if one.action is Action.RELAYED:
        return f"2.{one.reply.detail or '0.0'}"
    by_action = 5 if one.action is Action.FAILED else 4
    kind = one.reply.code // 100 if 400 <= one.reply.code < 600 else by_action
    return f"{kind}.{one.reply.detail or '0.0'}"


def _field(name: str, value: str) -> str:
    return f"{name}: {_clean(value)}"


def _folded(name: str, value: str) -> str:
    return "\r\n ".join(_wrapped(f"{name}: {value}", ""))


def _from_xtext(text: str) -> str:
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)


def _original_recipient(orcpt: str, in_utf8: bool) -> str:
    """The field's value for an ORCPT parameter; "" for none or one that is none (RFC 3461 §4.2 and §6.3)."""
    found = _ORCPT.fullmatch(orcpt)
    if not found:
        return ""
    kind = found[1].lower()
    if kind != "utf-8":
        return _typed(found[1], _from_xtext(found[2]), in_utf8)
    return _typed(kind, _EMBEDDED.sub(_embedded_char, found[2]), in_utf8)


def _embedded_char(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF else found[0]


def _typed(kind: str, address: str, in_utf8: bool) -> str:
    """RFC 6533 §3: in an ASCII report a UTF-8 address is written with "\\x{E9}" for its "é"."""
    if kind == "utf-8" and not in_utf8:
        return "utf-8; " + _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", address)
    return f"{kind}; {address}"


# -- the message itself


def _returned_part(report: Report, block: HeaderBlock, whole: bool) -> _Part:
    if whole:
        octets = report.original
        kind = "message/global" if report.in_utf8 else "message/rfc822"
    else:
        octets = _header_within(block, report.max_return_octets)
        kind = "message/global-headers" if report.in_utf8 else "text/rfc822-headers"
    if octets.isascii():
        return _Part(kind, "7bit", octets)
    if kind == "text/rfc822-headers":
        return _Part(kind, "quoted-printable", binascii.b2a_qp(octets, istext=True))
    return _Part(kind, "8bit", octets)  # RFC 2046 §5.2.1: a message may not be encoded


def _header_within(block: HeaderBlock, max_octets: int) -> bytes:
    """As many whole fields as fit."""
    kept, size = [], 0
    for _, raw in block.fields:
        size += len(raw)
        if size > max_octets:
            break
        kept.append(raw)
    return b"".join(kept)
