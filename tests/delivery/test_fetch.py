import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
import uvloop

from mtad.config import DnsConfig
from mtad.delivery.dns import DnsResolver
from mtad.delivery.fetch import HttpsFetch
from mtad.delivery.policies import FetchFailed
from tests.dnsserver import DnsServer
from tests.virtualclock import VirtualClock

NAME = "mta-sts.example.org"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class Site:
    """A web server of one page with TLS, and the DNS that points to it."""

    def __init__(self) -> None:
        self.page = GOOD
        self.requests: list[bytes] = []
        self.silent = asyncio.Event()
        self.authority = trustme.CA()
        self.name = NAME

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Site"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(self.name).configure_cert(context)
        async with DnsServer() as dns:
            dns.add(NAME, "A", "127.0.0.1")
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
            async with server:
                self.port = server.sockets[0].getsockname()[1]
                self.resolver = DnsResolver(DnsConfig(nameservers=(dns.address,)), VirtualClock())
                yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.page)
            await writer.drain()
            if not self.page:
                await self.silent.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def fetch(
        self, *, trusted: bool = True, private: bool = True, timeout_s: float = 5
    ) -> tuple[int, str, bytes]:
        context = ssl.create_default_context()
        if trusted:
            self.authority.configure_trust(context)
        fetch = HttpsFetch(self.resolver, timeout_s=timeout_s, allow_private=private, context=context)
        return await fetch(f"https://{NAME}:{self.port}/.well-known/mta-sts.txt")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site().open() as opened:
        yield opened


async def test_a_page_comes_with_status_and_type(site):
    assert await site.fetch() == (200, "text/plain", b"hello")
    assert site.requests[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")


def test_it_works_on_uvloop():
    async def fetch() -> tuple[int, str, bytes]:
        async with Site().open() as site:
            return await site.fetch()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(fetch()) == (200, "text/plain", b"hello")


async def test_a_certificate_nobody_vouches_for_is_refused(site):
    with pytest.raises(FetchFailed, match="Certificate"):
        await site.fetch(trusted=False)
    assert site.requests == []


async def test_a_certificate_of_another_name_is_refused():
    site = Site()
    site.name = "other.example.org"
    async with site.open():
        with pytest.raises(FetchFailed, match="Certificate"):
            await site.fetch()


async def test_private_addresses_are_not_connected_to(site):
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1, where no mail goes"):
        await site.fetch(private=False)


async def test_a_redirect_is_not_followed(site):
    site.page = b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n"
    status, _, _ = await site.fetch()
    assert status == 302
    assert len(site.requests) == 1


async def test_a_long_page_is_cut_off_at_64_kib(site):
    site.page = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 70_000
    with pytest.raises(FetchFailed, match="longer"):
        await site.fetch()


async def test_a_packed_page_stays_packed(site):
    site.page = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8bxx"
    assert (await site.fetch())[2] == b"\x1f\x8bxx"


@pytest.mark.parametrize("page", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"])
async def test_what_is_no_answer_fails(site, page):
    site.page = page
    with pytest.raises(FetchFailed):
        await site.fetch()


async def test_a_silent_server_is_given_up(site):
    site.page = b""
    with pytest.raises(FetchFailed, match=r"within 0\.3 s"):
        await site.fetch(timeout_s=0.3)
    site.silent.set()


async def test_a_name_without_address_and_a_closed_port_fail(site):
    site.port = 1
    with pytest.raises(FetchFailed):
        await site.fetch()
    fetch = HttpsFetch(site.resolver, allow_private=True)
    with pytest.raises(FetchFailed, match=r"nowhere\.example has no address"):
        await fetch("https://nowhere.example/")
