import errno
import os
import sqlite3

import pytest

from mtad.storage import spool as module
from mtad.storage.database import migrate
from mtad.storage.spool import Spool


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def spool(tmp_path, connection):
    spool = Spool(tmp_path)
    spool.open(connection)
    yield spool
    spool.close()


def test_what_is_written_reads_back(spool, connection):
    contents = [bytes([n % 256]) * (n + 1) for n in range(1500)]  # more than one pwritev takes
    places = spool.append(connection, contents)
    assert [spool.read(*place, len(c)) for place, c in zip(places, contents, strict=True)] == contents


def test_an_empty_segment_is_swept_and_one_still_needed_is_not(spool, connection, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SEGMENT_OCTETS", 10)
    [first] = spool.append(connection, [b"0123456789"])
    [second] = spool.append(connection, [b"abcdefghij"])
    [third] = spool.append(connection, [b"ABCDEFGHIJ"])
    assert len({first[0], second[0], third[0]}) == 3
    spool.release(connection, [(first[0], 10), (third[0], 10)])
    gone = spool.sweep(connection)
    assert gone == [first[0]]  # the third is empty too, but it is written to
    spool.unlink(gone)
    assert spool.read(*first, 10) is None
    assert spool.read(*second, 10) == b"abcdefghij"


def test_a_file_that_no_row_knows_goes_at_the_next_start(spool, connection, tmp_path):
    [place] = spool.append(connection, [b"kept"])
    orphan = tmp_path / "000000000099.seg"
    orphan.write_bytes(b"from a transaction that failed")
    spool.close()
    again = Spool(tmp_path)
    again.open(connection)
    assert not orphan.exists()
    assert again.read(*place, 4) == b"kept"
    [other] = again.append(connection, [b"new"])
    assert other[0] > 99  # never a segment number twice
    again.close()


@pytest.mark.parametrize("octets", [b"", b"01234", b"0123x56789"])
def test_bytes_that_are_not_those_that_were_written_are_not_read(spool, connection, tmp_path, octets):
    [first, second] = spool.append(connection, [b"0123456789", b"abcdefghij"])
    path = tmp_path / f"{second[0]:012d}.seg"
    path.write_bytes(path.read_bytes()[: second[1]] + octets)
    assert spool.read(*second, 10) is None
    assert spool.read(*first, 10) == b"0123456789"


def test_bytes_that_an_older_version_wrote_without_a_checksum_are_read(spool, connection, tmp_path):
    (tmp_path / "000000000007.seg").write_bytes(b"x" * 100 + b"0123456789")
    assert spool.read(7, 100, 10) == b"0123456789"
    assert spool.read(7, 0, 4) == b"xxxx"
    assert spool.read(7, 105, 10) is None


@pytest.mark.parametrize("call", ["fdatasync", "pwritev", "fsync"])
def test_after_a_failed_write_or_sync_another_segment_is_begun_and_the_old_one_takes_no_room(
    spool, connection, tmp_path, monkeypatch, call
):
    def fails(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = spool.append(connection, [b"before"]) if call != "fsync" else []
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(OSError, match="No space"):
                spool.append(connection, [b"x" * 1000])
    files = sorted(tmp_path.glob("*.seg"))
    assert [path.stat().st_size for path in files] == [len(b"before") + 16 for _ in kept]
    [after] = spool.append(connection, [b"after"])
    assert spool.read(*after, 5) == b"after"
    assert [spool.read(*place, 6) for place in kept] == [b"before" for _ in kept]
