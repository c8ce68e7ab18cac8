"""Keys: who calls, by HTTP Basic (RFC 7617): user name `api`, password an API key.

Room: api. May import: storage. Keys have 128 random bits or more and are kept as SHA-256, so finding one by its hash
tells nothing by the time it takes.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets

from mtad.api.http.answers import Unauthorized
from mtad.api.http.call import Principal
from mtad.clock import Clock
from mtad.storage import keys as stored
from mtad.storage.database import Database

LENT_S = 600.0
_MAX_LENT = 1000
_LOCAL = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
_MAX_HEADER = 1024  # octets
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="MG API"'}


def refused() -> Unauthorized:
    return Unauthorized("Forbidden", headers=_CHALLENGE)


def hash_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Keys:
    """The keys in memory. Call load() before use and after each change.

    url: where the API listens, for callers on this machine; "" nowhere. Set by whoever opens the listener.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._by_hash: dict[bytes, Principal] = {}
        self._lent: dict[bytes, tuple[Principal, float]] = {}  # until when, by the steady clock
        self._turn = asyncio.Lock()
        self.url = ""

    async def load(self) -> None:
        async with self._turn:  # who asked first may be answered last, and it would be the older answer that stays
            rows = await self._database.read(stored.keys)
            self._by_hash = {row.hash: Principal(row.id, row.name, row.domain) for row in rows}

    def lend(self, domain: str) -> str:
        """A sending key of `domain` that is never stored and holds for LENT_S."""
        now, key = self._clock.steady(), "key-" + secrets.token_hex(16)
        self._lent = {mark: one for mark, one in self._lent.items() if one[1] > now}
        if len(self._lent) >= _MAX_LENT:
            del self._lent[next(iter(self._lent))]
        self._lent[hash_of(key)] = (Principal(0, "lent", domain), now + LENT_S)
        return key

    def principal(self, authorization: str) -> Principal | None:
        """authorization: the header's value. None: there is no such key."""
        key = key_of(authorization)
        if key is None:
            return None
        mark = hash_of(key)
        known = self._by_hash.get(mark)
        if known is not None or mark not in self._lent:
            return known
        lent, until = self._lent[mark]
        return lent if until > self._clock.steady() else None


def key_of(authorization: str) -> str | None:
    """The password of "Basic …" of the user `api`. None: it is none."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(coded) > _MAX_HEADER:
        return None
    try:
        user, colon, key = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):  # not ASCII, not base 64, not UTF-8
        return None
    right = hmac.compare_digest(user.encode(), b"api")
    return key if right and colon else None


def reachable(listener: str) -> str:
    """ "0.0.0.0:8025" -> "127.0.0.1:8025": how a caller on this machine reaches a listener."""
    host, _, port = listener.rpartition(":")
    return f"{_LOCAL.get(host, host)}:{port}"
