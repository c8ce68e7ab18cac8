"""Spool: bytes of large messages in append-only segment files, synced before the commit that names them.

Room: storage. May import: mail. Runs on the writer's thread, but for `read`, which any thread may call. A segment
whose bytes nobody needs any more is removed; bytes written for a transaction that failed are never counted as
live, so they go with their segment. Before each content stand its length and checksum, so that bytes which are not
those that were written are never sent for them.
"""

import contextlib
import os
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from mtad import log as log_module

log = log_module.get("storage")

SEGMENT_OCTETS = 67_108_864
_HEAD = struct.Struct("<4sQI")  # mark, length, CRC-32
_MARK = b"mtad"
_ENDS = (
    "SELECT segment, max(position + size) FROM (SELECT segment, position, size FROM messages WHERE segment IS NOT NULL"
    " UNION ALL SELECT segment, position, size FROM expansions WHERE segment IS NOT NULL)"
)


class Spool:
    """folder: made if it is not there. One writer; the last segment is the one written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._segment = self._written = self._synced = 0

    def open(self, connection: sqlite3.Connection) -> None:
        """Find the segments, forget those no row knows, go on in a new one."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        known = {row[0] for row in connection.execute("SELECT segment FROM spool_segments WHERE live > 0")}
        connection.execute("DELETE FROM spool_segments WHERE live <= 0")
        last = max(known, default=0)
        for path in self._folder.glob("*.seg"):
            number = int(path.stem) if path.stem.isdigit() else 0
            last = max(last, number)
            if number not in known:
                path.unlink()
        self._segment = last

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def append(self, connection: sqlite3.Connection, contents: Sequence[bytes]) -> list[tuple[int, int]]:
        """(segment, position) of each; on disk when this returns."""
        if not contents:
            return []
        try:
            places = self._write(contents)
        except OSError:
            self._abandon()
            raise
        connection.execute(
            "INSERT INTO spool_segments (segment, live) VALUES (?1, ?2)"
            " ON CONFLICT (segment) DO UPDATE SET live = live + ?2",
            (self._segment, sum(map(len, contents))),
        )
        return places

    def _abandon(self) -> None:
        """What a failed write or sync has left is not built upon, and takes no room on a disk that may be full."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._synced)
                if not self._synced:
                    self._path(self._segment).unlink(missing_ok=True)
            self.close()

    def _write(self, contents: Sequence[bytes]) -> list[tuple[int, int]]:
        if self._file is None or self._written >= SEGMENT_OCTETS:
            self._next_segment()
        assert self._file is not None
        start, places, pieces = self._written, [], []
        for content in contents:
            pieces += [_HEAD.pack(_MARK, len(content), zlib.crc32(content)), content]
            places.append((self._segment, self._written + _HEAD.size))
            self._written += _HEAD.size + len(content)
        _write_all(self._file, pieces, start)
        os.fdatasync(self._file)
        self._synced = self._written
        return places

    def _next_segment(self) -> None:
        self.close()
        self._segment += 1
        path = self._path(self._segment)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        self._written = self._synced = 0
        with contextlib.suppress(OSError):  # space set aside: syncs need no new metadata; without it just slower
            os.posix_fallocate(self._file, 0, SEGMENT_OCTETS)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the name must survive too
        finally:
            os.close(folder)

    def read(self, segment: int, position: int, size: int) -> bytes | None:
        """None: the segment is gone, or its bytes are not those that were written; the log says which."""
        try:
            with self._path(segment).open("rb") as file:
                file.seek(max(0, position - _HEAD.size))
                head, content = file.read(min(position, _HEAD.size)), file.read(size)
        except FileNotFoundError:
            log.error("spool-gone", segment=segment)
            return None
        if len(content) == size and _is_intact(head, content):
            return content
        log.error("spool-damaged", segment=segment, position=position, size=size)
        return None

    def retain(self, connection: sqlite3.Connection, parts: Sequence[tuple[int, int]]) -> None:
        """(segment, octets) that one more row needs: each row that names them releases them once."""
        connection.executemany("UPDATE spool_segments SET live = live + ?2 WHERE segment = ?1", parts)

    def release(self, connection: sqlite3.Connection, parts: Sequence[tuple[int, int]]) -> None:
        """(segment, octets) not needed any more. `sweep` removes what is empty, once that is committed."""
        connection.executemany("UPDATE spool_segments SET live = live - ?2 WHERE segment = ?1", parts)

    def sweep(self, connection: sqlite3.Connection) -> list[int]:
        """Rows of empty segments removed; `unlink` their files after the commit."""
        rows = connection.execute(
            "DELETE FROM spool_segments WHERE live <= 0 AND segment <> ? RETURNING segment", (self._segment,)
        ).fetchall()
        return [row[0] for row in rows]

    def unlink(self, segments: Sequence[int]) -> None:
        for segment in segments:
            self._path(segment).unlink(missing_ok=True)

    def faults(self, connection: sqlite3.Connection) -> list[str]:
        """Segments that are not there, or end before their last message does; one sentence each. Safe on a live store:
        a file goes only after the commit that lets go of its last message, so it is asked again what is needed.
        """
        found = []
        for segment, end in connection.execute(f"{_ENDS} GROUP BY segment").fetchall():
            path = self._path(segment)
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                size = -1
            if (
                size >= end
                or not connection.execute(f"{_ENDS} WHERE segment = ? GROUP BY segment", (segment,)).fetchall()
            ):
                continue
            found.append(f"spool file {path.name} {'is not there' if size < 0 else 'ends too early'}")
        return found

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:012d}.seg"


def _is_intact(head: bytes, content: bytes) -> bool:
    """Bytes of a version that wrote no checksum are taken as they are."""
    if len(head) < _HEAD.size or not head.startswith(_MARK):
        return True
    _, length, checksum = _HEAD.unpack(head)
    return bool(length == len(content) and checksum == zlib.crc32(content))


def _write_all(file: int, contents: Sequence[bytes], position: int) -> None:
    for at in range(0, len(contents), 512):  # IOV_MAX is 1024 or more
        some = list(contents[at : at + 512])
        size = sum(map(len, some))
        written = os.pwritev(file, some, position)
        if written < size:  # a full disk, or a signal: the slow way says which
            rest = b"".join(some)
            while written < size:
                written += os.pwrite(file, rest[written:], position + written)
        position += size
