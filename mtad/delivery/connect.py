"""Opening a session: the hosts of a route in order, each address, until one is ready for MAIL.

Room: delivery. Source: RFC 5321 §5.1 (order of hosts), RFC 7504 (521 and 556), RFC 7435 (opportunistic TLS). Used by
whoever keeps connections for the next message.
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mtad import log
from mtad.clock import Clock
from mtad.config import DeliveryConfig
from mtad.delivery.client import Connection
from mtad.delivery.dial import Dialer
from mtad.delivery.dialogue import LOCAL_CODE
from mtad.delivery.handshake import Terms, Trouble, begin
from mtad.delivery.tls import Level, Requirement, TlsMemory, client_context
from mtad.mail.reply import Deferred, Failed, Hop, Phase, Reply

MAX_TRIES = 10  # addresses in one open(): with connect_timeout_s each, an attempt stays within minutes
_MAX_WORDS = 1000  # characters of the list of what each host said
_NO_MAIL_HERE = (521, 556)  # RFC 7504: this host takes no mail, from nobody, ever

_log = log.get("delivery")

Ask = Callable[[str], Awaitable[Requirement | Deferred]]  # host -> what it must prove, or why it must not get the mail


class Connector:
    """hostname: ours, for EHLO. addresses: host -> its addresses in the order of trial, () for none."""

    def __init__(
        self,
        config: DeliveryConfig,
        hostname: str,
        addresses: Callable[[str], Awaitable[tuple[str, ...]]],
        dialer: Dialer,
        clock: Clock,
        memory: TlsMemory,
        contexts: Callable[[Requirement], ssl.SSLContext] = client_context,
    ) -> None:
        self._config, self._hostname, self._clock = config, hostname, clock
        self._addresses, self._dialer = addresses, dialer
        self._memory, self._contexts = memory, contexts
        # The login is the smarthost's: without one nobody is told it.
        self._login = (config.relay_login, config.relay_password) if config.relay and config.relay_login else None

    async def open(
        self, hosts: Sequence[str], port: int, source: str, requirement: Ask
    ) -> Connection | Deferred | Failed:
        """A session with the first host that is ready, or why there is none.

        hosts: names in the order of trial. source: our address to connect from, "" lets the system choose.
        """
        started = self._clock.steady()
        troubles: list[Trouble] = []
        for host in hosts:
            opened = await self._open_host(host, port, source, requirement, troubles)
            if opened is not None:
                return opened
            if len(troubles) >= MAX_TRIES:
                break
        return _outcome(troubles, self._clock.steady() - started)

    async def _open_host(
        self, host: str, port: int, source: str, requirement: Ask, troubles: list[Trouble]
    ) -> Connection | None:
        """Adds to `troubles` what each address came to."""
        asked = await requirement(host)
        if isinstance(asked, Deferred):
            troubles.append(Trouble(asked.reply, asked.phase))
            return None
        found = await self._addresses(host)
        if not found:
            troubles.append(_unreached(f"{host} has no address we may connect to"))
        for address in found:
            if source and (":" in source) != (":" in address):
                troubles.append(_unreached(f"{host} [{address}] cannot be reached from {source}"))
            elif len(troubles) < MAX_TRIES:
                try:
                    return await self._open_address(Hop(host, address, source), port, asked)
                except Trouble as trouble:
                    troubles.append(trouble)
        return None

    async def _open_address(self, hop: Hop, port: int, requirement: Requirement) -> Connection:
        mandatory = requirement.level.is_mandatory
        context = None
        if requirement.level is not Level.NONE and not self._memory.skips(hop.host, requirement):
            context = self._contexts(requirement)
        terms = Terms(context, mandatory, requirement.level is Level.VERIFIED, requirement.implicit, self._login)
        try:
            return await self._begin(hop, port, terms)
        except Trouble as trouble:
            if trouble.phase is not Phase.TLS:
                raise
            if mandatory:
                words = f"{trouble.reply.text}; TLS is needed because {requirement.why}"
                raise Trouble(Reply(451, trouble.reply.detail or "7.5", words), Phase.TLS, trouble.hop) from trouble
            _log.info("tls-failed", host=hop.host, ip=hop.address, cause=trouble.reply)
            self._memory.failed(hop.host, requirement)
        # Half a handshake leaves a connection nobody can use: in the clear means on a new one.
        return await self._begin(hop, port, replace(terms, context=None))

    async def _begin(self, hop: Hop, port: int, terms: Terms) -> Connection:
        limit_s = self._config.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                sock = await self._dialer.dial(hop.address, port, hop.source)
        except TimeoutError as error:
            raise _unreached(f"{hop.host} [{hop.address}] did not answer within {limit_s:g} s") from error
        except OSError as error:
            words = os.strerror(error.errno) if error.errno else str(error)
            raise _unreached(f"{hop.host} [{hop.address}]: {words}") from error
        return await begin(sock, hop, terms, self._config, self._hostname, self._clock)


def _unreached(words: str) -> Trouble:
    return Trouble(Reply(LOCAL_CODE, "4.1", words), Phase.CONNECT)


def _outcome(troubles: list[Trouble], took_s: float) -> Deferred | Failed:
    """What the most telling of the hosts said; when none spoke, what was tried."""
    if troubles and all(trouble.reply.code in _NO_MAIL_HERE for trouble in troubles):
        first = troubles[0]
        return Failed(first.reply, first.hop, first.phase, took_s)
    telling = min(troubles, key=_rank, default=None)
    if telling is None or telling.phase is Phase.CONNECT:
        words = "; ".join([trouble.reply.text for trouble in troubles])[:_MAX_WORDS]
        return Deferred(Reply(LOCAL_CODE, "4.1", words or "there is no host to try"), None, Phase.CONNECT, took_s)
    reply = telling.reply
    if reply.is_permanent:
        # The host refuses us, not a recipient: another host, or this one later, may not.
        name = telling.hop.host if telling.hop else "the host"
        reply = Reply(LOCAL_CODE, reply.detail or "3.2", f"{name} said: {reply}")
    return Deferred(reply, telling.hop, telling.phase, took_s)


def _rank(trouble: Trouble) -> int:
    """A temporary refusal in words, a permanent one, a session that broke off, nothing at all."""
    if trouble.phase is Phase.CONNECT:
        return 3
    if trouble.reply.code == LOCAL_CODE:
        return 2
    return 1 if trouble.reply.is_permanent else 0
