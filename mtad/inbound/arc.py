"""ARC: what earlier hops say they saw, and our own word for the next one.

Room: inbound. Pure. May import: mail, message. Source: RFC 8617. A set is three fields with one i=; the seals of all
sets must hold, and the newest signature over the message.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mtad.inbound.dkim_check import KeyOrFault
from mtad.inbound.signature import (
    BadSignature,
    Bodies,
    Result,
    Signature,
    Verdict,
    check,
    name_of,
    own_data,
    read_signature,
    signature_octets,
    tags_of,
)
from mtad.message.dkim import BadKey, body_hash, canonical_field, select
from mtad.message.headers import CRLF, HeaderBlock

MAX_SETS = 10  # RFC 8617 §4.2.1 allows 50 hops; each costs two keys and two verifications
_RESULTS, _MESSAGE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
_INSTANCE = re.compile(rb"[ \t\r\n]*+i[ \t\r\n]*+=[ \t\r\n]*+([0-9]{1,3})[ \t\r\n]*+;")
_LINE = 72


class ArcResult(StrEnum):
    """RFC 8617 §4.4, and TEMPERROR where DNS gave no answer."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TEMPERROR = "temperror"


@dataclass(frozen=True, slots=True)
class Arc:
    """sets: how many the message has; the seal we add is the next. sealer: d= of the newest seal that holds."""

    result: ArcResult
    sets: int = 0
    sealer: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one hop, and what its seal says of the chain before it."""

    results: bytes
    message: Signature
    seal: bytes
    chain: str  # cv=: "none", "pass", "fail"
    sealed_by: str
    key_name: str
    algorithm: str
    octets: bytes


class BrokenChain(ValueError):
    """The sets are no chain; the message says why."""


def read_sets(block: HeaderBlock) -> list[ArcSet]:
    """Oldest first; empty without ARC. Raises BrokenChain."""
    fields: dict[bytes, dict[int, bytes]] = {}
    for name in (_RESULTS, _MESSAGE, _SEAL):
        found = fields[name] = {}
        for raw in block.by_name.get(name, []):
            number = _instance(name, raw)
            if number in found:
                raise BrokenChain(f"two fields of set {number}")
            if len(found) >= MAX_SETS:
                raise BrokenChain("the chain is too long")
            found[number] = raw
    count = len(fields[_SEAL])
    wanted = set(range(1, count + 1))
    if any(set(found) != wanted for found in fields.values()):
        raise BrokenChain("a set is incomplete")
    return [_read_set(*[fields[name][number] for name in fields], number=number) for number in range(1, count + 1)]


def _instance(name: bytes, raw: bytes) -> int:
    """i=: the first tag of the results, any tag of the others. Raises BrokenChain."""
    if name == _RESULTS:
        found = _INSTANCE.match(raw, raw.index(b":") + 1)
        digits = found[1] if found else b""
    else:
        try:
            digits = tags_of(raw).get(b"i", b"")
        except BadSignature as error:
            raise BrokenChain(str(error)) from None
    if not digits.isdigit() or len(digits) > 3:
        raise BrokenChain("a field says of no set")
    return int(digits)


def _read_set(results: bytes, message: bytes, seal: bytes, *, number: int) -> ArcSet:
    try:
        tags = tags_of(seal)
        chain = tags.get(b"cv", b"").lower().decode("latin-1")
        if chain not in ("none", "pass", "fail") or (chain == "none") != (number == 1):
            raise BrokenChain(f"seal {number} says nothing that could be of the chain before it")
        if b"h" in tags:
            raise BrokenChain("a seal has h=")
        signature = read_signature(message, arc=True)
        if _SEAL in signature.names:
            raise BrokenChain("a seal is signed by a message signature")
        domain = name_of(tags.get(b"d", b""))
        key_name = f"{name_of(tags.get(b's', b''))}._domainkey.{domain}"
        algorithm = tags.get(b"a", b"").lower().decode("latin-1")
        return ArcSet(results, signature, seal, chain, domain, key_name, algorithm, signature_octets(tags))
    except BadSignature as error:
        raise BrokenChain(str(error)) from None


def names_wanted(sets: list[ArcSet]) -> list[str]:
    """Where the keys are: of every seal, and of the newest message signature."""
    names = [one.key_name for one in sets]
    return list(dict.fromkeys(names + [one.message.key_name for one in sets[-1:]]))


def verify(block: HeaderBlock, sets: list[ArcSet], keys: Mapping[str, KeyOrFault], bodies: Bodies, now: float) -> Arc:
    """RFC 8617 §5.2. Any thread will do."""
    if not sets:
        return Arc(ArcResult.NONE)
    newest = sets[-1]
    if newest.chain == "fail":
        return _broken(sets, "the hop before found the chain broken")
    key = keys[newest.message.key_name]
    verdict = key if isinstance(key, Verdict) else check(block, newest.message, key, bodies, now, _MESSAGE)
    if verdict.result is not Result.PASS:
        return _broken(sets, f"message signature {len(sets)}: {verdict.reason}", verdict)
    for number in range(len(sets), 0, -1):
        one = sets[number - 1]
        if one.chain == "fail":
            return _broken(sets, f"seal {number} says the chain is broken")
        verdict = _seal_holds(one, sealed_data(sets[:number]), keys[one.key_name])
        if verdict.result is not Result.PASS:
            return _broken(sets, f"seal {number}: {verdict.reason}", verdict)
    return Arc(ArcResult.PASS, len(sets), newest.sealed_by)


def _broken(sets: list[ArcSet], reason: str, verdict: Verdict | None = None) -> Arc:
    trouble = verdict is not None and verdict.result is Result.TEMPERROR
    return Arc(ArcResult.TEMPERROR if trouble else ArcResult.FAIL, len(sets), reason=reason[:200])


def _seal_holds(one: ArcSet, data: bytes, key: KeyOrFault) -> Verdict:
    if isinstance(key, Verdict):
        return key
    if one.algorithm != key.algorithm:
        return Verdict(Result.FAIL, "the key is of another kind")
    if key.weak:
        return Verdict(Result.FAIL, key.weak)
    holds = key.verifies(one.octets, data, hashlib.sha256(data).digest())
    return Verdict(Result.PASS) if holds else Verdict(Result.FAIL, "signature did not verify")


def sealed_data(sets: list[ArcSet]) -> bytes:
    """What the last of these sets' seal signs: all sets in order, in relaxed form (RFC 8617 §5.1.1)."""
    *_, last = sets
    data = [
        canonical_field(name, raw)
        for one in sets
        for name, raw in ((_RESULTS, one.results), (_MESSAGE, one.message.raw), (_SEAL, one.seal))
    ]
    data[-1] = own_data(_SEAL, last.seal, True)
    return b"".join(data)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Whose name we seal in. domain, selector: A-labels in lower case. Raises BadKey: others know ARC with RSA only."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey

    def __post_init__(self) -> None:
        if not isinstance(self.key, rsa.RSAPrivateKey):
            raise BadKey("ARC seals with RSA keys")


def seal(block: HeaderBlock, sealer: Sealer, found: Arc, results: str, now: float) -> bytes:
    """The set for the message as `block` has it: three fields, to go above all others. b"" where none may be added.

    found: what `verify` said of the same message. results: the value of our Authentication-Results field, with our
    authserv-id first. After a chain that failed the set covers itself alone (RFC 8617 §5.1.2). Any thread will do.
    """
    if found.result is ArcResult.TEMPERROR or found.sets >= MAX_SETS:
        return b""
    try:
        earlier = read_sets(block) if found.result is ArcResult.PASS else []
    except BrokenChain:
        return b""
    if found.result is ArcResult.FAIL and not found.sets:
        return b""  # what is there has no number the next one could follow
    number = found.sets + 1
    chain = {ArcResult.NONE: "none", ArcResult.PASS: "pass"}.get(found.result, "fail")
    words = " ".join(results.split()).encode("ascii", "replace").replace(b"; ", b";\r\n\t")
    said = b"ARC-Authentication-Results: i=%d; %b\r\n" % (number, words)
    message = _sign_message(block, sealer, number, now)
    head = f"ARC-Seal: i={number}; a=rsa-sha256; cv={chain}; d={sealer.domain};\r\n\ts={sealer.selector}; t={int(now)};"
    unsigned = head.encode() + b"\r\n\tb=\r\n"
    ours = ArcSet(said, read_signature(message, arc=True), unsigned, chain, sealer.domain, "", "rsa-sha256", b"")
    octets = sealer.key.sign(sealed_data([*earlier, ours]), padding.PKCS1v15(), hashes.SHA256())
    return unsigned.removesuffix(CRLF) + _folded(octets) + CRLF + message + said


def _sign_message(block: HeaderBlock, sealer: Sealer, number: int, now: float) -> bytes:
    """The ARC-Message-Signature: as DKIM signs, and the DKIM signatures with it (RFC 8617 §4.1.2)."""
    fields = select(block)
    signatures = block.by_name.get(b"dkim-signature", [])
    names = fields.names + (b"dkim-signature",) * len(signatures)
    canonical = [canonical_field(b"dkim-signature", raw) for raw in reversed(signatures)]
    head = f"ARC-Message-Signature: i={number}; a=rsa-sha256; c=relaxed/relaxed; d={sealer.domain};\r\n\t"
    head += f"s={sealer.selector}; t={int(now)};\r\n\th="
    body = body_hash(block.content, block.body_start)
    raw = b"%b%b;\r\n\tbh=%b;\r\n\tb=\r\n" % (head.encode(), _folded_names(names), body)
    data = b"".join([fields.canonical, *canonical, own_data(_MESSAGE, raw, True)])
    return raw.removesuffix(CRLF) + _folded(sealer.key.sign(data, padding.PKCS1v15(), hashes.SHA256())) + CRLF


def _folded_names(names: tuple[bytes, ...]) -> bytes:
    lines, line = [], b""
    for name in names:
        if len(line) + len(name) > _LINE:
            lines.append(line)
            line = b""
        line += name + b":"
    return b"\r\n\t".join([*lines, line[:-1]])


def _folded(octets: bytes) -> bytes:
    text = binascii.b2a_base64(octets, newline=False)
    return b"\r\n\t".join([text[at : at + _LINE] for at in range(0, len(text), _LINE)])
