"""Posting: what is in the post of a message that a route sends to a URL.

Room: inbound. May import: message. A message is taken to pieces once for all its posts of the moment.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

import orjson

from mtad.inbound.payload import Field, Letter, Stored, forwarded, letter, raw, stored
from mtad.message.parse import parse

_INLINE_OCTETS = 16_384  # a longer message is read in a thread
_KEPT = 4  # letters


class Postings:
    """Call `fields` for each attempt."""

    def __init__(self, parse_message: Callable[[bytes], Letter] = lambda content: letter(parse(content))) -> None:
        self._parse = parse_message
        self._letters: OrderedDict[int, tuple[bytes, Letter]] = OrderedDict()  # holding content keeps its id its own

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
        known = self._letters.get(id(content))
        if known is not None and known[0] is content:
            return known[1]
        large = len(content) > _INLINE_OCTETS
        made = await asyncio.to_thread(self._parse, content) if large else self._parse(content)
        if not large:
            self._letters[id(content)] = (content, made)
        while len(self._letters) > _KEPT:
            self._letters.popitem(last=False)
        return made
