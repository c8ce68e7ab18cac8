"""Posting: what is in the post of a message that a route sends to a URL.

Room: inbound. May import: message. A message is taken to pieces once for all its posts of the moment.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import orjson

from mtad.inbound.payload import Field, Letter, Stored, forwarded, letter, raw, stored
from mtad.message.parse import parse

_INLINE_OCTETS = 16_384  # a longer message is read in a thread
KEPT_OCTETS = 33_554_432  # of messages whose letters are kept, or one alone
KEPT = 64  # letters
KEPT_S = 10.0  # since they were last asked for
_HEAD = 512  # octets: our Received field is there, which no two messages share


@dataclass(slots=True)
class _Known:
    """letter: also while it is being made. asked_at: of the loop's clock."""

    content: bytes
    letter: "asyncio.Future[Letter]"
    asked_at: float


class Postings:
    """Call `fields` for each attempt. Several posts of one message in a short while are made of one letter."""

    def __init__(self, parse_message: Callable[[bytes], Letter] = lambda content: letter(parse(content))) -> None:
        self._parse = parse_message
        self._known: OrderedDict[tuple[int, bytes], _Known] = OrderedDict()
        self._octets = 0
        self._sweep: asyncio.TimerHandle | None = None

    async def fields(self, content: bytes, recipient: str, sender: str, personal: bytes | None) -> Sequence[Field]:
        """personal: JSON of inbound.take: the kind of post, and where a stored message is found."""
        said = orjson.loads(personal) if personal else {}
        if said.get("kind") == "raw":
            make = partial(list[Field], raw(content, recipient, sender))
            return await asyncio.to_thread(make) if len(content) > _INLINE_OCTETS else make()
        whole = await self._letter(content)
        if said.get("kind") == "notify":
            url = str(said.get("url", ""))
            place = Stored(str(said.get("domain", "")), url, lambda number: f"{url}/attachments/{quote(str(number))}")
            return list(stored(whole, recipient, sender, place))
        return list(forwarded(whole, recipient, sender))

    async def _letter(self, content: bytes) -> Letter:
        key = (len(content), content[:_HEAD])
        loop = asyncio.get_running_loop()
        known = self._known.get(key)
        if known is None or known.content != content:
            self._forget(key)
            known = self._known[key] = _Known(content, self._made(content, loop), loop.time())
            self._octets += len(content)
            self._trim()
        known.asked_at = loop.time()
        self._known.move_to_end(key)
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_S, self._forget_old, loop)
        try:
            return await asyncio.shield(known.letter)
        except Exception:
            if self._known.get(key) is known:
                self._forget(key)
            raise

    def _made(self, content: bytes, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[Letter]":
        if len(content) > _INLINE_OCTETS:
            return loop.run_in_executor(None, self._parse, content)
        made: asyncio.Future[Letter] = loop.create_future()
        made.set_result(self._parse(content))
        return made

    def _forget(self, key: tuple[int, bytes]) -> None:
        known = self._known.pop(key, None)
        self._octets -= len(known.content) if known is not None else 0

    def _trim(self) -> None:
        while len(self._known) > KEPT or (self._octets > KEPT_OCTETS and len(self._known) > 1):
            self._forget(next(iter(self._known)))

    def _forget_old(self, loop: asyncio.AbstractEventLoop) -> None:
        """A large message is not held for nobody."""
        for key in [key for key, known in self._known.items() if loop.time() - known.asked_at >= KEPT_S]:
            self._forget(key)
        self._sweep = loop.call_later(KEPT_S, self._forget_old, loop) if self._known else None
