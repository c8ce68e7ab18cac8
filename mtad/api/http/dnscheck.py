"""DNS check: are a domain's records there, and do they say what they must?

Room: api. May import: inbound. Source: RFC 7208 (SPF), RFC 6376 §3.6.2 (DKIM keys), RFC 5321 §5.1 (MX). Each check is
what a receiver of our mail would do: SPF is evaluated for the addresses we send from, so a chain of includes is
followed within the limits of the RFC, and of a DKIM record only the key counts, however its text is written.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from mtad.inbound.dkim_key import BadRecord, read_key, read_keys
from mtad.inbound.lookup import NO_DOMAIN, RECORDS, TROUBLE, Answer, Bridge, Kind, Resolver
from mtad.inbound.spf import Identity, Sender, SpfResult, evaluate, has_record
from mtad.mail.address import BadAddress, ascii_domain

CHECK_S = 20.0  # for one record
MAX_SOURCES = 32  # addresses of ours that SPF is evaluated for
MAX_HOSTS = 5  # MX hosts whose addresses are compared with ours
MAX_FOUND = 10  # records shown
_MAX_TEXT = 600  # characters of a shown one


class Valid(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"  # DNS did not tell


class Names(Resolver, Protocol):
    """What the daemon hands down: it never raises. cname: of the name itself, not followed."""

    async def cname(self, name: str) -> Answer[str]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """found: the records there, for people. why: a sentence, "" with VALID."""

    valid: Valid
    found: tuple[str, ...] = ()
    why: str = ""


async def in_time(check: Coroutine[Any, Any, Check]) -> Check:
    """UNKNOWN after CHECK_S."""
    try:
        async with asyncio.timeout(CHECK_S):
            return await check
    except TimeoutError:
        return Check(Valid.UNKNOWN, (), f"DNS did not answer within {CHECK_S:g} s")


async def check_spf(names: Names, domain: str, host: str, sources: Sequence[str], now: float) -> Check:
    """sources: the addresses we send from; none: those of `host`, our name."""
    answer = await names.txt(domain)
    if answer.found == TROUBLE:
        return _trouble(answer.why)
    texts = tuple(text for text in answer.records if has_record([text]))
    if len(texts) != 1:
        return Check(Valid.INVALID, _shown(texts), _count(domain, len(texts)))
    if not sources:
        own = await names.addresses(host)
        if own.found == TROUBLE:
            return _trouble(own.why)
        sources = own.records
        if not sources:
            return Check(Valid.INVALID, _shown(texts), f"{host}, our own name, has no address in DNS")
    for source in sources[:MAX_SOURCES]:
        bridge = Bridge(names)
        bridge.know(Kind.TXT, domain, answer)
        sender = Sender(Identity.MAILFROM, f"postmaster@{domain}", domain)
        try:
            spf = await asyncio.to_thread(evaluate, sender, source, host, now, bridge.ask)
        finally:
            bridge.stop()
        if spf.result is SpfResult.TEMPERROR:
            return Check(Valid.UNKNOWN, _shown(texts), f"DNS failed: {spf.reason}")
        if spf.result is not SpfResult.PASS:
            reason = f": {spf.reason}" if spf.reason else ""
            return Check(Valid.INVALID, _shown(texts), f"the record gives {spf.result} for {source}{reason}")
    return Check(Valid.VALID, _shown(texts))


def _count(domain: str, count: int) -> str:
    if not count:
        return f"{domain} has no SPF record"
    return f"{domain} has {count} SPF records, and may have one (RFC 7208 §3.2)"


async def check_dkim(names: Names, name: str, record: str) -> Check:
    """record: what we would have there."""
    answer = await names.txt(name)
    if answer.found == TROUBLE:
        return _trouble(answer.why)
    texts = tuple(answer.records)
    if not texts:
        return Check(Valid.INVALID, (), f"there is no TXT record at {name}")
    try:
        same = read_keys(texts).public == read_key(record).public
    except BadRecord as error:
        return Check(Valid.INVALID, _shown(texts), f"the record cannot be used: {error}")
    return Check(Valid.VALID if same else Valid.INVALID, _shown(texts), "" if same else "it is another key")


async def check_cname(names: Names, name: str, host: str) -> Check:
    """An alias of `host`, or anything with an address of it: some zones turn aliases into addresses."""
    answer = await names.cname(name)
    if answer.found == TROUBLE:
        return _trouble(answer.why)
    targets = tuple(_plain(target) for target in answer.records)
    if host in targets:
        return Check(Valid.VALID, _shown(targets))
    same = answer.found != NO_DOMAIN and await _same_place(names, name, host)
    if same is None:
        return Check(Valid.UNKNOWN, _shown(targets), "DNS failed")
    if same:
        return Check(Valid.VALID, _shown(targets))
    why = f"it leads to {targets[0]}" if targets else f"{name} does not lead here"
    return Check(Valid.INVALID, _shown(targets), why)


async def check_mx(names: Names, domain: str, host: str) -> Check:
    """One of the hosts is ours, by name or address."""
    answer = await names.mx(domain)
    if answer.found == TROUBLE:
        return _trouble(answer.why)
    hosts = [(_plain(one.name), one.preference) for one in answer.records]
    shown = _shown([f"{preference} {name}" for name, preference in hosts])
    if any(name == host for name, _ in hosts):
        return Check(Valid.VALID, shown)
    if not hosts:
        return Check(Valid.INVALID, shown, f"{domain} has no MX record")
    places = [await _same_place(names, name, host) for name, _ in hosts[:MAX_HOSTS]]
    if any(places):
        return Check(Valid.VALID, shown)
    if None in places:
        return Check(Valid.UNKNOWN, shown, "DNS failed")
    return Check(Valid.INVALID, shown, "mail to the domain goes elsewhere")


async def _same_place(names: Names, first: str, second: str) -> bool | None:
    """The names share an address; None: DNS did not tell."""
    one, other = await names.addresses(first), await names.addresses(second)
    if TROUBLE in (one.found, other.found):
        return None
    return one.found == RECORDS and not set(one.records).isdisjoint(other.records)


def _trouble(why: str) -> Check:
    return Check(Valid.UNKNOWN, (), f"DNS failed: {why}" if why else "DNS failed")


def _plain(name: str) -> str:
    try:
        return ascii_domain(name.rstrip("."))
    except BadAddress:
        return name.rstrip(".").lower()


def _shown(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple("".join(c if " " <= c <= "~" else "?" for c in text)[:_MAX_TEXT] for text in texts[:MAX_FOUND])
