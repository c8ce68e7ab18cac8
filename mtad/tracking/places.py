"""Places: where an address is, by the operator's MaxMind database.

Room: tracking. May import: storage. Without a database, and for what it does not know: "Unknown".
"""

from pathlib import Path
from typing import Any

import maxminddb

from mtad import log as log_module
from mtad.config import ConfigError
from mtad.storage.tracked import UNKNOWN, Place
from mtad.tracking.peers import Peer

log = log_module.get("tracking")

NOWHERE = Place()
_LONGEST = 100  # characters of a name


class Places:
    """An open database; close() it. Raises ConfigError when the file is none."""

    def __init__(self, file: Path | None) -> None:
        self._reader: maxminddb.Reader | None = None
        if file is not None:
            try:
                self._reader = maxminddb.open_database(file)
            except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
                raise ConfigError("tracking.geoip_file", str(file), f"must be a MaxMind database: {error}") from error

    def of(self, peer: Peer) -> Place:
        """A damaged database is logged and knows nothing; it never raises."""
        if self._reader is None or peer.address is None:
            return NOWHERE
        try:
            return _place(self._reader.get(peer.address))
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            if not isinstance(error, ValueError):  # ValueError: an IPv6 address and a database of IPv4
                log.warning("geoip-unreadable", cause=error)
            return NOWHERE

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _place(found: Any) -> Place:
    """The members of the City and Country databases: country, subdivisions, city."""
    if not isinstance(found, dict):
        return NOWHERE
    divisions = found.get("subdivisions")
    region = divisions[0] if isinstance(divisions, list) and divisions else None
    return Place(
        _text(_member(found.get("country"), "iso_code")),
        _text(_member(region, "iso_code") or _name(region)),
        _text(_name(found.get("city"))),
    )


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _name(value: Any) -> Any:
    return _member(_member(value, "names"), "en")


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) and value else UNKNOWN
