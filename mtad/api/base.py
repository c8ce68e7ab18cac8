"""Base: what every operation works with, and the one error they share.

Room: api. May import: mail, storage. `Delivering` and `SiteNow` are what the operations ask of the queue's runner.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from mtad.clock import Clock
from mtad.mail.address import BadAddress, ascii_domain
from mtad.mail.ids import IdSource, from_queue_id
from mtad.mail.waiting import Waiting
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing
from mtad.storage.queue_view import QueueRow

T = TypeVar("T")

MAX_IDS = 10_000  # that one request may name
MAX_WHY = 200  # characters of an operator's reason


class Impossible(Exception):
    """What was asked cannot be done. The text is one line for people: why, and what to do."""


class NotThere(Impossible):
    """There is no such message, site, domain or login."""


class Full(Impossible):
    """There are as many as there may be."""


class SourceNow(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def connections(self) -> int: ...
    @property
    def connection_limit(self) -> int: ...
    @property
    def rate_per_s(self) -> float | None: ...


class SiteNow(Protocol):
    """A site in the running daemon's hands. connection_limit, rate_per_s: of all source addresses together."""

    @property
    def connections(self) -> int: ...
    @property
    def connection_limit(self) -> int: ...
    @property
    def rate_per_s(self) -> float | None: ...
    @property
    def in_memory(self) -> int: ...
    @property
    def shut(self) -> Waiting | None: ...
    @property
    def sources(self) -> Sequence[SourceNow]: ...


class Delivering(Protocol):
    """The runner of the queue, as operators see it. Site keys are those of the sites table."""

    async def retry(self, site: str | None, ids: Sequence[int]) -> int:
        """Recipients made due now: of a site, of the messages or recipients `ids`, or of all when both are empty."""

    async def drop(self, ids: Sequence[int], why: str) -> int: ...
    async def suspend(self, key: str, until: float | None, why: str) -> None: ...
    async def resume(self, key: str) -> None: ...
    def pause(self, why: str) -> None: ...
    def unpause(self) -> None: ...
    def explain(self, recipient: QueueRow) -> Waiting: ...
    def site_view(self, key: str) -> SiteNow | None:
        """None: nothing of that site is in memory."""


class Base:
    """runner None: no daemon delivers, the store alone is worked on. `changed` is awaited after domains, keys or
    credentials changed. hostname, sources: ours, for the DNS records we propose. pools: those of the configuration,
    None: it is not known here.
    """

    def __init__(
        self,
        *,
        database: Database,
        outgoing: Outgoing,
        ids: IdSource,
        clock: Clock,
        runner: Delivering | None,
        changed: Callable[[], Awaitable[None]],
        hostname: str,
        sources: Sequence[str] = (),
        pools: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._database, self._outgoing, self._ids, self._clock = database, outgoing, ids, clock
        self._runner, self._changed, self._hostname, self._sources = runner, changed, hostname, tuple(sources)
        self._pools = pools

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._database.writer.write(work)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """For the daemon's own additions at the start."""
        return await self._write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._database.read(work)


def number_of(text: str) -> int:
    """The number of a queue id. Raises Impossible."""
    number = from_queue_id(text)
    if number is None:
        raise Impossible(f"{shorten(text)!r} is no queue id: those are 13 letters and digits, as in the 250 reply")
    return number


def domain_name(text: str) -> str:
    """In lower case and A-labels. Raises Impossible."""
    try:
        name = ascii_domain(text.strip().rstrip("."))
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no domain name: {error}") from None
    if "." not in name:
        raise Impossible(f"{shorten(text)!r} is no full domain name: it has no dot")
    return name


def reason(text: str, otherwise: str) -> str:
    """An operator's words, in one bounded printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:MAX_WHY] or otherwise


def shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
