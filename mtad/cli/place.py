"""Place: where the data folder is that a command means.

Room: cli. In order: --data, --config (its server.data_dir), MTAD_DATA, a running `mtad dev` of this user,
/etc/mtad/mtad.toml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtad.api.base import Impossible
from mtad.api.pointer import pointer_file, read_pointer, remove_pointer, write_pointer
from mtad.config import Config, load

__all__ = ["Place", "find", "pointer_file", "read_pointer", "remove_pointer", "write_pointer"]

SYSTEM_CONFIG = Path("/etc/mtad/mtad.toml")


@dataclass(frozen=True, slots=True)
class Place:
    """folder: of the data. config: what goes with it; the defaults when no file was named: then `told` is False."""

    folder: Path
    config: Config
    told: bool = False


def find(data: Path | None, config_file: Path | None, environ: Mapping[str, str]) -> Place:
    """Raises Impossible when nothing says where, ConfigError when the file named has a mistake."""
    if data is not None:
        return Place(data, load(config_file), told=True) if config_file else Place(data, Config())
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
    return Place(config.server.data_dir, config, told=True)
