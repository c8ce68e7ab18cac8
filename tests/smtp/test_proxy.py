import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.smtp.proxy import BadHeader, parse_header

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command, family, rest):
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(rest)) + rest


IPV4 = ip_address("192.0.2.9").packed + ip_address("198.51.100.1").packed + struct.pack("!HH", 1234, 25)
IPV6 = ip_address("2001:db8::9").packed + ip_address("2001:db8::1").packed + struct.pack("!HH", 1234, 25)

GOOD = [
    (b"PROXY TCP4 192.0.2.9 198.51.100.1 1234 25\r\n", "192.0.2.9"),
    (b"PROXY TCP6 2001:db8::9 2001:db8::1 1234 25\r\n", "2001:db8::9"),
    (b"PROXY UNKNOWN\r\n", ""),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
    (v2(1, 0x11, IPV4), "192.0.2.9"),
    (v2(1, 0x11, IPV4 + b"\x04\x00\x01x"), "192.0.2.9"),
    (v2(1, 0x21, IPV6), "2001:db8::9"),
    (v2(0, 0x00, b""), ""),
    (v2(1, 0x31, b"x" * 216), ""),
]
BAD = [
    b"EHLO a\r\n",
    b"POST / HTTP/1.1\r\n",
    b"PROXY TCP4 192.0.2.300 198.51.100.1 1234 25\r\n",
    b"PROXY TCP4 2001:db8::9 2001:db8::1 1234 25\r\n",
    b"PROXY TCP6 x y 1 2\r\n",
    b"PROXY " + b"x" * 200,
    b"PROXYTCP4",
    v2(1, 0x11, IPV4)[:12] + b"\x11" + v2(1, 0x11, IPV4)[13:],
    v2(5, 0x11, IPV4),
    v2(1, 0x11, IPV4[:8]),
    v2(1, 0x21, IPV4),
    v2(1, 0x11, b"x" * 5000),
    b"\x16\x03\x01\x02\x00",
]


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_a_header_is_read_however_it_is_cut(header, address):
    assert parse_header(header + b"EHLO a\r\n") == (address, len(header))
    for cut in range(1, len(header)):
        assert parse_header(header[:cut]) is None


@pytest.mark.parametrize("header", BAD)
def test_what_is_no_header_is_told_at_once(header):
    with pytest.raises(BadHeader):
        parse_header(header)


@given(st.sampled_from([b"", b"PROXY ", V2, V2 + b"\x21\x11\x00"]), st.binary(max_size=200))
def test_any_octets_are_a_header_or_not(start, rest):
    try:
        found = parse_header(start + rest)
    except BadHeader:
        return
    assert found is None or 0 < found[1] <= len(start + rest)
