"""Work: what the rooms of the queue hand to each other: one recipient in memory, and the way out.

Room: queue. May import: mail, storage, delivery.
"""

from dataclasses import dataclass
from typing import Protocol

from mtad.delivery.mx import Route
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Failed, Hop, Outcome
from mtad.storage.outgoing import StoredMessage, StoredRecipient


@dataclass(slots=True)
class Held:
    """A message some of whose recipients are in memory. open: how many. octets: what it takes of the budget."""

    message: StoredMessage
    open: int
    octets: int = 0


@dataclass(slots=True)
class Job:
    """One recipient leased to this process. route: where its mail goes at present."""

    held: Held
    recipient: StoredRecipient
    route: Route


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

    async def open(self, route: Route, source: str, require_tls: bool) -> Session | Deferred | Failed: ...
