"""Classify: what a host's refusal means: nobody there, mailbox full, spam, slow down, come back later.

Room: feedback. Pure. May import: mail, config. Source: RFC 5321 §4.2, RFC 3463 and the IANA registry of enhanced
status codes; conf/bounces.toml for what hosts really say. Used by queue.runner and for DSNs that come in.
In order: the first rule whose words match; else the enhanced code; else the basic code and the phase; else unknown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mtad.feedback.rules import MAX_TEXT, Section, read_file, rule_text
from mtad.mail.reply import Phase, Reply


class Kind(StrEnum):
    """What we do about it."""

    HARD = "hard"  # it speaks of the recipient and is final: no further mail there
    SOFT = "soft"  # trouble on the way or over there, which may pass
    THROTTLED = "throttled"  # the host wants us slower or later: never final, also when said with 5xx
    POLICY = "policy"  # the host does not want this mail, or us
    MESSAGE = "message"  # something in this message or its reverse-path
    UNKNOWN = "unknown"


class Cause(StrEnum):
    NO_SUCH_USER = "no-such-user"
    NO_SUCH_DOMAIN = "no-such-domain"
    BAD_ADDRESS = "bad-address"
    MAILBOX_DISABLED = "mailbox-disabled"
    RECIPIENT_REFUSED = "recipient-refused"  # 550 to RCPT in words that no rule knows
    MAILBOX_FULL = "mailbox-full"
    MAILBOX_BUSY = "mailbox-busy"  # this one mailbox takes no more just now
    SYSTEM = "system"  # the host is in trouble
    DNS = "dns"
    CONNECTION = "connection"
    TLS = "tls"
    PROTOCOL = "protocol"
    EXPIRED = "expired"
    RATE_LIMITED = "rate-limited"
    GREYLISTED = "greylisted"
    SPAM = "spam"
    POLICY = "policy"
    BLOCKLISTED_IP = "blocklisted-ip"
    BLOCKLISTED_DOMAIN = "blocklisted-domain"
    UNAUTHENTICATED = "unauthenticated"  # SPF, DKIM, DMARC
    REVERSE_DNS = "reverse-dns"
    RESTRICTED = "restricted"  # this recipient takes mail from few only
    RELAY_DENIED = "relay-denied"
    AUTH_REQUIRED = "auth-required"
    BAD_SENDER = "bad-sender"
    MESSAGE_TOO_LARGE = "message-too-large"
    CONTENT = "content"
    VIRUS = "virus"
    LOOP = "loop"
    UNKNOWN = "unknown"

    @property
    def kind(self) -> Kind:
        return _KINDS[self]


_MEMBERS = {
    Kind.HARD: "no-such-user no-such-domain bad-address mailbox-disabled recipient-refused",
    Kind.SOFT: "mailbox-full mailbox-busy system dns connection tls protocol expired",
    Kind.THROTTLED: "rate-limited greylisted",
    Kind.POLICY: "spam policy blocklisted-ip blocklisted-domain unauthenticated reverse-dns restricted relay-denied"
    " auth-required",
    Kind.MESSAGE: "bad-sender message-too-large content virus loop",
    Kind.UNKNOWN: "unknown",
}
_KINDS = {Cause(word): kind for kind, words in _MEMBERS.items() for word in words.split()}

# Subject and detail of RFC 3463 §3 and later registrations. A missing detail falls to its subject's ".0".
_BY_STATUS = {
    "1.1": Cause.NO_SUCH_USER,
    "1.2": Cause.NO_SUCH_DOMAIN,
    "1.3": Cause.BAD_ADDRESS,
    "1.4": Cause.NO_SUCH_USER,
    "1.6": Cause.NO_SUCH_USER,
    "1.7": Cause.BAD_SENDER,
    "1.8": Cause.BAD_SENDER,
    "1.9": Cause.SYSTEM,
    "1.10": Cause.NO_SUCH_DOMAIN,  # RFC 7505: null MX
    "2.0": Cause.MAILBOX_BUSY,
    "2.1": Cause.MAILBOX_DISABLED,
    "2.2": Cause.MAILBOX_FULL,
    "2.3": Cause.MESSAGE_TOO_LARGE,
    "2.4": Cause.SYSTEM,
    "3.0": Cause.SYSTEM,
    "3.3": Cause.CONTENT,
    "3.4": Cause.MESSAGE_TOO_LARGE,
    "4.0": Cause.CONNECTION,
    "4.3": Cause.DNS,
    "4.4": Cause.DNS,
    "4.5": Cause.RATE_LIMITED,
    "4.6": Cause.LOOP,
    "4.7": Cause.EXPIRED,
    "5.0": Cause.PROTOCOL,
    "6.0": Cause.CONTENT,
    "7.0": Cause.POLICY,
    "7.2": Cause.RESTRICTED,
    "7.4": Cause.TLS,
    "7.5": Cause.TLS,
    "7.8": Cause.AUTH_REQUIRED,
    "7.9": Cause.AUTH_REQUIRED,
    "7.10": Cause.TLS,
    "7.11": Cause.TLS,
    "7.13": Cause.MAILBOX_DISABLED,
    "7.17": Cause.NO_SUCH_USER,  # RFC 7293: the mailbox has a new owner
    "7.18": Cause.NO_SUCH_DOMAIN,
    "7.20": Cause.UNAUTHENTICATED,  # RFC 7372
    "7.21": Cause.UNAUTHENTICATED,
    "7.22": Cause.UNAUTHENTICATED,
    "7.23": Cause.UNAUTHENTICATED,
    "7.24": Cause.UNAUTHENTICATED,
    "7.25": Cause.REVERSE_DNS,
    "7.26": Cause.UNAUTHENTICATED,
    "7.27": Cause.BAD_SENDER,
    "7.28": Cause.RATE_LIMITED,
    "7.29": Cause.UNAUTHENTICATED,
    "7.30": Cause.TLS,  # RFC 8689
}

_OWN_PHASES = {
    Phase.DNS: Cause.DNS,
    Phase.CONNECT: Cause.CONNECTION,
    Phase.LOCAL: Cause.UNKNOWN,
}  # our words, not a host's
_SPOKEN = frozenset(Phase).difference(_OWN_PHASES)
_PHASES = {
    Phase.TLS: Cause.TLS,
    Phase.AUTH: Cause.AUTH_REQUIRED,
}
_OPENING, _CONTENT = (Phase.GREETING, Phase.EHLO), (Phase.DATA, Phase.FINAL)
_BY_CODE: dict[tuple[int, Phase], Cause] = {
    **{(code, phase): Cause.POLICY for code in (521, 550, 554, 571) for phase in (*_OPENING, Phase.MAIL)},
    **{(code, Phase.MAIL): Cause.BAD_SENDER for code in (501, 553)},
    (452, Phase.MAIL): Cause.SYSTEM,
    **{(code, Phase.RCPT): Cause.RECIPIENT_REFUSED for code in (550, 551)},  # RFC 5321 §4.2.3
    **{(code, Phase.RCPT): Cause.BAD_ADDRESS for code in (501, 553)},
    **{(code, Phase.RCPT): Cause.POLICY for code in (521, 554, 571)},
    (552, Phase.RCPT): Cause.MAILBOX_FULL,
    (450, Phase.RCPT): Cause.MAILBOX_BUSY,
    **{(552, phase): Cause.MESSAGE_TOO_LARGE for phase in (Phase.MAIL, *_CONTENT)},  # RFC 1870 §6
    **{(571, phase): Cause.POLICY for phase in _CONTENT},
}
_BY_CODE_ALONE = {
    **dict.fromkeys((421, 450, 451, 452), Cause.SYSTEM),
    **dict.fromkeys((454, 523), Cause.TLS),
    **dict.fromkeys((455, 500, 501, 502, 503, 504, 555), Cause.PROTOCOL),
    **dict.fromkeys((530, 534, 535, 538), Cause.AUTH_REQUIRED),
    498: Cause.DNS,
    499: Cause.CONNECTION,
    556: Cause.NO_SUCH_DOMAIN,  # RFC 7504
}
_STATUS_IN_TEXT = re.compile(r"(?<![\d.])([45])\.(\d{1,3}\.\d{1,3})(?!\.?\d)")  # as in "no mailbox here (#5.1.1)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """rule: the name of the rule, or which table spoke: "status 5.1.1", "code 550 at rcpt", "" none.

    permanent: True never again, False always again, None as the outcome has it (Deferred or Failed).
    """

    cause: Cause
    kind: Kind
    rule: str
    permanent: bool | None = None

    @property
    def suppresses(self) -> bool:
        """The address goes into the bounces."""
        return self.kind is Kind.HARD

    @property
    def slows(self) -> bool:
        """The host takes less than we send. A greylist is none of that: it would say so to the first message too."""
        return self.cause is Cause.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class Rule:
    """One [[rule]] of conf/bounces.toml. Empty sets mean any. hosts: the host's name or a suffix of it."""

    name: str
    cause: Cause
    pattern: re.Pattern[str] | None
    codes: frozenset[int] = frozenset()
    statuses: frozenset[str] = frozenset()  # "5.7.1"
    phases: frozenset[Phase] = _SPOKEN
    hosts: tuple[str, ...] = ()
    kind: Kind | None = None
    permanent: bool | None = None
    examples: tuple[str, ...] = ()

    def covers(self, text: str, code: int, status: str, phase: Phase, host: str) -> bool:
        return (
            (not self.codes or code in self.codes)
            and phase in self.phases
            and (not self.statuses or status in self.statuses)
            and (not self.hosts or _is_under(host, self.hosts))
            and (self.pattern is None or self.pattern.search(text) is not None)
        )


def _is_under(host: str, suffixes: Iterable[str]) -> bool:
    return any(host == suffix or host.endswith("." + suffix) for suffix in suffixes)


class Classifier:
    """Tells verdicts by its rules."""

    __slots__ = ("rules",)

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules

    def verdict(self, reply: Reply, phase: Phase, host: str = "") -> Verdict:
        """reply: of a Deferred or Failed. host: the name of the MX, "" when we reached nobody. Never raises."""
        text, status, host = rule_text(reply), _status_of(reply), host.lower().rstrip(".")
        for rule in self.rules:
            if rule.covers(text, reply.code, status, phase, host):
                return _verdict(rule.cause, reply.code, rule.name, rule.kind, rule.permanent)
        cause = _by_status(status)
        if cause is not None:
            return _verdict(cause, reply.code, f"status {status}")
        cause = _by_code(reply.code, phase)
        return _verdict(cause, reply.code, "" if cause is Cause.UNKNOWN else f"code {reply.code} at {phase}")


def _verdict(cause: Cause, code: int, rule: str, kind: Kind | None = None, permanent: bool | None = None) -> Verdict:
    if kind is None:
        kind = cause.kind
        if kind is Kind.HARD and code < 500:  # "not known just now" is no word about tomorrow
            kind = Kind.SOFT
    if permanent is None and kind in (Kind.HARD, Kind.THROTTLED):
        permanent = kind is Kind.HARD
    return Verdict(cause, kind, rule, permanent)


def _status_of(reply: Reply) -> str:
    if reply.detail:
        return reply.enhanced
    found = _STATUS_IN_TEXT.search(reply.text[:MAX_TEXT])
    return found[0] if found and int(found[1]) == reply.code // 100 else ""


def _by_status(status: str) -> Cause | None:
    detail = status[2:]
    found = _BY_STATUS.get(detail)
    if found or detail in ("", "0.0"):
        return found
    return _BY_STATUS.get(detail.partition(".")[0] + ".0")


def _by_code(code: int, phase: Phase) -> Cause:
    if phase in _OWN_PHASES:
        return _BY_CODE_ALONE.get(code, _OWN_PHASES[phase]) if code in (498, 499, 556) else _OWN_PHASES[phase]
    if phase in _PHASES:
        return _PHASES[phase]
    return _BY_CODE.get((code, phase)) or _BY_CODE_ALONE.get(code, Cause.UNKNOWN)


_GENERIC = frozenset((Cause.DNS, Cause.CONNECTION, Cause.TLS, Cause.PROTOCOL, Cause.SYSTEM, Cause.LOOP, Cause.UNKNOWN))


def event_reason(verdict: Verdict, permanent: bool) -> str:
    """The `reason` of a `failed` event: bounce, generic, espblock, old, greylisted or blacklisted."""
    if not permanent:
        return _PASSING_REASONS.get(verdict.cause) or ("espblock" if verdict.kind is Kind.POLICY else "generic")
    if verdict.cause is Cause.EXPIRED:
        return "old"
    if verdict.kind in (Kind.POLICY, Kind.THROTTLED):
        return "espblock"
    return "generic" if verdict.cause in _GENERIC and verdict.kind is not Kind.HARD else "bounce"


_PASSING_REASONS = {
    Cause.GREYLISTED: "greylisted",
    Cause.BLOCKLISTED_IP: "blacklisted",
    Cause.BLOCKLISTED_DOMAIN: "blacklisted",
}


def load_rules(text: str, file: str) -> tuple[Rule, ...]:
    """The [[rule]] tables of a TOML text, in order. Raises ConfigError: file, number of the rule, what is right."""
    whole = read_file(text, file)
    rules = tuple(_rule(section) for section in whole.sections("rule"))
    whole.end()
    return rules


def _rule(section: Section) -> Rule:
    name, cause = section.text("name"), section.one_of("cause", Cause)
    if not name or cause is None:
        missing = "cause" if name else "name"
        raise section.wrong(missing, None, "each rule needs a name, and a cause: " + ", ".join(Cause))
    statuses = section.texts("enhanced")
    for status in statuses:
        if not re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", status):
            raise section.wrong("enhanced", status, 'must be an enhanced status code, as "5.7.1"')
    rule = Rule(
        name=name,
        cause=cause,
        pattern=section.pattern("pattern"),
        codes=frozenset(section.wholes("codes", 400, 599)),
        statuses=frozenset(statuses),
        phases=section.some_of("phases", Phase) or _SPOKEN,
        hosts=tuple(host.lower().strip(".") for host in section.texts("hosts")),
        kind=section.one_of("kind", Kind),
        permanent=section.flag("permanent"),
        examples=section.texts("example"),
    )
    if not (rule.pattern or rule.codes or rule.statuses):
        raise section.wrong("pattern", None, "a rule needs at least one of pattern, codes, enhanced")
    section.end()
    return rule
