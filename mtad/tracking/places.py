"""Places: where an address is, by the operator's MaxMind database.

Room: tracking. May import: storage. Without a database, and for what it does not know: "Unknown". No database, however
broken, keeps the daemon from its work.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import maxminddb

from mtad import log as log_module
from mtad.storage.tracked import UNKNOWN, Place
from mtad.tracking.peers import Peer

log = log_module.get("tracking")

NOWHERE = Place()
_LONGEST = 100  # characters of a name


class Places:
    """The database in force; close() it at the end. file: None for none."""

    def __init__(self, file: Path | None) -> None:
        self._reader: maxminddb.Reader | None = None
        self._mark: tuple[Path, int, int, int] | None = None
        self._damaged = False
        self.load(file)

    def load(self, file: Path | None) -> None:
        """Read the file if it is another one than before. What cannot be used is logged, and what was there stays."""
        if file is None:
            self.close()
            return
        try:
            mark = _mark(file)
            if mark == self._mark and self._reader is not None:
                return
            reader = _open(file)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            stays = "as the database before says" if self._reader is not None else UNKNOWN
            log.error("geoip-unusable", key="tracking.geoip_file", file=file, cause=error, places=stays)
            return
        self.close()
        self._reader, self._mark, self._damaged = reader, mark, False
        log.info("geoip-loaded", file=file, type=reader.metadata().database_type)

    def of(self, peer: Peer) -> Place:
        """A damaged database is logged once and knows nothing; it never raises."""
        if self._reader is None or peer.address is None:
            return NOWHERE
        try:
            return _place(self._reader.get(peer.address))
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            # ValueError: an IPv6 address and a database of IPv4
            if not isinstance(error, ValueError) and not self._damaged:
                self._damaged = True
                log.error("geoip-damaged", cause=error, places=f"{UNKNOWN} where it is")
            return NOWHERE

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._mark = None


def _mark(file: Path) -> tuple[Path, int, int, int]:
    found = file.stat()
    return file, found.st_ino, found.st_size, found.st_mtime_ns


def _open(file: Path) -> maxminddb.Reader:
    """A copy that has no name any more: the file is mapped, and who writes over a mapped file ends its reader."""
    with tempfile.NamedTemporaryFile(prefix="mtad-geoip-") as copy:
        with file.open("rb") as source:
            shutil.copyfileobj(source, copy, 1_048_576)
        copy.flush()
        return maxminddb.open_database(copy.name)


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
