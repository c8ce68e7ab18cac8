"""Results: what the checks found, written into the header; and fields there that only look like ours.

Room: inbound. Pure. May import: mail, message. Source: RFC 8601 (Authentication-Results), and the fields Mailgun puts
into inbound mail. Everything a stranger chose is reduced to what can stand in a field.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mtad.inbound.arc import Arc
from mtad.inbound.dkim_check import Dkim
from mtad.inbound.dmarc import Dmarc
from mtad.inbound.signature import Result
from mtad.inbound.spam import Scan, Spam
from mtad.inbound.spf import Spf, SpfResult
from mtad.message.headers import HeaderBlock, value_of
from mtad.message.trace import date

# Only we may have written these; what comes with them is hidden before ours go in.
OURS = frozenset(
    {
        *(b"x-mailgun-incoming", b"x-mailgun-sflag", b"x-mailgun-sscore", b"x-mailgun-spf"),
        *(b"x-mailgun-dkim-check-result", b"x-mailgun-spam-rules"),
        *(b"x-envelope-from", b"x-originating-ip", b"received-spf"),
    }
)
_RESULTS = b"authentication-results"
_DOT_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_ADDRESS = re.compile(rf"(?:{_DOT_ATOM})?@[A-Za-z0-9._-]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
_NOT_QUOTABLE = re.compile(r'[^ -~]|["\\]')
_NOT_HELO = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_NOISE = re.compile(rb'[\\" \t\r\n]+')
_LINE = 76

# What the four words of X-Mailgun-Spf say; to a filter "none" and an error are as good as "neutral".
_SPF_WORDS = {SpfResult.PASS: "Pass", SpfResult.FAIL: "Fail", SpfResult.SOFTFAIL: "SoftFail"}


@dataclass(frozen=True, slots=True)
class User:
    """One of ours sent the message. login: as whom he logged in, "" when his network is trusted without."""

    login: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks of one message came to. spam: None where the domain has no filter. user: None a stranger; of
    a user's message neither SPF nor DMARC was asked for.
    """

    spf: Spf
    dkim: tuple[Dkim, ...]
    dmarc: Dmarc
    arc: Arc
    spam: Spam | None = None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """How the message came. sender: the reverse-path, "" the null one. peer_ip: "" when not known."""

    sender: str
    peer_ip: str
    helo: str


def results_value(authserv_id: str, findings: Findings) -> str:
    """The value of Authentication-Results, in one line: "mx.example.org; spf=pass …; dkim=…; dmarc=…; arc=…". Of a
    user's message "auth=pass smtp.auth=…" in place of spf and dmarc; a method that was not used is not named.
    """
    signed = [_dkim(one) for one in findings.dkim] or ["dkim=none"]
    if findings.user is None:
        parts = [_spf(findings.spf), *signed, _dmarc(findings.dmarc)]
    else:
        parts = [*_auth(findings.user), *signed]
    return "; ".join([authserv_id, *parts, _arc(findings.arc)])


def _auth(user: User) -> list[str]:
    """RFC 8601 §2.7.4. Who did not log in has not been authenticated, though we trust him."""
    return [f"auth=pass smtp.auth={_value(user.login)}"] if user.login else []


def _spf(spf: Spf) -> str:
    about = f" smtp.{spf.identity}={_value(spf.domain)}" if spf.domain else ""
    return f"spf={spf.result}{_reason(spf.reason)}{about}"


def _dkim(dkim: Dkim) -> str:
    text = f"dkim={dkim.result}{_reason(dkim.reason)}"
    if not dkim.domain:
        return text
    text += f" header.d={_value(dkim.domain)} header.s={_value(dkim.selector)}"
    if dkim.identity:
        text += f" header.i={_value(dkim.identity)}"
    return f"{text} header.a={_value(dkim.algorithm)} header.b={_value(dkim.hint)}"


def _dmarc(dmarc: Dmarc) -> str:
    text = f"dmarc={dmarc.result}{_reason(dmarc.reason)}"
    if not dmarc.domain:
        return text
    policy = "" if dmarc.result in ("none", "permerror") else f" policy.dmarc={dmarc.published}"
    return f"{text} header.from={_value(dmarc.domain)}{policy}"


def _arc(arc: Arc) -> str:
    return f"arc={arc.result}{_reason(arc.reason)}"


def _reason(text: str) -> str:
    return f' reason="{_NOT_QUOTABLE.sub("?", text)[:100]}"' if text else ""


def _value(text: str) -> str:
    """As it is where RFC 8601 §2.2 takes it so, else quoted."""
    text = text[:320]
    return text if _TOKEN.fullmatch(text) or _ADDRESS.fullmatch(text) else f'"{_NOT_QUOTABLE.sub("?", text)}"'


def added_fields(authserv_id: str, findings: Findings, session: Session) -> bytes:
    """All fields we add to inbound mail, whole, to go above the others."""
    pairs = [
        ("Authentication-Results", results_value(authserv_id, findings)),
        ("X-Mailgun-Incoming", "Yes"),
        ("X-Envelope-From", f"<{_sender(session.sender)}>"),
        *([("X-Originating-Ip", f"[{session.peer_ip}]")] if session.peer_ip else []),
        *([] if findings.spam is None else _filter_fields(findings, findings.spam)),
    ]
    return b"".join([_folded(name, value) for name, value in pairs])


def _filter_fields(findings: Findings, spam: Spam) -> Iterator[tuple[str, str]]:
    if spam.scan is Scan.DONE:
        yield "X-Mailgun-Sflag", "Yes" if spam.is_spam else "No"
        yield "X-Mailgun-Sscore", f"{spam.score:.1f}"
        if spam.rules:
            yield "X-Mailgun-Spam-Rules", ", ".join(spam.rules)
    yield "X-Mailgun-Spf", _SPF_WORDS.get(findings.spf.result, "Neutral")
    results = {one.result for one in findings.dkim} - {Result.TEMPERROR}
    if results:
        yield "X-Mailgun-Dkim-Check-Result", "Pass" if Result.PASS in results else "Fail"


def _sender(text: str) -> str:
    return "".join([one for one in text if one.isprintable()])[:320]


def _folded(name: str, value: str) -> bytes:
    """The field, folded at blanks."""
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if len(line) + 1 + len(word) > _LINE and line.strip() not in ("", f"{name}:"):
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else f" {word}"
    return "\r\n".join([*lines, line]).encode("utf-8", "replace") + b"\r\n"


def scan_head(authserv_id: str, session: Session, now: float) -> bytes:
    """What a spam filter reads of how the message came: it looks for the client in the topmost Received."""
    helo = _NOT_HELO.sub("?", session.helo)[:255] or "unknown"
    came = f"Received: from {helo} (unknown [{session.peer_ip}])\r\n\tby {authserv_id} with ESMTP; ".encode()
    sender = f"X-Envelope-From: <{_sender(session.sender)}>\r\n".encode("utf-8", "replace")
    return came + date(now) + b"\r\n" + sender


def forged(block: HeaderBlock, authserv_id: str) -> frozenset[int]:
    """Places in block.fields of what claims to be our word (RFC 8601 §5): all of OURS, and Authentication-Results
    that name us. Those are found generously, since readers differ about comments and quotes.
    """
    ours = authserv_id.lower().encode()
    return frozenset(
        place
        for place, (name, raw) in enumerate(block.fields)
        if name in OURS or (name == _RESULTS and _names_us(raw, ours))
    )


def _names_us(raw: bytes, ours: bytes) -> bool:
    value = value_of(raw)
    return ours in _NOISE.sub(b"", value).lower() or ours in _NOISE.sub(b"", _uncommented(value)).lower()


def _uncommented(value: bytes) -> bytes:
    """Without comments, which nest."""
    kept, depth, place = bytearray(), 0, 0
    for found in re.finditer(rb"\\.|[()]", value, re.DOTALL):
        if not depth:
            kept += value[place : found.start()]
        place = found.end()
        if found[0] == b"(":
            depth += 1
        elif found[0] == b")":
            depth = max(0, depth - 1)
        elif not depth:
            kept += found[0]
    return bytes(kept + (b"" if depth else value[place:]))


def cleaned(block: HeaderBlock, authserv_id: str) -> bytes:
    """The content without the fields `forged` names; the same object when there are none."""
    hidden = forged(block, authserv_id)
    if not hidden:
        return block.content
    kept = [raw for place, (_, raw) in enumerate(block.fields) if place not in hidden]
    return b"".join((block.content[: block.start], *kept, block.content[block.end :]))
