"""Shared: what the connections of all SMTP listeners have in common.

Room: smtp. May import: mail. Built by smtp.listeners, used by smtp.server.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from mtad import log as logs
from mtad.clock import Clock
from mtad.config import SmtpConfig
from mtad.mail.envelope import Submission
from mtad.smtp.limits import AuthFailures, Budget, Connections, Counters
from mtad.smtp.policy import Policy
from mtad.smtp.session import Settings

if TYPE_CHECKING:
    from mtad.smtp.server import Door

log = logs.get("smtp")

_MARKS_KEPT = 4096

Submit = Callable[[Submission], "asyncio.Future[int]"]  # may raise Refused; the future gives the message's number
Verify = Callable[[str, str], Awaitable[str | None]]  # login, password -> the domain it sends for, or None
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Marks:
    """What the configured networks say of an address."""

    trusted: bool
    proxy: bool
    bare_newlines: bool


def _within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the connections of all listeners share. tls: for connections made from now on; None offers no TLS.

    tasks: AUTH and TLS under way. doors: all connections.
    """

    config: SmtpConfig
    settings: Settings
    policy: Policy
    submit: Submit
    verify: Verify
    clock: Clock
    budget: Budget
    counters: Counters
    connections: Connections
    failures: AuthFailures
    trusted: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()
    bare_newlines: tuple[Network, ...] = ()
    tls: ssl.SSLContext | None = None
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    doors: "set[Door]" = field(default_factory=set)
    stopping: bool = False
    _marks: "dict[str, Marks]" = field(default_factory=dict)

    def marks(self, peer: str) -> Marks:
        """Asked for every connection, so it is worked out once for an address and kept for a while."""
        known = self._marks.get(peer)
        if known is None:
            try:
                address = ip_address(peer)
            except ValueError:  # not over IP
                return Marks(False, False, False)
            known = Marks(*(_within(address, some) for some in (self.trusted, self.proxies, self.bare_newlines)))
            if len(self._marks) >= _MARKS_KEPT:
                self._marks.clear()
            self._marks[peer] = known
        return known

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session-crashed", cause=repr(error))
