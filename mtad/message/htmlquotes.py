"""Html quotes: the html of an answer without the quotations in it.

Room: message. Pure, linear and bounded (see markup.py). Programs mark what they quote by classes, ids and styles of
their own; where none is known, the words that introduce a quotation in text are looked for. Html in which nothing is
quoted comes out as it went in, every letter of it.
"""

import re
from itertools import islice

from mtad.message import quotewords as words
from mtad.message.markup import MAX_TEXT, Element, events, remove, remove_from, tree_of, written
from mtad.message.quotes import is_attribution, is_original_header

# Html that has none of these quotes nothing that would be found.
_HINTS = (
    *("blockquote", "gmail_quote", "gmail_attr", "rplyfwdmsg", "appendonsend", "stopspelling", "yahoo_quoted", "---"),
    *("olk_src_body", "zmail_extra", "_quote", "moz-cite-prefix", "reference-message", "isreplycontent", "border-top:"),
    *("mail-quote", "reply-intro", "replysplit", "___", "===", "***", "~~~", "───", "———"),
)
_FIELD_HINT = re.compile(rf">\s*(?:{words.FROM_NAMES})\s?(?:<[^<>]{{1,200}}>\s*){{0,4}}[:：]", re.IGNORECASE)
# All of it is quoted.
_QUOTE_CLASSES = re.compile(
    r"(?:^|\s)(?:\S*yahoo_quoted|protonmail_quote|tutanota_quote|zmail_extra|mail-quote|moz-cite-prefix|gmail_attr|"
    r"moz-email-headers-table|cite-prefix)(?:\s|$)"
)
_QUOTE_IDS = re.compile(
    r"(?:\S*yahoo_quoted\S*|OLK_SRC_BODY_SECTION|isReplyContent|reply-intro|mail-editor-reference-message-container|"
    r"ms-outlook-mobile-reference-message|ydp\w{0,20}yahoo_quoted)"
)
# It and all that follows is quoted.
_FROM_HERE = re.compile(r"(?:x_)*(?:divRplyFwdMsg|appendonsend|stopSpelling|replySplit)")
_OUTLOOK_STYLE = re.compile(
    r"border:none;border-top:solid#[0-9a-f]{6}1\.0pt;padding:3\.0pt0(?:in|cm|mm)0(?:in|cm|mm)0(?:in|cm|mm)"
)
_BLOCKS = frozenset({"p", "div", "td", "span", "font", "b", "strong", "li", "tr", "table"})
_MAX_WORDS = 600  # characters of an element that are read for what they introduce
_MAX_EVENTS = 400  # begins and ends of elements within one that is read
_MAX_READS = 6000  # elements that are read
_BODY = re.compile(r"<(?:body|html)\b", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def split_html(html: str, subject: str = "") -> str:
    """html without its quotations. subject: see quotes.split_text."""
    if len(html) > MAX_TEXT or not _may_quote(html):
        return html
    tree = tree_of(html)
    if tree is None or not tree.whole:
        return html
    work = _Work(bool(words.FORWARD_SUBJECT.match(subject)))
    if not work.strip(tree.root):
        return html
    if _BODY.search(html):
        root = tree.root.getroottree()
        return f"{root.docinfo.doctype}\n{written(tree.root)}".lstrip("\n")
    body = tree.root.find("body")
    if body is None:
        return written(tree.root)
    return (body.text or "") + "".join(written(child) + (child.tail or "") for child in body)


def _may_quote(html: str) -> bool:
    lowered = html.lower()
    return any(hint in lowered for hint in _HINTS) or bool(_FIELD_HINT.search(html))


class _Work:
    """On one tree. strip() -> whether anything was taken out."""

    def __init__(self, forward_subject: bool) -> None:
        self._forward_subject, self._changed, self._reads = forward_subject, False, _MAX_READS
        self._words: dict[Element, str] = {}

    def strip(self, root: Element) -> bool:
        elements = [one for one in root.iter() if isinstance(one.tag, str)]
        if self._forwarded(elements):
            return False
        gone: set[Element] = set()
        for element in elements:
            parent = element.getparent()
            if parent is None or parent in gone:
                gone.add(element)  # within what is gone, or the root
                if parent is None:
                    gone.discard(element)
                continue
            if self._one(element):
                gone.add(element)
                self._changed = True
        return self._changed

    def _forwarded(self, elements: list[Element]) -> bool:
        """The first mark decides: a forward within what is quoted is the other's."""
        for element in elements:
            name, key, tag = element.get("class") or "", element.get("id") or "", element.tag
            if "moz-forward-container" in name or key == "isForwardContent":
                return True
            if _FROM_HERE.fullmatch(key) or (_is_outlook_rule(element) and is_original_header(_lines(element))):
                return self._forward_subject
            if "gmail_attr" in name or "gmail_quote" in name or tag == "blockquote":
                if any(words.FORWARD.fullmatch(line) for line in _lines(element)[:1]):
                    return True
                if tag != "blockquote" or _cites(element, name):
                    return False
            elif name and _QUOTE_CLASSES.search(name):
                return False
            elif tag in _BLOCKS and (said := self._own(element)) and words.FORWARD.fullmatch(said):
                return True
        return False

    def _one(self, element: Element) -> bool:
        """Takes an element out if it quotes."""
        name, key, tag = element.get("class") or "", element.get("id") or "", element.tag
        if tag == "blockquote":
            if _cites(element, name) or self._introduced(element):
                self._take_introduction(element)
                remove(element)
                return True
            return False
        if (name and _QUOTE_CLASSES.search(name)) or (key and _QUOTE_IDS.fullmatch(key)):
            remove(element)
            return True
        if key and _FROM_HERE.fullmatch(key):
            return self._cut(element)
        if _is_outlook_rule(element) and is_original_header(_lines(element)):
            return self._cut(element)
        return tag in _BLOCKS and self._introduces(element)

    def _own(self, element: Element) -> str:
        """Its words if they are few; of the first elements only, and read once."""
        if element not in self._words and self._reads > 0:
            self._reads -= 1
            self._words[element] = _own(element)
        return self._words.get(element, "")

    def _introduces(self, element: Element) -> bool:
        """By its words: a separator or the fields of the original, and then all that follows is quoted."""
        said = self._own(element)
        if said and words.SEPARATOR.fullmatch(said):
            return self._cut(element)
        first = _first_words(element) if self._reads > 0 else ""
        if not first or not words.HEADER_FROM.fullmatch(first):
            return False
        if self._forward_subject or not is_original_header(_lines(element) + _following(element)):
            return False
        return self._cut(element)

    def _cut(self, element: Element) -> bool:
        before = element.getprevious()
        while before is not None and before.tag in ("hr", "br") and not (before.tail or "").strip():
            above = before.getprevious()
            remove(before)
            before = above
        remove_from(element)
        return True

    def _introduced(self, quote: Element) -> bool:
        text, _ = _before(quote)
        return bool(text) and is_attribution(text, sure=True)

    def _take_introduction(self, quote: Element) -> None:
        """ "On … wrote:" before a quotation: a text, or elements."""
        text, elements = _before(quote)
        if not text or not is_attribution(text):
            return
        for one in elements:
            one.tail = None if one.tail and one.tail.strip() in text else one.tail
            remove(one)
        parent = quote.getparent()
        previous = quote.getprevious()
        if previous is not None and (previous.tail or "").strip():
            previous.tail = None
        elif previous is None and parent is not None and (parent.text or "").strip() and _squeezed(parent.text) in text:
            parent.text = None


def _cites(element: Element, name: str) -> bool:
    style = (element.get("style") or "").lower()
    return (
        (element.get("type") or "").lower() == "cite"
        or "gmail_quote" in name
        or bool(element.get("cite"))
        or "border-left" in style
        or bool(_QUOTE_CLASSES.search(name))
    )


def _is_outlook_rule(element: Element) -> bool:
    style = element.get("style")
    return bool(style) and bool(_OUTLOOK_STYLE.search(_SPACES.sub("", style).lower()))


def _before(quote: Element) -> tuple[str, list[Element]]:
    """The words right before a quotation, at most two elements of them, and these elements."""
    words_before: list[str] = []
    elements: list[Element] = []
    here = quote.getprevious()
    for _ in range(6):
        if here is None:
            break
        words_before.insert(0, here.tail or "")
        if here.tag not in ("br", "a") and isinstance(here.tag, str):
            said = _said(here)
            if said.strip() and not "".join(words_before).strip():
                return _squeezed(said), [here]
            if "".join(words_before).strip() and here.tag in ("div", "p", "blockquote", "table", "ul", "ol"):
                break
            words_before.insert(0, said)
        elif here.tag == "a":
            words_before.insert(0, _said(here))
        elif "".join(words_before).strip():
            break
        elements.append(here)
        here = here.getprevious()
    else:
        return "", []
    if here is None and (parent := quote.getparent()) is not None:
        words_before.insert(0, parent.text or "")
    return _squeezed("".join(words_before)), elements


def _squeezed(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _own(element: Element) -> str:
    """The words of an element without blocks in it, "" when they are many."""
    if len(element) > 6:
        return ""
    text = _said(element, 201)
    return _squeezed(text) if len(text) <= 200 else ""


def _said(element: Element, limit: int = _MAX_WORDS) -> str:
    """The words of an element and of all in it, up to a limit."""
    pieces: list[str] = []
    size = 0
    for event, one in islice(events(element), _MAX_EVENTS):
        piece = one.text if event == "start" else one.tail if one is not element else None
        if piece:
            pieces.append(piece)
            size += len(piece)
            if size >= limit:
                break
    return "".join(pieces)[:limit]


def _first_words(element: Element) -> str:
    """ "From: Bob" where an element begins so."""
    text = (element.text or "").strip()
    if not text and len(element):
        first = element[0]
        if first.tag not in ("b", "strong", "span", "font") or not isinstance(first.tag, str):
            return ""
        text = _said(first, 100).strip() + (first.tail or "")[:100]
    return text[:120].strip() if ":" in text[:120] or "：" in text[:120] else ""


def _lines(element: Element) -> list[str]:
    """Its words, a line for each break."""
    out = [""]
    size = 0
    for event, one in islice(events(element), _MAX_EVENTS):
        if event == "start" and one.tag in ("br", "p", "div", "tr"):
            out.append("")
        piece = one.text if event == "start" else one.tail if one is not element else None
        if piece:
            out[-1] += piece
            size += len(piece)
        if size > 4 * _MAX_WORDS or len(out) > 40:
            break
    return [said for line in out if (said := _squeezed(line[:_MAX_WORDS]))]


def _following(element: Element) -> list[str]:
    """The words right behind it."""
    out: list[str] = [_squeezed((element.tail or "")[:_MAX_WORDS])]
    for _ in range(24):
        element = element.getnext()
        if element is None:
            break
        if element.tag == "br":
            out.append("")
        elif element.tag in ("p", "div", "tr"):
            out += _lines(element)[:10]
        elif isinstance(element.tag, str):
            out[-1] += _said(element)
        out[-1] += _squeezed((element.tail or "")[:_MAX_WORDS]) if out else ""
    return [line for line in out if line]
