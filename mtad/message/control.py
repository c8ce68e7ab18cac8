"""Control: the X-Mailgun-* fields by which a sender over SMTP says what is to be done with a message.

Room: message. Pure. Read only from mail of a sender who may send; that is the caller's to know. Nothing here raises on
any header. A value that cannot be read is ignored and told in `faults`, so that a slip costs a tag and not the mail;
but where sending it all the same could not be mended (too early, in the clear, to many with the wrong words), the
message is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mtad.mail.options import Clicks, Options, Variables
from mtad.mail.reply import Reply
from mtad.message.headers import HeaderBlock, decode
from mtad.message.values import (
    MAX_CAMPAIGNS,
    MAX_JSON,
    MAX_TAGS,
    BadValue,
    distinct,
    joined,
    parse_bool,
    parse_campaign,
    parse_clicks,
    parse_deliver_at,
    parse_name,
    parse_object,
    parse_recipient_variables,
    parse_tag,
)

_TAG, _CAMPAIGN = "X-Mailgun-Tag", "X-Mailgun-Campaign-Id"
_DKIM, _DROP, _DELIVER_BY = "X-Mailgun-Dkim", "X-Mailgun-Drop-Message", "X-Mailgun-Deliver-By"
_TRACK, _CLICKS, _OPENS = "X-Mailgun-Track", "X-Mailgun-Track-Clicks", "X-Mailgun-Track-Opens"
_PIXEL_TOP = ("X-Mailgun-Tracking-Pixel-Location-Top", "X-Mailgun-Track-Pixel-Location-Top")
_VARIABLES, _PEOPLE = "X-Mailgun-Variables", "X-Mailgun-Recipient-Variables"
_TLS, _UNVERIFIED = "X-Mailgun-Require-TLS", "X-Mailgun-Skip-Verification"
_TEMPLATE, _VERSION = "X-Mailgun-Template-Name", "X-Mailgun-Template-Version"
_TEMPLATE_VARIABLES = "X-Mailgun-Template-Variables"

_EFFECTIVE = (
    *(_TAG, _CAMPAIGN, _DKIM, _DROP, _DELIVER_BY, _TRACK, _CLICKS, _OPENS, *_PIXEL_TOP),
    *(_VARIABLES, _PEOPLE, _TLS, _UNVERIFIED, _TEMPLATE, _VERSION, _TEMPLATE_VARIABLES),
)
_IDLE = (  # taken off the message, without effect
    "X-Mailgun-Archive-To",
    "X-Mailgun-Deliver-Within",
    "X-Mailgun-Delivery-Time-Optimize-Period",
    "X-Mailgun-Native-Send",
    "X-Mailgun-Secondary-Dkim",
    "X-Mailgun-Secondary-Dkim-Public",
    "X-Mailgun-Sending-Ip",
    "X-Mailgun-Sending-Ip-Pool",
    "X-Mailgun-Suppress-Headers",
    "X-Mailgun-Time-Zone-Localize",
)
_FIELD_NAMES = {name: name.lower().encode() for name in (*_EFFECTIVE, *_IDLE)}
CONTROL_NAMES = frozenset(_FIELD_NAMES.values())  # lower case

_Raw = TypeVar("_Raw", str, bytes)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Fault:
    """A field that was not followed. field: its name. why: a predicate. No part of the value is told."""

    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.field} {self.why}"


@dataclass(frozen=True, slots=True)
class Control:
    """What the control fields of one message say.

    names: those of its fields that no recipient shall see, in lower case. X-Mailgun-Variables is among them: the one
    merged field that recipients get is made from options.variables. refusal: the message is not to be taken.
    """

    options: Options
    names: frozenset[bytes] = frozenset()
    faults: tuple[Fault, ...] = ()
    refusal: Reply | None = None


def has_control(block: HeaderBlock) -> bool:
    """There is something for read_control to read or to take off."""
    return not CONTROL_NAMES.isdisjoint(block.by_name)


def read_control(block: HeaderBlock, now: float, max_schedule_s: float, outer: HeaderBlock | None = None) -> Control:
    """now: epoch seconds. outer: the header around a variables container; its fields count where `block` has none.

    Of a field that is there several times the last good value counts, but tags and campaigns add up, in the order
    `block`, `outer`, and JSON objects are put together.
    """
    reader = _Reader([block] if outer is None else [outer, block])
    if not reader.needed:
        return Control(Options())
    options = Options(
        tags=reader.tags(),
        campaigns=reader.campaigns(),
        dkim=reader.last(_DKIM, parse_bool),
        test_mode=reader.last(_DROP, parse_bool) or False,
        deliver_at=reader.last(_DELIVER_BY, lambda text: parse_deliver_at(text, now, max_schedule_s), strict=True),
        pixel_top=reader.last(_PIXEL_TOP[0], parse_bool, alias=_PIXEL_TOP[1]),
        require_tls=reader.last(_TLS, parse_bool, strict=True),
        skip_verification=reader.last(_UNVERIFIED, parse_bool),
        template=reader.last(_TEMPLATE, parse_name, strict=True) or "",
        template_version=reader.last(_VERSION, parse_name, strict=True) or "",
        template_variables=_merged(reader.objects(_TEMPLATE_VARIABLES, parse_object, strict=True)),
        variables=_merged(reader.objects(_VARIABLES, parse_object)),
        recipient_variables=_people(reader.objects(_PEOPLE, parse_recipient_variables, strict=True)),
    )
    _track(options, reader)
    names = CONTROL_NAMES.intersection(block.by_name)
    return Control(options, names, tuple(reader.faults), reader.refusal)


def refusal_of(field: str, error: BadValue) -> Reply:
    """What the sender is told. field: the name that the error speaks of."""
    return Reply(554, "6.0", f"{field} {error}; {error.advice}" if error.advice else f"{field} {error}")


def _track(options: Options, reader: "_Reader") -> None:
    """X-Mailgun-Track switches both; what is said of clicks or opens alone goes before."""
    both = reader.last(_TRACK, parse_bool)
    options.track_opens = _either(reader.last(_OPENS, parse_bool), both)
    clicks = None if both is None else Clicks.YES if both else Clicks.NO
    options.track_clicks = _either(reader.last(_CLICKS, parse_clicks), clicks)


def _either(first: _Value | None, second: _Value | None) -> _Value | None:
    return second if first is None else first


def _merged(objects: Sequence[Variables]) -> Variables:
    whole: Variables = {}
    for one in objects:
        whole.update(one)
    return whole


def _people(objects: Sequence[dict[str, Variables]]) -> dict[str, Variables] | None:
    return joined(*objects) if objects else None


class _Reader:
    """Values out of the blocks, outermost first, with a note of what is wrong with them."""

    def __init__(self, blocks: Sequence[HeaderBlock]) -> None:
        self._blocks = blocks
        self._json_octets = 0
        self.faults: dict[Fault, None] = {}  # a set that keeps its order
        self.refusal: Reply | None = None

    @property
    def needed(self) -> bool:
        return any(has_control(block) for block in self._blocks)

    def last(
        self, field: str, parse: Callable[[str], _Value], *, alias: str = "", strict: bool = False
    ) -> _Value | None:
        """The last good value. strict: a bad one is reason to refuse the message. An empty one says nothing."""
        found = None
        for block in self._blocks:
            for name in (alias, field) if alias else (field,):
                for value in block.all(_FIELD_NAMES[name]):
                    for good in self._attempt(name, parse, decode(value).strip(), strict and bool(value)):
                        found = good
        return found

    def tags(self) -> tuple[str, ...]:
        return self._several(_TAG, parse_tag, MAX_TAGS, str.lower)

    def campaigns(self) -> tuple[str, ...]:
        return self._several(_CAMPAIGN, parse_campaign, MAX_CAMPAIGNS, str)

    def _several(
        self, field: str, parse: Callable[[str], str], most: int, key: Callable[[str], str]
    ) -> tuple[str, ...]:
        """The innermost first: they stay when there are too many."""
        values = [value for block in reversed(self._blocks) for value in block.all(_FIELD_NAMES[field])]
        good = distinct([one for value in values for one in self._attempt(field, parse, decode(value), False)], key)
        if len(good) > most:
            self._note(Fault(field, f"is there more than {most} times"))
        return good[:most]

    def objects(self, field: str, parse: Callable[[str], _Value], *, strict: bool = False) -> list[_Value]:
        """All good values, outermost first; an empty one is no JSON. Octets are counted over all fields together."""
        values = [value for block in self._blocks for value in block.all(_FIELD_NAMES[field])]
        self._json_octets += sum(map(len, values))
        if self._json_octets > MAX_JSON:
            self._refuse(
                field,
                BadValue(f"and other JSON fields have more than {MAX_JSON // 1024} KiB together", "send less data"),
            )
            return []
        return [one for value in values for one in self._attempt(field, lambda text: _json(text, parse), value, strict)]

    def _attempt(self, field: str, parse: Callable[[_Raw], _Value], value: _Raw, strict: bool) -> tuple[_Value, ...]:
        """The value alone; or nothing, and a note."""
        try:
            return (parse(value),)
        except BadValue as error:
            self._note(Fault(field, str(error)))
            if strict:
                self._refuse(field, error)
            return ()

    def _note(self, fault: Fault) -> None:
        self.faults.setdefault(fault)

    def _refuse(self, field: str, error: BadValue) -> None:
        self.refusal = self.refusal or refusal_of(field, error)


def _json(value: bytes, parse: Callable[[str], _Value]) -> _Value:
    """A tab can only come from folding: in a JSON string it would be written \\t. A value that is JSON only with its
    encoded words left alone is meant so."""
    try:
        return parse(decode(value, len(value)).replace("\t", " "))
    except BadValue:
        if b"=?" not in value:
            raise
        return parse(value.decode("utf-8", "replace").replace("\t", " "))
