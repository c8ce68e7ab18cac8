import json
import sqlite3

import pytest

from mtad.storage import captured, upkeep
from mtad.storage.database import migrate
from tests.storage.mail import NOW


def row(number, *recipients, message=7, content=b"Subject: x\r\n\r\nText\r\n", at=NOW):
    return (number, at, message, "a@a.example", json.dumps(recipients), content)


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    captured.add(connection, [row(10, "bob@b.example", "eve@b.example"), row(20, "Bob@b.example", message=8)])
    yield connection
    connection.close()


def test_the_newest_come_first(connection):
    found = captured.newest(connection, 9)
    assert [one.id for one in found] == [20, 10]
    assert found[1] == captured.Captured(
        10, NOW, 7, "a@a.example", ("bob@b.example", "eve@b.example"), b"Subject: x\r\n\r\nText\r\n"
    )
    assert [one.id for one in captured.newest(connection, 1)] == [20]


def test_they_are_found_by_one_whole_recipient_in_any_case(connection):
    assert [one.id for one in captured.newest(connection, 9, "BOB@b.example")] == [20, 10]
    assert [one.id for one in captured.newest(connection, 9, "eve@b.example")] == [10]
    assert captured.newest(connection, 9, "ve@b.example") == []


def test_a_list_shows_the_beginning_of_a_large_message_and_get_all_of_it(connection):
    large = b"Subject: large\r\n\r\n" + b"x" * 100_000 + b"\r\n"
    captured.add(connection, [row(30, "bob@b.example", content=large)])
    assert captured.newest(connection, 1)[0].content == large[:16384]
    assert captured.get(connection, 30).content == large


def test_one_is_found_by_its_own_id_before_that_of_its_message(connection):
    captured.add(connection, [row(30, "x@b.example", message=20), row(40, "y@b.example", message=20)])
    assert captured.get(connection, 20).id == 20
    assert captured.get(connection, 7).id == 10
    captured.add(connection, [row(50, "z@b.example", message=7)])
    assert captured.get(connection, 7).id == 50  # the last copy
    assert captured.get(connection, 99) is None


def test_they_are_cleared_and_counted(connection):
    assert captured.clear(connection) == 2
    assert captured.clear(connection) == 0
    assert captured.newest(connection, 9) == []


def test_old_ones_go_in_batches(connection, monkeypatch):
    monkeypatch.setattr(upkeep, "BATCH", 2)
    captured.add(connection, [row(100 + n, "x@b.example", at=NOW + 50 + n) for n in range(5)])
    assert [upkeep.expire_captured(connection, NOW + 53) for _ in range(4)] == [2, 2, 1, 0]
    assert [one.id for one in captured.newest(connection, 9)] == [104, 103]
