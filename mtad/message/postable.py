"""Postable: a whole message as text that can be written as UTF-8, for those who parse it themselves.

Room: message. Pure, total. A message that is UTF-8 comes out as it is, octet for octet. In one that is not, only the
parts that are not are written anew: a text in UTF-8, which its Content-Type then says, a file in base64; header fields
that are no UTF-8 are read as Latin-1. No other octet changes.
"""

import re

from mtad.message.charsets import Reader
from mtad.message.headers import CRLF, HeaderBlock, scan
from mtad.message.parse import with_crlf
from mtad.message.pieces import Leaf, Pieces
from mtad.message.transfer import base64_lines

_CHARSET = re.compile(rb"(;\s*charset\s*=\s*)(?:\"[^\"]*\"|[^\s;]+)", re.IGNORECASE)


def postable(content: bytes) -> str:
    """Any octets -> text. NUL is left out of it, as no receiver can be trusted with it."""
    text = _utf8(content)
    if text is None:
        text = _rewritten(with_crlf(content))
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _utf8(octets: bytes) -> str | None:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return None


def _rewritten(content: bytes) -> str:
    block = scan(content)
    content = block.content
    reader = Reader()
    shown: list[str] = []
    place = 0
    for leaf in Pieces(content, block).leaves:
        if leaf.source is not content or leaf.start < place:
            continue  # within something that was encoded: ASCII here
        if _utf8(leaf.octets) is not None:
            continue
        shown.append(_lenient(content[place : leaf.start]))
        shown.append(_part(leaf, reader))
        place = leaf.end
    shown.append(_lenient(content[place:]))
    return "".join(shown)


def _part(leaf: Leaf, reader: Reader) -> str:
    head = leaf.source[leaf.start : leaf.body_start]
    if leaf.type.startswith("text/"):
        reading = reader.read(leaf.octets, leaf.parameters.get("charset", ""))
        if reading.faithful:
            return _lenient(_with_charset(head, leaf.block)) + reading.text
    text = base64_lines(leaf.octets).decode("ascii").removesuffix("\r\n")
    return (
        _lenient(_with(head, leaf.block, b"content-transfer-encoding", b"Content-Transfer-Encoding: base64\r\n")) + text
    )


def _with_charset(head: bytes, block: HeaderBlock) -> bytes:
    """The header of a part, which says that its text is UTF-8."""
    raws = block.by_name.get(b"content-type")
    if not raws:
        head = _with(head, block, b"content-type", b"Content-Type: text/plain; charset=utf-8\r\n")
    else:
        said, found = _CHARSET.subn(rb"\1utf-8", raws[0])
        if not found:
            said = raws[0].rstrip(b"\r\n") + b"; charset=utf-8\r\n"
        head = head.replace(raws[0], said, 1)
    return _with(head, block, b"content-transfer-encoding", b"Content-Transfer-Encoding: 8bit\r\n")


def _with(head: bytes, block: HeaderBlock, name: bytes, field: bytes) -> bytes:
    raws = block.by_name.get(name)
    if raws:
        return head.replace(raws[0], field, 1)
    if not head.endswith(CRLF):
        head += CRLF + CRLF if block.end > block.start else CRLF
    return field + head


def _lenient(octets: bytes) -> str:
    """Line by line, so that a line of Latin-1 does not make the lines of UTF-8 around it unreadable."""
    text = _utf8(octets)
    if text is not None:
        return text
    return "".join(
        [said if (said := _utf8(line)) is not None else line.decode("latin-1") for line in octets.splitlines(True)]
    )
