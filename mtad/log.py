"""Log: one line per fact: an event word, then key=value. Standard error, or where systemd takes it.

May be imported by every room. Keys used everywhere: sess msg rcpt host ip reply cause wait_s took_s. Never bodies,
keys or passwords. A line about a message has `msg`, its queue id.
"""

import logging
import re
import sys
import time

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
_logger = logging.getLogger("mtad")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown) + '"'


def _line(word: str, keys: dict[str, object]) -> str:
    return word + "".join([f" {key}={_value(value)}" for key, value in keys.items() if value is not None])


class Log:
    """`log = get("queue")`, then `log.info("deferred", msg=..., rcpt=..., reply=...)`."""

    __slots__ = ("_room",)

    def __init__(self, room: str) -> None:
        self._room = room

    def debug(self, word: str, **keys: object) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s", _line(word, {"room": self._room, **keys}))

    def info(self, word: str, **keys: object) -> None:
        if _logger.isEnabledFor(logging.INFO):
            _logger.info("%s", _line(word, {"room": self._room, **keys}))

    def warning(self, word: str, **keys: object) -> None:
        _logger.warning("%s", _line(word, {"room": self._room, **keys}))

    def error(self, word: str, **keys: object) -> None:
        _logger.error("%s", _line(word, {"room": self._room, **keys}))

    def exception(self, word: str, **keys: object) -> None:
        _logger.exception("%s", _line(word, {"room": self._room, **keys}))


def get(room: str) -> Log:
    return Log(room)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        whole = int(record.created)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        line = f"{stamp}.{int((record.created - whole) * 1000):03d}Z {record.levelname.lower()} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def start(level: str) -> None:
    """Send the log to standard error from `level` ("debug", "info", "warning", "error") on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())
