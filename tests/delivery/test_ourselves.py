from mtad.delivery.ourselves import NOBODY, is_local_address, ourselves


def test_addresses_of_this_machine_are_known_without_sending_anything():
    assert is_local_address("127.0.0.1")
    assert not is_local_address("192.0.2.1")
    assert not is_local_address("2001:db8::1")
    assert not is_local_address("no address")


def test_a_listener_on_all_addresses_is_every_address_of_this_machine_at_its_port():
    us = ourselves("MX.Example.org", ["[::]:25"], is_local=lambda address: address == "192.0.2.1")
    assert us.names == {"mx.example.org"}
    assert us.has_address("192.0.2.1", 25)
    assert not us.has_address("192.0.2.1", 26)
    assert not us.has_address("192.0.2.2", 25)


def test_a_listener_on_one_address_is_that_one_however_it_is_written():
    us = ourselves("mx.example.org", ["127.0.0.1:2525", "[0:0::1]:25"], is_local=lambda address: True)
    assert us.has_address("127.0.0.1", 2525)
    assert us.has_address("::1", 25)
    assert not us.has_address("127.0.0.1", 25)
    assert not us.has_address("no address", 25)


def test_who_takes_no_mail_cannot_loop():
    assert ourselves("mx.example.org", []) is NOBODY
    assert not NOBODY.has_address("127.0.0.1", 25)
