"""DKIM: the signatures of a message, and what they are worth.

Room: inbound. Pure: keys come from `keys_wanted`' names, asked by the caller. Source: RFC 6376 §6, RFC 8601 §2.7.1.
No more than MAX_SIGNATURES are looked at, from the top: the hop before us signs there.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from mtad.inbound.dkim_key import BadRecord, Key, read_keys
from mtad.inbound.lookup import RECORDS, TROUBLE, Answer
from mtad.inbound.signature import BadSignature, Bodies, Result, Signature, Verdict, check, read_signature
from mtad.message.headers import HeaderBlock

MAX_SIGNATURES = 10
_FIELD = b"dkim-signature"


@dataclass(frozen=True, slots=True)
class Dkim:
    """One signature. domain, selector, identity: "" when it could not be read. testing: its key says t=y."""

    result: Result
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    hint: str = ""  # the first characters of b=, which tell signatures of one domain apart (RFC 6008)
    reason: str = ""
    testing: bool = False


KeyOrFault = Key | Verdict


def key_of(answer: Answer[str]) -> KeyOrFault:
    """What DNS said at a key's name: a key, or why the signature cannot be checked."""
    if answer.found == TROUBLE:
        return Verdict(Result.TEMPERROR, f"DNS: {answer.why}"[:200])
    if answer.found != RECORDS:
        return Verdict(Result.PERMERROR, "no key for signature")
    try:
        return read_keys(tuple(answer.records))
    except BadRecord as error:
        return Verdict(Result.PERMERROR, str(error))


def read_all(block: HeaderBlock, most: int = MAX_SIGNATURES) -> list[Signature | Dkim]:
    """The topmost signatures; a Dkim for each that cannot be read."""
    found: list[Signature | Dkim] = []
    for raw in block.by_name.get(_FIELD, [])[:most]:
        try:
            found.append(read_signature(raw))
        except BadSignature as error:
            found.append(Dkim(Result.NEUTRAL, reason=str(error)))
    return found


def names_wanted(signatures: list[Signature | Dkim]) -> list[str]:
    """Where the keys are, each once."""
    return list(dict.fromkeys([one.key_name for one in signatures if isinstance(one, Signature)]))


def check_all(
    block: HeaderBlock, signatures: list[Signature | Dkim], keys: Mapping[str, KeyOrFault], bodies: Bodies, now: float
) -> tuple[Dkim, ...]:
    """In the order of the message. Mostly arithmetic that releases the interpreter lock; any thread will do."""
    return tuple(
        [one if isinstance(one, Dkim) else _judged(block, one, keys[one.key_name], bodies, now) for one in signatures]
    )


def _judged(block: HeaderBlock, signature: Signature, key: KeyOrFault, bodies: Bodies, now: float) -> Dkim:
    verdict = key if isinstance(key, Verdict) else check(block, signature, key, bodies, now)
    return Dkim(
        verdict.result,
        signature.domain,
        signature.selector,
        signature.identity,
        signature.algorithm,
        _hint(signature.octets),
        verdict.reason,
        isinstance(key, Key) and key.testing,
    )


def _hint(octets: bytes) -> str:
    return base64.b64encode(octets[:6]).decode()
