"""STS: what a domain publishes about TLS to its MX hosts, read: the TXT record, the policy, its host patterns.

Room: delivery. Pure. Source: RFC 8461 §3 (records and policies), §4.1 (matching). Used by delivery.policies.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_POLICY = 65_536  # octets; longer ones are refused
MAX_PATTERNS = 100
MAX_AGE_S = 31_557_600  # a year, §3.2; a larger max_age means this
_VERSION = "STSv1"
_TXT = re.compile(r"v=STSv1[ \t]*;")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_AGE = re.compile(r"[0-9]{1,10}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATTERN = re.compile(rf"(?=.{{1,255}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class Mode(StrEnum):
    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Policy:
    """patterns: lower case, "mx.example.org" or "*.example.org"; empty only with mode none."""

    mode: Mode
    patterns: tuple[str, ...]
    max_age_s: int


class BadPolicy(ValueError):
    """The text is no policy. The message says in a few words why."""


def policy_id(records: Iterable[str]) -> str | None:
    """TXT records of _mta-sts.<domain> -> the id of its policy. None: it has no policy, or not exactly one record."""
    found = [record for record in records if _TXT.match(record)]
    if len(found) != 1:
        return None
    for part in found[0].split(";")[1:]:
        name, _, value = part.strip(" \t").partition("=")
        if name == "id":
            return value if _ID.fullmatch(value) else None
    return None


def parse_policy(body: bytes) -> Policy:
    """The file mta-sts.txt. Unknown fields are passed over; of a field said twice the first counts. BadPolicy."""
    if len(body) > MAX_POLICY:
        raise BadPolicy(f"longer than {MAX_POLICY} octets")
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if name == "mx" and colon:
            patterns.append(_pattern(value))
        elif colon:
            fields.setdefault(name, value)
    return _policy(fields, patterns)


def _policy(fields: dict[str, str], patterns: Sequence[str]) -> Policy:
    if fields.get("version") != _VERSION:
        raise BadPolicy(f"its version is not {_VERSION}")
    try:
        mode = Mode(fields.get("mode", ""))
    except ValueError as error:
        raise BadPolicy("its mode is none of enforce, testing, none") from error
    if not _AGE.fullmatch(fields.get("max_age", "")):
        raise BadPolicy("its max_age is no number of seconds")
    unique = tuple(dict.fromkeys(patterns))
    if not unique and mode is not Mode.NONE:
        raise BadPolicy("it names no mx")
    if len(unique) > MAX_PATTERNS:
        raise BadPolicy(f"it has more than {MAX_PATTERNS} mx")
    return Policy(mode, unique, min(int(fields["max_age"]), MAX_AGE_S))


def _pattern(value: str) -> str:
    pattern = value.lower().removesuffix(".")
    if not _PATTERN.fullmatch(pattern):
        raise BadPolicy("an mx of it is no host name")
    return pattern


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Is the MX host one the policy allows? "*" stands for exactly one label (RFC 8461 §4.1)."""
    name = host.lower().removesuffix(".")
    label, _, parent = name.partition(".")
    return any(pattern == name or (label and parent and pattern == f"*.{parent}") for pattern in patterns)
