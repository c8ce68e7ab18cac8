"""Compose: stored message and one recipient -> the octets and the reverse-path of one attempt.

Room: queue. May import: mail, message, storage.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from mtad.clock import Clock
from mtad.message.dkim import Signer
from mtad.message.finish import Finisher
from mtad.queue.work import Held, Job


class Uncomposable(Exception):
    """The recipient's octets cannot be made. The text says why."""


class Domains(Protocol):
    """What composition asks about the domains that send."""

    def signers(self, domain_id: int) -> Sequence[Signer]: ...


class Composer:
    """Signs what is to be signed."""

    def __init__(self, *, domains: Domains, finisher: Finisher, clock: Clock) -> None:
        self._domains, self._finisher, self._clock = domains, finisher, clock

    def alone(self, held: Held) -> bool:
        """Each recipient has octets or a reverse-path of his own."""
        return False

    def reverse_path(self, job: Job) -> str:
        return job.held.message.reverse_path

    def chunks(self, job: Job, content: bytes) -> tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]:
        held = job.held
        unsigned = held.options is not None and held.options.dkim is False
        signers = () if unsigned else self._domains.signers(held.message.domain_id)
        if not signers:
            return (content,)
        return self._finisher.finish(content, signers, self._clock.now())
