"""List rows: what people enter of mailing lists and their members, checked.

Room: api. Pure. May import: mail, message. Everything here raises Impossible, with one line for people.
"""

import csv
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import orjson

from mtad.api.base import Impossible, shorten
from mtad.api.csv_lines import lines_of
from mtad.mail.address import BadAddress, parse_address
from mtad.mail.lists import AccessLevel, MemberEntry, ReplyPreference
from mtad.message.fields import display, entries
from mtad.message.values import BadValue, parse_bool, parse_object

MAX_NAME = 1000  # characters
MAX_DESCRIPTION = 10_000  # characters
MAX_VARIABLES = 16_384  # octets, of one member: a page has a thousand

_KNOWN = frozenset(("address", "name", "subscribed", "vars"))
_Choice = TypeVar("_Choice", AccessLevel, ReplyPreference)


class NoMailbox(Impossible):
    """The text is no address."""


def read_mailbox(text: str) -> tuple[str, str]:
    """ "Bob <Bob@Example.org>" -> ("Bob@example.org", "Bob"); the name is "" where there is none."""
    bare = text.strip()
    found = entries(bare) if any(sign in bare for sign in '"<(,') else []
    if len(found) > 1 or (found and not found[0].address):
        raise NoMailbox(f"{shorten(bare)!r} is no address")
    try:
        address = parse_address(found[0].address if found else bare)
    except BadAddress as error:
        raise NoMailbox(f"{shorten(bare)!r} is no address: {error}") from None
    return str(address), read_name(display(found[0].phrase)) if found and found[0].phrase else ""


def key_in(text: str) -> str:
    """The form for comparing of what a path or a command names; "" it is no address, so nothing has it."""
    try:
        return parse_address(text.strip()).key
    except BadAddress:
        return ""


def read_name(text: str) -> str:
    """One printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_NAME]).split())
    if len(line) > MAX_NAME:
        raise Impossible(f"a name has at most {MAX_NAME} characters")
    return line


def read_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise Impossible(f"a description has at most {MAX_DESCRIPTION} characters")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise Impossible("the description has a character that is none")
    return text


def read_access(text: str) -> AccessLevel:
    return _one_of(AccessLevel, text, "access level")


def read_reply(text: str) -> ReplyPreference:
    return _one_of(ReplyPreference, text, "reply preference")


def _one_of(kind: type[_Choice], text: str, what: str) -> _Choice:
    try:
        return kind(text.strip().lower())
    except ValueError:
        raise Impossible(f"{shorten(text)!r} is no {what}: write {_or(kind)}") from None


def _or(kind: type[_Choice]) -> str:
    *some, last = (one.value for one in kind)
    return f"{', '.join(some)} or {last}"


def read_variables(value: object) -> str:
    """A JSON object, or its text -> its text, written shortly."""
    if isinstance(value, Mapping):
        try:
            value = orjson.dumps(value).decode()
        except orjson.JSONEncodeError:
            raise Impossible("vars is nested too deep") from None
    if not isinstance(value, str):
        raise Impossible("vars is not a JSON object")
    try:
        return orjson.dumps(parse_object(value, MAX_VARIABLES)).decode()
    except BadValue as error:
        raise Impossible(f"vars {error}") from None


def read_entry(value: object, subscribed: bool | None) -> MemberEntry:
    """A member in a JSON array: an address, or {"address", "name", "subscribed", "vars"}. subscribed: where it does
    not say so itself. Raises NoMailbox for its address.
    """
    if isinstance(value, str):
        address, name = read_mailbox(value)
        return MemberEntry(address, name or None, subscribed)
    if not isinstance(value, Mapping):
        raise Impossible("a member is an address, or an object with one")
    where, said, wanted = value.get("address"), value.get("name"), value.get("subscribed")
    if not isinstance(where, str) or not (said is None or isinstance(said, str)):
        raise NoMailbox("address and name of a member are texts")
    address, name = read_mailbox(where)
    variables = value.get("vars")
    return MemberEntry(
        address,
        (name or None) if said is None else read_name(said),
        subscribed if wanted is None else _flag(wanted),
        None if variables is None else read_variables(variables),
    )


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return parse_bool(str(value), form=True)
    except BadValue as error:
        raise Impossible(f"subscribed {error}") from None


def read_csv(text: str, subscribed: bool | None) -> Iterator[tuple[int, MemberEntry | Impossible]]:
    """(line, the member or what is wrong). The first line names the columns if one of them is `address`: those that
    are not known become variables. If none is, it is a member already, and the columns are address and name. The first
    step raises when the first line is neither.
    """
    reader = csv.reader(lines_of(text.removeprefix("\ufeff")))
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, Impossible(str(error))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = columns_of(cells)
            if names:
                continue
            if "@" not in cells[0]:
                raise Impossible("the first line must name the columns, `address` among them, or begin with an address")
        try:
            yield reader.line_num, _read_cells(names, cells, subscribed)
        except Impossible as error:
            yield reader.line_num, error


def columns_of(cells: list[str]) -> list[str]:
    """The names in a first line; [] it names no columns."""
    names = [cell.strip() for cell in cells]
    names = [name.lower() if name.lower() in _KNOWN else name for name in names]
    return names if "address" in names else []


def _read_cells(names: list[str], cells: list[str], subscribed: bool | None) -> MemberEntry:
    """names: [] address and name."""
    if not names:
        address, name = read_mailbox(cells[0])
        return MemberEntry(address, (read_name(cells[1]) if len(cells) > 1 else "") or name or None, subscribed)
    found = dict(zip(names, cells, strict=False))
    own: dict[str, Any] = {name: cell for name, cell in found.items() if name and name not in _KNOWN}
    said = found.get("vars", "").strip()
    if said:
        own |= orjson.loads(read_variables(said))
    address, name = read_mailbox(found.get("address", ""))
    wanted = found.get("subscribed", "").strip()
    return MemberEntry(
        address,
        read_name(found.get("name", "")) or name or None,
        _flag(wanted) if wanted else subscribed,
        read_variables(own) if own or said else None,
    )
