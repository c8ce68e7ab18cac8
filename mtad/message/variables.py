"""Variables: %name% in a message, and what it means for one recipient.

Room: message. Pure. The names are those of the manual's template, unsubscribe and recipient variables. Text between
percent signs that is none of them is left alone; so is a recipient variable whose key the recipient lacks, so that
the fault shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

MAX_KEY = 256  # characters
MAX_FILLED = 2 * 26 * 1024 * 1024  # octets of one filled message

_SIMPLE = r"recipient(?:_(?:email|name|fname|lname))?|(?:tag_|mailing_list_)?unsubscribe_url|unsubscribe_email"
_PATTERN = rf"%(recipient\.[^%\s]{{1,{MAX_KEY}}}+|{_SIMPLE})%"
VARIABLE = re.compile(_PATTERN)
VARIABLE_OCTETS = re.compile(_PATTERN.encode())
_KEY = "recipient."
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]')  # RFC 5322 §3.2.3
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_UNREADABLE = re.compile(r"[\x00\ud800-\udfff]")


class Unfillable(ValueError):
    """This recipient's copy cannot be made: it would be too large, or a field of it not legal. Others can."""


class Links(Protocol):
    """The addresses that lead one recipient back to us: absolute URLs of ASCII, and for `_email` a bare address."""

    def open_url(self) -> str: ...
    def click_url(self, target: str) -> str: ...
    def unsubscribe_url(self) -> str: ...
    def tag_unsubscribe_url(self) -> str: ...
    def mailing_list_unsubscribe_url(self) -> str: ...
    def unsubscribe_email(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Person:
    """One recipient.

    name: for display, "" unknown. variables: the recipient variables, JSON values. to: the value of the To field in a
    batch, in which variables are filled; "" takes the recipient's own entry of the message's To.
    """

    address: str
    name: str
    variables: Mapping[str, Any]
    to: str
    links: Links


def usable(name: str) -> bool:
    """A name that _PATTERN found may still hold what only a look at its characters tells: no key has white space."""
    return name.isprintable() and " " not in name


def asks_to_leave(name: str) -> bool:
    return "unsubscribe_" in name and not name.startswith(_KEY)


class Filling:
    """The values for one copy, each worked out once. keys: recipient.* is filled; without, it stays as written."""

    __slots__ = ("_keys", "_known", "_left", "person")

    def __init__(self, person: Person, keys: bool) -> None:
        self.person, self._keys, self._left = person, keys, MAX_FILLED
        self._known: dict[str, str | None] = {}

    def text(self, name: str) -> str | None:
        """The value of variable `name` (without its percent signs); None: to be left as written."""
        try:
            return self._known[name]
        except KeyError:
            value = self._known[name] = self._find(name)
            return value

    def spend(self, octets: int) -> None:
        """Raises Unfillable when the copy grows beyond MAX_FILLED."""
        self._left -= octets
        if self._left < 0:
            raise Unfillable("with its variables filled in, the message is too large")

    def _find(self, name: str) -> str | None:
        person = self.person
        if name.startswith(_KEY):
            if not self._keys:
                return None
            return key_text(person.variables, name)
        match name:
            case "recipient":
                return mailbox_text(person.name, person.address)
            case "recipient_email":
                return person.address
            case "recipient_name":
                return person.name
            case "recipient_fname":
                return next(iter(person.name.split()), "")
            case "recipient_lname":
                words = person.name.split()
                return words[-1] if len(words) > 1 else ""
        made: str = getattr(person.links, name)()  # the unsubscribe variables are named as the links are
        return made


def key_text(variables: Mapping[str, Any], name: str) -> str | None:
    """The value of a recipient variable, "recipient.key", as it stands in text; None: it is none, or not known."""
    if not name.startswith(_KEY) or not usable(name):
        return None
    found, value = _member(variables, name[len(_KEY) :])
    return json_text(value) if found else None


def json_text(value: Any) -> str:
    """A JSON value as it stands in text."""
    match value:
        case str():
            return _UNREADABLE.sub("", value) if _UNREADABLE.search(value) else value
        case None:
            return ""
        case True | False:
            return "true" if value else "false"
        case int():
            return str(value)
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError, RecursionError):
        return ""


def mailbox_text(name: str, address: str) -> str:
    """ "Bob <bob@example.org>": fit for a person's eyes, and safe as one entry of an address list."""
    name = _CONTROLS.sub(" ", name).strip()
    if not name:
        return address
    if _SPECIALS.search(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def _member(variables: Mapping[str, Any], key: str) -> tuple[bool, Any]:
    """(found, value). First the whole key, then member "b" of object "a" for "a.b"."""
    if key in variables:
        return True, variables[key]
    dot = key.find(".")
    while dot >= 0:
        inner = variables.get(key[:dot])
        if isinstance(inner, Mapping):
            found, value = _member(inner, key[dot + 1 :])
            if found:
                return True, value
        dot = key.find(".", dot + 1)
    return False, None
