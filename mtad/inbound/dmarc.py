"""DMARC: does somebody who is shown in From stand behind the message, and what does he ask for if not?

Room: inbound. Pure: the caller asks for the records of `names_wanted`. May import: mail, message. Source: RFC 7489.
A message with several From domains is checked for each, and the strictest result counts (§6.6.1).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from publicsuffixlist import PublicSuffixList

from mtad.inbound.dkim_check import Dkim
from mtad.inbound.lookup import RECORDS, TROUBLE, Answer
from mtad.inbound.signature import Result
from mtad.inbound.spf import Spf, SpfResult
from mtad.mail.address import BadAddress, ascii_domain
from mtad.message.headers import HeaderBlock

MAX_DOMAINS = 5  # in From; nobody honest has so many
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_MAX_RECORD = 4096


class Policy(StrEnum):
    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


_STRICTNESS = {Policy.NONE: 0, Policy.QUARANTINE: 1, Policy.REJECT: 2}
_MILDER = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE, Policy.NONE: Policy.NONE}


class DmarcResult(StrEnum):
    """RFC 7489 §11.2."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NONE = "none"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Record:
    """What a domain publishes. percent: of failing messages the policy is for. Strict: names must be the same."""

    policy: Policy
    subdomain_policy: Policy
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Dmarc:
    """domain: of From, A-labels, "" when there is none. published: what its owner asks for. wanted: that, or one step
    milder for the messages pct= leaves out; NONE unless the result is FAIL.
    """

    result: DmarcResult
    domain: str = ""
    published: Policy = Policy.NONE
    wanted: Policy = Policy.NONE
    spf_aligned: bool = False
    dkim_aligned: bool = False
    reason: str = ""


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # 0.15 s and 10 MB: once


def load() -> None:
    """Read the public suffix list. For a thread, when the first message comes from the world."""
    _suffixes()


def is_loaded() -> bool:
    return _suffixes.cache_info().currsize > 0


def organisational(domain: str) -> str:
    """ "a.b.example.co.uk" -> "example.co.uk" (§3.2); a public suffix is its own."""
    return _suffixes().privatesuffix(domain) or domain


def author_domains(block: HeaderBlock) -> list[str] | None:
    """The domains of all From addresses, each once, in A-labels; no more than one over MAX_DOMAINS. None: there is
    none. What cannot be read is passed over, so that it hides no domain beside it.
    """
    found: dict[str, None] = {}
    for address in block.addresses(b"from"):
        with suppress(BadAddress):
            found[ascii_domain(address.rpartition("@")[2])] = None
        if len(found) > MAX_DOMAINS:
            break
    return list(found) or None


def names_wanted(domains: Sequence[str]) -> list[str]:
    """Where policies may be: the domain's own, and its organisation's (§6.6.3)."""
    names = [f"_dmarc.{name}" for domain in domains[:MAX_DOMAINS] for name in (domain, organisational(domain))]
    return list(dict.fromkeys(names))


def read_record(text: str) -> Record | None:
    """None: no DMARC record, or one without a policy (§6.6.3 item 6). What is unknown in it is passed over."""
    if len(text) > _MAX_RECORD or not _VERSION.match(text):
        return None
    tags: dict[str, str] = {}
    for tag in text.split(";"):
        name, _, value = tag.partition("=")
        tags.setdefault(name.strip().lower(), value.strip())
    policy = _policy(tags.get("p"))
    if policy is None:
        # §6.6.3: with somewhere to report to, it stands for p=none
        if not tags.get("rua", "").lower().startswith("mailto:"):
            return None
        policy = Policy.NONE
    return Record(
        policy,
        _policy(tags.get("sp")) or policy,
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        _percent(tags.get("pct", "100")),
    )


def _policy(value: str | None) -> Policy | None:
    try:
        return Policy((value or "").lower())
    except ValueError:
        return None


def _percent(value: str) -> int:
    return min(100, int(value)) if value.isascii() and value.isdigit() and len(value) <= 3 else 100


def evaluate(
    domains: Sequence[str] | None,
    answers: Mapping[str, Answer[str]],
    spf: Spf,
    dkim: Sequence[Dkim],
    chance: Callable[[], float],
) -> Dmarc:
    """answers: of `names_wanted`. chance: 0 to 1, for pct=."""
    if domains is None:
        return Dmarc(DmarcResult.PERMERROR, reason="From names no domain")
    if len(domains) > MAX_DOMAINS:  # or the one that asks for "reject" would only have to be among many
        return Dmarc(DmarcResult.FAIL, domains[0], wanted=Policy.REJECT, reason="From names too many domains")
    each = [_one(domain, answers, spf, dkim, chance) for domain in domains]
    return max(each, key=_severity)


_ORDER = {
    DmarcResult.PASS: 0,
    DmarcResult.NONE: 1,
    DmarcResult.PERMERROR: 2,
    DmarcResult.TEMPERROR: 3,
    DmarcResult.FAIL: 4,
}


def _severity(dmarc: Dmarc) -> tuple[int, int]:
    return _ORDER[dmarc.result], _STRICTNESS[dmarc.published]


def _one(
    domain: str, answers: Mapping[str, Answer[str]], spf: Spf, dkim: Sequence[Dkim], chance: Callable[[], float]
) -> Dmarc:
    found = _find(domain, answers)
    if isinstance(found, Dmarc):
        return found
    record, published = found
    spf_aligned = spf.result is SpfResult.PASS and aligned(domain, spf.domain, record.strict_spf)
    passing = [one for one in dkim if one.result is Result.PASS]
    dkim_aligned = any(aligned(domain, one.domain, record.strict_dkim) for one in passing)
    if spf_aligned or dkim_aligned:
        return Dmarc(DmarcResult.PASS, domain, published, Policy.NONE, spf_aligned, dkim_aligned)
    if _may_yet_pass(domain, record, spf, dkim):
        return Dmarc(DmarcResult.TEMPERROR, domain, published, reason="SPF or DKIM could not be looked up")
    chosen = record.percent >= 100 or chance() * 100 < record.percent
    return Dmarc(DmarcResult.FAIL, domain, published, published if chosen else _MILDER[published])


def _may_yet_pass(domain: str, record: Record, spf: Spf, dkim: Sequence[Dkim]) -> bool:
    """DNS trouble hides what would have been aligned (§6.6.2): no reason to call it a failure."""
    if spf.result is SpfResult.TEMPERROR and aligned(domain, spf.domain, record.strict_spf):
        return True
    troubled = [one for one in dkim if one.result is Result.TEMPERROR]
    return any(aligned(domain, one.domain, record.strict_dkim) for one in troubled)


def _find(domain: str, answers: Mapping[str, Answer[str]]) -> tuple[Record, Policy] | Dmarc:
    """The record that counts and the policy in it for this domain; or the result when there is none (§6.6.3)."""
    organisation = organisational(domain)
    for name in dict.fromkeys((domain, organisation)):
        answer = answers[f"_dmarc.{name}"]
        if answer.found == TROUBLE:
            return Dmarc(DmarcResult.TEMPERROR, domain, reason=f"DNS: {answer.why}"[:200])
        texts = [text for text in answer.records if _VERSION.match(text)] if answer.found == RECORDS else []
        if len(texts) > 1:
            return Dmarc(DmarcResult.PERMERROR, domain, reason="more than one DMARC record")
        record = read_record(texts[0]) if texts else None
        if texts and record is None:
            return Dmarc(DmarcResult.PERMERROR, domain, reason="the DMARC record has no policy")
        if record is not None:
            return record, record.policy if name == domain else record.subdomain_policy
    return Dmarc(DmarcResult.NONE, domain)


def is_strict(domains: Sequence[str], answers: Mapping[str, Answer[str]], signer: str) -> bool:
    """Mail from these authors that only `signer` (a domain, "" none) vouches for may be refused or taken for spam.
    answers: of `names_wanted`. Also where DNS does not tell: who forwards in another's name must be sure.
    """
    return any(_asks_for_proof(domain, answers, signer) for domain in domains[:MAX_DOMAINS])


def _asks_for_proof(domain: str, answers: Mapping[str, Answer[str]], signer: str) -> bool:
    found = _find(domain, answers)
    if isinstance(found, Dmarc):
        return found.result is DmarcResult.TEMPERROR
    record, published = found
    return published is not Policy.NONE and not aligned(domain, signer, record.strict_dkim)


def aligned(author: str, authenticated: str, strict: bool) -> bool:
    """RFC 7489 §3.1."""
    other = authenticated.lower()
    if not other or author == other:
        return bool(other)
    return not strict and organisational(author) == organisational(other)
