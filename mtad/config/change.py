"""Change: what a reload takes over of a new configuration, and what waits for a restart."""

from dataclasses import replace
from typing import Any

from mtad.config.reader import known_keys
from mtad.config.sections import Config

# What a running daemon takes over under SIGHUP. Every other key is read once, at the start.
RELOADED = frozenset(
    {
        "shaping_file",
        "bounces_file",
        "server.log_level",
        "smtp.tls_certificate",
        "smtp.tls_key",
        "queue.retry_waits_s",
        "queue.retry_jitter",
        "tracking.geoip_file",
    }
)


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The changed keys that wait for a restart: ("smtp.mx", "store.cache_octets"). Empty: a reload does it all.

    old: what is in force, which after a reload is in_force() of what was before.
    """
    return tuple(key for key in changed(old, new) if key not in RELOADED)


def changed(old: Config, new: Config) -> tuple[str, ...]:
    """Every key whose value differs, in the file's order."""
    return tuple(key for key in known_keys() if _value(old, key) != _value(new, key))


def in_force(old: Config, new: Config) -> Config:
    """What holds after a reload: `old`, with the keys that a running daemon takes over as `new` has them."""
    taken: dict[str, dict[str, Any]] = {}
    for name in RELOADED:
        section, _, key = name.rpartition(".")
        taken.setdefault(section, {})[key] = _value(new, name)
    top = taken.pop("", {})
    return replace(old, **top, **{name: replace(getattr(old, name), **values) for name, values in taken.items()})


def _value(config: Config, name: str) -> object:
    section, _, key = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, key)
