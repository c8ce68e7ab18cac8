"""Words: times, sizes and reasons as people read them, and hostile text made harmless.

Room: cli. Pure: the present time is told.
"""

import re
import unicodedata
from datetime import datetime

from mtad.mail.waiting import Waiting

_UNITS = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d|w)?", re.IGNORECASE)
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
# Control and format characters: they would drive the terminal, or turn a line around.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))


def plain(text: str, *, keep: str = "") -> str:
    """Safe on a terminal: what is not printable is shown as \\x1b. keep: characters to let through."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65_536 else f"\\U{number:08x}"


def moment(at: float | None) -> str:
    """Local time: "2026-11-23 09:44:13"; "" when there is none."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""


def distance(at: float | None, now: float) -> str:
    """ "in 4 min", "now", "2 h ago"."""
    if at is None:
        return ""
    length = span(abs(at - now))
    return "now" if abs(at - now) < 1 else f"in {length}" if at > now else f"{length} ago"


def span(seconds: float) -> str:
    """The two largest units: "2 h 5 min", "45 s"."""
    parts: list[str] = []
    for unit, size in _UNITS:
        count = int(seconds // size)
        if count or (parts and len(parts) < 2) or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
            seconds -= count * size
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def seconds_of(text: str) -> float | None:
    """ "30m" -> 1800.0; "90", "90s", "2h", "1.5d", "1w". None: it is no length of time."""
    found = _DURATION.fullmatch(text.strip())
    return float(found[1]) * _SECONDS[(found[2] or "").lower()] if found else None


def moment_of(text: str, now: float) -> float | None:
    """ "2h" (ago), "2026-11-23", "2026-11-23 09:44:13" (local unless it names a zone), "@1700000000". None: no time."""
    ago = seconds_of(text)
    if ago is not None:
        return now - ago
    try:
        if text.startswith("@"):
            return float(text[1:])
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def size(octets: int) -> str:
    """ "812 octets", "10.2 KiB"."""
    if octets < 1024:
        return f"{octets} octets"
    number = octets / 1024
    for unit in ("KiB", "MiB"):
        if number < 1024:
            return f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def count(number: int, thing: str) -> str:
    """ "1 recipient", "2 recipients"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def why(waiting: Waiting | None, now: float) -> str:
    """The reason as one sentence, and when it will be looked at again."""
    if waiting is None:
        return ""
    said = plain(waiting.detail).rstrip(". ")
    if waiting.until is None:
        return said
    clock = moment(waiting.until)
    return f"{said} (until {clock[11:] if 0 <= waiting.until - now < 43_200 else clock})"
