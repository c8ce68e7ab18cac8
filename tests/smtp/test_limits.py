import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.smtp.limits import AuthFailures, Budget, Connections, Counters, client_key, plain_address


def test_a_budget_gives_no_more_than_it_has():
    budget = Budget(10)
    assert budget.reserve(6)
    assert not budget.reserve(5)
    assert budget.reserve(4)
    budget.release(10)
    assert budget.used == 0
    with pytest.raises(ValueError):
        budget.release(1)


def test_counters_count():
    counters = Counters()
    counters.add("b")
    counters.add("a", 2)
    assert counters["b"] == 1
    assert counters["never"] == 0
    assert list(counters) == [("a", 2), ("b", 1)]


def test_an_ipv6_site_is_one_client():
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") == "2001:db8::/64"
    assert client_key("2001:db8:0:1::1") != client_key("2001:db8::1")
    assert client_key("192.0.2.1") == "192.0.2.1"
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"


def test_connections_are_bounded_by_client_and_together():
    connections = Connections(3, 2)
    assert connections.admit("a") is None
    assert connections.admit("a") is None
    assert str(connections.admit("a")).startswith("421 4.7.0")
    assert connections.admit("b") is None
    assert str(connections.admit("c")).startswith("421 4.3.2")
    connections.leave("a")
    assert connections.admit("c") is None
    assert (connections.of("a"), connections.total) == (1, 3)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_connections_never_pass_their_limits(steps):
    connections, held = Connections(4, 2), []
    for comes, client in steps:
        if comes and connections.admit(client) is None:
            held.append(client)
        elif not comes and client in held:
            held.remove(client)
            connections.leave(client)
        assert connections.total == len(held) <= 4
        assert all(connections.of(one) == held.count(one) <= 2 for one in "abc")


def test_the_wait_after_a_wrong_password_doubles_up_to_ten_seconds():
    failures = AuthFailures(100, 600, 1.0)
    assert [failures.failed("a", 0.0) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert failures.failed("b", 0.0) == 1.0


def test_too_many_wrong_passwords_shut_a_client_out_for_the_rest_of_the_window():
    failures = AuthFailures(3, 600, 1.0)
    for at in (0.0, 100.0, 200.0):
        assert not failures.is_shut_out("a", at)
        failures.failed("a", at)
    assert failures.is_shut_out("a", 599.0)
    assert not failures.is_shut_out("b", 599.0)
    assert not failures.is_shut_out("a", 600.0)
    assert failures.failed("a", 600.0) == 1.0


def test_only_so_many_clients_are_remembered():
    failures = AuthFailures(1, 600, 1.0, max_clients=10)
    for number in range(1000):
        failures.failed(f"client {number}", 0.0)
    assert sum(failures.count(f"client {number}", 0.0) for number in range(1000)) == 10
    assert failures.is_shut_out("client 999", 0.0)
