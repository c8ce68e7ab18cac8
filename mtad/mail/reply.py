"""Replies: what an SMTP server says, what a delivery attempt came to, and Refused, the one error the doors share.

Room: mail. Pure. Source: RFC 5321 §4.2, RFC 3463 and RFC 2034 (enhanced status codes).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_ENHANCED = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})(?:\s+|\Z)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply.

    code: 200 to 599. detail: "7.1" of "4.7.1", or "" when the server gave none: the class digit is taken from
    `code`, so there are no two truths. text: the words, lines of a multi-line reply joined by a blank.
    """

    code: int
    detail: str
    text: str

    @property
    def enhanced(self) -> str:
        """ "4.7.1", or "" when there is none."""
        return f"{self.code // 100}.{self.detail}" if self.detail else ""

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    def __str__(self) -> str:
        """ "451 4.7.1 greylisted": as on the wire, in one line."""
        return f"{self.code} {self.enhanced} {self.text}" if self.detail else f"{self.code} {self.text}"

    @classmethod
    def from_text(cls, code: int, text: str) -> "Reply":
        """Split the enhanced code off `text`. A code of another class than `code` stays in the text."""
        found = _ENHANCED.match(text)
        if found and int(found[1]) == code // 100:
            return cls(code, found[2], text[found.end() :])
        return cls(code, "", text)


class Refused(Exception):
    """A door says no. `reply` is what the peer is told; 4xx: come back later, 5xx: do not."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Phase(StrEnum):
    """How far an attempt came before its outcome was clear."""

    DNS = "dns"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the reply to DATA
    FINAL = "final"  # the reply to the final dot, or to the last BDAT
    HTTP = "http"  # the answer to a post
    LOCAL = "local"  # decided here: policy, loop, age


@dataclass(frozen=True, slots=True)
class Hop:
    """The host an attempt talked to. tls: protocol name as "TLSv1.3", None in the clear. dsn: it offers DSN, and so
    answers for the notifications that the sender asked for (RFC 3461 §5.2)."""

    host: str
    address: str
    source: str = ""
    tls: str | None = None
    verified: bool = False
    dsn: bool = False
    web: bool = False  # posted to by HTTP


Dialogue = tuple[tuple[Phase, int, bytes], ...]  # what the host answered, reply by reply: to what, code, text


@dataclass(frozen=True, slots=True)
class Delivered:
    """The other side has taken the message: it is its duty now (RFC 5321 §6.1)."""

    reply: Reply
    hop: Hop
    took_s: float = 0.0
    dialogue: Dialogue = ()


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now. hop None: we reached nobody.

    unknown: the connection was lost after the message was sent whole and before the reply came, so the host may
    have taken it; the next attempt may make a duplicate.
    """

    reply: Reply
    hop: Hop | None
    phase: Phase
    took_s: float = 0.0
    unknown: bool = False
    dialogue: Dialogue = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Never."""

    reply: Reply
    hop: Hop | None
    phase: Phase
    took_s: float = 0.0
    dialogue: Dialogue = ()


Outcome = Delivered | Deferred | Failed
