import sqlite3

import pytest

from mtad.storage import expiry
from mtad.storage.database import migrate
from mtad.storage.outgoing import Outgoing, State
from mtad.storage.spool import Spool
from tests.storage.mail import NOW, SITE, accept

AGE = 28_800


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    Outgoing(Spool(tmp_path), 1000).accept(
        connection,
        [
            accept(1000, 2, domain=1),
            accept(2000, domain=2, due=NOW + 60),
            accept(3000, domain=1, site=SITE + 1),
            accept(4000, domain=1, state=State.LEASED),
        ],
    )
    yield connection
    connection.close()


def test_only_the_places_where_something_is_too_old_are_named(connection):
    asked = [(SITE, None), (SITE, 1), (SITE, 2), (SITE + 1, 1), (SITE + 1, 2), (5, None)]
    assert expiry.places(connection, asked, NOW + AGE - 1) == []
    assert expiry.places(connection, asked, NOW + AGE) == [(SITE, None), (SITE, 1), (SITE + 1, 1)]
    assert expiry.places(connection, asked, NOW + AGE + 60) == [(SITE, None), (SITE, 1), (SITE, 2), (SITE + 1, 1)]


def test_what_is_too_old_is_leased_once_without_an_attempt(connection):
    late = NOW + AGE + 60
    assert [row.id for row in expiry.lease(connection, (SITE, 2), late, 9)] == [2001]
    [first] = expiry.lease(connection, (SITE, None), late, 1)
    [second] = expiry.lease(connection, (SITE, None), late, 9)
    assert (first.id, second.id, first.attempts, first.expire_at) == (1001, 1002, 0, NOW + AGE)
    assert expiry.lease(connection, (SITE, None), late, 9) == []
    assert connection.execute("SELECT count(*) FROM recipients WHERE state = 0").fetchone() == (1,)
