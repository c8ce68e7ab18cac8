"""Files: what is attached to a message, told by name, type and size; nothing is decoded for it.

Room: message. Pure, total and bounded (see pieces.py). Names, and what counts as a file, are those of parse.py.
"""

from mtad.mail.envelope import AttachedFile
from mtad.message.decoding import undo
from mtad.message.headers import CRLF, HeaderBlock
from mtad.message.parse import is_file, name_of
from mtad.message.pieces import Leaf, Pieces

MAX_FILES = 100  # the rest is not told
_TAIL = 8  # octets at the end of base 64 that have its padding


def files_of(block: HeaderBlock) -> tuple[AttachedFile, ...]:
    """block: with the whole message behind it. Its own parts, from top to bottom."""
    if _is_text(block):
        return ()
    leaves = [leaf for leaf in Pieces(block.content, block).leaves if is_file(leaf)][:MAX_FILES]
    return tuple([AttachedFile(name_of(leaf, n), leaf.type, _size(leaf)) for n, leaf in enumerate(leaves, 1)])


def _is_text(block: HeaderBlock) -> bool:
    """Nearly all messages that are not multipart: a file has a disposition or a name."""
    said = block.first(b"content-type") or b"text/plain"
    return said[:5].lower() == b"text/" and b"name" not in said.lower() and b"content-disposition" not in block


def _size(leaf: Leaf) -> int:
    if leaf.coding != b"base64":
        return len(undo(leaf.coding, leaf.octets).octets)
    # Four characters are three octets. What else a line may hold but its end makes it a little less in truth.
    source, start, end = leaf.source, leaf.body_start, leaf.end
    letters = end - start - len(CRLF) * source.count(b"\n", start, end)
    return max(0, letters - source.count(b"=", max(start, end - _TAIL), end)) * 3 // 4
