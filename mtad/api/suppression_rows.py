"""Suppression rows: what people enter of addresses a domain does not write to, checked.

Room: api. Pure. May import: mail, message, storage. Everything here raises Impossible, with one line for people.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mtad.api.base import Impossible, shorten
from mtad.api.csv_lines import lines_of
from mtad.mail.address import BadAddress, ascii_domain, parse_address
from mtad.message.values import BadValue, parse_date
from mtad.storage.suppressions import ALL, Table

MAX_ERROR = 1000  # characters of what a bounce's host said
MAX_TAG = 128  # characters
MAX_TAGS = 100  # of one address at once


@dataclass(frozen=True, slots=True)
class SuppressionRow:
    """One entry to add. value: in the form for comparing, of the allowlist perhaps "@" and a domain.

    code, words: of a bounce; words also why it is on the allowlist. tags: of an unsubscribe. created_at None: now.
    """

    value: str
    code: str = "550"
    words: str = ""
    tags: tuple[str, ...] = (ALL,)
    created_at: float | None = None


def read_table(name: str) -> Table:
    wanted = name.strip().lower()
    try:
        return Table("allowlist" if wanted == "whitelists" else wanted)
    except ValueError:
        raise Impossible(f"{shorten(name)!r} is no table; there are {', '.join(Table)}") from None


def read_value(table: Table, text: str) -> str:
    """An address; for the allowlist "example.org" and "@example.org" are a domain."""
    text = text.strip()
    try:
        if table is Table.ALLOWLIST and text.rpartition("@")[0] == "":
            domain = ascii_domain(text.lstrip("@"))
            if "." not in domain:
                raise Impossible(f"{shorten(text)!r} is no address and no full domain name")
            return "@" + domain
        return parse_address(text).key
    except BadAddress as error:
        raise Impossible(f"{shorten(text)!r} is no address: {error}") from None


def read_code(text: str) -> str:
    """ "" is 550."""
    code = text.strip() or "550"
    if not code.isascii() or not code.replace(".", "").isdigit() or len(code) > 12:
        raise Impossible(f"{shorten(text)!r} is no code: write 550 or 5.1.1")
    return code


def read_words(text: str) -> str:
    """One printable line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_ERROR]).split())[:MAX_ERROR]


def read_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """In lower case, each once; none is all mail."""
    found = tuple(dict.fromkeys(tag.strip().lower() for tag in tags if tag.strip()))
    if len(found) > MAX_TAGS:
        raise Impossible(f"there are more than {MAX_TAGS} tags")
    for tag in found:
        if len(tag) > MAX_TAG or not tag.isprintable():
            raise Impossible(f"{shorten(tag)!r} is no tag: at most {MAX_TAG} printable characters")
    return found or (ALL,)


def read_moment(text: str) -> float | None:
    """RFC 5322 or epoch seconds; "" None."""
    if not text.strip():
        return None
    try:
        at = parse_date(text)
    except BadValue:
        raise Impossible(f"{shorten(text)!r} is no date: write it as RFC 5322 does, or as epoch seconds") from None
    if not 0 <= at < 1e11:
        raise Impossible(f"{shorten(text)!r} is no date of our time")
    return at


def read_csv(table: Table, text: str) -> Iterator[tuple[int, SuppressionRow | str]]:
    """(line, the row or what is wrong with it). The first step raises when the columns are not there."""
    reader = csv.reader(lines_of(text.removeprefix("\ufeff")))
    try:
        names = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise Impossible(f"the file is no CSV: {error}") from None
    if "address" not in names and not (table is Table.ALLOWLIST and "domain" in names):
        raise Impossible("the first line must name the columns, and one of them must be `address`")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            continue
        if any(cell.strip() for cell in cells):
            yield reader.line_num, _read_cells(table, dict(zip(names, cells, strict=False)))


def _read_cells(table: Table, cells: dict[str, str]) -> SuppressionRow | str:
    try:
        domain = cells.get("domain", "").strip() if table is Table.ALLOWLIST else ""
        return SuppressionRow(
            read_value(table, cells.get("address", "").strip() or f"@{domain}"),
            read_code(cells.get("code") or ""),
            read_words(cells.get("error") or cells.get("reason") or ""),
            read_tags((cells.get("tags") or cells.get("tag") or "").split(",")),
            read_moment(cells.get("created_at", "")),
        )
    except Impossible as error:
        return str(error)
