"""Place: where the data folder is that a command means, and the file by which `mtad dev` tells of its own.

Room: cli. In order: --data, --config (its server.data_dir), MTAD_DATA, a running `mtad dev` of this user,
/etc/mtad/mtad.toml. The pointer file may lie in a folder that all users write to, so only one that is ours, and that
nobody else could have written, is believed.
"""

import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from mtad.api.base import Impossible
from mtad.config import Config, load

SYSTEM_CONFIG = Path("/etc/mtad/mtad.toml")
_MAX_POINTER = 65_536  # octets


@dataclass(frozen=True, slots=True)
class Place:
    """folder: of the data. config: what goes with it; the defaults when no file was named."""

    folder: Path
    config: Config


def find(data: Path | None, config_file: Path | None, environ: Mapping[str, str]) -> Place:
    """Raises Impossible when nothing says where, ConfigError when the file named has a mistake."""
    if data is not None:
        return Place(data, load(config_file) if config_file else Config())
    if config_file is not None:
        return _of_file(config_file)
    if environ.get("MTAD_DATA"):
        return Place(Path(environ["MTAD_DATA"]), Config())
    running = read_pointer()
    if running is not None:
        return Place(running, Config())
    if SYSTEM_CONFIG.exists():
        return _of_file(SYSTEM_CONFIG)
    raise Impossible(
        f"which mtad? No `mtad dev` of yours is running and there is no {SYSTEM_CONFIG}: name it by --data or --config"
    )


def _of_file(file: Path) -> Place:
    config = load(file)
    return Place(config.server.data_dir, config)


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
