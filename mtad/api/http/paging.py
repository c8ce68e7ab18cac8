"""Paging: pages by a key (the page after "bob@example.org"), and the four links that lead through them.

Room: api. Pure. Lists by limit and skip need no more than `Params.limit`, `Params.skip` and `counted`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

from mtad.api.http.answers import Answer, BadRequest, answer
from mtad.api.http.call import Call


class Direction(Enum):
    FIRST = "first"
    NEXT = "next"
    PREVIOUS = "previous"
    LAST = "last"


_WORDS = {direction.value: direction for direction in Direction} | {"prev": Direction.PREVIOUS, "": Direction.FIRST}


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for. pivot: the page is behind (NEXT) or before (PREVIOUS) this key; "" with FIRST and LAST, and
    where the caller gave none: then NEXT is FIRST and PREVIOUS is LAST.
    """

    limit: int
    direction: Direction
    pivot: str

    @property
    def backwards(self) -> bool:
        """To be read in descending order, and turned round for the answer."""
        return self.direction in (Direction.PREVIOUS, Direction.LAST)


def read_page(call: Call, pivot: str, most: int = 1000) -> Page:
    """pivot: name of the parameter that holds the key: address, tag, p."""
    word = call.params.text("page", "").strip().lower()
    direction = _WORDS.get(word)
    if direction is None:
        raise BadRequest("page parameter is none of first, next, previous and last")
    key = call.params.text(pivot, "") if direction in (Direction.NEXT, Direction.PREVIOUS) else ""
    return Page(call.params.limit(most=most), direction, key)


def links(call: Call, page: Page, pivot: str, keys: Sequence[str], keep: Sequence[str] = ()) -> dict[str, str]:
    """{"first", "next", "previous", "last"}: absolute, always all four.

    keys: of the items on this page, ascending. keep: names of filters that stay in the links. From an empty page the
    way on stays where it was, for what may come; the way back leads to the nearest item, which is the first or last.
    """
    held = [(name, call.params.text(name, "")) for name in keep if name in call.params]
    if keys:
        after, before = keys[-1], keys[0]
    else:
        after, before = ("", page.pivot) if page.backwards else (page.pivot, "")

    def link(word: str, key: str) -> str:
        pairs = [("page", word), *([(pivot, key)] if key else []), *held, ("limit", str(page.limit))]
        return f"{call.url}?{urlencode(pairs, quote_via=quote)}"

    return {
        "first": link("first", ""),
        "next": link("next", after),
        "previous": link("previous", before),
        "last": link("last", ""),
    }


def paged(items: Sequence[Any], paging: dict[str, str], **more: Any) -> Answer:
    """{"items": […], "paging": {…}}"""
    return answer({"items": items, "paging": paging, **more})


def counted(items: Sequence[Any], total: int) -> Answer:
    """{"total_count": N, "items": […]}; total: of all that match, not of the page."""
    return answer({"total_count": total, "items": items})
