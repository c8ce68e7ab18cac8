"""DKIM: signatures over a message as it goes out.

Room: message. Pure. Source: RFC 6376, RFC 8463 (Ed25519), RFC 8301 (key sizes). Canonicalisation is
relaxed/relaxed. Content has CRLF line ends only. `Signer.sign` spends most of its time in arithmetic that releases
the interpreter lock, and may run in any thread.
"""

import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from mtad.message.headers import CRLF, HeaderBlock

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

MIN_RSA_BITS, MAX_RSA_BITS = 1024, 4096  # RFC 8301 §3.2: verifiers take these
_PIECE = 65_536  # octets: the body is worked on in pieces, so that other threads get a turn

# Signed once more than they are there: nobody can add one and have it shown as ours (RFC 6376 §8.15).
_ALWAYS_OVERSIGNED = (b"from", b"to", b"cc", b"subject", b"reply-to")
# The same, but where there is none a relay on the way may well have to add it.
_OVERSIGNED_IF_PRESENT = (
    *(b"date", b"message-id", b"sender", b"mime-version", b"content-type", b"content-transfer-encoding"),
    *(b"in-reply-to", b"references"),
)
# Signed as often as they are there: others may add theirs (RFC 6376 §5.4.1, RFC 8058 §4).
_SIGNED_IF_PRESENT = (
    *(b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id"),
    *(b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post"),
    *(b"list-owner", b"list-archive", b"content-id", b"content-description", b"content-disposition"),
    *(b"feedback-id", b"auto-submitted", b"autocrypt", b"openpgp"),
)
_EXTRA = {**dict.fromkeys(_ALWAYS_OVERSIGNED, 1), **dict.fromkeys(_OVERSIGNED_IF_PRESENT, 1)}
_SIGNED = (*_ALWAYS_OVERSIGNED, *_OVERSIGNED_IF_PRESENT, *_SIGNED_IF_PRESENT)

_SOLID = re.compile(rb"[^ \t\r\n]")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?")
_LINE = 72  # octets of a folded line


class BadKey(ValueError):
    """The text is no private key we can sign with. The message says why and never shows the key."""


class Algorithm(StrEnum):
    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class SignedFields:
    """What a signature says about a header block: names for h=, canonical the fields to hash (RFC 6376 §3.7)."""

    names: tuple[bytes, ...]
    canonical: bytes


class Signer:
    """One key of one domain. Make it once and keep it: reading a key costs a hundred signatures.

    domain and selector: A-labels in lower case. Raises BadKey for what cannot stand in d= or s=.
    """

    __slots__ = ("_head", "_key", "algorithm", "domain", "selector")

    def __init__(self, domain: str, selector: str, key: PrivateKey) -> None:
        if not _NAME.fullmatch(domain) or not _NAME.fullmatch(selector):
            raise BadKey(f"{selector}._domainkey.{domain} is no domain name in lower case A-labels")
        self.domain, self.selector, self._key = domain, selector, key
        self.algorithm = Algorithm.RSA if isinstance(key, rsa.RSAPrivateKey) else Algorithm.ED25519
        self._head = f"v=1; a={self.algorithm}; c=relaxed/relaxed; d={domain};\r\n\ts={selector}; t=".encode()

    @property
    def key(self) -> PrivateKey:
        """For those who sign in the same name by other rules (ARC)."""
        return self._key

    def sign(self, fields: SignedFields, body: bytes, now: float) -> bytes:
        """The DKIM-Signature field, folded, with CRLF. body: its hash, from `body_hash`. now: for t=."""
        unsigned = b"%b%d;\r\n\th=%b;\r\n\tbh=%b;\r\n\tb=" % (self._head, int(now), _fold_names(fields.names), body)
        # §3.7: the field itself comes last, b= empty, canonical, and without a line end. "\r\n\t" is its only fold.
        data = b"%bdkim-signature:%b" % (fields.canonical, unsigned.replace(b"\r\n\t", b" "))
        return b"DKIM-Signature: %b%b\r\n" % (unsigned, _fold_base64(self._signature(data)))

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(hashlib.sha256(data).digest())  # RFC 8463 §3: the hash is what gets signed


def select(block: HeaderBlock) -> SignedFields:
    """The fields to sign, canonical, in the order of h=. Of fields with one name the lowest is first (§5.4.2)."""
    names: list[bytes] = []
    canonical: list[bytes] = []
    by_name = block.by_name
    for name in _SIGNED:
        raws = by_name.get(name)
        if raws:
            names += [name] * (len(raws) + _EXTRA.get(name, 0))
            canonical += [canonical_field(name, raw) for raw in reversed(raws)]
        elif name in _ALWAYS_OVERSIGNED:
            names.append(name)
    return SignedFields(tuple(names), b"".join(canonical))


def canonical_field(name: bytes, raw: bytes) -> bytes:
    """ "Subject:  a\\r\\n\\tb \\r\\n" -> "subject:a b\\r\\n": relaxed (RFC 6376 §3.4.2). name: in lower case."""
    value = _squeeze(raw[raw.index(b":") + 1 :].replace(CRLF, b"")).strip(b" ")
    return b"%b:%b\r\n" % (name, value)


def body_hash(content: bytes, start: int) -> bytes:
    """The bh= of the body that begins at `start`: SHA-256 of its relaxed form (§3.4.4), in base 64."""
    digest = hashlib.sha256()
    end = _text_end(content, start)
    while start < end:
        # Cut behind an octet that is no part of white space or a line end: the pieces do not touch each other's.
        found = _SOLID.search(content, start + _PIECE, end) if end - start > 2 * _PIECE else None
        stop = found.end() if found else end
        piece = content[start:stop] if stop < end else content[start:end] + CRLF
        digest.update(_squeeze(piece).replace(b" \r\n", CRLF))
        start = stop
    return binascii.b2a_base64(digest.digest(), newline=False)


def _squeeze(octets: bytes) -> bytes:
    """Each run of white space in a line -> one space. Halving the runs is 2 to 15 times as fast as a pattern."""
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets


def _text_end(content: bytes, start: int) -> int:
    """Where the body ends without the white space and empty lines at its end, which do not count."""
    end = len(content)
    while end > start:
        tail = content[max(start, end - _PIECE) : end]
        kept = len(tail.rstrip(b" \t\r\n"))
        if kept:
            return end - len(tail) + kept
        end -= len(tail)
    return start


def _fold_names(names: tuple[bytes, ...]) -> bytes:
    """h=: names with colons, folded behind a colon (§3.5 allows white space there)."""
    lines, line = [], b""
    for name in names:
        if len(line) + len(name) > _LINE:
            lines.append(line)
            line = b""
        line += name + b":"
    return b"\r\n\t".join([*lines, line[:-1]])


def _fold_base64(octets: bytes) -> bytes:
    text = binascii.b2a_base64(octets, newline=False)
    return b"\r\n\t".join([text[at : at + _LINE] for at in range(0, len(text), _LINE)])


def make_key(algorithm: Algorithm, bits: int = 2048) -> bytes:
    """A new private key: PEM, PKCS #8, not encrypted. bits: of an RSA modulus, 2048 to 4096 (RFC 8301 §3.2)."""
    key: PrivateKey
    match algorithm:
        case Algorithm.RSA:
            if not 2048 <= bits <= MAX_RSA_BITS:
                raise BadKey(f"an RSA key for DKIM has 2048 to {MAX_RSA_BITS} bits, not {bits}")
            key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        case Algorithm.ED25519:
            key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes, *, ours: bool = False) -> PrivateKey:
    """Read a PEM key (PKCS #8 or PKCS #1). Raises BadKey.

    ours: made by make_key and kept by us, so the check of its numbers, 40 ms for RSA, may be left out.
    """
    try:
        key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=ours)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey("no unencrypted private key in PEM form") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadKey("DKIM signs with RSA or Ed25519 keys")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise BadKey(f"an RSA key for DKIM has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this one {key.key_size}")
    return key


def public_record(key: PrivateKey) -> str:
    """The text of the TXT record at <selector>._domainkey.<domain>. Longer than 255: a zone splits it in strings."""
    if isinstance(key, rsa.RSAPrivateKey):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        octets = key.public_key().public_bytes(serialization.Encoding.DER, form)
        return f"v=DKIM1; k=rsa; p={binascii.b2a_base64(octets, newline=False).decode()}"
    octets = key.public_key().public_bytes_raw()  # RFC 8463 §4.2: the bare 32 octets
    return f"v=DKIM1; k=ed25519; p={binascii.b2a_base64(octets, newline=False).decode()}"
