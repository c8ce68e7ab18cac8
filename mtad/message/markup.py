"""Markup: html -> a tree, by lxml: of the parsers measured the one that is linear on every input (docs/parsing.rst).

Room: message. The only module that calls lxml. Nothing raises; a tree has at most MAX_TEXT characters of html in it
and is at most 2048 elements deep: `whole` is False when there was more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 500_000  # characters of html that are looked at

Element = Any  # lxml has no types; what is used of it: tag, text, tail, get, and the ways to its neighbours
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DECLARED = re.compile(r"\A\s*<\?xml[^>]{0,200}\?>")


@dataclass(frozen=True, slots=True)
class Tree:
    root: Element
    whole: bool


def tree_of(html: str) -> Tree | None:
    """None: there is nothing in it."""
    shown = _DECLARED.sub("", _UNREADABLE.sub("\ufffd", html[:MAX_TEXT]), count=1)
    from lxml import etree  # two megabytes, which a relay without inbound mail does not need

    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=True, no_network=True, remove_comments=False, remove_pis=True, compact=False
    )
    try:
        root = etree.fromstring(shown.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError, AssertionError):
        return None
    if root is None:
        return None
    cut = any("depth" in error.message for error in parser.error_log)
    return Tree(root, len(html) <= MAX_TEXT and not cut)


def events(root: Element) -> Iterator[tuple[str, Element]]:
    """("start", "end" or "comment", element), in the order of the text."""
    from lxml import etree

    return iter(etree.iterwalk(root, events=("start", "end", "comment")))


def written(element: Element) -> str:
    """html again, without what stands behind the element."""
    from lxml import etree

    return str(etree.tostring(element, method="html", encoding="unicode", with_tail=False))


def remove(element: Element) -> None:
    """Takes an element out; the text behind it stays."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        before = element.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + element.tail
        else:
            parent.text = (parent.text or "") + element.tail
        element.tail = None
    parent.remove(element)


def remove_from(element: Element) -> None:
    """Takes out an element and all that follows it in the document."""
    here: Element | None = element
    inclusive = True
    while here is not None and (parent := here.getparent()) is not None:
        for follower in list(here.itersiblings()):
            parent.remove(follower)
        here.tail = None
        if inclusive:
            before = here.getprevious()
            parent.remove(here)
            inclusive = False
            if before is None and not (parent.text or "").strip() and parent.tag not in ("body", "html"):
                here, inclusive = parent, True  # nothing is left in it
                continue
        here = parent
