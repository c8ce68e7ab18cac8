"""Clients: User-Agent -> what kind of program asked, on what kind of device, and whether a person was behind it.

Room: tracking. May import: feedback, storage. Names come from ua-parser's expressions, which take 0.5 to 6 ms a text:
`learn` is for a thread, `known` for the loop. What is no person comes from conf/clients.toml.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mtad.config import IPNetwork
from mtad.feedback.rules import Section, read_file
from mtad.storage.tracked import UNKNOWN, Client
from mtad.tracking.peers import IPAddress

MAX_AGENT = 500  # characters of a User-Agent that an event keeps
PARSED = 256  # those that the expressions look at
REMEMBERED = 5000  # texts of one generation
_SHORTEST = 3  # characters of a pattern


@dataclass(frozen=True, slots=True)
class BotRule:
    """name: what client-info.bot says. agents: one of them is in the User-Agent; exactly: the whole of it; both in
    lower case. counted: a person is behind it after all.
    """

    name: str
    agents: tuple[str, ...]
    exactly: frozenset[str]
    networks: tuple[IPNetwork, ...]
    counted: bool
    examples: tuple[str, ...]

    def fits(self, agent: str) -> bool:
        return agent in self.exactly or any(part in agent for part in self.agents)


@dataclass(frozen=True, slots=True)
class ClientRules:
    """bots: the first that fits holds. email_clients, libraries, mobile_systems, desktop_systems: names of
    ua-parser, in lower case. people: User-Agents that no rule may take for a robot's.
    """

    bots: tuple[BotRule, ...]
    email_clients: frozenset[str]
    libraries: frozenset[str]
    mobile_systems: frozenset[str]
    desktop_systems: frozenset[str]
    people: tuple[str, ...]


def load_client_rules(text: str, file: str) -> ClientRules:
    """Raises ConfigError."""
    whole = read_file(text, file)
    bots = tuple(_bot(section) for section in whole.sections("bot"))
    names = {
        key: frozenset(name.lower() for name in whole.texts(key))
        for key in ("email_clients", "libraries", "mobile_systems", "desktop_systems")
    }
    rules = ClientRules(bots, **names, people=whole.texts("people"))
    whole.end()
    return rules


def _bot(section: Section) -> BotRule:
    name = section.text("name")
    if not name:
        raise section.wrong("name", None, "must be a text: what client-info.bot says")
    agents, exactly = section.texts("agents"), section.texts("exactly")
    for text in agents:
        if text != text.lower() or len(text) < _SHORTEST:
            raise section.wrong("agents", text, f"must be in lower case, of {_SHORTEST} characters or more")
    networks = tuple(_network(section, text) for text in section.texts("networks"))
    if not (agents or exactly or networks):
        raise section.wrong("agents", None, "or exactly, or networks must say whom the rule is for")
    counted, examples = section.flag("counted"), section.texts("example")
    section.end()
    return BotRule(name, agents, frozenset(text.lower() for text in exactly), networks, bool(counted), examples)


def _network(section: Section, text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise section.wrong("networks", text, f"must be a network as 192.0.2.0/24: {error}") from error


class Clients:
    """Remembers what it learnt, of at most 2 × REMEMBERED texts."""

    def __init__(self, rules: ClientRules) -> None:
        self._rules = rules
        self._networks = _Networks(rules.bots)
        self._now: dict[str, Client] = {}
        self._before: dict[str, Client] = {}

    def known(self, agent: str) -> Client | None:
        """None: `learn` it first. agent: of `agent_text`."""
        found = self._now.get(agent)
        if found is None:
            found = self._before.get(agent)
            if found is not None:
                self._keep(agent, found)
        return found

    def learn(self, agents: Iterable[str]) -> dict[str, Client]:
        """Takes milliseconds; safe on any thread. Nothing is remembered yet."""
        return {agent: self.parsed(agent) for agent in agents}

    def remember(self, learnt: dict[str, Client]) -> None:
        for agent, client in learnt.items():
            self._keep(agent, client)

    def _keep(self, agent: str, client: Client) -> None:
        if len(self._now) >= REMEMBERED:
            self._before, self._now = self._now, {}
        self._now[agent] = client

    def from_network(self, client: Client, address: IPAddress | None) -> Client:
        """The same, marked when it asks from a network of robots."""
        if client.bot or address is None:
            return client
        rule = self._networks.rule_of(address)
        return client if rule is None else replace(client, bot=rule.name, counted=rule.counted)

    def unparsed(self, agent: str) -> Client:
        """By the rules alone, in microseconds."""
        return self._marked(Client(), agent)

    def parsed(self, agent: str) -> Client:
        import ua_parser  # with a megabyte of expressions, when the first client is strange

        found = ua_parser.parse(agent[:PARSED]) if "/" in agent else None
        if found is None:
            return self.unparsed(agent)
        name = found.user_agent.family if found.user_agent else UNKNOWN
        system = found.os.family if found.os else UNKNOWN
        device = _device_of(
            found.device.family if found.device else "",
            found.device.model or "" if found.device else "",
            system.lower(),
            agent.lower(),
            self._rules,
        )
        kind = self._type_of(name.lower(), device, parsed=found.user_agent is not None)
        return self._marked(Client(kind, system, device, name), agent)

    def _type_of(self, name: str, device: str, *, parsed: bool) -> str:
        if name in self._rules.email_clients:
            return "email client"
        if name in self._rules.libraries:
            return "library"
        if not parsed:
            return "unknown"
        return "mobile browser" if device in ("mobile", "tablet") else "browser" if device == "desktop" else "other"

    def _marked(self, client: Client, agent: str) -> Client:
        lower = agent.lower()
        for rule in self._rules.bots:
            if rule.fits(lower):
                kind = client.type if client.type in ("email client", "library") else "robot"
                return replace(client, type=kind, bot=rule.name, counted=rule.counted)
        return client


_TABLETS = ("ipad", "tablet", "kindle", "playbook", "silk/", "nexus 7", "nexus 9", "nexus 10", "sm-t", "sm-x")


def _device_of(family: str, model: str, system: str, agent: str, rules: ClientRules) -> str:
    """agent, system: in lower case."""
    if family.lower() == "spider":
        return "other"
    if any(word in f"{family} {model} {agent}".lower() for word in _TABLETS):
        return "tablet"
    if system in rules.mobile_systems:
        # Google asks makers to leave "Mobile" out of a tablet's User-Agent.
        return "tablet" if system == "android" and "mobile" not in agent and "mozilla/" in agent else "mobile"
    if system in rules.desktop_systems:
        return "desktop"
    return "unknown" if system == UNKNOWN.lower() else "other"


def agent_text(value: str | None) -> str:
    """A header's value, bounded, printable, and such that every database and JSON writer takes it."""
    text = (value or "")[:MAX_AGENT]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.encode("utf-8", "replace").decode().strip()


class _Networks:
    """Robots' networks by the length of their prefix; where two overlap, the longer prefix holds."""

    def __init__(self, bots: Iterable[BotRule]) -> None:
        found: dict[tuple[int, int], dict[int, BotRule]] = {}
        for rule in bots:
            for network in rule.networks:
                host_bits = network.max_prefixlen - network.prefixlen
                found.setdefault((network.version, host_bits), {})[int(network.network_address) >> host_bits] = rule
        self._by_length = sorted(found.items(), key=lambda one: one[0])

    def rule_of(self, address: IPAddress) -> BotRule | None:
        number = int(address)
        for (version, host_bits), networks in self._by_length:
            if version == address.version and number >> host_bits in networks:
                return networks[number >> host_bits]
        return None
