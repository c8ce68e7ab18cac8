"""MX: where mail for a domain goes: its hosts in the order of trial, or the smarthost.

Room: delivery. May import: mail. Source: RFC 5321 §5.1, RFC 7505 (null MX).
Used by queue and delivery.connect. What the functions at the end decide is pure; `Router` asks DNS for them.
"""

import asyncio
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mtad.clock import Clock
from mtad.config import DeliveryConfig, parse_listen
from mtad.delivery.addresses import HostAddresses, addresses_of, parse_ip
from mtad.delivery.cache import TtlCache
from mtad.delivery.dns import AddressAnswer, Found, MxHost, Resolver
from mtad.delivery.ourselves import NOBODY, Ourselves
from mtad.mail.reply import Deferred, Failed, Phase, Reply

__all__ = ["MxHost", "Route", "Router", "cut_loop", "in_order"]  # MxHost: from dns, part of a Route

MAX_HOSTS = 30  # of one domain, the most preferred ones
_KEEP_S = (60.0, 3600.0)  # a route is kept for its TTL within these bounds
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


@dataclass(frozen=True, slots=True)
class Route:
    """hosts: never empty, in the order of trial. relay: the smarthost; `domain` is then the smarthost's name, and one
    route serves all domains. web: the host is posted to by HTTP. site: the key of its site, where no hosts make it."""

    domain: str
    hosts: tuple[MxHost, ...]
    port: int
    relay: bool = False
    web: bool = False
    site: str = ""


class Router:
    """Routes by domain, kept in memory.

    allow_private: MX hosts and address literals may be on private and loopback networks; a smarthost always may.
    entries: how many domains are kept.
    """

    def __init__(
        self,
        config: DeliveryConfig,
        resolver: Resolver,
        clock: Clock,
        rng: random.Random,
        ourselves: Ourselves = NOBODY,
        *,
        allow_private: bool = False,
        entries: int = 20_000,
    ) -> None:
        self._resolver, self._rng, self._ourselves = resolver, rng, ourselves
        self._port, self._ipv6 = config.port, config.ipv6
        self._kept: TtlCache[Route | Failed] = TtlCache(clock, entries)
        self._relay = _relay(config.relay) if config.relay else None
        self._private = allow_private or self._relay is not None

    def known(self, domain: str) -> Route | None:
        """The route if it is in memory: asks nobody. domain: lower case. Hosts of one preference in any order."""
        if self._relay is not None:
            return self._relay
        kept = self._kept.get(domain)
        return kept if type(kept) is Route else None

    async def route(self, domain: str) -> Route | Failed | Deferred:
        """domain: the forward-path's, A-labels or an address literal. Hosts of one preference anew at random."""
        if self._relay is not None:
            return self._relay
        domain = domain.lower()
        found: Route | Failed | Deferred | None = self._kept.get(domain)
        if found is None:
            found, keep_s = await self._find(domain)
            if not isinstance(found, Deferred):
                self._kept.put(domain, found, min(max(keep_s, _KEEP_S[0]), _KEEP_S[1]))
        if isinstance(found, Route) and len(found.hosts) > 1:
            return replace(found, hosts=in_order(found.hosts, self._rng))
        return found

    def forget(self, domain: str) -> None:
        """The next route() asks DNS again."""
        self._kept.drop(domain.lower())

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Addresses of a host of a route, in the order of trial; () when it has none for us (why: look_up)."""
        return (await self.look_up(host)).addresses

    async def look_up(self, host: str) -> HostAddresses:
        """As addresses(), and says why there are none."""
        literal = parse_ip(host)
        if literal is not None:
            return addresses_of(host, (host,), ipv6=self._ipv6, private=self._private)
        if self._relay is not None and host == "localhost":  # RFC 6761 §6.3: no question for DNS
            return addresses_of(host, ("::1", "127.0.0.1"), ipv6=self._ipv6, private=True)
        answer = await self._resolver.addresses(host, ipv6=self._ipv6)
        return self._usable(host, answer)

    def _usable(self, host: str, answer: AddressAnswer) -> HostAddresses:
        match answer.found:
            case Found.TROUBLE:
                return HostAddresses((), f"DNS gave no address of {host} ({answer.why})")
            case Found.NO_DOMAIN | Found.NO_DATA:
                return HostAddresses((), f"{host} has no address")
            case Found.RECORDS:
                records = list(answer.records)
                self._rng.shuffle(records)
                return addresses_of(host, records, ipv6=self._ipv6, private=self._private)

    async def _find(self, domain: str) -> tuple[Route | Failed | Deferred, float]:
        """And for how many seconds DNS says it holds."""
        if domain.startswith("["):
            return self._literal(domain), _KEEP_S[1]
        answer = await self._resolver.mx(domain)
        match answer.found:
            case Found.TROUBLE:
                return _defer(f"DNS is in trouble with the MX of {domain}: {answer.why}"), 0.0
            case Found.NO_DOMAIN:
                return _nowhere(f"the domain {domain} does not exist", "1.2"), answer.ttl_s
            case Found.NO_DATA:  # §5.1: the domain itself, as if it were its MX with preference 0
                return await self._reachable(domain, (MxHost(domain, 0),), answer.ttl_s, "1.2")
            case Found.RECORDS:
                return await self._from_mx(domain, answer.records, answer.ttl_s)

    async def _from_mx(
        self, domain: str, hosts: Sequence[MxHost], ttl_s: float
    ) -> tuple[Route | Failed | Deferred, float]:
        if all(host.name == "." for host in hosts):  # RFC 7505 §3
            return _fail(556, "1.10", f"{domain} takes no mail: its MX is null", Phase.DNS), ttl_s
        named = tuple(host for host in hosts if _is_host_name(host.name))
        if not named:
            return _defer(f"the MX records of {domain} name no host"), 0.0
        return await self._reachable(domain, named[:MAX_HOSTS], ttl_s, "4.4")

    async def _reachable(
        self, domain: str, hosts: Sequence[MxHost], ttl_s: float, detail: str
    ) -> tuple[Route | Failed | Deferred, float]:
        """Leaves out ourselves and what has no address; hosts DNS is in trouble with stay, their turn may not come.

        detail: of the reply when none is left.
        """
        async with asyncio.TaskGroup() as asking:
            tasks = [asking.create_task(self._resolver.addresses(host.name, ipv6=self._ipv6)) for host in hosts]
        found = dict(zip(hosts, (task.result() for task in tasks), strict=True))
        left = cut_loop(hosts, {host for host in hosts if self._is_us(host.name, found[host].records)})
        if not left:
            return self._loop(domain), ttl_s
        whys = {host: self._usable(host.name, found[host]).why for host in left}
        in_trouble = {host for host in left if found[host].found is Found.TROUBLE}
        reachable = tuple(host for host in left if not whys[host] or host in in_trouble)
        if not reachable:
            return _nowhere("; ".join(whys[host] for host in left)[:500], detail), ttl_s
        if in_trouble.issuperset(reachable):
            return _defer("; ".join(whys[host] for host in reachable)[:500]), 0.0
        return Route(domain, in_order(reachable, self._rng), self._port), ttl_s

    def _literal(self, domain: str) -> Route | Failed:
        """ "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3)."""
        literal = parse_ip(domain.strip("[]").removeprefix("ipv6:"))
        if literal is None:
            return _fail(550, "1.2", f"{domain} is no address literal", Phase.DNS)
        found = addresses_of(domain, (str(literal),), ipv6=self._ipv6, private=self._private)
        if not found.addresses:
            return _fail(550, "1.2", found.why, Phase.LOCAL)
        if self._is_us(domain, found.addresses):
            return self._loop(domain)
        return Route(domain, (MxHost(found.addresses[0], 0),), self._port)

    def _is_us(self, name: str, addresses: Iterable[str]) -> bool:
        if name in self._ourselves.names:
            return True
        return any(self._ourselves.has_address(address, self._port) for address in addresses)

    def _loop(self, domain: str) -> Failed:
        return _fail(554, "4.6", f"mail for {domain} loops back to this server, which does not host it", Phase.LOCAL)


def in_order(hosts: Iterable[MxHost], rng: random.Random) -> tuple[MxHost, ...]:
    """By preference, at random within one preference (RFC 5321 §5.1)."""
    keyed = [(host.preference, rng.random(), host) for host in hosts]
    return tuple(host for _, _, host in sorted(keyed, key=lambda entry: entry[:2]))


def cut_loop(hosts: Sequence[MxHost], ours: set[MxHost]) -> tuple[MxHost, ...]:
    """Where we are an MX ourselves, only hosts preferred to us may get the mail (RFC 5321 §5.1)."""
    own_preference = min((host.preference for host in ours), default=None)
    return tuple(host for host in hosts if own_preference is None or host.preference < own_preference)


def _is_host_name(name: str) -> bool:
    """An MX that is an IP address is a mistake (RFC 5321 §5.1 asks for a name), and "." among others none."""
    return bool(_HOST_NAME.fullmatch(name)) and not name.rpartition(".")[2].isdigit()


def _relay(text: str) -> Route:
    host, port = parse_listen(text)
    name = host.lower()
    return Route(name, (MxHost(name, 0),), port, relay=True)


def _nowhere(text: str, detail: str) -> Failed:
    return _fail(498, detail, text, Phase.DNS)  # 498: this product's code for "no MX", as its users know it


def _fail(code: int, detail: str, text: str, phase: Phase) -> Failed:
    return Failed(Reply(code, detail, text), None, phase)


def _defer(text: str) -> Deferred:
    return Deferred(Reply(451, "4.3", text), None, Phase.DNS)
