import ipaddress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.config import ConfigError
from mtad.storage.tracked import Client
from mtad.tracking.clients import MAX_AGENT, REMEMBERED, Clients, agent_text, load_client_rules

FILE = Path(__file__).parents[2] / "conf" / "clients.toml"
RULES = load_client_rules(FILE.read_text(), "clients.toml")
EXAMPLES = [(rule.name, text) for rule in RULES.bots for text in rule.examples]


@pytest.fixture(scope="module")
def clients():
    return Clients(RULES)


def test_every_rule_has_an_example():
    assert {name for name, _ in EXAMPLES} == {rule.name for rule in RULES.bots}


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_the_rule_catches_its_example(clients, name, text):
    found = clients.parsed(text)
    assert (found.bot, found.counted) == (name, False)
    assert clients.unparsed(text).bot == name


@pytest.mark.parametrize("text", RULES.people)
def test_no_rule_catches_a_person(clients, text):
    found = clients.parsed(text)
    assert (found.bot, found.counted) == ("", True)


@pytest.mark.parametrize(
    ("start", "type_", "system", "device", "name"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "browser", "Windows", "desktop", "Chrome"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0)", "browser", "Linux", "desktop", "Firefox"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:115.0)", "email client", "Linux", "desktop", "Thunderbird"),
        ("Mozilla/5.0 (Macintosh", "email client", "Mac OS X", "desktop", "Apple Mail"),
        ("Mozilla/5.0 (iPhone", "mobile browser", "iOS", "mobile", "Mobile Safari"),
        ("Mozilla/5.0 (iPad", "mobile browser", "iOS", "tablet", "Mobile Safari"),
        ("Mozilla/5.0 (Linux; Android 14", "mobile browser", "Android", "mobile", "Chrome Mobile"),
        ("Mozilla/5.0 (Linux; Android 13", "mobile browser", "Android", "tablet", "Chrome"),
        ("Microsoft Office", "email client", "Windows", "desktop", "Outlook"),
    ],
)
def test_a_person_is_described(clients, start, type_, system, device, name):
    text = next(text for text in RULES.people if text.startswith(start))
    assert clients.parsed(text) == Client(type_, system, device, name)


def test_a_robot_keeps_what_is_known_of_it(clients):
    assert clients.parsed("curl/8.5.0") == Client("library", "Unknown", "unknown", "curl", "generic", False)
    assert clients.parsed("Mozilla/5.0").type == "robot"


@pytest.mark.parametrize("text", ["", "nonsense", "x" * 500, "/" * 500, "((((/((((" * 50])
def test_what_says_nothing_is_unknown(clients, text):
    assert clients.parsed(text) == Client()


@settings(max_examples=60)
@given(text=st.text(max_size=600))
def test_any_text_is_taken(text):
    agent = agent_text(text + "/")
    assert len(agent) <= MAX_AGENT
    assert agent.isprintable()
    agent.encode()
    assert Clients(RULES).parsed(agent).device in ("unknown", "desktop", "mobile", "tablet", "other")


def test_an_agent_with_surrogates_and_controls_can_be_stored():
    assert agent_text("a\udcff\x00\x1b[31mb") == "a   [31mb"
    assert agent_text(None) == ""


def test_what_was_learnt_is_remembered_within_bounds(clients):
    fresh = Clients(RULES)
    assert fresh.known("curl/8") is None
    fresh.remember(fresh.learn(["curl/8"]))
    assert fresh.known("curl/8").bot == "generic"
    for n in range(3 * REMEMBERED):
        fresh.remember({f"agent {n}": Client()})
        if n % 1000 == 0:
            assert fresh.known("curl/8") is not None  # what is used stays
    assert len(fresh._now) + len(fresh._before) <= 2 * REMEMBERED
    assert fresh.known("agent 0") is None


def test_a_network_of_robots_marks_a_client_that_says_nothing_of_it(clients):
    person = Client("browser", "Windows", "desktop", "Chrome")
    inside, outside = ipaddress.ip_address("40.94.31.7"), ipaddress.ip_address("40.95.0.1")
    assert clients.from_network(person, inside) == Client("browser", "Windows", "desktop", "Chrome", "microsoft", False)
    assert clients.from_network(person, outside) is person
    assert clients.from_network(person, ipaddress.ip_address("2001:db8::1")) is person
    assert clients.from_network(person, None) is person
    assert clients.from_network(clients.parsed("curl/8"), inside).bot == "generic"


def test_the_narrower_of_two_networks_holds():
    rules = load_client_rules(
        '[[bot]]\nname = "wide"\nnetworks = ["10.0.0.0/8", "2001:db8::/32"]\n'
        '[[bot]]\nname = "narrow"\nnetworks = ["10.1.0.0/16"]\ncounted = true\n',
        "f",
    )
    found = [Clients(rules).from_network(Client(), ipaddress.ip_address(ip)) for ip in ("10.1.2.3", "10.2.0.0")]
    assert [(client.bot, client.counted) for client in found] == [("narrow", True), ("wide", False)]
    assert Clients(rules).from_network(Client(), ipaddress.ip_address("2001:db8::7")).bot == "wide"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[bot]]\nagents = ['abc']", "bot 1.name: must be a text"),
        ("[[bot]]\nname = 'x'", "or exactly, or networks must say"),
        ("[[bot]]\nname = 'x'\nagents = ['ABC']", "must be in lower case"),
        ("[[bot]]\nname = 'x'\nagents = ['a']", "of 3 characters"),
        ("[[bot]]\nname = 'x'\nnetworks = ['10.0.0.1/8']", "must be a network"),
        ("[[bot]]\nname = 'x'\nagents = ['abc']\nwhy = 1", "is no known key"),
        ("people = 3", "must be a text"),
        ("persons = []", "is no known key"),
        ("[[bot", "must be TOML"),
    ],
)
def test_a_bad_file_is_refused_with_what_would_be_right(text, said):
    with pytest.raises(ConfigError) as error:
        load_client_rules(text, "f")
    assert said in str(error.value)
