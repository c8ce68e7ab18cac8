"""Reading: what came back to a reverse-path of ours: bounce, complaint, delay, automatic answer, or nothing of it.

Room: feedback. Pure. Total: any octets give an answer, in bounded time. Used by inbound.receive, which knows by the
token of the address whom it is about; nothing here is proof of anything by itself.
In order: the fields of a feedback report, the fields of a delivery report, signs of an automatic answer, and last
what the text says. Reports may lie in another message, as people and programs forward them.
"""

from collections.abc import Iterator

from mtad.feedback import arf, dsn, prose
from mtad.feedback.autoreply import certain_mark, possible_mark
from mtad.feedback.classify import Classifier
from mtad.feedback.incoming import (
    Action,
    AutoReply,
    Bounce,
    Delayed,
    Incoming,
    NoReport,
    RecipientStatus,
    Relayed,
    Returned,
    ReturnedPart,
)
from mtad.feedback.mime import MESSAGES, Part, parse, readable
from mtad.message.headers import CRLF, scan

_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_HEADERS = frozenset({"text/rfc822-headers", "text/rfc822-header", "message/global-headers"})
_MAX_FORWARDED = 10  # messages within messages that are looked into
_MAX_HEADER = 65_536
_MAX_ID = 500


def read_incoming(content: bytes, classifier: Classifier, null_path: bool) -> Incoming:
    """Any message -> what it says of ours. Never raises; only the first MAX_OCTETS of it are looked at.

    null_path: it came with the reverse-path "<>", as reports do (RFC 5321 §4.5.5). Without that, words alone are
    believed only of a sender that calls itself a mailer.
    """
    message = parse(content)
    for one in _messages(message):
        found = _by_fields(one, one is message and prose.by_mailer(one, null_path))
        if found is not None:
            return found
    mailer = prose.by_mailer(message, null_path)
    mark = certain_mark(message)
    if mark and b"x-failed-recipients" not in message.block:
        return AutoReply(mark)
    found = _by_words(message, classifier) if mailer or message.report_type == "delivery-status" else None
    if found is not None:
        return found
    mark = possible_mark(message)
    return AutoReply(mark) if mark else NoReport()


def _messages(message: Part) -> Iterator[Part]:
    """The message, then those it holds, those nearest to it first."""
    waiting, count = [message], 0
    while waiting and count < _MAX_FORWARDED:
        one = waiting.pop(0)
        count += 1
        yield one
        waiting += [inner for part in one.leaves() if part.type in MESSAGES for inner in part.parts]


def _by_fields(message: Part, trusted: bool) -> Incoming | None:
    """By a part made for programs. trusted: it may have the wrong type, as mailers do write."""
    report = arf.report_in(message)
    if report is not None:
        return arf.complaint(report, _returned(message, report))
    part = _status_part(message, trusted or message.report_type == "delivery-status")
    if part is None:
        return None
    returned = _returned(message, part)
    # Where the blank line behind the part's header is missing, the first fields have become header.
    told = dsn.recipients(part.header + CRLF + part.body, returned.text)
    return _by_actions(told, returned) if told else None


def _by_actions(told: tuple[RecipientStatus, ...], returned: Returned) -> Incoming:
    actions = {one.action for one in told}
    if Action.FAILED in actions:
        return Bounce(told, returned)
    return Delayed(told, returned) if Action.DELAYED in actions else Relayed(told, returned)


def _status_part(message: Part, any_type: bool) -> Part | None:
    leaves = list(message.leaves())
    labelled = [part for part in leaves if part.type in _STATUS_TYPES]
    if labelled:
        return labelled[0]
    loose = [part for part in leaves if part.type not in MESSAGES | _HEADERS] if any_type else []
    return next((part for part in loose if dsn.holds_fields(part.header + CRLF + part.body)), None)


def _by_words(message: Part, classifier: Classifier) -> Incoming | None:
    returned = _returned(message, None)
    claim = prose.failed_or_delayed(message.block.text(b"subject"), returned.text)
    if claim is Action.DELAYED:
        return Delayed((), returned)
    if claim is None and possible_mark(message) and b"x-failed-recipients" not in message.block:
        return None
    failed = prose.recipients(message, returned.text, classifier, claim is Action.FAILED)
    return Bounce(failed, returned) if failed else None


# -- what comes along


def _returned(message: Part, report: Part | None) -> Returned:
    """report: the part with the fields, None when there is none."""
    text_part = _text_part(message, report)
    whole = text_part.text() if text_part else readable(message.preamble.decode("utf-8", "replace"))
    text, below = prose.report_text(whole)
    parts = [ReturnedPart("notification.txt", "text/plain; charset=utf-8", text.encode())] if text else []
    if report is not None:
        parts.append(_file(report, "report.txt"))
    original = next((part for part in message.leaves() if part.type in MESSAGES | _HEADERS), None)
    content = b""
    if original is not None:
        content = original.body
        parts.append(_file(original, "message.eml" if original.type in MESSAGES else "headers.txt"))
    elif below:
        content = below.replace("\n", "\r\n").encode()
        parts.append(ReturnedPart("message.eml", "message/rfc822", content))
    header, message_id = _original(content)
    return Returned(text, tuple(parts), header, message_id or _answered(message))


def _text_part(message: Part, report: Part | None) -> Part | None:
    leaves = [part for part in message.leaves() if part is not report and part.type not in _HEADERS]
    plain = [part for part in leaves if part.type in ("text/plain", "text/html") and part.body.strip()]
    return min(plain, key=lambda part: part.type != "text/plain", default=None)


def _file(part: Part, name: str) -> ReturnedPart:
    return ReturnedPart(part.name or name, part.type, part.body if part.body.strip() else part.header)


def _original(content: bytes) -> tuple[bytes, str]:
    """(header block, Message-ID) of the message or header that came along."""
    block = scan(content.lstrip(b"\r\n")[:_MAX_HEADER])
    return block.content[block.start : block.end], block.message_id[:_MAX_ID]


def _answered(message: Part) -> str:
    value = (message.block.first(b"in-reply-to") or b"").decode("utf-8", "replace").split()
    return value[0].strip("<>")[:_MAX_ID] if value else ""
