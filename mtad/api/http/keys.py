"""Keys: who calls, by HTTP Basic (RFC 7617): user name `api`, password an API key.

Room: api. May import: storage. Keys have 128 random bits or more and are kept as SHA-256, so finding one by its hash
tells nothing by the time it takes.
"""

import base64
import binascii
import hashlib
import hmac

from mtad.api.http.answers import Unauthorized
from mtad.api.http.call import Principal
from mtad.storage import keys as stored
from mtad.storage.database import Database

_MAX_HEADER = 1024  # octets
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="MG API"'}


def refused() -> Unauthorized:
    return Unauthorized("Forbidden", headers=_CHALLENGE)


def hash_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Keys:
    """The keys in memory. Call load() before use and after each change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_hash: dict[bytes, Principal] = {}

    async def load(self) -> None:
        rows = await self._database.read(stored.keys)
        self._by_hash = {row.hash: Principal(row.id, row.name, row.domain) for row in rows}

    def principal(self, authorization: str) -> Principal | None:
        """authorization: the header's value. None: there is no such key."""
        key = key_of(authorization)
        return self._by_hash.get(hash_of(key)) if key is not None else None


def key_of(authorization: str) -> str | None:
    """The password of "Basic …" of the user `api`. None: it is none."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(coded) > _MAX_HEADER:
        return None
    try:
        user, colon, key = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return None
    right = hmac.compare_digest(user.encode(), b"api")
    return key if right and colon else None
