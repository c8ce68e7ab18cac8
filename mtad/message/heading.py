"""Heading: the fields of a message's header that are written anew for each recipient.

Room: message. Pure. Fields that only machines read or that say how the body is to be read are never filled in.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from mtad.message import fields
from mtad.message.fields import display, entries, group, mailbox
from mtad.message.headers import MAX_TEXT, decode, value_of
from mtad.message.slots import Pieces, Value, fill, pieces, varies
from mtad.message.variables import VARIABLE, Filling, Unfillable, usable

_ADDRESSES = frozenset(
    {b"from", b"to", b"cc", b"reply-to", b"sender", b"resent-from", b"resent-to", b"resent-cc", b"resent-sender"}
    | {b"mail-followup-to", b"mail-reply-to", b"disposition-notification-to", b"return-receipt-to", b"errors-to"}
)
_IDENTIFIERS = frozenset({b"message-id", b"in-reply-to", b"references", b"date", b"resent-message-id", b"content-id"})
_NEVER = re.compile(rb"content-(?!id)|mime-version|received|dkim-signature|domainkey-signature|arc-|auth|return-path")
_FOLDED = re.compile(r"%[^%\s]{1,300}+(?:\r\n[ \t]++[^%\s]{1,300}+)++(?=%)")
_FOLD = re.compile(r"\r\n[ \t]+")
_MASKS = 0xE000  # characters of private use stand for variables while a list is cut into its entries
_MASK = re.compile("([\ue000-\uf8ff])")


class Field(Protocol):
    def write(self, filling: Filling) -> bytes:
        """The whole field or fields, with line ends. Raises Unfillable."""


def may_vary(raw: bytes) -> bool:
    """A variable may stand in this field: as it is, or in an encoded word."""
    return b"%" in raw or b"=25" in raw or b"?b?" in raw or b"?B?" in raw


def compile_field(name: bytes, raw: bytes, keys: bool) -> Field | None:
    """None: nothing in this field varies. name in lower case. keys: recipient.* are variables."""
    if not may_vary(raw) or _NEVER.match(name):
        return None
    shown, value = raw[: raw.index(b":")].rstrip(), _unfolded(raw)
    if name in _ADDRESSES:
        found = AddressField(shown, raw, value, keys)
        return found if found.varies else None
    if len(value) > MAX_TEXT:
        return None
    cut = pieces(decode(value.encode("utf-8", "surrogateescape")), keys)
    return TextField(shown, raw, cut, name in _IDENTIFIERS or name.startswith(b"list-")) if varies(cut) else None


def _unfolded(raw: bytes) -> str:
    """The value; folds within a variable, which some programs make, are no white space."""
    text = _octets(raw)
    if "\r\n" in text[:-2]:
        text = _FOLDED.sub(_rejoined, text)
    return _octets(value_of(text.encode("utf-8")))


def _octets(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _rejoined(found: re.Match[str]) -> str:
    name = _FOLD.sub("", found[0])
    return name if VARIABLE.fullmatch(name + "%") else found[0]


class TextField:
    """Free text; identifiers: one in which nothing may be encoded."""

    __slots__ = ("_cut", "_identifiers", "_name", "_raw")

    def __init__(self, name: bytes, raw: bytes, cut: Pieces, identifiers: bool) -> None:
        self._name, self._raw, self._cut, self._identifiers = name, raw, cut, identifiers

    def write(self, filling: Filling) -> bytes:
        text, filled = fill(self._cut, filling)
        if not filled:
            return self._raw
        return (fields.identifiers if self._identifiers else fields.unstructured)(self._name, text)


class _Entry:
    """One entry of an address list. raw: as it stands, where nothing varies."""

    __slots__ = ("address", "alone", "name", "raw")

    def __init__(self, raw: str, name: Pieces, address: Pieces, alone: bool) -> None:
        self.raw, self.name, self.address, self.alone = raw, name, address, alone

    @property
    def varies(self) -> bool:
        return varies(self.name) or varies(self.address)

    def write(self, filling: Filling) -> list[str]:
        """Whole mailboxes: more than one when a variable stands for several."""
        name, _ = fill(self.name, filling)
        utf8 = not filling.person.address.isascii()  # else the message may go where such a field may not
        if not self.alone:
            address = fill(self.address, filling)[0]
            return [mailbox(name, address, utf8) or group(f"{name} {address}".strip())]
        found = [mailbox(display(entry.phrase), entry.address, utf8) for entry in entries(fields.clean(name))]
        return [one for one in found if one is not None] or [group(name)]


class AddressField:
    """A list of addresses, in whose names, addresses or entries there are variables."""

    __slots__ = ("_entries", "_name", "_raw")

    def __init__(self, name: bytes, raw: bytes, value: str, keys: bool) -> None:
        self._name, self._raw = name, raw
        self._entries = _entries(value, keys)

    @property
    def varies(self) -> bool:
        return any(entry.varies for entry in self._entries)

    def write(self, filling: Filling) -> bytes:
        values = {one for entry in self._entries for one in (*entry.name, *entry.address) if isinstance(one, Value)}
        if all(one.text(filling) is None for one in values):
            return self._raw
        written: list[str] = []
        size = 0
        for entry in self._entries:
            some = entry.write(filling) if entry.varies or not entry.raw.isascii() else [entry.raw]
            written += some
            size += sum(map(len, some))
            if size > fields.MAX_FIELD:
                raise Unfillable("a list of addresses is too long with its variables filled in")
        return fields.addresses(self._name, written)


def _entries(value: str, keys: bool) -> list[_Entry]:
    if _MASK.search(value):
        return []
    names: list[str] = []

    def mask(found: re.Match[str]) -> str:
        if not usable(found[1]) or len(names) > 4096 or (not keys and found[1].startswith("recipient.")):
            return found[0]
        names.append(found[1])
        return chr(_MASKS + len(names) - 1)

    def cut(text: str) -> Pieces:
        out: list[str | Value] = []
        for at, one in enumerate(_MASK.split(text)):
            out += [Value(names[ord(one) - _MASKS])] if at % 2 else pieces(one, keys)
        return tuple(out)

    listed = entries(VARIABLE.sub(mask, value))
    return [_Entry(one.raw, cut(display(one.phrase)), cut(one.address), not one.address) for one in listed]


class ToField:
    """The To of a batch: the one recipient, as the caller says, else as the message itself names him."""

    __slots__ = ("_by_address", "_keys")

    def __init__(self, raw: bytes | None, keys: bool) -> None:
        self._keys = keys
        listed = _entries(_unfolded(raw), keys) if raw is not None and len(raw) <= 1_048_576 else []
        self._by_address = {fixed.casefold(): entry for entry in listed if (fixed := _fixed(entry))}

    def write(self, filling: Filling) -> bytes:
        person = filling.person
        if person.to:
            written = [one for entry in _entries(person.to, self._keys) for one in entry.write(filling)]
        elif (own := self._by_address.get(person.address.casefold())) is not None:
            written = own.write(filling)
        else:
            written = []
        return fields.addresses(b"To", written or [mailbox(person.name, person.address, True) or group(person.name)])


def _fixed(entry: _Entry) -> str:
    (only,) = entry.address if len(entry.address) == 1 else ("",)
    return only if isinstance(only, str) else ""


class VariablesField:
    """X-Mailgun-Variables: the sender's own data as one JSON object, %recipient.key% in its texts filled in."""

    __slots__ = ("_fixed", "_keys", "_variables")

    def __init__(self, variables: Mapping[str, Any], keys: bool) -> None:
        self._variables, self._keys = variables, keys
        self._fixed = None if keys and "%recipient." in json.dumps(variables) else variables_field(variables)

    def write(self, filling: Filling) -> bytes:
        if self._fixed is not None:
            return self._fixed
        return variables_field(self._filled(self._variables, filling))

    def _filled(self, value: Any, filling: Filling) -> Any:
        match value:
            case str():
                cut = tuple(
                    one.written if isinstance(one, Value) and not one.name.startswith("recipient.") else one
                    for one in pieces(value, self._keys)
                )
                return fill(cut, filling)[0]
            case Mapping():
                return {name: self._filled(one, filling) for name, one in value.items()}
            case list():
                return [self._filled(one, filling) for one in value]
        return value


def variables_field(value: Mapping[str, Any]) -> bytes:
    """The field with the sender's own data, as it is."""
    # Written so that unfolding and decoding of encoded words give the same JSON back.
    text = json.dumps(value).replace("  ", " \\u0020").replace("=?", "=\\u003f").replace("\x7f", "\\u007f")
    return fields.unstructured(b"X-Mailgun-Variables", text)


class ListUnsubscribe:
    """List-Unsubscribe by mail and web (RFC 2369 §3.2), and by one click (RFC 8058)."""

    __slots__ = ("_via_list",)

    def __init__(self, via_list: bool) -> None:
        self._via_list = via_list

    def write(self, filling: Filling) -> bytes:
        wanted = "mailing_list_unsubscribe_url" if self._via_list else "unsubscribe_url"
        url, address = filling.text(wanted) or "", filling.text("unsubscribe_email") or ""
        text = f"<mailto:{address}>, <{url}>" if address else f"<{url}>"
        return fields.identifiers(b"List-Unsubscribe", text) + b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
