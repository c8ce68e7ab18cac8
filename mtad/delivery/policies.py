"""Policies: the MTA-STS policies of domains, found, kept and renewed.

Room: delivery. May import: mail. Source: RFC 8461 §3.3 (fetching), §5.1 (application), §10.2 (renewing early).
A policy once had stays in force until its max_age is over, whatever DNS and HTTPS say meanwhile: that is all its
protection against whoever can forge answers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mtad.clock import Clock
from mtad.delivery.cache import Flights, TtlCache
from mtad.delivery.dns import Found, Resolver
from mtad.delivery.sts import BadPolicy, Policy, parse_policy, policy_id
from mtad.log import get

log = get("delivery")

Fetch = Callable[[str], Awaitable[tuple[int, str, bytes]]]  # URL -> status, Content-Type, body; raises FetchFailed

_ASK_S = (300.0, 3600.0)  # the TXT record is looked at again after its TTL, within these bounds
_TROUBLE_S = 30.0  # but after trouble in DNS so soon
_FETCH_AGAIN_S = 300.0  # after a failed fetch, §3.3
_RENEW_S = 86_400.0  # a policy is fetched anew each day, so that one in force is rarely near its end
_MIN_AGE_S = 60  # a shorter max_age would mean a fetch for each message


class FetchFailed(Exception):
    """The policy could not be had. The message says in a few words why."""


@dataclass(frozen=True, slots=True)
class _Held:
    """All times are the clock's steady seconds. policy None: the domain has none, or none that could be had."""

    ask_at: float  # until then nobody is asked
    policy: Policy | None = None
    id: str = ""
    ends_at: float = 0.0
    renew_at: float = 0.0


class Policies:
    """entries: how many domains are kept."""

    def __init__(self, resolver: Resolver, fetch: Fetch, clock: Clock, entries: int = 5000) -> None:
        self._resolver, self._fetch, self._steady = resolver, fetch, clock.steady
        self._held: TtlCache[_Held] = TtlCache(clock, entries)
        self._flights: Flights[_Held] = Flights()

    async def policy(self, domain: str) -> Policy | None:
        """The policy in force, mode none included. None: there is none. domain: lower case, A-labels."""
        held = self._held.get(domain)
        if held is None or held.ask_at <= self._steady():
            held = await self._flights.run(domain, lambda: self._look(domain, held))
        return held.policy

    async def _look(self, domain: str, old: _Held | None) -> _Held:
        held = await self._renewed(domain, old if old and old.ends_at > self._steady() else _Held(0.0))
        now = self._steady()
        if held.policy is not None:  # no later than its end: it must not outlive max_age
            held = replace(held, ask_at=min(held.ask_at, held.ends_at))
        self._held.put(domain, held, max(held.ask_at, held.ends_at) - now)
        return held

    async def _renewed(self, domain: str, old: _Held) -> _Held:
        """old: holds a policy in force, or none."""
        answer = await self._resolver.txt(f"_mta-sts.{domain}")
        name = policy_id(answer.records)
        now = self._steady()
        trouble = answer.found is Found.TROUBLE
        ask_at = now + (_TROUBLE_S if trouble else min(max(answer.ttl_s, _ASK_S[0]), _ASK_S[1]))
        if name is None or (old.policy is not None and name == old.id and now < old.renew_at):
            return replace(old, ask_at=ask_at)
        try:
            policy = await self._fetched(domain)
        except (FetchFailed, BadPolicy) as error:
            log.warning("mta-sts-not-had", domain=domain, cause=str(error)[:200], kept=old.policy is not None)
            return replace(old, ask_at=self._steady() + _FETCH_AGAIN_S)
        now = self._steady()
        age_s = max(policy.max_age_s, _MIN_AGE_S)
        return _Held(ask_at, policy, name, ends_at=now + age_s, renew_at=now + min(_RENEW_S, age_s / 2))

    async def _fetched(self, domain: str) -> Policy:
        """§3.3: 200 and text/plain; a redirect is not followed."""
        status, kind, body = await self._fetch(f"https://mta-sts.{domain}/.well-known/mta-sts.txt")
        if status != 200:
            raise FetchFailed(f"HTTP status {status}")
        if kind.partition(";")[0].strip().lower() != "text/plain":
            raise FetchFailed("its Content-Type is not text/plain")
        return parse_policy(body)
