"""Personal: what an event tells of its message, as it was for this one recipient: nobody else's name or address.

Room: webhooks. Pure. May import: mail, message. Filled in as the copy itself was (message.heading), but for the links,
which nobody but their recipient shall have.
"""

from collections.abc import Mapping
from typing import Any, cast

from mtad.mail.event import Event, EventType
from mtad.mail.options import Variables
from mtad.message.headers import MAX_TEXT
from mtad.message.slots import Value, fill, pieces
from mtad.message.variables import (
    VARIABLE,
    Filling,
    Links,
    Person,
    Unfillable,
    asks_to_leave,
    key_text,
    mailbox_text,
)

_NO_LINKS = cast(Links, None)  # no variable that needs one is filled


def headers_of(event: Event) -> dict[str, str]:
    """to, from and subject, decoded. In a batch, To is the one whom this copy was for."""
    about = event.about or event.detail
    told = {name: str(about.get(name) or "") for name in ("to", "from", "subject")}
    if not event.domain or event.type is EventType.REJECTED or about.get("is-routed"):
        return told  # it was sent as it came, or not at all
    name, address = str(event.personal.get("name") or ""), str(event.personal.get("to") or event.recipient)
    batch = is_batch(event)
    keys = batch or bool(event.detail.get("mailing-list") or about.get("mailing-list"))
    filling = Filling(Person(address, name, _own(event) if keys else {}, "", _NO_LINKS), keys)
    told = {field: _written(text, filling, keys) for field, text in told.items()}
    return {**told, "to": mailbox_text(_written(name, filling, keys), address)} if batch else told


def _written(text: str, filling: Filling, keys: bool) -> str:
    if "%" not in text:
        return text
    cut = [one.written if isinstance(one, Value) and asks_to_leave(one.name) else one for one in pieces(text, keys)]
    try:
        return fill(cut, filling)[0][:MAX_TEXT]
    except Unfillable:  # then there was no copy either
        return text


def is_batch(event: Event) -> bool:
    """Each recipient got a message of his own."""
    return event.options is not None and event.options.batch


def variables_of(event: Event) -> Variables:
    """The custom data, with the recipient's own variables filled in as in the copy he got."""
    if event.options is None or not event.options.variables:
        return {}
    own = _own(event)
    if not own:
        return dict(event.options.variables)
    return {name: _filled(value, own) for name, value in event.options.variables.items()}


def _own(event: Event) -> Mapping[str, Any]:
    """The recipient's variables, and those that all recipients of a batch have."""
    own = event.personal.get("variables")
    own = own if isinstance(own, dict) else {}
    return {**event.options.shared_variables, **own} if event.options is not None and event.options.batch else own


def _filled(value: Any, own: Mapping[str, Any]) -> Any:
    """An unknown variable stays as it is written."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: _text(own, found[1], found[0]), value) if "%" in value else value
    if isinstance(value, list):
        return [_filled(one, own) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, own) for name, one in value.items()}
    return value


def _text(own: Mapping[str, Any], name: str, otherwise: str) -> str:
    text = key_text(own, name)
    return otherwise if text is None else text
