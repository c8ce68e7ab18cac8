"""DSN: the fields of a delivery status notification.

Room: feedback. Pure. Source: RFC 3464, RFC 3461 §4 and §5 (xtext), RFC 6533 (UTF-8 addresses). Read as mailers write
it: names in any case, line ends and blank lines anywhere or nowhere, folded lines that are not indented, comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mtad.feedback.incoming import Action, RecipientStatus
from mtad.feedback.mime import to_text
from mtad.feedback.said import one_line, phase_of, reply_of, spoken, status_in
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.mail.reply import Reply

MAX_RECIPIENTS = 1000
MAX_FIELDS_OCTETS = 524_288

_MAX_VALUE = 4000  # characters of one field
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,40})[ \t]{0,10}:(?!//)(.*)")
_MARKS = re.compile(rb"(?im)^(?:final|original)-recipient[ \t]*:")
_MARKS_TOO = re.compile(rb"(?im)^(?:action|status)[ \t]*:")
_SUPPLEMENT = "x-supplementary-info"  # Exchange's place for what a host said
_STARTS = ("original-recipient", "final-recipient")
_PER_RECIPIENT = frozenset((*_STARTS, "action", "status", "remote-mta", "diagnostic-code", _SUPPLEMENT))
_COMMENT = re.compile(r"\([^()]{0,500}\)")
_TYPED = re.compile(r"\s*([\w-]{1,40})\s*;\s*(.*)", re.DOTALL)
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3
_PATH = re.compile(r"<([^<>]{1,400})>")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|\[[A-Za-z0-9.:]{2,60}\]")
_TROUBLE = (Action.FAILED, Action.DELAYED)
_SUCCESS = re.compile(r"2\d\d[ -]")
_SPOKEN_TYPES = frozenset({"smtp", "esmtp", "lmtp"})


@dataclass(slots=True)
class _Group:
    """The fields of one recipient; the first of each name counts."""

    fields: dict[str, str] = field(default_factory=dict)

    def begins_anew(self, name: str) -> bool:
        """True: it is a field of the next recipient, blank line or not. Action may stand before the addresses."""
        if name in self.fields:
            return name in (*_STARTS, "action")
        return name in _STARTS and "action" in self.fields and any(start in self.fields for start in _STARTS)


def holds_fields(octets: bytes) -> bool:
    """True: these octets, whatever they call themselves, are the fields of a report about recipients."""
    head = octets[:MAX_FIELDS_OCTETS]
    return _MARKS.search(head) is not None and _MARKS_TOO.search(head) is not None


def recipients(octets: bytes, text: str) -> tuple[RecipientStatus, ...]:
    """What the fields say of each recipient. octets: CRLF line ends. text: what the report says to people.

    A recipient of whom nothing can be told, neither action nor status nor a reply, is left out.
    """
    groups = list(_groups(octets))
    told = text if len(groups) == 1 else ""  # with several, nobody knows of whom the text speaks
    found = [_status_of(group.fields, told) for group in groups]
    return tuple(one for one in found if one is not None)


def fields(octets: bytes) -> Iterator[tuple[str, str]]:
    """(name in lower case, unfolded value), top to bottom. octets: CRLF line ends. Blank lines only end a field."""
    name, value = "", ""
    for line in to_text(octets[:MAX_FIELDS_OCTETS]).split("\r\n"):
        found = _FIELD.match(line)
        if found or not line.strip():
            if name:
                yield name, value.strip()[:_MAX_VALUE]
            name, value = (found[1].lower(), found[2]) if found else ("", "")
        elif name and len(value) < _MAX_VALUE:
            value += " " + line.strip()
    if name:
        yield name, value.strip()[:_MAX_VALUE]


def address_of(value: str, original: bool = False) -> Address | None:
    """ "rfc822; <bob@example.org> (Bob)" -> Address. None: there is none in it. original: it may still be xtext."""
    typed = _TYPED.match(value)
    kind, text = (typed[1].lower(), typed[2]) if typed else ("rfc822", value)
    if kind == "utf-8":
        text = _EMBEDDED.sub(_embedded_char, text)
    elif original:  # what xtext must write so, and no more: "bob+2Bnews" is a rare address, and a common mistake
        text = text.replace("+2B", "+").replace("+3D", "=")
    path = _PATH.search(text)
    for candidate in (path[1] if path else "", _COMMENT.sub("", text).strip(" \t<>\"'")):
        try:
            return parse_address(candidate.strip()[:400])
        except BadAddress:
            continue
    return None


def _embedded_char(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number < 0xE000 else found[0]


def _groups(octets: bytes) -> Iterator[_Group]:
    """The fields by recipient, at most MAX_RECIPIENTS. Blank lines are not needed: some mailers lose or add some."""
    group, count = _Group(), 0
    for name, value in fields(octets):
        if group.begins_anew(name):
            yield group
            count += 1
            if count == MAX_RECIPIENTS:
                return
            group = _Group()
        if name in _PER_RECIPIENT:
            group.fields.setdefault(name, value)
    if group.fields:
        yield group


def _status_of(said: dict[str, str], text: str) -> RecipientStatus | None:
    status = status_in(said.get("status", ""))
    kind, diagnostic = _diagnostic(said.get("diagnostic-code", ""))
    if not diagnostic and (quoted := spoken(said.get(_SUPPLEMENT, ""))):
        kind, diagnostic = "smtp", one_line(str(quoted)).rstrip(">")
    action = _action(said.get("action", ""), status, diagnostic)
    if action is None:
        return None
    quoted = spoken(text) if text and not diagnostic else None
    if quoted is not None and str(quoted.code)[0] == (status[:1] or str(quoted.code)[0]):
        diagnostic = one_line(str(quoted))
    reply = reply_of(status, diagnostic) if action in _TROUBLE else Reply.from_text(250, _success_words(diagnostic))
    final, original = address_of(said.get("final-recipient", "")), address_of(said.get("original-recipient", ""), True)
    phase = phase_of(reply, diagnostic, text if kind in _SPOKEN_TYPES or quoted else "")
    remote = _host(said.get("remote-mta", ""))
    return RecipientStatus(original or final, final or original, action, status, diagnostic, remote, reply, phase)


def _diagnostic(value: str) -> tuple[str, str]:
    """(type in lower case, words): "smtp; 550 5.1.1 unknown" -> ("smtp", "550 5.1.1 unknown")."""
    typed = _TYPED.match(value)
    return (typed[1].lower(), one_line(typed[2])) if typed else ("", one_line(value))


def _action(value: str, status: str, diagnostic: str) -> Action | None:
    """What the field says. Where it says nothing known, or contradicts Status, what Status or the reply say."""
    word = re.split(r"[^a-z]", value.strip().lower(), maxsplit=1)[0]
    word = {"failure": "failed", "fail": "failed", "delay": "delayed", "success": "delivered"}.get(word, word)
    if not status:
        reply = spoken(diagnostic)
        status = str(reply.code) if reply else ""
    by_status = {"5": Action.FAILED, "4": Action.DELAYED, "2": Action.DELIVERED}.get(status[:1])
    if word not in set(Action):
        return by_status
    action = Action(word)
    # "failed" with success: whoever wrote it is confused, and nobody is to be suppressed for that
    return Action.DELIVERED if action is Action.FAILED and by_status is Action.DELIVERED else action


def _success_words(diagnostic: str) -> str:
    found = _SUCCESS.match(diagnostic)
    return diagnostic[found.end() :] if found else diagnostic


def _host(value: str) -> str:
    typed = _TYPED.match(value)
    found = _HOST.match((typed[2] if typed else value).strip())
    return found[0].lower() if found else ""
