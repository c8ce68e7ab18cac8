"""Verdicts: who a message is from, and whether it is spam, before it is answered 250.

Room: inbound. May import: mail, message. Source: RFC 7208, 6376, 8617, 7489, 8601. DNS is asked on the loop, all keys
and policies of a message together; arithmetic, and pyspf, which cannot wait, run in threads of the checker's own.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mtad import log as log_module
from mtad.clock import Clock
from mtad.inbound import arc as arc_chain
from mtad.inbound import dkim_check, dmarc
from mtad.inbound.arc import Arc, ArcResult, ArcSet, BrokenChain
from mtad.inbound.askers import LOOKUP_S, THREADS, Askers
from mtad.inbound.dkim_check import MAX_SIGNATURES, Dkim, KeyOrFault
from mtad.inbound.dmarc import Dmarc, DmarcResult, Policy
from mtad.inbound.lookup import TROUBLE, Answer, Resolver
from mtad.inbound.results import Findings, Session, User, added_fields, cleaned, results_value, scan_head
from mtad.inbound.signature import Bodies
from mtad.inbound.spam import Scan, Spam, SpamAction
from mtad.inbound.spf import Spf, SpfResult, sender_of
from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.message.headers import HeaderBlock, scan

log = log_module.get("inbound")

_DMARC_REFUSED = Reply(550, "7.1", "The From domain asks for mail that neither SPF nor DKIM vouches for to be refused")
_SUMS = 2  # threads for what releases the interpreter lock only now and then
_NO_FILTER = Reply(451, "7.1", "The spam filter gives no answer; try again later")


class OnReject(StrEnum):
    """What is done when DMARC fails and the From domain asks for "reject"."""

    REFUSE = "refuse"  # 550 in the session
    MARK = "mark"  # only Authentication-Results say so


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """authserv_id: the name in Authentication-Results, our own host name. time_limit_s: for all DNS of a message.

    lookup_s: for one question of SPF. threads: SPF checks under way together. signatures: looked at in one message.
    trusted_sealers: domains whose ARC chain lets mail pass that DMARC would have refused.
    """

    authserv_id: str
    time_limit_s: float = 10.0
    lookup_s: float = LOOKUP_S
    threads: int = THREADS
    signatures: int = MAX_SIGNATURES
    on_reject: OnReject = OnReject.REFUSE
    trusted_sealers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """What the domain of the recipients wants."""

    spam_action: SpamAction = SpamAction.DISABLED


@dataclass(frozen=True, slots=True)
class Verdicts:
    """refusal: what to answer instead of 250. drop: take it, tell nobody but the journal. fields: to go on top of
    `content`, which is the message without what claimed to be ours. results: for an ARC seal. took_s: for the metric.
    """

    findings: Findings
    refusal: Reply | None
    drop: bool
    fields: bytes
    content: bytes
    results: str
    took_s: float


class Filter(Protocol):
    """Who judges whether a message is spam."""

    @property
    def fail_closed(self) -> bool:
        """Mail waits while there is no answer."""

    async def scan(self, head: bytes, content: bytes) -> Spam:
        """head: fields to stand above the content. Never raises."""


class Checker:
    """spamd: None where there is none; then a domain's filter marks SPF and DKIM only. chance: 0 to 1, for DMARC's
    pct=. Close it when no check is under way any more.
    """

    def __init__(
        self,
        settings: CheckSettings,
        resolver: Resolver,
        clock: Clock,
        spamd: Filter | None,
        chance: Callable[[], float],
    ) -> None:
        self._settings, self._resolver, self._clock = settings, resolver, clock
        self._spamd, self._chance = spamd, chance
        # Apart, so that names whose servers are slow cannot keep the arithmetic waiting.
        self._askers = Askers(resolver, clock, settings.threads, settings.lookup_s)
        self._sums = ThreadPoolExecutor(_SUMS, thread_name_prefix="dkim")

    def close(self) -> None:
        self._askers.close()
        self._sums.shutdown(wait=False, cancel_futures=True)

    async def check(
        self,
        content: bytes,
        block: HeaderBlock | None,
        peer_ip: str,
        helo: str,
        reverse_path: Address | None,
        domain_settings: DomainSettings,
        user: User | None = None,
    ) -> Verdicts:
        """peer_ip: also as an address literal. block: of content, if it was scanned already. user: one of ours sends
        it; his message is marked, and never refused nor dropped. Raises nothing.
        """
        started, block = self._clock.steady(), block or scan(content)
        session = Session(str(reverse_path) if reverse_path else "", _plain_ip(peer_ip), helo)
        async with asyncio.TaskGroup() as both:
            authenticated = both.create_task(self._authenticated(block, session, reverse_path, user))
            scanned = both.create_task(self._scan(content, session, domain_settings))
        spf, dkim, found_dmarc, found_arc = authenticated.result()
        findings = Findings(spf, dkim, found_dmarc, found_arc, scanned.result(), user)
        name = self._settings.authserv_id
        return Verdicts(
            findings,
            refusal_of(findings, self._settings, fail_closed=self._spamd is not None and self._spamd.fail_closed),
            drops(findings, domain_settings),
            added_fields(name, findings, session),
            cleaned(block, name),
            results_value(name, findings),
            self._clock.steady() - started,
        )

    async def _scan(self, content: bytes, session: Session, domain: DomainSettings) -> Spam | None:
        if domain.spam_action is SpamAction.DISABLED:
            return None
        if self._spamd is None:
            return Spam(Scan.UNAVAILABLE, reason="no spamd is configured")
        return await self._spamd.scan(scan_head(self._settings.authserv_id, session, self._clock.now()), content)

    async def _authenticated(
        self, block: HeaderBlock, session: Session, reverse_path: Address | None, user: User | None
    ) -> tuple[Spf, tuple[Dkim, ...], Dmarc, Arc]:
        try:
            if user is not None:
                return await self._signatures_alone(block, reverse_path, session)
            return await self._authenticate(block, session, reverse_path)
        except Exception:  # a fault of ours must not keep a message out for ever
            log.exception("check-crashed", peer=session.peer_ip)
            sender = sender_of(reverse_path, session.helo)
            spf = Spf(SpfResult.TEMPERROR, sender.identity, sender.domain)
            return spf, (), Dmarc(DmarcResult.TEMPERROR), Arc(ArcResult.TEMPERROR)

    async def _authenticate(
        self, block: HeaderBlock, session: Session, reverse_path: Address | None
    ) -> tuple[Spf, tuple[Dkim, ...], Dmarc, Arc]:
        until = self._until()
        domains = dmarc.author_domains(block)
        await self._load_suffixes()
        async with asyncio.TaskGroup() as all_three:
            sender = sender_of(reverse_path, session.helo)
            spf = all_three.create_task(self._askers.spf(sender, session.peer_ip, session.helo, until))
            signed = all_three.create_task(self._signatures(block, until))
            policies = all_three.create_task(self._texts(dmarc.names_wanted(domains or ()), until))
        dkim, chain = signed.result()
        found = dmarc.evaluate(domains, policies.result(), spf.result(), dkim, self._chance)
        return spf.result(), dkim, found, chain

    async def _signatures_alone(
        self, block: HeaderBlock, reverse_path: Address | None, session: Session
    ) -> tuple[Spf, tuple[Dkim, ...], Dmarc, Arc]:
        """Of a user's message: his machine is no host of the domain, so SPF and DMARC would judge the wrong one."""
        dkim, chain = await self._signatures(block, self._until())
        sender = sender_of(reverse_path, session.helo)
        return Spf(SpfResult.NONE, sender.identity, sender.domain), dkim, Dmarc(DmarcResult.NONE), chain

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.time_limit_s

    async def _load_suffixes(self) -> None:
        if not dmarc.is_loaded():
            await asyncio.get_running_loop().run_in_executor(self._sums, dmarc.load)

    async def would_fail(self, domains: list[str] | None, signer: str) -> bool:
        """Mail from these authors (of dmarc.author_domains) may fail DMARC when `signer` alone vouches for it."""
        if domains is None:
            return True
        if all(domain == signer for domain in domains):
            return False
        await self._load_suffixes()
        answers = await self._texts(dmarc.names_wanted(domains), self._until())
        return len(domains) > dmarc.MAX_DOMAINS or dmarc.is_strict(domains, answers, signer)

    async def _signatures(self, block: HeaderBlock, until: float) -> tuple[tuple[Dkim, ...], Arc]:
        """DKIM and ARC: their keys are asked for together."""
        signatures = dkim_check.read_all(block, self._settings.signatures)
        sets, broken = _sets(block)
        names = dkim_check.names_wanted(signatures) + arc_chain.names_wanted(sets)
        if not names:
            return dkim_check.check_all(block, signatures, {}, Bodies(block), 0.0), broken or Arc(ArcResult.NONE)
        answers = await self._texts(names, until)
        now = self._clock.now()

        def calculated() -> tuple[tuple[Dkim, ...], Arc]:
            keys: dict[str, KeyOrFault] = {name: dkim_check.key_of(answer) for name, answer in answers.items()}
            bodies = Bodies(block)
            dkim = dkim_check.check_all(block, signatures, keys, bodies, now)
            return dkim, broken or arc_chain.verify(block, sets, keys, bodies, now)

        return await asyncio.get_running_loop().run_in_executor(self._sums, calculated)

    async def _texts(self, names: Iterable[str], until: float) -> dict[str, Answer[str]]:
        """TXT records, all asked for at once; what has no answer in time is trouble."""
        wanted = list(dict.fromkeys(names))
        answers = await asyncio.gather(*[self._text(name, until) for name in wanted])
        return dict(zip(wanted, answers, strict=True))

    async def _text(self, name: str, until: float) -> Answer[str]:
        try:
            async with asyncio.timeout_at(until):
                return await self._resolver.txt(name)
        except TimeoutError:
            return _NoAnswer()


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """An Answer for what DNS did not tell in time."""

    found: str = TROUBLE
    records: tuple[str, ...] = ()
    why: str = "no answer in time"


def _sets(block: HeaderBlock) -> tuple[list[ArcSet], Arc | None]:
    """The sets of a message; or none, and what that makes of its chain."""
    try:
        return arc_chain.read_sets(block), None
    except BrokenChain as error:
        return [], Arc(ArcResult.FAIL, reason=str(error))


def _plain_ip(text: str) -> str:
    """ "[IPv6:2001:db8::1]" -> "2001:db8::1"; "" when it is no address."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare[5:] if bare[:5].lower() == "ipv6:" else bare))
    except ValueError:
        return ""


def refusal_of(findings: Findings, settings: CheckSettings, *, fail_closed: bool) -> Reply | None:
    """What the session answers instead of 250, or None."""
    if findings.user is not None:
        return None
    found, chain = findings.dmarc, findings.arc
    vouched = chain.result is ArcResult.PASS and chain.sealer in settings.trusted_sealers
    if found.wanted is Policy.REJECT and settings.on_reject is OnReject.REFUSE and not vouched:
        return _DMARC_REFUSED
    if findings.spam is not None and findings.spam.scan is Scan.UNAVAILABLE and fail_closed:
        return _NO_FILTER
    return None


def drops(findings: Findings, domain: DomainSettings) -> bool:
    """Spam for a domain that does not want to see it, unless one of ours wrote it."""
    if findings.user is not None:
        return False
    return domain.spam_action is SpamAction.DELETE and findings.spam is not None and findings.spam.is_spam
