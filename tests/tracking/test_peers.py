from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.tracking.peers import NOBODY, client_of, peer_of

OURS = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", ""),
        ("", ""),
        ("192.0.2.1:80", ""),
    ],
)
def test_an_address_in_its_one_spelling(text, shown):
    assert peer_of(text).text == shown


def test_a_rate_is_counted_for_a_whole_ipv6_network():
    assert peer_of("2001:db8:1:2:3::1").group == peer_of("2001:db8:1:2:ffff::9").group
    assert peer_of("2001:db8:1:2::1").group != peer_of("2001:db8:1:3::1").group
    assert peer_of("192.0.2.1").group != peer_of("192.0.2.2").group


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("10.1.1.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.1.1.1", ["6.6.6.6, 192.0.2.7, 10.2.2.2"], "192.0.2.7"),
        ("10.1.1.1", ["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["nonsense"], "10.1.1.1"),
        ("10.1.1.1", ["10.9.9.9"], "10.9.9.9"),
        ("192.0.2.99", ["192.0.2.7"], "192.0.2.99"),
        ("", ["192.0.2.7"], ""),
    ],
)
def test_only_our_proxies_are_believed_and_only_the_last_stranger(remote, forwarded, client):
    assert client_of(remote, forwarded, OURS).text == client


@given(values=st.lists(st.text(max_size=100), max_size=4))
def test_any_header_is_read_without_harm(values):
    assert client_of("10.1.1.1", values, OURS) is not NOBODY


def test_a_long_header_is_read_from_its_end():
    assert client_of("10.1.1.1", ["1.1.1.1," * 10_000 + "192.0.2.7"], OURS).text == "192.0.2.7"
