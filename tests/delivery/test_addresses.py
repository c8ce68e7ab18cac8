import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.addresses import MAX_ADDRESSES, addresses_of, parse_ip


def usable(*records: str, ipv6: bool = True, private: bool = False) -> tuple[str, ...]:
    return addresses_of("mx.example", records, ipv6=ipv6, private=private).addresses


def test_the_families_take_turns_ipv6_first():
    records = ("192.0.9.1", "192.0.9.2", "2a00::1", "192.0.9.3", "2a00::2")
    assert usable(*records) == ("2a00::1", "192.0.9.1", "2a00::2", "192.0.9.2", "192.0.9.3")
    assert usable(*records, ipv6=False) == ("192.0.9.1", "192.0.9.2", "192.0.9.3")


def test_a_host_with_many_addresses_of_one_family_is_still_tried_on_the_other():
    found = usable(*[f"2a00::{number:x}" for number in range(1, 40)], "192.0.9.1")
    assert len(found) == MAX_ADDRESSES
    assert "192.0.9.1" in found


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "::1", "fe80::1",
        "fd00::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "::127.0.0.1",
        "192.0.0.192", "::ffff:192.0.0.192", "64:ff9b::c000:c0", "2002:c000:c0::", "2001:0:c000:c0::", "::8.8.8.8",
        "2001:0:808:808::80ff:fffe",
    ],
)  # fmt: skip
def test_private_addresses_are_for_those_who_ask_for_them(address):
    found = addresses_of("mx.example", (address,), ipv6=True, private=False)
    assert found.addresses == ()
    assert found.why == f"mx.example has only {address}, where no mail goes"
    assert usable(address, private=True) == (str(parse_ip(address)),)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"]
)
def test_what_is_no_host_is_never_connected_to(address):
    assert usable(address, private=True) == ()


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1"])
def test_public_addresses_are_fine(address):
    assert usable(address) == (address,)


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), max_size=40), st.booleans(), st.booleans())
def test_whatever_dns_says_the_result_is_bounded_and_made_of_its_addresses(records, ipv6, private):
    found = addresses_of("mx.example", records, ipv6=ipv6, private=private)
    assert len(found.addresses) == len(set(found.addresses)) <= MAX_ADDRESSES
    assert set(found.addresses) <= {str(parse_ip(record)) for record in records}
    assert bool(found.addresses) != bool(found.why)
    assert ipv6 or not any(":" in address for address in found.addresses)
