"""Prepare: a submission as it came -> what is stored: the message within, its options, one copy per recipient.

Room: queue. Pure. May import: mail, message. Control fields and the variables container are read here, for every
door; what an HTTP call said beside the message goes before what the message says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import orjson

from mtad.mail.address import Address, ListPost, Url
from mtad.mail.envelope import Submission
from mtad.mail.event import EventType
from mtad.mail.metric import Metric
from mtad.mail.options import Options
from mtad.mail.reply import Refused, Reply
from mtad.message.container import BadContainer, unwrap
from mtad.message.control import Control, Fault, has_control, read_control
from mtad.message.fields import display, entries
from mtad.message.headers import HeaderBlock

MAX_COPIES = 9_999  # rows of one message: in a batch each Cc and Bcc gets a copy of every To's
_TOO_MANY = Reply(
    554,
    "5.3",
    f"In a batch each Cc and Bcc gets a copy of every message, more than {MAX_COPIES} in all; send it in parts",
)
_ADDRESSED = (b"to", b"cc")


@dataclass(frozen=True, slots=True)
class End:
    """What a copy came to as soon as it was taken. kind: STORED or DELIVERED. key: of what was stored, "" nothing;
    recipients: whom it is for. detail: the event's JSON.
    """

    kind: EventType
    metric: Metric
    detail: bytes
    key: str = ""
    recipients: tuple[str, ...] = ()


@dataclass(slots=True)
class Copy:
    """One recipient's. place: in Submission.recipients. personal: JSON (see `person_of`), None: nothing of his own.

    orcpt: RFC 3461, where a route sends it on. told: JSON of its accepted event. end: None: it is on its way.
    """

    address: Address | Url | ListPost
    place: int
    personal: bytes | None = None
    orcpt: str | None = None
    told: bytes | None = None
    end: End | None = None


@dataclass(slots=True)
class Prepared:
    """content, block: the message to store, without its control fields when `hidden` is taken off it. options None:
    nothing was asked for. faults: control fields that were not followed.
    """

    content: bytes
    block: HeaderBlock
    options: Options | None = None
    hidden: frozenset[bytes] = frozenset()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Personal:
    """What is stored with a recipient who gets a copy of his own.

    to: whose copy it is, when that is not the recipient himself (a Cc in a batch).
    """

    name: str = ""
    variables: dict[str, object] | None = None
    to: str = ""


def prepare(submission: Submission, block: HeaderBlock, now: float, max_schedule_s: float) -> Prepared:
    """block: of submission.content. Raises Refused."""
    content, given = submission.content, submission.options
    if not submission.controls:
        return Prepared(content, block, given)
    try:
        inner = unwrap(content, block)
    except BadContainer as error:
        raise Refused(error.reply) from None
    if inner is not None:
        content, block = inner.content, inner.block
        control = inner.control(now, max_schedule_s)
    elif has_control(block):
        control = read_control(block, now, max_schedule_s)
    elif given is None:
        return Prepared(content, block)
    else:
        control = Control(Options())
    if control.refusal is not None:
        raise Refused(control.refusal)
    options = control.options if given is None else _over(control.options, given)
    return Prepared(content, block, options, control.names, control.faults)


def _over(below: Options, above: Options) -> Options:
    """What `above` says goes before; custom data of both is put together."""
    default = Options()
    merged: dict[str, Any] = {}
    for one in fields(Options):
        low, high = getattr(below, one.name), getattr(above, one.name)
        if one.name in ("variables", "shared_variables") or (one.name == "recipient_variables" and low and high):
            merged[one.name] = {**low, **high}
        else:
            merged[one.name] = low if high == getattr(default, one.name) else high
    return Options(**merged)


def copies(submission: Submission, block: HeaderBlock, options: Options | None, personal: bool) -> list[Copy]:
    """personal: recipients get octets of their own, so their names are wanted. Raises Refused."""
    recipients = submission.recipients
    if not personal:
        return [Copy(address, place) for place, address in enumerate(recipients)]
    names = _names(block)
    people = options.recipient_variables if options is not None else None
    if people is None:
        return [
            Copy(address, place, person_of(Personal(names.get(address.key, ""))))
            for place, address in enumerate(recipients)
        ]
    apart = _keys(block, (b"cc", b"bcc")) - _keys(block, (b"to",))
    to = [place for place, address in enumerate(recipients) if address.key not in apart] or list(range(len(recipients)))
    others = [place for place in range(len(recipients)) if place not in set(to)]
    if len(to) * (1 + len(others)) > MAX_COPIES:
        raise Refused(_TOO_MANY)
    made = []
    for place in to:
        address = recipients[place]
        name, variables = names.get(address.key, ""), people.get(address.key)
        made.append(Copy(address, place, person_of(Personal(name, variables))))
        theirs = person_of(Personal(name, variables, str(address))) if others else None
        made += [Copy(recipients[other], other, theirs) for other in others]
    return made


def person_of(personal: Personal) -> bytes | None:
    """As stored. None: there is nothing to store."""
    said = {"name": personal.name, "variables": personal.variables, "to": personal.to}
    said = {name: value for name, value in said.items() if value}
    return orjson.dumps(said) if said else None


def personal_from(text: bytes | None) -> Personal:
    return Personal(**orjson.loads(text)) if text else Personal()


def _names(block: HeaderBlock) -> dict[str, str]:
    """Display names by Address.key, from To and Cc."""
    found: dict[str, str] = {}
    for one in _entries(block, _ADDRESSED):
        key = _key(one[0])
        if one[1] and key not in found:
            found[key] = display(one[1])
    return found


def _keys(block: HeaderBlock, names: tuple[bytes, ...]) -> set[str]:
    return {_key(address) for address, _ in _entries(block, names)}


def _entries(block: HeaderBlock, names: tuple[bytes, ...]) -> Iterable[tuple[str, str]]:
    for name in names:
        for value in block.all(name):
            for entry in entries(value.decode("utf-8", "replace")):
                if entry.address:
                    yield entry.address, entry.phrase


def _key(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.casefold()}@{domain.lower()}"
