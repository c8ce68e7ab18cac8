"""Collector: the content of a message as it comes in: DATA to its end, or chunks by their count.

Room: smtp. Pure. May import: mail. Source: RFC 5321 §4.1.1.4 (DATA), RFC 3030 (BDAT). Used by smtp.receiver.
Content that will not be taken is read to its true end all the same and none of it is kept: what follows is commands
again, and must not be mistaken for anything else.
"""

import re

from mtad.smtp import replies as say
from mtad.smtp.content import Defect, defect_of, unstuff, with_crlf
from mtad.smtp.limits import Budget, Counters
from mtad.smtp.session import Settings

_END = b"\r\n.\r\n"
_DOT = re.compile(rb"\r\n\.")
_FIRST_OCTETS = 4096  # reserved when content begins; more as it comes


class Collector:
    """`refusal`: why the content under way will not be taken, said at its end. `chunked`: BDAT has begun.

    `reserved`: octets of the budget it holds.
    """

    __slots__ = (
        "_body",
        "_budget",
        "_counters",
        "_last",
        "_need",
        "_searched",
        "_settings",
        "_stuffed",
        "chunked",
        "refusal",
        "reserved",
    )

    def __init__(self, settings: Settings, budget: Budget, counters: Counters) -> None:
        self._settings, self._budget, self._counters = settings, budget, counters
        self.refusal: bytes | None = None
        self.chunked = False
        self.reserved = 0
        self._searched = 0  # octets from the beginning of DATA that hold no end
        self._stuffed = False
        self._body = bytearray()  # chunks so far
        self._need, self._last = 0, False  # octets of the chunk still to come; is it the last

    def has_room(self) -> bool:
        """Asked before content begins: is there memory for it, as far as can be told?"""
        return self._charge(_FIRST_OCTETS)

    def reset(self) -> None:
        """Forget all of it, and give back what was reserved."""
        self.refusal, self.chunked = None, False
        if self._body:
            self._body = bytearray()
        if self.reserved:
            self._budget.release(self.reserved)
            self.reserved = 0

    def handed_over(self) -> int:
        """The content is the caller's now, and so is its share of the budget: so many octets."""
        reserved, self.reserved = self.reserved, 0
        self.reset()
        return reserved

    # DATA

    def begin_data(self) -> None:
        self.refusal, self._stuffed, self._searched = None, False, 0

    def data(self, buf: bytearray, pos: int) -> tuple[int, bytes | None]:
        """Look for the end. buf[pos:] begins with the CRLF before the content, so a dot on its first line counts.

        Where to read on, and the content without stuffing, or None when its end is not here yet. b"" when refused.
        """
        end = self._end_of_data(buf, pos)
        if end >= 0:
            self._bound(end - pos)
            content = b"" if self.refusal is not None else bytes(buf[pos + 2 : end + 2])
            return end + len(_END), unstuff(content) if self._stuffed else content
        size = len(buf) - pos
        self._bound(size)
        self._searched = max(0, size - len(_END) + 1)
        if self.refusal is not None:  # nothing but the end is of interest
            pos += self._searched
            self._searched = 0
        return pos, None

    def _end_of_data(self, buf: bytearray, pos: int) -> int:
        """Where CRLF.CRLF begins, or -1. One search finds it in content without stuffed dots, and that is most."""
        start = pos + self._searched
        if self._stuffed or self.refusal is not None:
            return buf.find(_END, start)
        found = _DOT.search(buf, start)
        if found is None:
            return -1
        at = found.start()
        if buf.startswith(_END, at):
            return at
        self._stuffed = True  # or the end itself, cut by the network: then there is nothing to take out, and no harm
        return buf.find(_END, at)

    def _bound(self, size: int) -> None:
        """size: octets of content so far, stuffing included: that can add a third of the true size."""
        if self.refusal is not None:
            return
        if size > self._settings.max_message_octets * 4 // 3 + 2:
            self._refuse("refused-size", self._settings.too_big)
        elif not self._charge(size):
            self._refuse("refused-memory", say.MEMORY_FULL)

    # BDAT

    def begin_chunk(self, octets: int, last: bool, refusal: bytes | None) -> None:
        """refusal: it must be read all the same (RFC 3030 §2), but is not to be kept."""
        self._need, self._last, self.refusal = octets, last, refusal
        if refusal is None:
            self.chunked = True
            if len(self._body) + octets > self._settings.max_message_octets:
                self._refuse("refused-size", self._settings.too_big)

    def chunk(self, buf: bytearray, pos: int) -> tuple[int, bool]:
        """Take octets of the chunk. Where to read on, and whether all of it was here."""
        count = min(self._need, len(buf) - pos)
        if self.refusal is None:
            if self._charge(len(self._body) + count):
                self._body += memoryview(buf)[pos : pos + count]
            else:
                self._refuse("refused-memory", say.MEMORY_FULL)
        self._need -= count
        return pos + count, not self._need

    def chunks(self) -> bytes | None:
        """After a whole chunk: the content, b"" when refused; None when more chunks are to come."""
        if self.refusal is not None:
            return b""
        return bytes(self._body) if self._last else None

    # Both

    def examined(self, content: bytes, bare_newlines: bool) -> bytes:
        """The content as it is to be kept; or `refusal` is set. bare_newlines: mend them instead of refusing."""
        if self.refusal is not None:
            return b""
        defect = defect_of(content)
        if defect is Defect.BARE_NEWLINE and bare_newlines:
            content = with_crlf(content)
            defect = defect_of(content)
        if defect is Defect.BARE_NEWLINE:
            self._refuse("refused-bare-newline", say.BARE_NEWLINE)
        elif defect is Defect.NUL:
            self._refuse("refused-nul", say.NUL)
        elif len(content) > self._settings.max_message_octets:
            self._refuse("refused-size", self._settings.too_big)
        elif content and not content.endswith(b"\r\n"):  # BDAT may end anywhere
            content += b"\r\n"
        return content

    def _refuse(self, counter: str, reply: bytes) -> None:
        self._counters.add(counter)
        chunked = self.chunked
        self.reset()
        self.refusal, self.chunked = reply, chunked

    def _charge(self, size: int) -> bool:
        """Have `size` octets reserved. False: no room, and the share so far stays."""
        if size <= self.reserved:
            return True
        if not self._budget.reserve(size - self.reserved):
            return False
        self.reserved = size
        return True
