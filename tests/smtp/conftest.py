"""The doors must behave alike on both event loops, so every asynchronous test here runs on each."""

import asyncio

import pytest
import trustme
import uvloop


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority, tmp_path_factory):
    """Certificate and key files for 127.0.0.1."""
    return issue(authority, tmp_path_factory.mktemp("tls"))


def issue(authority, folder, **how):
    cert = authority.issue_cert("mx.test", "127.0.0.1", **how)
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    files[1].write_bytes(cert.private_key_pem.bytes())
    return files
