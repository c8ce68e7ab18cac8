"""Session: what is known of a client, what all clients share, and what the receiver asks of its shell.

Room: smtp. Pure. May import: mail. Source: RFC 5321 §4.1.1.1 (EHLO), RFC 9422 (LIMITS), RFC 3848 ("with" of Received).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from mtad.mail.envelope import Submission
from mtad.smtp.replies import TOO_BIG_TEXT, made


class Listener(StrEnum):
    """The kind of door. Its value is the key in [smtp], the name of the systemd socket and of the ready file."""

    MX = "mx"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"


@dataclass(slots=True)
class Session:
    """What is known of a client.

    peer: its address without port. trusted: it may submit without AUTH (never true on the MX listener).
    bare_newlines: its bare CR and LF are mended instead of refused. helo: as it called itself, cleaned for use in a
    Received field; "" before HELO or EHLO. tls: "TLSv1.3", or "" in the clear. login: "" until AUTH. domain: the
    domain of ours it sends for, "" for a stranger; set at AUTH, or by the policy at MAIL for a trusted client.
    """

    listener: Listener
    peer: str
    trusted: bool = False
    bare_newlines: bool = False
    helo: str = ""
    extended: bool = False
    tls: str = ""
    login: str = ""
    domain: str = ""

    def protocol(self, smtputf8: bool = False) -> str:
        """The "with" of Received: SMTP, ESMTPSA, UTF8SMTPS (RFC 3848, RFC 6531 §4.3)."""
        if not self.extended:
            return "SMTP"
        base = "UTF8SMTP" if smtputf8 else "ESMTP"
        return base + ("S" if self.tls else "") + ("A" if self.login else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all sessions of the doors share. hostname: ours. default_domain: whose postmaster "<postmaster>" is."""

    hostname: str
    default_domain: str
    max_message_octets: int = 26_214_400
    max_recipients: int = 1000
    max_commands: int = 10_000
    max_errors: int = 20
    auth_without_tls: bool = False
    ehlo: dict[tuple[bool, bool], bytes] = field(init=False)  # (STARTTLS offered, AUTH offered) -> reply
    greeting: bytes = field(init=False)
    helo: bytes = field(init=False)
    too_big: bytes = field(init=False)

    def __post_init__(self) -> None:
        pairs = [(tls, auth) for tls in (False, True) for auth in (False, True)]
        object.__setattr__(self, "ehlo", {pair: self._greet(*pair) for pair in pairs})
        object.__setattr__(self, "greeting", f"220 {self.hostname} ESMTP mtad\r\n".encode("ascii", "replace"))
        object.__setattr__(self, "helo", f"250 {self.hostname}\r\n".encode("ascii", "replace"))
        object.__setattr__(self, "too_big", made(552, "3.4", TOO_BIG_TEXT.format(self.max_message_octets)))

    def _greet(self, starttls: bool, auth: bool) -> bytes:
        words = [self.hostname, "PIPELINING", f"SIZE {self.max_message_octets}", "8BITMIME", "SMTPUTF8"]
        words += ["ENHANCEDSTATUSCODES", "CHUNKING", "DSN", f"LIMITS RCPTMAX={self.max_recipients}"]
        words += ["STARTTLS"] * starttls + ["AUTH PLAIN LOGIN"] * auth
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


@dataclass(slots=True)
class Message:
    """A message is whole: commit it, then answer(). reserved: octets of the budget it holds until then."""

    submission: Submission
    reserved: int


@dataclass(slots=True)
class StartTls:
    """Begin TLS after the replies are written, then tls_started()."""


@dataclass(slots=True)
class Auth:
    """Ask for what is missing by line(), then authenticated() or answer(). mechanism: PLAIN or LOGIN.

    initial: the initial response in base64, None when there was none.
    """

    mechanism: str
    initial: str | None = field(repr=False)


@dataclass(slots=True)
class Quit:
    """Close once the replies are written."""


Event = Message | StartTls | Auth | Quit
