"""Signature: one DKIM-Signature or ARC-Message-Signature field, read and checked against its message.

Room: inbound. Pure. Source: RFC 6376 §3.4 to §3.7 and §6.1, RFC 8301 (no SHA-1), RFC 8616 (names in U-labels).
dkimpy reads the tags; the octets are put in canonical form here, since its patterns take time that grows with the
square of a run of white space: 20 KB of blanks cost it half a second, and 1 MB twenty minutes.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from dkim.util import InvalidTagValueList, parse_tag_value

from mtad.inbound.dkim_key import Key
from mtad.mail.address import BadAddress, ascii_domain
from mtad.message.dkim import body_hash, canonical_field
from mtad.message.headers import CRLF, HeaderBlock, value_of

MAX_FIELD = 16_384  # octets of one signature
MAX_AHEAD_S = 36_000  # t= may lie so far in the future: clocks are wrong

_B_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")
_FORMS = {b"simple": False, b"relaxed": True}


class Result(StrEnum):
    """RFC 8601 §2.7.1."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NEUTRAL = "neutral"  # it cannot be read
    POLICY = "policy"  # it would do, but not for us
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class BadSignature(ValueError):
    """The field is no signature that could be checked; the message says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """domain, selector: A-labels in lower case. identity: i=, lower case after "@". names: h=, in lower case.

    length: l=, octets of the canonical body. signed_at, expires_at: epoch seconds. Relaxed flags: else simple.
    """

    raw: bytes
    algorithm: str
    domain: str
    selector: str
    identity: str
    names: tuple[bytes, ...]
    header_relaxed: bool
    body_relaxed: bool
    body_hash: bytes
    octets: bytes
    length: int | None
    signed_at: int | None
    expires_at: int | None

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


def tags_of(raw: bytes) -> dict[bytes, bytes]:
    """The tags of a whole field. Raises BadSignature."""
    if len(raw) > MAX_FIELD:
        raise BadSignature("the field is too long")
    try:
        tags: dict[bytes, bytes] = parse_tag_value(value_of(raw))  # type: ignore[no-untyped-call]
    except InvalidTagValueList:
        raise BadSignature("the field is no list of tags") from None
    return tags


def read_signature(raw: bytes, *, arc: bool = False) -> Signature:
    """A whole field, line end included. arc: an ARC-Message-Signature (no v=, i= is a number). Raises BadSignature."""
    tags = tags_of(raw)
    for name in (b"a", b"b", b"bh", b"d", b"h", b"s", *(() if arc else (b"v",))):
        if not tags.get(name):
            raise BadSignature(f"{name.decode()}= is missing")
    if tags.get(b"v", b"1") != b"1":
        raise BadSignature("v= is not 1")
    if b"dns/txt" not in tags.get(b"q", b"dns/txt").lower():
        raise BadSignature("q= names no way to a key that we know")
    domain = name_of(tags[b"d"])
    forms = _forms(tags.get(b"c", b"relaxed/relaxed" if arc else b"simple/simple"))
    names = tuple(b"".join(tags[b"h"].split()).lower().split(b":"))
    if b"from" not in names:
        raise BadSignature("From is not signed")
    return Signature(
        raw,
        tags[b"a"].decode("latin-1").lower(),
        domain,
        name_of(tags[b"s"]),
        f"@{domain}" if arc else _identity(tags.get(b"i"), domain),
        names,
        *forms,
        _base64(tags[b"bh"], "bh="),
        _base64(tags[b"b"], "b="),
        _number(tags, b"l"),
        _number(tags, b"t"),
        _number(tags, b"x"),
    )


def name_of(value: bytes) -> str:
    """A domain or selector in A-labels. Raises BadSignature."""
    try:
        return ascii_domain(value.decode())
    except (BadAddress, UnicodeDecodeError):
        raise BadSignature("d= or s= is no domain name") from None


def signature_octets(tags: dict[bytes, bytes]) -> bytes:
    """b= of a field whose tags these are. Raises BadSignature."""
    return _base64(tags.get(b"b", b""), "b=")


def _forms(value: bytes) -> tuple[bool, bool]:
    header, _, body = value.lower().partition(b"/")
    try:
        return _FORMS[header.strip()], _FORMS[body.strip() or b"simple"]
    except KeyError:
        raise BadSignature("c= names no canonical form") from None


def _identity(value: bytes | None, domain: str) -> str:
    """i= must lie in d= (RFC 6376 §3.5). Raises BadSignature."""
    if value is None:
        return f"@{domain}"
    local, _, host = value.rpartition(b"@")
    inside = name_of(host)
    if inside != domain and not inside.endswith("." + domain):
        raise BadSignature("i= is not in d=")
    return f"{local.decode('utf-8', 'replace')}@{inside}"


def _base64(value: bytes, tag: str) -> bytes:
    try:
        octets = base64.b64decode(b"".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not octets:
        raise BadSignature(f"{tag} is no base 64")
    return octets


def _number(tags: dict[bytes, bytes], name: bytes) -> int | None:
    value = tags.get(name)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 76:
        raise BadSignature(f"{name.decode()}= is no number")
    return int(value)


class Bodies:
    """Hashes of one message's body, each form calculated once however many signatures there are."""

    __slots__ = ("_content", "_known", "_start")

    def __init__(self, block: HeaderBlock) -> None:
        self._content, self._start = block.content, block.body_start
        self._known: dict[tuple[bool, int | None], tuple[bytes, bool]] = {}

    def hashed(self, relaxed: bool, length: int | None) -> tuple[bytes, bool]:
        """SHA-256 of the canonical body, and whether all of it was hashed: l= may leave the end out."""
        key = (relaxed, length)
        if key not in self._known:
            self._known[key] = self._hash(relaxed, length)
        return self._known[key]

    def _hash(self, relaxed: bool, length: int | None) -> tuple[bytes, bool]:
        if relaxed and length is None:
            return base64.b64decode(body_hash(self._content, self._start)), True
        digest, size = hashlib.sha256(), 0
        for piece in _relaxed(self._content, self._start) if relaxed else _simple(self._content, self._start):
            wanted = piece if length is None else piece[: max(0, length - size)]
            digest.update(wanted)
            size += len(piece)
        return digest.digest(), length is None or length >= size


def _simple(content: bytes, start: int) -> Iterator[bytes]:
    """Without the empty lines at the end, which is one line end (RFC 6376 §3.4.3)."""
    yield content[start:].rstrip(b"\r\n")
    yield CRLF


def _relaxed(content: bytes, start: int) -> Iterator[bytes]:
    """RFC 6376 §3.4.4, for the few signatures with l=, which need its length."""
    body = content[start:].replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", CRLF).rstrip(b" \r\n")
    if body:
        yield body
        yield CRLF


def signed_data(block: HeaderBlock, signature: Signature, name: bytes) -> bytes:
    """The octets b= was made over: the fields of h=, lowest first, then the field itself without b= (§3.7)."""
    left: dict[bytes, list[bytes]] = {}
    fields: list[bytes] = []
    for wanted in signature.names:
        raws = left.get(wanted)
        if raws is None:
            raws = left[wanted] = list(block.by_name.get(wanted, ()))
            if wanted == name:  # a signature does not sign itself
                raws = left[wanted] = [raw for raw in raws if raw is not signature.raw]
        if raws:
            raw = raws.pop()
            fields.append(canonical_field(wanted, raw) if signature.header_relaxed else raw)
    return b"".join(fields) + own_data(name, signature.raw, signature.header_relaxed)


def own_data(name: bytes, raw: bytes, relaxed: bool) -> bytes:
    """The signature's own field: b= empty, no line end."""
    if relaxed:
        head, _, value = canonical_field(name, raw).partition(b":")
        return head + b":" + _B_VALUE.sub(rb"\1", value.rstrip(b"\r\n"), count=1).rstrip(b" ")
    head, _, value = raw.removesuffix(CRLF).partition(b":")
    return head + b":" + _B_VALUE.sub(rb"\1", value, count=1)


def check(
    block: HeaderBlock, signature: Signature, key: Key, bodies: Bodies, now: float, name: bytes = b"dkim-signature"
) -> Verdict:
    """Does the signature hold? Policy comes last: what is no valid signature is not called a weak one."""
    if signature.algorithm == "rsa-sha1":
        return Verdict(Result.POLICY, "SHA-1 proves nothing")
    if signature.algorithm != key.algorithm:
        known = signature.algorithm in ("rsa-sha256", "ed25519-sha256")
        return Verdict(Result.PERMERROR, "the key is of another kind" if known else "unknown algorithm")
    if signature.signed_at is not None and signature.signed_at > now + MAX_AHEAD_S:
        return Verdict(Result.FAIL, "signed in the future")
    if signature.expires_at is not None and signature.expires_at < now:
        return Verdict(Result.FAIL, "signature expired")
    if key.strict and signature.identity.rpartition("@")[2] != signature.domain:
        return Verdict(Result.PERMERROR, "the key is for d= alone, and i= is below it")
    if key.weak:  # before the arithmetic: a key may have been made so that it takes long
        return Verdict(Result.POLICY, key.weak)
    digest, whole = bodies.hashed(signature.body_relaxed, signature.length)
    if digest != signature.body_hash:
        return Verdict(Result.FAIL, "body hash did not verify")
    data = signed_data(block, signature, name)
    if not key.verifies(signature.octets, data, hashlib.sha256(data).digest()):
        return Verdict(Result.FAIL, "signature did not verify")
    return _accepted(block, signature, whole)


def _accepted(block: HeaderBlock, signature: Signature, whole: bool) -> Verdict:
    """A valid signature may still leave room for words that nobody signed (RFC 6376 §8.2, §8.15)."""
    if not whole:
        return Verdict(Result.POLICY, "text was added behind the signed part of the body")
    if signature.names.count(b"from") < len(block.by_name.get(b"from", ())):
        return Verdict(Result.POLICY, "a From field is not signed")
    return Verdict(Result.PASS)
