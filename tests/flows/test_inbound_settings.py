"""Mail from the world through a daemon whose operator has set things: its postmaster, and how long posts wait."""

import urllib.request
from collections.abc import Iterator
from email.policy import SMTP
from itertools import pairwise

import pytest

from tests.flows.application import Application, NameServer
from tests.flows.inland import DOMAIN, Inland, letter, zones
from tests.live import field_of, wait_until

OPS = "ops@elsewhere.example"


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with Application() as application:
        yield application


@pytest.fixture(scope="module")
def inland(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inland]:
    settings = (
        "webhooks.retry_waits_s=[600.0,900.0,3600.0]",
        "webhooks.scale=0.0001",
        f'inbound.postmaster="{OPS}"',
    )
    with NameServer(zones) as names, Inland(tmp_path_factory.mktemp("inland"), names, *settings) as daemon:
        yield daemon
        daemon.until_drained()
        assert daemon.check()["faults"] == []


def test_the_postmaster_has_his_mail_with_a_domain_or_without_from_us_and_not_from_the_writer(inland: Inland) -> None:
    inland.receive(letter("for abuse"), "Abuse")
    with inland.client("mx", login=False) as client:
        client.ehlo()
        assert client.mail("<ann@elsewhere.example>")[0] == 250
        assert client.docmd("RCPT", "TO:<PostMaster>")[0] == 250
        assert client.docmd("RCPT", f"TO:<nobody@{DOMAIN}>")[0] == 550
        assert client.data(letter("for the postmaster").as_bytes(policy=SMTP))[0] == 250
    query = "SELECT reverse_path, content FROM captured WHERE recipients LIKE ?"
    wait_until(lambda: len(inland.ask(query, f"%{OPS}%")) == 2)
    rows = inland.ask(query, f"%{OPS}%")
    assert sorted(field_of(bytes(content), "subject") for _, content in rows) == ["for abuse", "for the postmaster"]
    assert {path.rpartition("@")[2] for path, _ in rows} == {DOMAIN}
    assert "ann@" not in str([path for path, _ in rows])
    with urllib.request.urlopen(f"{inland.ready['http']}/metrics", timeout=10) as answer:
        told = answer.read().decode()
    assert 'mtad_inbound_messages_total{what="taken"} 2.0' in told
    assert 'mtad_inbound_copies_total{what="forwarded"} 2.0' in told


def test_all_waits_of_posts_and_of_what_routes_post_are_scaled(inland: Inland, app: Application) -> None:
    app.answers |= {"told": [500] * 3, "routed": [500] * 3}
    assert inland.mtad("webhook", "add", DOMAIN, "accepted", app.url("told")).returncode == 0
    inland.route("scaled", f'forward("{app.url("routed")}")')
    inland.receive(letter(), "scaled")
    for path, tries in (("told", 4), ("routed", 4)):
        at = [post.at for post in app.got(path, tries)]
        waits = [later - earlier for earlier, later in pairwise(at)]
        assert waits[0] >= 0.05
        assert waits[2] >= 0.3
