"""Lookup: what the checks of inbound mail ask DNS, on the loop and from threads.

Room: inbound. May import: nothing of mtad. `Resolver` is the shape of what the daemon hands down: it never raises,
follows CNAMEs and keeps its answers. A `Bridge` lets code that cannot wait, such as pyspf, ask from a thread.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from enum import StrEnum
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)

RECORDS, NO_DOMAIN, TROUBLE = "records", "no-domain", "trouble"  # values of Answer.found
MAX_QUESTIONS = 60  # of one check: RFC 7208 §4.6.4 would let 10 "mx" terms ask for 110 names


class Answer(Protocol[T]):
    """found: "records", "no-domain", "no-data" or "trouble". records: empty unless "records". why: for "trouble"."""

    @property
    def found(self) -> str: ...
    @property
    def records(self) -> Sequence[T]: ...
    @property
    def why(self) -> str: ...


class MailHost(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def preference(self) -> int: ...


class Resolver(Protocol):
    """Asks DNS. txt: the strings of one record joined, octets as Latin-1. ptr: names without final dot."""

    async def txt(self, name: str) -> Answer[str]: ...
    async def mx(self, name: str) -> Answer[MailHost]: ...
    async def addresses(self, name: str, *, ipv6: bool = True) -> Answer[str]: ...
    async def ipv6_addresses(self, name: str) -> Answer[str]: ...
    async def ptr(self, name: str) -> Answer[str]: ...


class Kind(StrEnum):
    TXT = "TXT"
    MX = "MX"  # answered with host names, the most preferred first
    A = "A"
    AAAA = "AAAA"
    PTR = "PTR"


class LookupTrouble(Exception):
    """DNS gave no answer; the message says why."""


class TooManyQuestions(Exception):
    """MAX_QUESTIONS were asked."""


class Bridge:
    """The questions of one check. Make it on the loop, ask from one thread, and stop it when nobody waits any more.

    lookup_s: the time one question may take; None: as long as the resolver takes.
    """

    def __init__(self, resolver: Resolver, lookup_s: float | None = None) -> None:
        self._resolver, self._lookup_s, self._loop = resolver, lookup_s, asyncio.get_running_loop()
        self._known: dict[tuple[Kind, str], Answer[str]] = {}
        self._asking: Future[Answer[str]] | None = None
        self._stopped = False

    def know(self, kind: Kind, name: str, answer: Answer[str]) -> None:
        """What the loop has asked already."""
        self._known[kind, name.lower()] = answer

    def knows(self, name: str, kind: Kind) -> bool:
        """It would not have to ask."""
        return (kind, name.lower()) in self._known

    def ask(self, name: str, kind: Kind) -> Sequence[str]:
        """From a thread. Empty: there are no such records. Raises LookupTrouble and TooManyQuestions."""
        key = (kind, name.lower())
        answer = self._known.get(key)
        if answer is None:
            if len(self._known) >= MAX_QUESTIONS:
                raise TooManyQuestions
            answer = self._known[key] = self._from_loop(name, kind)
        if answer.found == TROUBLE:
            raise LookupTrouble(answer.why)
        return answer.records

    def stop(self) -> None:
        """From the loop: what is being asked ends at once with LookupTrouble, and so does every later question."""
        self._stopped = True
        if self._asking is not None:
            self._asking.cancel()

    def _from_loop(self, name: str, kind: Kind) -> Answer[str]:
        question = self._in_time(name, kind)
        try:
            self._asking = asyncio.run_coroutine_threadsafe(question, self._loop)
        except RuntimeError:  # the loop is closed
            question.close()
            raise LookupTrouble("stopped") from None
        if self._stopped:  # meanwhile: stop() may have seen the question before this one
            self._asking.cancel()
        try:
            return self._asking.result()
        except (CancelledError, asyncio.CancelledError, TimeoutError):
            raise LookupTrouble("no answer in time") from None

    async def _in_time(self, name: str, kind: Kind) -> Answer[str]:
        async with asyncio.timeout(self._lookup_s):
            return await self._look_up(name, kind)

    async def _look_up(self, name: str, kind: Kind) -> Answer[str]:
        match kind:
            case Kind.TXT:
                return await self._resolver.txt(name)
            case Kind.A:
                return await self._resolver.addresses(name, ipv6=False)
            case Kind.AAAA:
                return await self._resolver.ipv6_addresses(name)
            case Kind.PTR:
                return await self._resolver.ptr(name)
            case Kind.MX:
                return _Names(await self._resolver.mx(name))


class _Names:
    """An answer of mail hosts as one of names."""

    def __init__(self, answer: Answer[MailHost]) -> None:
        self.found, self.why = answer.found, answer.why
        self.records = tuple(host.name for host in sorted(answer.records, key=lambda host: host.preference))
