"""Replies of a server: bytes in, replies out.

Room: delivery. Pure. Source: RFC 5321 §4.2 (reply lines, multi-line replies), RFC 2034. Any bytes give either replies
or an error, never an exception, and never hold more than MAX_REPLY octets. Used by delivery.dialogue and
delivery.connect.
"""

from mtad.mail.reply import Reply

MAX_LINE = 2048  # octets without LF. §4.5.3.1.5 allows 512; real hosts print URLs in their refusals
MAX_REPLY = 65_536  # octets of one multi-line reply
MAX_TEXT = 1024  # characters of a reply that we keep, store and show

_CODES = {b"%d" % code: code for code in range(200, 600)}
_LAST = frozenset((b" ", b"", b"\r"))

RawReply = tuple[int, bytes]  # code, text without the code; lines of a multi-line reply joined by LF


class ReplyReader:
    """Splits what a server sends into replies. `error`: what was wrong with it; then nothing more is read."""

    __slots__ = ("_code", "_held", "_lines", "_size", "error")

    def __init__(self) -> None:
        self.error = ""
        self._held = b""  # an unfinished line
        self._lines: list[bytes] = []  # finished lines of an unfinished reply
        self._code, self._size = 0, 0

    @property
    def partial(self) -> bool:
        """True: a reply has begun and not ended."""
        return bool(self._held or self._lines)

    def feed(self, data: bytes) -> list[RawReply]:
        """The replies that are complete with `data`, in order; those before an error too."""
        found: list[RawReply] = []
        if self.error:
            return found
        if self._held:
            data = self._held + data
        lines = data.split(b"\n")  # a bare LF ends a line too: it is harmless here, and some hosts send it
        self._held = lines.pop()
        for line in lines:
            code, mark = _CODES.get(line[:3]), line[3:4]
            if code is None or len(line) > MAX_LINE:
                return self._broken(line, found)
            if mark in _LAST and not self._lines:
                found.append((code, line[4:]))
            elif not self._continue(code, mark, line, found):
                return found
        if len(self._held) > MAX_LINE:
            return self._broken(self._held, found)
        return found

    def _continue(self, code: int, mark: bytes, line: bytes, found: list[RawReply]) -> bool:
        """One line of a multi-line reply; False when it breaks the rules."""
        self._size += len(line) + 1
        if mark != b"-" and mark not in _LAST:
            self._broken(line, found)
        elif self._lines and code != self._code:
            self.error = f"a multi-line reply that begins with {self._code} and goes on with {code}"
        elif self._size > MAX_REPLY:
            self.error = f"a reply of more than {MAX_REPLY} octets"
        else:
            self._code = code
            self._lines.append(line[4:])
            if mark != b"-":
                found.append((code, b"\n".join(self._lines)))
                self._lines, self._size = [], 0
            return True
        return False

    def _broken(self, line: bytes, found: list[RawReply]) -> list[RawReply]:
        if len(line) > MAX_LINE:
            self.error = f"a reply line of more than {MAX_LINE} octets"
        else:
            self.error = f'"{_printable(line)[:80]}", which is no SMTP reply'
        self._held = b""
        return found


def to_reply(code: int, text: bytes) -> Reply:
    """Words as they can be shown: octets that are not UTF-8 as \\xNN, controls as blanks, MAX_TEXT characters."""
    first, *more = [_printable(line) for line in text.split(b"\n")]
    reply = Reply.from_text(code, first)
    if not more and len(first) <= MAX_TEXT:
        return reply
    # Most hosts repeat the enhanced code on every line; once is enough to read.
    rest = [line.removeprefix(reply.enhanced).lstrip() if reply.detail else line for line in more]
    return Reply(code, reply.detail, " ".join(filter(None, [reply.text, *rest]))[:MAX_TEXT])


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").strip()
    return text if text.isprintable() else "".join([c if c.isprintable() else " " for c in text])
