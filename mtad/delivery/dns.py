"""DNS: names -> MX hosts, addresses, texts; cached for their TTL, asked once for all who wait.

Room: delivery. May import: mail. Source: RFC 1035, RFC 2308 (negative answers), RFC 9520 (failed resolution).
`DnsResolver` turns every exception of dnspython into an answer: nothing raises but cancellation. Its answers are
kept in a cache of their own, since a dnspython answer holds the whole message: 3 KB where ours has 0.4.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver

from mtad.clock import Clock
from mtad.config import DnsConfig, parse_listen
from mtad.delivery.cache import Flights, TtlCache
from mtad.log import get

log = get("delivery")
T = TypeVar("T")

MAX_RECORDS = 100  # of one answer; the rest is left out
MAX_TEXT = 4096  # characters of one TXT record; longer ones are left out
_MAX_KEPT = 4096  # characters of one answer in the cache; larger ones are asked for again
_MAX_TTL_S = 86_400.0
_TROUBLE_S = 10.0  # RFC 9520 §3.2: a failure is kept too, or a dead name server is asked for each recipient
_PAYLOAD = 1232  # octets of a UDP answer that no network has to cut in pieces
_AT_ONCE = 256  # questions, each with a socket of its own


class Found(StrEnum):
    """What came back."""

    RECORDS = "records"
    NO_DOMAIN = "no-domain"  # NXDOMAIN, or no name DNS could hold
    NO_DATA = "no-data"  # the name is there, not the type
    TROUBLE = "trouble"  # SERVFAIL, timeout, nonsense: ask again later


@dataclass(frozen=True)  # no slots: with them calling Answer[str](...) is a TypeError in Python 3.11
class Answer(Generic[T]):
    """records: never empty with RECORDS, else always. ttl_s: seconds it may be kept. why: words for TROUBLE."""

    found: Found
    records: tuple[T, ...]
    ttl_s: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class MxHost:
    """name: lower case, no final dot, as DNS gave it; "." is the null MX (RFC 7505). preference: lowest first."""

    name: str
    preference: int


MxAnswer = Answer[MxHost]
AddressAnswer = Answer[str]  # "192.0.2.1", "2001:db8::1"
TxtAnswer = Answer[str]  # the strings of one record joined, octets as Latin-1


class Resolver(Protocol):
    """Asks DNS. Never raises; CNAMEs are followed."""

    async def mx(self, name: str) -> MxAnswer: ...
    async def addresses(self, name: str, *, ipv6: bool = True) -> AddressAnswer: ...
    async def txt(self, name: str) -> TxtAnswer: ...


class DnsResolver:
    """The system's name servers, or those of `[dns] nameservers`."""

    def __init__(self, config: DnsConfig, clock: Clock) -> None:
        self._resolver = _stub(config)
        self._lifetime_s = config.timeout_s
        self._cache: TtlCache[Answer[Any]] = TtlCache(clock, config.cache_entries)
        self._flights: Flights[Answer[Any]] = Flights()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._backend = dns.asyncbackend.get_backend("asyncio")

    async def mx(self, name: str) -> MxAnswer:
        return await self._look_up(name, dns.rdatatype.MX, _mx_hosts)

    async def txt(self, name: str) -> TxtAnswer:
        return await self._look_up(name, dns.rdatatype.TXT, _texts)

    async def ptr(self, name: str) -> TxtAnswer:
        """name: below in-addr.arpa or ip6.arpa. Host names, without the final dot."""
        return await self._look_up(name, dns.rdatatype.PTR, _targets)

    async def cname(self, name: str) -> TxtAnswer:
        """What the name is another name for: of the name itself, not followed."""
        return await self._look_up(name, dns.rdatatype.CNAME, _targets)

    async def ipv6_addresses(self, name: str) -> AddressAnswer:
        return await self._look_up(name, dns.rdatatype.AAAA, _addresses)

    async def addresses(self, name: str, *, ipv6: bool = True) -> AddressAnswer:
        """IPv6 first, then IPv4. With ipv6=False AAAA is not asked for."""
        if not ipv6:
            return await self._look_up(name, dns.rdatatype.A, _addresses)
        async with asyncio.TaskGroup() as both:
            six = both.create_task(self._look_up(name, dns.rdatatype.AAAA, _addresses))
            four = both.create_task(self._look_up(name, dns.rdatatype.A, _addresses))
        return merged(six.result(), four.result())

    async def _look_up(
        self, name: str, kind: dns.rdatatype.RdataType, read: Callable[[Iterable[Any]], list[T]]
    ) -> Answer[T]:
        key = f"{kind.name} {name.lower().removesuffix('.')}"
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        return await self._flights.run(key, lambda: self._ask_and_keep(key, name, kind, read))

    async def _ask_and_keep(
        self, key: str, name: str, kind: dns.rdatatype.RdataType, read: Callable[[Iterable[Any]], list[T]]
    ) -> Answer[T]:
        found, records, ttl_s, why = await self._ask(name, kind)
        usable = tuple(read(records)[:MAX_RECORDS])
        if found is Found.RECORDS and not usable:
            found = Found.NO_DATA
        answer = Answer(found, usable, min(ttl_s, _MAX_TTL_S), why)
        if sum(len(str(record)) for record in usable) <= _MAX_KEPT:
            self._cache.put(key, answer, answer.ttl_s)
        if found is Found.TROUBLE:
            log.info("dns-trouble", name=name, type=kind.name, cause=why)
        return answer

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[Found, list[Any], float, str]:
        qname = _qname(name)
        if qname is None:
            return Found.NO_DOMAIN, [], _MAX_TTL_S, "not a domain name"
        try:
            # The outer limit counts the wait for a slot in; dnspython keeps the inner one.
            async with asyncio.timeout(2 * self._lifetime_s), self._slots:
                answer = await self._resolver.resolve(
                    qname, kind, search=False, raise_on_no_answer=False, backend=self._backend
                )
        except dns.resolver.NXDOMAIN as error:
            return Found.NO_DOMAIN, [], float(error.kwargs["responses"][qname].resolve_chaining().minimum_ttl), ""
        except dns.resolver.NoNameservers as error:
            return Found.TROUBLE, [], _TROUBLE_S, _reason(error)
        except (TimeoutError, dns.exception.Timeout):
            return Found.TROUBLE, [], _TROUBLE_S, f"no answer within {self._lifetime_s:g} s"
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return Found.TROUBLE, [], _TROUBLE_S, f"{type(error).__name__}: {error}"[:200]
        ttl_s = float(answer.chaining_result.minimum_ttl)
        if answer.rrset is None:
            return Found.NO_DATA, [], ttl_s, ""
        return Found.RECORDS, list(answer.rrset), ttl_s, ""


def merged(first: Answer[T], second: Answer[T]) -> Answer[T]:
    """Two types of one name as one answer. Records of one outweigh trouble with the other."""
    records = first.records + second.records
    ttl_s = min(first.ttl_s, second.ttl_s)
    if records:
        return Answer(Found.RECORDS, records, ttl_s)
    for found in (Found.TROUBLE, Found.NO_DOMAIN):
        for answer in (first, second):
            if answer.found is found:
                return replace(answer, ttl_s=ttl_s)
    return Answer(Found.NO_DATA, (), ttl_s)


def _stub(config: DnsConfig) -> dns.asyncresolver.Resolver:
    try:
        stub = dns.asyncresolver.Resolver(configure=not config.nameservers)
    except dns.resolver.NoResolverConfiguration:  # as the C library does: the one on this machine
        stub = dns.asyncresolver.Resolver(configure=False)
        stub.nameservers = ["127.0.0.1"]
    if config.nameservers:
        stub.nameservers = [dns.nameserver.Do53Nameserver(*parse_listen(text)) for text in config.nameservers]
    stub.lifetime = config.timeout_s
    stub.timeout = min(2.0, config.timeout_s / 2)  # for one try, so that a lost packet leaves time for another
    stub.use_edns(0, 0, _PAYLOAD)
    return stub


def _qname(name: str) -> dns.name.Name | None:
    if not name.isascii() or "\\" in name or name in ("", "."):
        return None
    try:
        return dns.name.from_text(name, dns.name.root)
    except (dns.exception.DNSException, ValueError):
        return None


def _reason(error: dns.resolver.NoNameservers) -> str:
    errors = error.kwargs.get("errors") or []
    last = errors[-1][3] if errors else "none is configured"
    words = last if isinstance(last, str) else f"{type(last).__name__} {last}".strip()
    return f"the name servers answered {words}"[:200]


def _mx_hosts(records: Iterable[Any]) -> list[MxHost]:
    hosts = [MxHost(_plain(record.exchange), int(record.preference)) for record in records]
    return sorted(hosts, key=lambda host: host.preference)


def _addresses(records: Iterable[Any]) -> list[str]:
    return [str(record.address) for record in records]


def _texts(records: Iterable[Any]) -> list[str]:
    texts = [b"".join(record.strings).decode("latin-1") for record in records]
    return [text for text in texts if len(text) <= MAX_TEXT]


def _targets(records: Iterable[Any]) -> list[str]:
    return [_plain(record.target) for record in records]


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else "."
