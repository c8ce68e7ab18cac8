"""The sockets themselves: opened, handed over, refused, given a new certificate, closed."""

import asyncio
import os
import socket
import ssl

import pytest
import trustme

from mtad.config import ConfigError
from mtad.smtp.session import Listener
from tests.smtp.conftest import issue
from tests.smtp.house import house


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_port_0_becomes_a_number():
    async with house(mx=("127.0.0.1:0", "127.0.0.1:0"), submission=()) as one:
        addresses = one.listeners.addresses(Listener.MX)
        assert len({int(address.removeprefix("127.0.0.1:")) for address in addresses}) == 2
        assert one.listeners.addresses(Listener.SUBMISSION) == []


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_all_addresses_means_ipv4_too_and_names_it_plainly():
    async with house(mx=("[::]:0",)) as one:
        [address] = one.listeners.addresses(Listener.MX)
        assert address.startswith("[::]:")
        client = await (await one.connect()).in_data()
        client.send(".\r\n")
        await client.answer()
        assert one.taken[0].peer == "127.0.0.1"


async def test_a_busy_port_is_one_clear_error_and_leaves_nothing_open():
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as other:
        port, free = busy.getsockname()[1], other.getsockname()[1]
        other.close()
        with pytest.raises(ConfigError, match=rf"smtp\.submission = .127\.0\.0\.1:{port}.*in use"):
            async with house(mx=(f"127.0.0.1:{free}",), submission=(f"127.0.0.1:{port}",)):
                pass
        socket.create_server(("127.0.0.1", free)).close()


async def test_wrong_networks_are_refused():
    with pytest.raises(ConfigError, match=r"smtp\.trusted_networks"):
        async with house(trusted_networks=("10.0.0.1/8",)):
            pass


async def test_the_tls_port_needs_a_certificate():
    with pytest.raises(ConfigError, match=r"smtp\.tls_certificate"):
        async with house(submissions=("127.0.0.1:0",)):
            pass


@pytest.mark.parametrize("fault", ["missing", "no certificate", "another key", "encrypted key"])
async def test_a_bad_certificate_is_one_clear_error(certificate, tmp_path, fault):
    cert, key = certificate
    wrong = tmp_path / "wrong.pem"
    if fault == "no certificate":
        wrong.write_text("hello\n")
    elif fault == "another key":
        wrong = issue(trustme.CA(), tmp_path)[1]
    elif fault == "encrypted key":
        wrong.write_bytes(encrypted(key.read_bytes()))
    files = (cert, wrong) if "key" in fault else (wrong, key)
    with pytest.raises(ConfigError) as error:
        async with house(files):
            pass
    assert "\n" not in str(error.value)
    assert str(wrong if fault == "missing" else "smtp.tls_certificate") in str(error.value)


def encrypted(pem):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(pem, None)
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))


async def served(one, context):
    """The issuer of the certificate that the TLS port shows."""
    _, writer = await asyncio.open_connection("127.0.0.1", one.port(Listener.SUBMISSIONS), ssl=context)
    issuer = writer.get_extra_info("peercert")["issuer"]
    writer.transport.abort()
    return issuer


async def test_a_new_certificate_serves_new_connections_and_a_bad_one_changes_nothing(certificate, tmp_path):
    authority = trustme.CA(organization_name="new")
    (tmp_path / "new").mkdir()
    # The old key is ECDSA: a key of another kind must replace it, not join it.
    new = issue(authority, tmp_path / "new", key_type=trustme.KeyType.RSA)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with house(certificate) as one:
        before = await (await one.connect()).greeted()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):  # uvloop's client tells only the latter
            await served(one, context)
        one.listeners.reload_tls(*new)
        first = await served(one, context)
        (tmp_path / "bad").write_text("no")
        for files in ((tmp_path / "bad", new[1]), (new[0], tmp_path / "bad"), (tmp_path / "none", None)):
            with pytest.raises(ConfigError):
                one.listeners.reload_tls(*files)
        assert await served(one, context) == first
        assert (await before.ask("NOOP")).startswith("250 ")


async def test_without_a_certificate_tls_is_offered_no_more(certificate):
    async with house(certificate, submissions=()) as one:
        before = await (await one.connect()).greeted()
        assert "STARTTLS" in await before.ask("EHLO here.example")
        one.listeners.reload_tls(None, None)
        after = await (await one.connect()).greeted()
        assert "STARTTLS" not in await after.ask("EHLO here.example")
        one.listeners.reload_tls(*certificate)
        again = await (await one.connect()).greeted()
        assert "STARTTLS" in await again.ask("EHLO here.example")


async def test_the_tls_port_keeps_its_certificate_as_long_as_it_is_open(certificate):
    async with house(certificate) as one:
        with pytest.raises(ConfigError, match=r"needed by smtp\.submissions"):
            one.listeners.reload_tls(None, None)
        assert (await (await (await one.connect()).greeted()).ask("STARTTLS")).startswith("220 ")


async def test_key_and_certificate_may_be_one_file(certificate, tmp_path):
    both = tmp_path / "both.pem"
    both.write_bytes(certificate[0].read_bytes() + certificate[1].read_bytes())
    async with house() as one:
        one.listeners.reload_tls(both, None)
        assert (await (await (await one.connect()).greeted()).ask("STARTTLS")).startswith("220 ")


async def test_sockets_from_systemd_replace_the_configured_ones():
    own, other = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    own_address = "{}:{}".format(*own.getsockname())
    first = max(own.fileno(), other.fileno()) + 50
    os.dup2(other.fileno(), first)
    os.dup2(own.fileno(), first + 1)
    own.close()
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:mx"}
    try:
        async with house(environ=environ, first_fd=first) as one:
            assert one.listeners.addresses(Listener.MX) == [own_address]
            assert one.listeners.addresses(Listener.SUBMISSION)  # as configured: none was handed over
            assert (await (await one.connect()).greeted()) is not None
        os.fstat(first)  # somebody else's socket is left alone
        with pytest.raises(OSError):
            os.fstat(first + 1)
    finally:
        os.close(first)
        other.close()


async def test_sockets_meant_for_another_process_are_left_alone():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "mx"}
    async with house(environ=environ, first_fd=999) as one:
        assert one.listeners.addresses(Listener.MX)[0].startswith("127.0.0.1:")


async def test_stopping_lets_a_transaction_end_and_sends_idle_clients_away():
    async with house() as one:
        idle = await (await one.connect()).greeted()
        busy = await (await one.connect()).in_data()
        stopping = asyncio.ensure_future(one.listeners.stop(10.0))
        assert (await idle.answer()).startswith("421 4.3.2")
        assert await idle.is_closed()
        with pytest.raises(OSError):
            await one.connect()
        busy.send("text\r\n.\r\n")
        assert (await busy.answer()).startswith("250 ")
        assert (await busy.answer()).startswith("421 4.3.2")
        await asyncio.wait_for(stopping, 5)
        assert len(one.taken) == 1


async def test_stopping_waits_for_a_commit_but_not_for_ever():
    async with house() as one:
        one.hold = True
        committing = await (await one.connect()).in_data()
        committing.send("text\r\n.\r\n")
        hanging = await (await one.connect()).in_data()
        await one.until(lambda: one.waiting)
        stopping = asyncio.ensure_future(one.listeners.stop(0.3))
        await asyncio.sleep(0.05)
        one.settle()
        assert (await committing.answer()).startswith("250 ")
        await asyncio.wait_for(stopping, 5)
        assert await hanging.is_closed()
