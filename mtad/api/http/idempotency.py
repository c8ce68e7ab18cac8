"""Idempotency: sends that name a key are carried out once in a day, however often and however fast they come.

Room: api. May import: storage. The answer is written in the commit that takes the message, so that a crash loses both
or neither. A send that was refused is not remembered: it may be mended and sent again under its key.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mtad.api.http.answers import BadRequest
from mtad.storage import idempotency
from mtad.storage.database import Database, Lane
from mtad.storage.idempotency import Answered

KEEP_S = 86_400.0
MAX_KEY = 255  # characters


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send under a key. first: the answer of the send that came before, None: nobody sent yet."""

    domain_id: int
    digest: bytes
    first: bytes | None
    lane: Lane[Answered]

    def answered(self, message_id: int, answer: bytes, now: float) -> None:
        """Call it right behind submit, with no await between: both go into one commit."""
        self.lane.tell(Answered(self.domain_id, self.digest, message_id, answer, now))


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0  # by how many


class Idempotency:
    """lane: of idempotency.add, made after the lane that takes messages."""

    def __init__(self, database: Database, lane: Lane[Answered], now: Callable[[], float]) -> None:
        self._database, self._lane, self._now = database, lane, now
        self._turns: dict[tuple[int, bytes], _Turn] = {}

    @asynccontextmanager
    async def claim(self, domain_id: int, key: str) -> AsyncIterator[Claim]:
        """Who holds the claim is alone under this key; others wait until he is done. Raises BadRequest."""
        if len(key) > MAX_KEY:
            raise BadRequest(f"the idempotency key is longer than {MAX_KEY} characters")
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        place, since = (domain_id, digest), self._now() - KEEP_S
        turn = self._turns.setdefault(place, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                first = await self._database.read(lambda c: idempotency.find(c, domain_id, digest, since))
                yield Claim(domain_id, digest, first, self._lane)
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[place]
