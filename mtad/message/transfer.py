"""Transfer: quoted-printable and base64, written piece by piece and read with a way back to the original octets.

Room: message. Pure. Source: RFC 2045 §6.7 and §6.8. A text is cut into pieces; each piece of quoted-printable stands
on lines of its own, parted by soft breaks, so that pieces can be written once and put together later.
"""

import binascii
import re
from bisect import bisect_right

from mtad.message.headers import CRLF

SOFT = b"=\r\n"
_LINE = 76
_GROUP = 57  # octets that make one line of base64
_TOKEN = re.compile(rb"=(?:([0-9A-Fa-f]{2})|[ \t]*+\r\n)")
_PLAIN = re.compile(rb"[!-,./-<>-~][!-<>-~]*+")  # no "=", no white space, no "-" that might begin a boundary
_DASHES = re.compile(rb"(?m)^--+")


class Quoted:
    """Quoted-printable text, read. octets: what it says."""

    __slots__ = ("_read", "_written", "octets", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        # After each "=xx" and soft break: so many octets read, so many octets written.
        self._read, self._written = [0], [0]
        octets, place, count = [], 0, 0
        for token in _TOKEN.finditer(raw):
            start, end = token.span()
            octets.append(raw[place:start])
            count += start - place
            if token[1]:
                octets.append(bytes.fromhex(token[1].decode()))
                count += 1
            self._read.append(count)
            self._written.append(end)
            place = end
        octets.append(raw[place:])
        self.octets = b"".join(octets)

    def written(self, start: int, end: int) -> bytes:
        """The original octets that say octets[start:end], with the soft breaks behind them."""
        return self.raw[self._place(start) : self._place(end)]

    def _place(self, offset: int) -> int:
        if offset >= len(self.octets):
            return len(self.raw)
        index = bisect_right(self._read, offset) - 1
        return self._written[index] + offset - self._read[index]


def quoted(octets: bytes) -> bytes:
    """Quoted-printable lines of at most 76 octets, none of which can be taken for a delimiter of parts."""
    if _PLAIN.fullmatch(octets):
        if len(octets) < _LINE:
            return octets
        if b"--" not in octets:
            return SOFT.join([octets[at : at + 75] for at in range(0, len(octets), 75)])
    text = binascii.b2a_qp(octets.replace(CRLF, b"\n")).replace(b"\r", b"=0D")
    if b"--" in text:
        text = _DASHES.sub(_guarded, text)
    return text.replace(b"\n", CRLF)


def _guarded(found: re.Match[bytes]) -> bytes:
    dashes = found[0]
    return b"".join([b"=2D" + dashes[at + 1 : at + 60] + b"=\n" for at in range(0, len(dashes), 60)])


def piece(text: bytes) -> bytes:
    """Quoted-printable `text` with a soft break behind it, unless it ends a line."""
    if not text or text.endswith(b"\n"):
        return text
    last = text[text.rfind(b"\n") + 1 :]
    if len(last) < _LINE:
        return text + SOFT
    cut = len(text) - (3 if text[-3:-2] == b"=" else 1)
    return b"".join((text[:cut], SOFT, text[cut:], SOFT))


def continued(text: bytes) -> bytes:
    """Quoted-printable `text`, which now begins a line, so that it cannot be taken for a delimiter."""
    return b"=2D" + text[1:] if text.startswith(b"-") else text


def joined(pieces: list[bytes]) -> bytes:
    """Pieces put together; a soft break that nothing follows is left out."""
    text = b"".join(pieces)
    return text[:-3] if text.endswith(SOFT) and text[-4:-3] not in (b" ", b"\t", b"") else text


def read_base64(raw: bytes) -> bytes | None:
    """None: not the whole of it can be read."""
    if b"=" in raw.rstrip(b"= \t\r\n"):
        return None  # a decoder stops here, and so would lose the rest
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        return None


def base64_lines(octets: bytes) -> bytes:
    """Lines of 76, each with its CRLF."""
    text = binascii.b2a_base64(octets, newline=False)
    return b"".join([text[at : at + _LINE] + CRLF for at in range(0, len(text), _LINE)])


def whole_lines(octets: bytes) -> int:
    """How many of `octets` make lines that nothing behind them can change."""
    return len(octets) // _GROUP * _GROUP
