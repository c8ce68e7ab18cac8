"""mtad domain set, show and verify: the settings beside those of the queue, and what DNS has."""

import re

import pytest

from mtad.api.operations import Operations
from tests.inbound.zones import TROUBLE, Said

DOMAIN = "ours.example"


class Names:
    """DNS with the texts of a test. trouble: it does not answer."""

    def __init__(self, texts):
        self.texts, self.trouble = texts, False

    async def txt(self, name):
        if self.trouble:
            return TROUBLE
        return Said("records", (self.texts[name],)) if name in self.texts else Said("no-domain")

    async def addresses(self, name, *, ipv6=True):
        return Said("no-domain") if name.endswith("news.example") else Said("records", ("192.0.2.25",))

    async def ipv6_addresses(self, name):
        return Said("no-data")

    async def nothing(self, name):
        return TROUBLE if self.trouble else Said("no-data")

    mx = cname = ptr = nothing


@pytest.fixture
def names(monkeypatch):
    made = Names({})
    monkeypatch.setattr(Operations, "names", staticmethod(lambda: made))
    return made


@pytest.fixture
def publish(as_json, names):
    """The needed records of a domain into DNS."""

    def call(name):
        found = as_json(f"domain show {name}")
        names.texts |= {one["name"]: one["value"] for one in found["records"] if not one["optional"]}

    return call


@pytest.mark.parametrize("with_daemon", [True, False])
def test_settings_are_changed_and_shown(mtad, as_json, store, with_daemon, request):
    if with_daemon:
        request.getfixturevalue("daemon")
    line = "domain set --track-opens --pixel-top --track-clicks htmlonly --footer --web-scheme https --web-prefix Go"
    said = mtad(f"{line} --require-tls --skip-verification --spam-action block --wildcard {DOMAIN}").stdout
    for words in (
        "Opens        tracked, the pixel on top",
        "Clicks       tracked in html",
        "Footer       added",
        "Links        to this server until https://go.ours.example is known to lead here",
        "TLS          required, with any certificate",
        "Spam         thrown away",
        "Sub-domains  their mail is taken too",
    ):
        assert words in said
        assert re.sub(" +", " ", words) in re.sub(" +", " ", mtad(f"domain show {DOMAIN}").stdout)
    settings = as_json(f"domain set --no-track-opens --track-clicks no --no-wildcard {DOMAIN}")["settings"]
    assert (settings["opens"], settings["clicks"], settings["wildcard"]) == (False, "no", False)
    assert (settings["pixel_top"], settings["footer"], settings["require_tls"]) == (True, True, True)  # as they were


def test_a_footer_comes_from_a_file_and_an_empty_one_is_the_default(as_json, store, tmp_path):
    file = tmp_path / "footer.html"
    file.write_text('<p><a href="%unsubscribe_url%">Büe</a></p>\n', "utf-8")
    settings = as_json(f"domain set --footer-html {file} {DOMAIN}")["settings"]
    assert settings["footer_html"] == '<p><a href="%unsubscribe_url%">Büe</a></p>'
    assert "%unsubscribe_url%" in settings["footer_text"]
    file.write_text("")
    assert "Unsubscribe here" in as_json(f"domain set --footer-html {file} {DOMAIN}")["settings"]["footer_html"]
    file.write_text("x" * 65_537)
    assert "at most 65536 characters" in str(as_refusal(as_json, f"domain set --footer-html {file} {DOMAIN}"))


def as_refusal(as_json, line):
    with pytest.raises(AssertionError) as refused:
        as_json(line)
    return refused.value


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--web-prefix a/b", 1, "web_prefix is one or more labels"),
        ("--track-clicks maybe", 2, "maybe"),
        ("--spam-action eat", 2, "eat"),
        ("", 2, "Name what to set"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(mtad, store, options, code, said):
    assert said in mtad(f"domain set {options} {DOMAIN}", code=code).stderr


def test_a_domain_whose_records_are_there_is_active(mtad, daemon, names, publish):
    mtad("domain add news.example")
    publish("news.example")
    text = mtad("domain verify news.example").stdout
    assert re.search(r"^news\.example +TXT +valid$", text, re.MULTILINE)
    assert re.search(r"^news\.example +MX +invalid \(optional\) +news\.example has no MX record$", text, re.MULTILINE)
    assert text.endswith("news.example is active.\n")
    assert "news.example" in mtad("domain list").stdout
    shown = mtad("domain show news.example").stdout
    assert "State         active" in shown
    assert "; SPF: this server may send for the domain; valid\n" in shown
    assert "email.news.example. IN CNAME mail.ours.example.\n" in shown


def test_a_needed_record_that_is_wrong_is_exit_code_1(mtad, as_json, daemon, names, publish):
    mtad("domain add news.example")
    publish("news.example")
    names.texts["news.example"] = "v=spf1 -all"
    text = mtad("domain verify news.example", code=1).stdout
    assert "the record gives fail for 192.0.2.25" in text
    assert text.endswith("news.example is unverified.\n")
    names.trouble = True
    found = as_json("domain verify news.example", code=1)
    assert {record["valid"] for record in found["records"]} == {"unknown"}


def test_records_are_not_looked_up_without_a_daemon_that_has_a_resolver(refusal, store):
    assert "no daemon is running that could ask DNS" in refusal(f"domain verify {DOMAIN}")


def test_a_password_that_is_short_is_taken_with_a_warning(mtad, as_json, store):
    result = mtad("credential add --password-stdin bob@ours.example", stdin="short\n")
    assert result.stderr == "mtad: the password is weak: it has less than 8 characters and can be guessed\n"
    assert "short\n" not in result.stdout
    assert mtad("credential add --password-stdin bob@ours.example", stdin="long enough\n").stderr == ""
