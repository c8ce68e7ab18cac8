import sqlite3

import pytest

from mtad.storage import accounts
from mtad.storage.accounts import DkimKeyRow
from mtad.storage.database import migrate
from tests.storage.mail import NOW


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def ours(connection):
    """The id of a.example; z.example is there too."""
    accounts.add_domain(connection, "z.example", NOW)
    return accounts.add_domain(connection, "a.example", NOW)


def key(domain_id, selector="mtad1"):
    return DkimKeyRow(domain_id, "a.example", selector, "rsa-sha256", b"secret bytes", "v=DKIM1; p=x", NOW)


def names(connection):
    return [row.name for row in accounts.domains(connection)]


def test_a_new_domain_has_the_defaults_and_is_listed_by_name(connection, ours):
    assert names(connection) == ["a.example", "z.example"]
    row = accounts.domains(connection)[0]
    assert (row.id, row.created_at, row.pool, row.dsn, row.paused_why) == (ours, NOW, "", True, None)
    assert (row.flags, row.hourly_limit) == (0, 0)


def test_a_domain_is_not_added_twice(connection, ours):
    with pytest.raises(sqlite3.IntegrityError):
        accounts.add_domain(connection, "a.example", NOW)
    assert len(names(connection)) == 2


def test_settings_change_alone_and_only_for_a_domain_that_is_there(connection, ours):
    assert accounts.set_domain(connection, "a.example", "news", None)
    assert accounts.set_domain(connection, "a.example", None, False)
    row = accounts.domains(connection)[0]
    assert (row.pool, row.dsn) == ("news", False)
    assert accounts.set_domain(connection, "a.example", None, None)
    assert accounts.domains(connection)[0] == row
    assert not accounts.set_domain(connection, "b.example", "news", True)


def test_a_pause_has_a_reason_and_an_end(connection, ours):
    assert accounts.pause_domain(connection, "a.example", "unpaid")
    assert [row.paused_why for row in accounts.domains(connection)] == ["unpaid", None]
    assert accounts.pause_domain(connection, "a.example", None)
    assert accounts.domains(connection)[0].paused_why is None
    assert not accounts.pause_domain(connection, "b.example", "unpaid")


def test_a_login_is_found_gets_a_new_password_and_goes(connection, ours):
    accounts.set_credential(connection, "ann", ours, "hash one", NOW)
    accounts.set_credential(connection, "ann", ours, "hash two", NOW + 5)
    found = accounts.find_credential(connection, "ann")
    assert found == accounts.CredentialRow("ann", ours, "a.example", "hash two", NOW)
    assert accounts.credentials(connection) == [found]
    assert accounts.find_credential(connection, "Ann") is None
    assert accounts.remove_credential(connection, "ann")
    assert not accounts.remove_credential(connection, "ann")
    assert accounts.credentials(connection) == []


def test_nobody_logs_in_for_a_domain_that_is_not_there(connection, ours):
    with pytest.raises(sqlite3.IntegrityError):
        accounts.set_credential(connection, "ann", 99, "hash", NOW)


def test_a_selector_has_one_key_and_a_key_is_not_printed(connection, ours):
    accounts.add_dkim_key(connection, key(ours))
    accounts.add_dkim_key(connection, key(ours, "mtad2"))
    with pytest.raises(sqlite3.IntegrityError):
        accounts.add_dkim_key(connection, key(ours))
    assert accounts.dkim_keys(connection) == [key(ours), key(ours, "mtad2")]
    assert "secret" not in repr(accounts.dkim_keys(connection)) + str(key(ours))


def test_the_same_api_key_is_kept_once(connection, ours):
    accounts.add_api_key(connection, "main", b"one", NOW)
    accounts.add_api_key(connection, "again", b"one", NOW)
    accounts.add_api_key(connection, "second", b"two", NOW)
    found = [(row.name, row.domain, row.hash) for row in accounts.api_keys(connection)]
    assert found == [("main", None, b"one"), ("second", None, b"two")]


def test_a_domain_takes_its_logins_and_keys_with_it_and_nobody_elses(connection, ours):
    [other] = [row.id for row in accounts.domains(connection) if row.name == "z.example"]
    for number, login in ((ours, "ann"), (other, "zoe")):
        accounts.set_credential(connection, login, number, "hash", NOW)
        accounts.add_dkim_key(connection, key(number))
    assert accounts.remove_domain(connection, "a.example")
    assert not accounts.remove_domain(connection, "a.example")
    assert [row.login for row in accounts.credentials(connection)] == ["zoe"]
    assert [row.domain for row in accounts.dkim_keys(connection)] == ["z.example"]
