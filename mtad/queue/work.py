"""Work: what the parts of the queue hand to each other: one recipient in memory, whose mail it is, and the way out.

Room: queue. May import: mail, message, storage, feedback, delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mtad.delivery.mx import Route
from mtad.feedback.record import labels_of
from mtad.mail.envelope import Transaction
from mtad.mail.options import Options, options_from_json
from mtad.mail.reply import Deferred, Failed, Hop, Outcome
from mtad.message.template import Template
from mtad.storage.outgoing import StoredMessage, StoredRecipient


@dataclass(slots=True)
class Held:
    """A message some of whose recipients are in memory. open: how many. octets: what it takes of the budget.

    options: what its sender asked for, None: nothing. labels: what its events are counted under besides its domain.
    alone: each recipient has octets or a reverse-path of his own, so no transaction takes two. template: when it is
    composed, once it has been parsed.
    """

    message: StoredMessage
    open: int
    octets: int = 0
    alone: bool = False
    options: Options | None = None
    labels: tuple[str, ...] = ()
    template: Template | None = None

    def __post_init__(self) -> None:
        if self.message.options:
            self.options = options_from_json(self.message.options)
            self.labels = labels_of(self.options)


@dataclass(slots=True)
class Job:
    """One recipient leased to this process. route: where its mail goes at present."""

    held: Held
    recipient: StoredRecipient
    route: Route


NOWHERE = Route("", (), 0)


def lost(recipient: StoredRecipient) -> StoredMessage:
    """In place of a message whose row is gone: nothing can be sent, and nobody must wait for it."""
    return StoredMessage(recipient.message_id, recipient.domain_id, "", 0, 1, 0, None, None, None, b"{}")


class Tenants(Protocol):
    """What the queue asks about the domains that send."""

    def paused(self) -> dict[int, str]:
        """Domain id -> why."""

    def sources(self, domain_id: int) -> tuple[str, ...]:
        """Addresses the domain sends from; ("",): the system chooses."""

    def all_sources(self) -> tuple[str, ...]: ...
    def hourly_limits(self) -> Mapping[int, int]:
        """Domain id -> recipients it may send to in an hour; a domain that is not there has no limit."""

    def flags(self, domain_id: int) -> int:
        """Flags (storage.outgoing) that all mail of the domain has."""


class Session(Protocol):
    """An open way to one host. hop: who and how. sent: transactions so far. alive: can take another. stale: the last
    send() found that the host had given up the idle connection before it answered anything.
    """

    @property
    def stale(self) -> bool: ...

    @property
    def alive(self) -> bool: ...
    @property
    def sent(self) -> int: ...
    @property
    def hop(self) -> Hop: ...
    async def send(self, tx: Transaction) -> list[Outcome]: ...
    def close(self) -> None: ...


class Transport(Protocol):
    """Where mail goes: the MX of the world, a smarthost, or the captured inbox.

    fixed_key: the key of its one site, None where sites are made of the hosts of each route.
    """

    fixed_key: str | None

    def known(self, domain: str) -> Route | None:
        """What route() would answer, if that is known at once."""

    async def route(self, domain: str) -> Route | Deferred | Failed: ...

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> Session | Deferred | Failed:
        """skip_verification: with require_tls, the host's certificate is not checked."""
