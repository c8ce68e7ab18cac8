"""Html to text: what a message that has only html says, for those who read text.

Room: message. Pure, linear and bounded (see markup.py). Paragraphs, lines, items, quotations ("> ") and the targets of
links are kept; tables are read row by row, since in mail they are layout. Nothing raises.
"""

import html as entities
import re

from mtad.message.markup import MAX_TEXT, Element, events, tree_of

_SILENT = frozenset({"head", "style", "script", "title", "template", "noscript", "svg", "object", "textarea", "select"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "blockquote", "pre", "table"})
_LINES = frozenset(
    {
        "div",
        "tr",
        "li",
        "dt",
        "dd",
        "section",
        "article",
        "header",
        "footer",
        "address",
        "center",
        "form",
        "hr",
        "caption",
    }
)
_CELLS = frozenset({"td", "th"})
_SPACES = re.compile(r"[ \t\r\n\f]+")  # not U+00A0, which is meant
_MANY_BREAKS = re.compile(r"\n{3,}")
_TRAILING = re.compile(r"[ \t\xa0]+$", re.MULTILINE)
_TAGS = re.compile(r"<!--.*?-->|<(style|script|head)\b.*?</\1\s*>|<[^<>]{0,2000}>", re.DOTALL | re.IGNORECASE)
_INVISIBLE = re.compile("[\u200b\u200c\u200d\ufeff\u00ad\u034f]+")
_MAX_QUOTES = 10  # "> " in front of a line
_LINK = re.compile(r"(?i)(?:https?|mailto|tel):[^\s<>]{1,2000}\Z")


def html_to_text(html: str) -> str:
    """Text with "\\n" line ends, "" when nothing is said; a line end behind the last line otherwise."""
    tree = tree_of(html)
    if tree is None:
        return ""
    if tree.whole or len(html) > MAX_TEXT:
        return text_of(tree.root)
    return _without_tags(html)  # deeper than the parser goes: better without structure than without an end


def text_of(root: Element) -> str:
    """The text of a tree."""
    page = _Page()
    for event, element in events(root):
        if event == "start":
            page.start(element)
        else:
            page.end(element)
    return page.text()


def _without_tags(html: str) -> str:
    html = html[:MAX_TEXT]
    html = html.replace("<!--", "<").replace("-->", ">") if html.count("<!--") > 1000 else html
    said = entities.unescape(_TAGS.sub("\n", html))
    return _MANY_BREAKS.sub("\n\n", _TRAILING.sub("", said)).strip("\n") + "\n"


class _Page:
    """Writes lines. A break is kept until something follows it."""

    __slots__ = (
        "_between", "_breaks", "_item", "_line", "_lines", "_links", "_numbers", "_preserved", "_quotes", "_silent",
        "_space",
    )  # fmt: skip

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._breaks = 0  # blank lines to be written before the next word
        self._between = 0  # quotations that these stand in
        self._space = False
        self._quotes = self._silent = self._preserved = 0
        self._links: list[str] = []
        self._numbers: list[int] = []  # of the lists that are open: 0 for one without numbers
        self._item = ""

    def start(self, element: Element) -> None:
        name = element.tag
        if self._silent or name in _SILENT:
            self._silent += 1
            return
        if name == "br":
            self._break_line()
        elif name in _PARAGRAPHS:
            self._want(2 if not self._numbers or name not in ("ul", "ol") else 1)
        elif name in _LINES:
            self._want(1)
        elif name in _CELLS:
            self._space = True
        self._opened(name, element)
        if element.text:
            self._words(element.text)

    def _opened(self, name: str, element: Element) -> None:
        if name == "blockquote":
            self._quotes += 1
        elif name == "pre":
            self._preserved += 1
        elif name == "a":
            self._links.append(element.get("href") or "")
        elif name == "img":
            self._words(element.get("alt") or "")
        elif name in ("ul", "ol"):
            self._numbers.append(1 if name == "ol" else 0)
        elif name == "li":
            number = self._numbers[-1] if self._numbers else 0
            self._item = f"{number}. " if number else "- "
            if number:
                self._numbers[-1] += 1

    def end(self, element: Element) -> None:
        """Of a comment too: text may stand behind it."""
        name = element.tag
        if isinstance(name, str):
            if self._silent:
                self._silent -= 1
            else:
                self._closed(name, element)
        if element.tail and not self._silent:
            self._words(element.tail)

    def _closed(self, name: str, element: Element) -> None:
        if name == "a":
            self._link(element)
        elif name == "blockquote":
            self._flush()
            self._quotes -= 1
        if name in _PARAGRAPHS:
            self._want(2 if len(self._numbers) < 2 or name not in ("ul", "ol") else 1)
        elif name in _LINES:
            self._want(1)
        if name == "pre":
            self._preserved -= 1
        elif name in ("ul", "ol") and self._numbers:
            self._numbers.pop()
        elif name == "li":
            self._item = ""

    def _link(self, element: Element) -> None:
        target = self._links.pop().strip() if self._links else ""
        if not _LINK.match(target):
            return
        shown = (element.text or "").strip() if len(element) == 0 else ""
        bare = target.partition(":")[2].strip("/")
        if shown.strip("/").removeprefix("https://").removeprefix("http://") == bare:
            return
        self._words(f" <{target}>")

    def _words(self, text: str) -> None:
        if self._preserved:
            for number, line in enumerate(text.split("\n")):
                if number:
                    self._break_line()
                self._write(line)
            return
        if not text.strip(" \t\r\n\f"):
            self._space = True
            return
        words = _SPACES.sub(" ", text)
        if words[0] == " ":
            self._space, words = True, words[1:]
        ended = words.endswith(" ")
        self._write(words[:-1] if ended else words)
        self._space = ended

    def _write(self, words: str) -> None:
        if not words:
            return
        if self._breaks:
            self._end_lines()
        if self._space and self._line:
            self._line.append(" ")
        self._space = False
        if self._item:
            self._line.append(self._item)
            self._item = ""
        self._line.append(words)

    def _want(self, breaks: int) -> None:
        self._flush()
        if self._lines:
            self._between = min(self._quotes, self._between) if self._breaks else self._quotes
            self._breaks = max(self._breaks, breaks - 1)
        self._space = False

    def _flush(self) -> None:
        """The line that is open ends here."""
        if self._line:
            self._lines.append("> " * min(self._quotes, _MAX_QUOTES) + "".join(self._line))
            self._line = []
        self._space = False

    def _break_line(self) -> None:
        if self._breaks:
            self._end_lines()
        if self._line:
            self._flush()
        else:
            self._lines.append(("> " * min(self._quotes, _MAX_QUOTES)).rstrip())

    def _end_lines(self) -> None:
        mark = ("> " * min(self._quotes, self._between, _MAX_QUOTES)).rstrip()
        self._lines += [mark] * self._breaks
        self._breaks = 0

    def text(self) -> str:
        self._flush()
        said = _INVISIBLE.sub("", "\n".join(self._lines))
        said = _MANY_BREAKS.sub("\n\n", _TRAILING.sub("", said)).strip("\n")
        return said + "\n" if said else ""
