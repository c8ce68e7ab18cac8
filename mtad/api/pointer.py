"""Pointer: the file by which a running `mtad dev` tells commands of the same user where its data is.

Room: api. It may lie in a folder that all users write to, so only one that is ours, and that nobody else could have
written, is believed.
"""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import orjson

_MAX_POINTER = 65_536  # octets


def pointer_file() -> Path:
    """Where a running `mtad dev` of this user says where its data is."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "mtad-dev.json"
    return Path(tempfile.gettempdir()) / f"mtad-dev-{os.geteuid()}.json"


def write_pointer(ready: Mapping[str, object]) -> None:
    """Tell of our own daemon; ready: the members of its ready file, of which only pid and data are kept."""
    path = pointer_file()
    text = orjson.dumps({"pid": ready["pid"], "data": str(ready["data"])})
    number, name = tempfile.mkstemp(prefix=".mtad-dev-", dir=path.parent)  # mode 0600, never a link of somebody else's
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def remove_pointer() -> None:
    """Take back what this process has written; another's is left alone."""
    told = _told()
    if told is not None and told[0] == os.getpid():
        pointer_file().unlink(missing_ok=True)


def read_pointer() -> Path | None:
    """The data folder of this user's running `mtad dev`; None when there is none."""
    told = _told()
    return told[1] if told is not None and _is_alive(told[0]) else None


def _told() -> tuple[int, Path] | None:
    try:
        number = os.open(pointer_file(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(number, "rb") as file:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return None
        text = file.read(_MAX_POINTER)
    try:
        found = orjson.loads(text)
        return int(found["pid"]), Path(str(found["data"]))
    except (ValueError, KeyError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    if pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
