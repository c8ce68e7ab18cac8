"""Contents: what goes out for a job: its octets, its reverse-path, and whether its recipient is written to at all.

Room: queue. May import: mail, storage.
"""

from collections.abc import Awaitable
from typing import Protocol

from mtad.mail.suppression import Suppressed
from mtad.queue.work import Held, Job, Tenants
from mtad.storage.database import Database
from mtad.storage.outgoing import Outgoing, StoredRecipient


class Composing(Protocol):
    """What makes one recipient's octets of a message (queue.compose)."""

    def alone(self, held: Held) -> bool:
        """Each recipient of it has octets or a reverse-path of his own."""

    def chunks(self, job: Job, content: bytes) -> tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]: ...
    def reverse_path(self, job: Job) -> str: ...


class Suppressing(Protocol):
    """Whom a domain does not write to. maybe: from memory, False is certain."""

    def maybe(self, domain_id: int, address: str) -> bool: ...
    async def find(
        self, domain_id: int, address: str, tags: tuple[str, ...], list_number: int = 0
    ) -> Suppressed | None:
        """list_number: of the mailing list that the message goes through."""


class Contents:
    def __init__(
        self, database: Database, outgoing: Outgoing, composer: Composing, suppressing: Suppressing, tenants: Tenants
    ) -> None:
        self._database, self._outgoing, self._tenants = database, outgoing, tenants
        self._composer, self._suppressing = composer, suppressing
        self.alone, self.reverse_path = composer.alone, composer.reverse_path

    async def chunks(self, job: Job) -> tuple[bytes, ...] | None:
        """The message as it goes out, signed; None: its bytes are gone. Raises Uncomposable."""
        message = job.held.message
        content = message.content
        if content is None:
            content = await self._database.read(lambda connection: self._outgoing.content(connection, message))
            if content is None:
                return None
        finished = self._composer.chunks(job, content)
        return finished if isinstance(finished, tuple) else await finished

    def flags(self, job: Job) -> int:
        """Of the message, with what its domain asks for all its mail."""
        return job.held.message.flags | self._tenants.flags(job.recipient.domain_id)

    def maybe_suppressed(self, recipient: StoredRecipient) -> bool:
        """False: certainly not. Asked for every attempt, so it is told from memory."""
        return self._suppressing.maybe(recipient.domain_id, recipient.address)

    async def suppressed(self, job: Job) -> Suppressed | None:
        options = job.held.options
        tags, through = (options.tags, options.list_number) if options else ((), 0)
        return await self._suppressing.find(job.recipient.domain_id, job.recipient.address, tags, through)
