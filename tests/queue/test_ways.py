"""Which transport a recipient's mail goes by."""

import pytest

from mtad.delivery.mx import MxHost, Route
from mtad.mail.address import ListPost, domain_of, parse_address
from mtad.queue.ways import Ways

URL = "https://app.example/in"


class Way:
    """Notes what it is asked for."""

    fixed_key = None

    def __init__(self, name, web=False, site=""):
        self.name, self.asked = name, []
        self.found = Route(f"{name}.example", (MxHost(f"mx.{name}.example", 0),), 25, web=web, site=site)

    def known(self, domain):
        self.asked.append(domain)
        return self.found

    async def route(self, domain):
        self.asked.append(domain)
        return self.found

    async def open(self, route, source, require_tls, skip_verification=False):
        return (self.name, source, require_tls, skip_verification)


@pytest.fixture
def mail():
    return Way("mail")


@pytest.fixture
def web():
    return Way("web", web=True)


@pytest.fixture
def lists():
    return Way("lists", site="lists")


@pytest.mark.parametrize("text", [URL, "http://a.example", "HTTPS://a.example/"])
async def test_a_url_goes_by_http(mail, web, lists, text):
    ways = Ways(mail, web, lists)
    assert ways.known(text) is web.found
    assert await ways.route(text) is web.found
    assert (web.asked, mail.asked) == ([text, text], [])
    assert await ways.open(web.found, "192.0.2.1", False) == ("web", "192.0.2.1", False, False)


async def test_a_post_to_a_list_goes_to_its_members(mail, web, lists):
    ways, text = Ways(mail, web, lists), domain_of(str(ListPost(7, parse_address("dev@a.example"))))
    assert ways.known(text) is lists.found
    assert await ways.route(text) is lists.found
    assert await ways.open(lists.found, "", False) == ("lists", "", False, False)
    assert (mail.asked, web.asked) == ([], [])


@pytest.mark.parametrize("text", ["their.example", "http.example", "[192.0.2.1]"])
async def test_a_domain_goes_by_mail(mail, web, lists, text):
    ways = Ways(mail, web, lists)
    assert ways.known(text) is mail.found
    assert await ways.route(text) is mail.found
    assert await ways.open(mail.found, "", True, True) == ("mail", "", True, True)
    assert web.asked == []


def test_one_site_for_all_mail_is_for_mail(mail, web, lists):
    mail.fixed_key = "capture"
    assert Ways(mail, web, lists).fixed_key == "capture"
