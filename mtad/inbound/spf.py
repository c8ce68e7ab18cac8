"""SPF: may this host send for this domain?

Room: inbound. May import: mail. Source: RFC 7208, by pyspf. Everything it asks DNS goes through `ask`, so that no
hook of the module is used and any number of threads may evaluate together. Explanations (exp=) are not fetched: they
are a stranger's words.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import spf as pyspf

from mtad.inbound.lookup import Kind, LookupTrouble, TooManyQuestions
from mtad.mail.address import Address

Ask = Callable[[str, Kind], Sequence[str]]  # raises LookupTrouble, TooManyQuestions

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{1,63}\.?")
_MAX_REASON = 200
_MAX_TERM = 512  # characters; to expand macros takes pyspf time that grows with the square


class SpfResult(StrEnum):
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Identity(StrEnum):
    """Whose record was looked at: the reverse-path's, or the HELO name's for the null path (RFC 7208 §2.4)."""

    MAILFROM = "mailfrom"
    HELO = "helo"


@dataclass(frozen=True, slots=True)
class Spf:
    """domain: lower case, whose record it was; "" when the peer named none. reason: for people, "" if there is none."""

    result: SpfResult
    identity: Identity
    domain: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """What SPF is asked about. address: "postmaster@" the HELO name for the null path."""

    identity: Identity
    address: str
    domain: str  # "": no domain name, so there is nothing to ask


def sender_of(reverse_path: Address | None, helo: str) -> Sender:
    if reverse_path is not None:
        found = _NAME.fullmatch(reverse_path.domain)
        return Sender(Identity.MAILFROM, str(reverse_path), reverse_path.domain if found else "")
    name = helo.strip().rstrip(".").lower()
    return Sender(Identity.HELO, f"postmaster@{name}", name if _NAME.fullmatch(name) else "")


def has_record(texts: Sequence[str]) -> bool:
    """One of a domain's TXT records is about SPF (RFC 7208 §4.5)."""
    return any(text[:7].lower() == "v=spf1 " or text.lower() == "v=spf1" for text in texts)


def evaluate(sender: Sender, peer_ip: str, helo: str, now: float, ask: Ask) -> Spf:
    """check_host() of RFC 7208 §4, in the calling thread. Never raises."""
    try:
        query = _Query(peer_ip, sender.address, helo, ask)
        query.t = str(int(now))
        result, _, words = query.check()  # type: ignore[no-untyped-call]
        reason = "" if result in ("pass", "none") else _MECHANISM % query.mechanism if query.mechanism else words
    except TooManyQuestions:
        result, reason = "permerror", "too many DNS lookups"
    except Exception as error:  # a record pyspf stumbles over is a record that is wrong
        result, reason = "permerror", f"the record could not be evaluated ({type(error).__name__})"
    return Spf(SpfResult(result), sender.identity, sender.domain, _plain(reason))


_MECHANISM = "matched %s"
_VOID = f"more than {pyspf.MAX_VOID_LOOKUPS} lookups found nothing"


def _plain(words: str) -> str:
    return "".join([one if " " <= one <= "~" else "?" for one in words])[:_MAX_REASON]


class _Query(pyspf.query):
    """pyspf's evaluation, with our DNS and without explanations."""

    def __init__(self, peer_ip: str, sender: str, helo: str, ask: Ask) -> None:
        super().__init__(i=peer_ip, s=sender, h=helo)  # type: ignore[no-untyped-call]
        self._ask = ask

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """Records as pyspf wants them. Counts answers without records (§4.6.4)."""
        name = str(name).removesuffix(".")
        if not all(0 < len(label) < 64 for label in name.split(".")):
            return []  # no question DNS could be asked, so no void answer either
        try:
            records = self._ask(name, Kind(qtype))
        except LookupTrouble as trouble:
            raise pyspf.TempError(f"DNS: {trouble}") from None  # type: ignore[no-untyped-call]
        if not records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > pyspf.MAX_VOID_LOOKUPS:
                raise pyspf.PermError(_VOID)  # type: ignore[no-untyped-call]
        match qtype:
            case "TXT":
                if any(len(term) > _MAX_TERM for text in records if has_record([text]) for term in text.split(" ")):
                    raise pyspf.PermError("a term is too long")  # type: ignore[no-untyped-call]
                return [(text.encode("latin-1"),) for text in records]
            case "MX":
                return list(enumerate(records))
            case _:
                return list(records)

    def get_explanation(self, spec: str) -> None:
        return None
