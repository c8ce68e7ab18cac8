"""Content: what came between DATA and the final dot, or in BDAT chunks: is it sound, and without its stuffing.

Room: smtp. Pure. Source: RFC 5321 §2.3.8 (CR and LF only together), §4.5.2 (transparency). Used by smtp.receiver.
Each of these looks at megabytes, so each is one pass in C and makes no object per line.
"""

import re
from enum import Enum
from io import IncrementalNewlineDecoder

_ANY_NEWLINE = re.compile(rb"\r\n|\r|\n")


class Defect(Enum):
    BARE_NEWLINE = "bare-newline"
    NUL = "nul"


def defect_of(content: bytes) -> Defect | None:
    """The first reason not to take it: a CR or LF alone, or a NUL (RFC 5321 §4.5.2 allows none of them)."""
    newlines = IncrementalNewlineDecoder(None, translate=False)
    newlines.decode(content.decode("latin-1"), final=True)  # one pass that tells CRLF, CR and LF apart
    if newlines.newlines not in (None, "\r\n"):
        return Defect.BARE_NEWLINE
    return Defect.NUL if 0 in content else None


def unstuff(content: bytes) -> bytes:
    """Take the dot from every line that begins with one."""
    content = content.replace(b"\r\n.", b"\r\n")
    return content[1:] if content.startswith(b".") else content


def with_crlf(content: bytes) -> bytes:
    """Every CRLF, CR or LF is made CRLF. Only for the clients of smtp.bare_newline_networks."""
    return _ANY_NEWLINE.sub(b"\r\n", content)
