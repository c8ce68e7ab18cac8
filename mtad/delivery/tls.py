"""TLS: what an MX host must prove before it gets a message, and the contexts that ask for it.

Room: delivery. May import: mail. Source: RFC 3207 (STARTTLS), RFC 7435 (opportunistic), RFC 8461 (MTA-STS).
In order: the message may ask for TLS; the operator's word for the domain; the domain's MTA-STS policy; the config.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from mtad.clock import Clock
from mtad.config import DeliveryConfig
from mtad.delivery.cache import TtlCache
from mtad.delivery.dns import Resolver
from mtad.delivery.mx import Route
from mtad.delivery.policies import Fetch, Policies
from mtad.delivery.sts import Mode, matches
from mtad.mail.reply import Deferred, Phase, Reply


class Level(StrEnum):
    """As in `[delivery] tls`."""

    NONE = "none"  # STARTTLS is not used
    OPPORTUNISTIC = "opportunistic"  # used if it works; who answers is not checked
    REQUIRED = "required"  # no message without; who answers is not checked
    VERIFIED = "verified"  # and the certificate must be good and name the host

    @property
    def is_mandatory(self) -> bool:
        return self in (Level.REQUIRED, Level.VERIFIED)


@dataclass(frozen=True, slots=True)
class Requirement:
    """names: patterns of the MTA-STS policy that the host matched, () without one; the certificate must name the
    host itself in any case (RFC 8461 §4.1). why: who asks, to end "TLS is needed because ...". implicit: TLS begins
    with the first octet (RFC 8314), there is no STARTTLS."""

    level: Level
    names: tuple[str, ...]
    why: str
    implicit: bool = False


class TlsPolicies:
    """overrides: domain (lower case) -> level, what the operator decided for mail to it."""

    def __init__(
        self,
        config: DeliveryConfig,
        resolver: Resolver,
        fetch: Fetch,
        clock: Clock,
        overrides: Mapping[str, Level] | None = None,
    ) -> None:
        self._default = Requirement(Level(config.tls), (), "delivery.tls says so")
        self._relay = _of_relay(config.relay_tls)
        self._overrides = dict(overrides or {})
        self._policies = Policies(resolver, fetch, clock) if config.mta_sts else None

    async def requirement(
        self, route: Route, host: str, message_requires_tls: bool, skip_verification: bool = False
    ) -> Requirement | Deferred:
        """What `host` of `route` must prove. Deferred: this host must not get the mail; others of the route may.

        skip_verification: the message requires TLS and does not ask who answers. It takes nothing from what the
        operator or a policy asks for.
        """
        asked = self._relay if route.relay else await self._of_domain(route.domain, host)
        if not isinstance(asked, Requirement) or not message_requires_tls or asked.level is Level.VERIFIED:
            return asked
        if not skip_verification:
            return Requirement(Level.VERIFIED, (), "the message requires it")
        return asked if asked.level is Level.REQUIRED else Requirement(Level.REQUIRED, (), "the message requires it")

    async def _of_domain(self, domain: str, host: str) -> Requirement | Deferred:
        if domain in self._overrides:
            return Requirement(self._overrides[domain], (), f"it is set so for {domain}")
        if self._policies is None or domain.startswith("["):  # an address literal has no name to publish under
            return self._default
        policy = await self._policies.policy(domain)
        if policy is None or policy.mode is not Mode.ENFORCE:
            return self._default
        if matches(host, policy.patterns):
            return Requirement(Level.VERIFIED, policy.patterns, f"the MTA-STS policy of {domain} demands it")
        text = f"the MTA-STS policy of {domain} does not allow its MX {host}"
        return Deferred(Reply(451, "7.5", text), None, Phase.TLS)


def _of_relay(configured: str) -> Requirement:
    why = "delivery.relay_tls says so"
    if configured == "implicit":  # RFC 8314 §5.2: such a client checks the certificate
        return Requirement(Level.VERIFIED, (), why, implicit=True)
    return Requirement(Level(configured), (), why)


class TlsMemory:
    """Hosts whose STARTTLS failed: with opportunistic TLS they are spoken to in the clear for a while.

    Where TLS is mandatory this memory has no say: it neither learns nor tells. keep_s: seconds; entries: hosts.
    """

    def __init__(self, clock: Clock, keep_s: float = 1800.0, entries: int = 5000) -> None:
        self._failed: TtlCache[bool] = TtlCache(clock, entries)
        self._keep_s = keep_s

    def failed(self, host: str, requirement: Requirement) -> None:
        """The handshake with `host` did not come about."""
        if requirement.level is Level.OPPORTUNISTIC:
            self._failed.put(host, True, self._keep_s)

    def skips(self, host: str, requirement: Requirement) -> bool:
        """True: do without STARTTLS this time."""
        return requirement.level is Level.OPPORTUNISTIC and self._failed.get(host) is not None


def client_context(requirement: Requirement, ca_file: str | None = None) -> ssl.SSLContext:
    """One context for each kind, made once: reading the system's authorities takes many milliseconds.

    ca_file: PEM of the authorities to trust instead of the system's. Not for level none: ValueError.
    """
    match requirement.level:
        case Level.NONE:
            raise ValueError("without TLS there is no context")
        case Level.OPPORTUNISTIC | Level.REQUIRED:
            return _unverified()
        case Level.VERIFIED:
            return _verified(ca_file)


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    # Nobody is authenticated, so short keys of old servers still beat plain text (RFC 7435 §1.2).
    context.set_ciphers("DEFAULT:@SECLEVEL=1")
    return context


@lru_cache(maxsize=4)
def _verified(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
