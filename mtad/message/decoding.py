"""Decoding: the transfer encoding of a part undone, also where it was written wrongly.

Room: message. Pure. Source: RFC 2045 §6. Nothing raises, all is linear. What cannot be read as the encoding says is
never dropped silently: `faithful` is False then, and whoever asked keeps the part as it stood as well.
"""

import binascii
import re
from dataclasses import dataclass

from mtad.message.headers import CRLF
from mtad.message.transfer import read_base64

_BASE64_LINE = re.compile(rb"\s*+[A-Za-z0-9+/=]++[ \t]*+(?:\r?\n|\Z)")
_BASE64_LINES = re.compile(rb"(?:[A-Za-z0-9+/=]*+[ \t]*+(?:\r?\n|\Z))*+")
_RUN = re.compile(rb"[A-Za-z0-9+/]+")
_SPACES = re.compile(rb"\s+")
_BLANK_SOFT = re.compile(rb"=[ \t]++(?=\r?\n|\Z)")
_MAX_RUNS = 10_000  # of base 64 one behind another, each with its padding


@dataclass(frozen=True, slots=True)
class Decoded:
    """faithful: no octet of the part was skipped. rest: what was written behind the encoded part, as some lists do."""

    octets: bytes
    faithful: bool = True
    rest: bytes = b""


def undo(coding: bytes, octets: bytes) -> Decoded:
    """coding: the value of Content-Transfer-Encoding, b"" when there is none; an unknown one is taken for 8bit."""
    if not coding or coding in (b"7bit", b"8bit"):
        return Decoded(octets)
    word = coding.lstrip(b" \t\"'").lower()
    if word.startswith((b"base64", b"base-64")):
        return _base64(octets)
    if word.startswith(b"quoted"):
        return _quoted_printable(octets)
    return Decoded(octets)


def _quoted_printable(octets: bytes) -> Decoded:
    if b"=" not in octets:
        return Decoded(octets)
    # The decoder drops what stands between "=" CR and the next LF, and takes "=" before a space for a sign.
    if b"= " in octets or b"=\t" in octets:
        octets = _BLANK_SOFT.sub(b"=", octets)
    octets = octets.replace(b"=\r\n", b"=\n").replace(b"=\r", b"=3D\r")
    return Decoded(binascii.a2b_qp(octets))


def _base64(octets: bytes) -> Decoded:
    whole = read_base64(octets)
    if whole is not None and _clean(octets, whole):
        return Decoded(whole)
    if not octets.strip() or not _BASE64_LINE.match(octets):
        return Decoded(octets)  # some only say so
    found = _BASE64_LINES.match(octets)
    end = found.end() if found else 0
    rest = octets[end:]
    if octets.count(b"=") > 2 * _MAX_RUNS:
        return Decoded(octets)
    begun = [_whole_quads(run) for run in _RUN.findall(_SPACES.sub(b"", octets[:end]))]
    decoded = b"".join(piece for piece, _ in begun)
    return Decoded(decoded, all(whole for _, whole in begun), rest if rest.strip() else b"")


def _clean(octets: bytes, decoded: bytes) -> bool:
    """Nothing but letters, padding and line ends were there: their count tells."""
    letters = len(octets) - octets.count(CRLF) * 2 - octets.count(b"=")
    return letters * 3 // 4 == len(decoded) or len(_SPACES.sub(b"", octets.rstrip(b"= \t\r\n"))) * 3 // 4 == len(
        decoded
    )


def _whole_quads(run: bytes) -> tuple[bytes, bool]:
    """Base 64 without its padding; False: the last character was cut off from what it belongs to."""
    odd = len(run) % 4 == 1
    run = run[:-1] if odd else run
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4)), not odd
