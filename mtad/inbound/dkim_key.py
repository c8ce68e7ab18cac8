"""DKIM keys: the TXT record at <selector>._domainkey.<domain>, read once and kept.

Room: inbound. Pure. Source: RFC 6376 §3.6.1, RFC 8301 §3.2 (sizes), RFC 8463 (Ed25519).
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from dkim.util import InvalidTagValueList, parse_tag_value

from mtad.message.dkim import MAX_RSA_BITS, MIN_RSA_BITS

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_MAX_EXPONENT = 2**32  # a key may name a larger one, which only makes the arithmetic slow
_MAX_RECORD = 4096  # characters


@dataclass(frozen=True, slots=True)
class Key:
    """bits: of an RSA modulus, else 256. testing: t=y, the domain is trying DKIM out. strict: t=s, i= is d= alone."""

    public: PublicKey
    bits: int
    testing: bool
    strict: bool

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.public, rsa.RSAPublicKey) else "ed25519-sha256"

    @property
    def weak(self) -> str:
        """Why its signatures do not count, or ""."""
        if not isinstance(self.public, rsa.RSAPublicKey):
            return ""
        if self.bits < MIN_RSA_BITS:
            return f"an RSA key of {self.bits} bits is too short"
        too_long = self.bits > MAX_RSA_BITS or self.public.public_numbers().e > _MAX_EXPONENT
        return "the RSA key is larger than we calculate with" if too_long else ""

    def verifies(self, signature: bytes, data: bytes, digest: bytes) -> bool:
        """digest: SHA-256 of data, which is what Ed25519 signs (RFC 8463 §3)."""
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                self.public.verify(signature, digest)
        except (InvalidSignature, ValueError):
            return False
        return True


class BadRecord(ValueError):
    """The record gives no key we can use; the message says why."""


def read_keys(records: tuple[str, ...]) -> Key:
    """The first usable key of the TXT records of one name: more than one is undefined (§3.6.2.2). Raises BadRecord."""
    fault: BadRecord | None = None
    for record in records[:5]:
        try:
            return read_key(record)
        except BadRecord as error:
            fault = fault or error
    raise fault or BadRecord("no key for signature")


def read_key(record: str) -> Key:
    """Raises BadRecord."""
    key = _read_key(record[: _MAX_RECORD + 1])
    if isinstance(key, str):
        raise BadRecord(key)
    return key


@lru_cache(maxsize=1024)  # reading a key costs as much as a verification with it
def _read_key(record: str) -> Key | str:
    """A key, or why there is none."""
    if len(record) > _MAX_RECORD:
        return "the key record is too long"
    try:
        tags: dict[bytes, bytes] = parse_tag_value(record.encode("latin-1", "replace"))  # type: ignore[no-untyped-call]
    except InvalidTagValueList:
        return "the key record is no list of tags"
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or b"p" not in tags:
        return "the record is no DKIM key"
    if b"sha256" not in _list(tags.get(b"h", b"sha256")):
        return "the key is not for SHA-256"
    if not {b"*", b"email"}.intersection(_list(tags.get(b"s", b"*"))):
        return "the key is not for mail"
    octets = _octets(tags[b"p"])
    if octets is None:
        return "the key is not base 64"
    if not octets:
        return "the key is revoked"
    public = _public(tags.get(b"k", b"rsa"), octets)
    if isinstance(public, str):
        return public
    flags = _list(tags.get(b"t", b""))
    bits = public.key_size if isinstance(public, rsa.RSAPublicKey) else 256
    return Key(public, bits, testing=b"y" in flags, strict=b"s" in flags)


def _list(value: bytes) -> list[bytes]:
    return [part.strip().lower() for part in value.split(b":")]


def _octets(value: bytes) -> bytes | None:
    try:
        return base64.b64decode(b"".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _public(kind: bytes, octets: bytes) -> PublicKey | str:
    try:
        if kind == b"ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        if kind == b"rsa":
            public = serialization.load_der_public_key(octets)  # also of the bare form of PKCS #1
            return public if isinstance(public, rsa.RSAPublicKey) else "the key is not RSA, as it says"
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "the key cannot be read"
    return "the key is of an unknown kind"
