"""Log: one line per fact: an event word, then key=value. Standard error, or where systemd takes it.

May be imported by every room. Keys used everywhere: sess msg rcpt host ip reply cause wait_s took_s. Never bodies,
keys or passwords. A line about a message has `msg`, its queue id.

A daemon writes two lines per message, so those of INFO leave the `logging` package out, and all of one turn of the loop
are one write. What is more urgent is written at once, after them.
"""

import asyncio
import atexit
import logging
import re
import sys
import time
from collections import deque
from typing import TextIO

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
_logger = logging.getLogger("mtad")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    if text.isprintable():
        return f'"{shown}"'
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
        if not _logger.isEnabledFor(logging.INFO):
            return
        line = _line(word, {"room": self._room, **keys})
        if _root.handlers == _ours:
            _ours[0].add(line)
        else:
            _logger.info("%s", line)

    def warning(self, word: str, **keys: object) -> None:
        _logger.warning("%s", _line(word, {"room": self._room, **keys}))

    def error(self, word: str, **keys: object) -> None:
        _logger.error("%s", _line(word, {"room": self._room, **keys}))

    def exception(self, word: str, **keys: object) -> None:
        _logger.exception("%s", _line(word, {"room": self._room, **keys}))


def get(room: str) -> Log:
    return Log(room)


class _Stamp:
    """Epoch seconds -> 2026-01-31T12:00:00.000Z. The whole second's text is made once."""

    def __init__(self) -> None:
        self._of = (-1, "")

    def __call__(self, at: float) -> str:
        whole, text = self._of
        if int(at) != whole:
            whole = int(at)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._of = whole, text
        return f"{text}.{int((at - whole) * 1000):03d}Z"


class _Formatter(logging.Formatter):
    def __init__(self, stamp: _Stamp) -> None:
        super().__init__()
        self._stamp = stamp

    def format(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        if record.exc_info:
            said += "\n" + self.formatException(record.exc_info)
        # An exception may hold a stranger's words: what follows the first line passes for no line of its own.
        first, *rest = said.splitlines() or [""]
        return "\n  ".join([f"{self._stamp(record.created)} {record.levelname.lower()} {first}", *rest])


class _Handler(logging.StreamHandler[TextIO]):
    """Any thread may log; lines come out in the order in which they were added."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._stamp = _Stamp()
        self._waiting: deque[str] = deque()
        self._due_in: asyncio.AbstractEventLoop | None = None
        self.setFormatter(_Formatter(self._stamp))

    def add(self, line: str) -> None:
        """Written when the loop's turn ends; at once where no loop runs."""
        self._waiting.append(f"{self._stamp(time.time())} info {line}\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write_out()
            return
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_soon(self.write_out)

    def emit(self, record: logging.LogRecord) -> None:
        self.write_out()
        super().emit(record)

    def write_out(self) -> None:
        """What was added. If it cannot be written, there is nobody to tell."""
        self.acquire()
        try:
            self._due_in = None
            lines = []
            while self._waiting:
                lines.append(self._waiting.popleft())
            if lines:
                self.stream.write("".join(lines))
                self.flush()
        except (OSError, ValueError):
            return
        finally:
            self.release()


_root = logging.getLogger()
_ours: list[_Handler] = []


def start(level: str) -> None:
    """Send the log to standard error from `level` ("debug", "info", "warning", "error") on."""
    handler = _Handler(sys.stderr)
    for old in _ours:  # each SIGHUP starts it anew
        old.write_out()
        atexit.unregister(old.write_out)
    _ours[:], _root.handlers[:] = [handler], [handler]
    _root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())
    atexit.register(handler.write_out)
