"""Change: which of the keys that differ between two configurations take effect only after a restart."""

from mtad.config.reader import known_keys
from mtad.config.sections import Config

# Sockets are bound and the store is opened once, at the start. Every other key may change under SIGHUP.
RESTART = frozenset({"server.data_dir", "smtp.mx", "smtp.submission", "smtp.submissions", "http.listen"})
_RESTART_SECTIONS = frozenset({"store"})


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """The changed keys that wait for a restart: ("smtp.mx", "store.cache_octets"). Empty: a reload does it all."""
    return tuple(key for key in changed(old, new) if key in RESTART or key.partition(".")[0] in _RESTART_SECTIONS)


def changed(old: Config, new: Config) -> tuple[str, ...]:
    """Every key whose value differs, in the file's order."""
    return tuple(key for key in known_keys() if _value(old, key) != _value(new, key))


def _value(config: Config, name: str) -> object:
    section, _, key = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, key)
