import errno
import os
import sqlite3

import pytest

from mtad.storage import begun as module
from mtad.storage.begun import Begun
from mtad.storage.database import migrate

BOOT = "0f0e0d0c-0000-4000-8000-000000000001"


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def boot(tmp_path):
    path = tmp_path / "boot_id"
    path.write_text(BOOT + "\n")
    return path


@pytest.fixture
def begun(tmp_path, connection, boot):
    made = Begun(tmp_path, boot)
    made.begin(connection)
    yield made
    made.close()


def test_what_was_noted_is_known_after_the_process_is_gone(tmp_path, connection, boot, begun):
    begun.note([(1, 1), (2, 1)])
    begun.note([(1, 2)])
    assert Begun(tmp_path, boot).load(connection) == {(1, 1), (2, 1), (1, 2)}


def test_nothing_noted_is_known_to_be_nothing(tmp_path, connection, boot, begun):
    assert Begun(tmp_path, boot).load(connection) == set()


def test_on_another_boot_nobody_can_say(tmp_path, connection, boot, begun):
    begun.note([(1, 1)])
    boot.write_text(BOOT.replace("1", "2"))
    assert Begun(tmp_path, boot).load(connection) is None


def test_beside_a_store_that_knows_of_another_run_nobody_can_say(tmp_path, connection, boot, begun):
    other = sqlite3.connect(":memory:", isolation_level=None)
    migrate(other)
    Begun(tmp_path / "boot_id" / "..", boot).load(other)
    assert Begun(tmp_path, boot).load(other) is None
    other.close()


@pytest.mark.parametrize("octets", [None, b"", b"rubbish"])
def test_without_a_whole_head_nobody_can_say(tmp_path, connection, boot, begun, octets):
    path = tmp_path / "begun"
    path.unlink()
    if octets is not None:
        path.write_bytes(octets)
    assert Begun(tmp_path, boot).load(connection) is None


def test_where_the_boot_cannot_be_told_nobody_can_say(tmp_path, connection, boot):
    boot.unlink()
    made = Begun(tmp_path, boot)
    made.begin(connection)
    made.note([(1, 1)])
    assert Begun(tmp_path, boot).load(connection) is None


def test_what_cannot_be_noted_makes_the_file_count_for_nothing(tmp_path, connection, boot, begun, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    begun.note([(1, 1)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        begun.note([(2, 1)])
    begun.note([(3, 1)])
    assert Begun(tmp_path, boot).load(connection) is None


def test_made_anew_it_keeps_what_is_leased_and_what_came_meanwhile(tmp_path, connection, boot, begun, monkeypatch):
    monkeypatch.setattr(module, "LARGE_OCTETS", 100)
    begun.note([(n, 1) for n in range(10)])
    assert begun.is_large
    begun.shrink()
    begun.note([(20, 1)])
    begun.shrunk([(3, 1), (4, 2), (99, 1)])  # the second try of 4 has not begun, nor has 99
    begun.note([(21, 1)])
    assert Begun(tmp_path, boot).load(connection) == {(3, 1), (20, 1), (21, 1)}
    assert not begun.is_large
