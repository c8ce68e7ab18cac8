"""The configuration: files, overrides, and how mistakes are told."""

import dataclasses
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.config import (
    Config,
    ConfigError,
    DeliveryConfig,
    QueueConfig,
    SmtpConfig,
    changed,
    in_force,
    known_keys,
    load,
    parse,
    parse_listen,
    parse_networks,
    restart_needed,
)

CONF = Path(__file__).resolve().parent.parent / "conf"
COMMENTED_KEY = re.compile(r"^#(?=[a-z0-9_]+ = )", re.MULTILINE)
MARK = "(restart)"


def flat(tables: dict[str, object]) -> dict[str, object]:
    """{"smtp": {"mx": …}} -> {"smtp.mx": …}; the tables that are values of a key stay whole."""
    found: dict[str, object] = {}
    for name, value in tables.items():
        if isinstance(value, dict):
            found.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            found[name] = value
    return found


def value_of(config: Config, key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, name)


def refusal(text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, "mtad.toml", overrides)
    return caught.value


# The files that come with mtad


def test_the_example_as_it_is_changes_nothing():
    assert load(CONF / "mtad.toml") == Config()


def test_the_example_with_every_key_uncommented_changes_nothing():
    text = COMMENTED_KEY.sub("", (CONF / "mtad.toml").read_text(encoding="utf-8"))
    assert parse(text, "mtad.toml") == Config()


def test_the_example_shows_every_key_once_with_its_default_and_a_sentence():
    text = COMMENTED_KEY.sub("", (CONF / "mtad.toml").read_text(encoding="utf-8"))
    keys = flat(tomllib.loads(text))
    assert sorted(keys) == sorted(known_keys())
    assert {key: value_of(parse(text, "mtad.toml"), key) for key in keys} == {
        key: value_of(Config(), key) for key in known_keys()
    }
    assert sentences_above_keys(text) == set(known_keys())


def sentences_above_keys(text: str) -> set[str]:
    """The keys in whose block of lines (keys told of together stand together) a sentence comes first."""
    told, section = set(), ""
    for block in text.split("\n\n"):
        sentence = False
        for line in block.splitlines():
            if line.startswith("["):
                section = line.strip("[]") + "."
            elif line.startswith("# "):
                sentence = sentence or line.endswith((".", ":")) or "(restart)" in line
            elif sentence and (found := re.match(r"#?([a-z0-9_]+) = ", line)):
                told.add(section + found[1])
    return told


def test_the_example_marks_exactly_the_keys_that_need_a_restart():
    marked, section, comment = set(), "", ""
    for line in (CONF / "mtad.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif found := re.match(r"#([a-z0-9_]+) = ", line):
            marked |= {section + found[1]} if MARK in comment else set()
        elif line.startswith("# "):
            comment = line if not comment else comment + line
        else:
            comment = ""
    assert marked == {key for key in known_keys() if restart_needed(Config(), with_other_value(key))}


def with_other_value(key: str) -> Config:
    """The defaults, but for one key."""
    section, _, name = key.rpartition(".")
    other = other_than(value_of(Config(), key))
    if not section:
        return dataclasses.replace(Config(), **{name: other})
    part = getattr(Config(), section)
    changed_part = object.__new__(type(part))  # past the checks: any other value will do here
    for one in dataclasses.fields(part):
        object.__setattr__(changed_part, one.name, other if one.name == name else getattr(part, one.name))
    return dataclasses.replace(Config(), **{section: changed_part})


def other_than(value: object) -> object:
    return (not value) if isinstance(value, bool) else ("other", value)


def test_the_development_file_keeps_to_loopback_and_asks_for_no_tls():
    config = load(CONF / "dev.toml")
    listeners = (*config.smtp.mx, *config.smtp.submission, *config.smtp.submissions, *config.http.listen)
    assert [parse_listen(text) for text in listeners] == [("127.0.0.1", port) for port in (2525, 5587, 4465, 8025)]
    assert config.smtp.auth_without_tls
    assert config.http.allow_private_targets
    assert config.server.default_domain == "sandbox.mtad.test"
    assert config.smtp.trusted_networks == ()


@pytest.mark.parametrize("name", ["shaping.toml", "bounces.toml", "dev.toml"])
def test_what_the_package_carries_is_the_text_of_conf(name):
    carried = resources.files("mtad").joinpath("defaults", name).read_text(encoding="utf-8")
    assert carried == (CONF / name).read_text(encoding="utf-8")
    assert tomllib.loads(carried)


# Values


def test_a_value_of_the_file_replaces_the_default_and_only_that():
    config = parse('[smtp]\nmx = ["127.0.0.1:2525"]\nidle_timeout_s = 30\n', "mtad.toml")
    assert config == Config(smtp=SmtpConfig(mx=("127.0.0.1:2525",), idle_timeout_s=30.0))
    assert type(config.smtp.idle_timeout_s) is float


def test_paths_are_seen_from_the_folder_of_the_file(tmp_path):
    file = tmp_path / "mtad.toml"
    file.write_text('shaping_file = "pace.toml"\n[server]\ndata_dir = "/srv/mail"\n')
    config = load(file)
    assert config.shaping_file == tmp_path / "pace.toml"
    assert config.server.data_dir == Path("/srv/mail")


def test_paths_of_overrides_are_seen_from_where_the_command_runs(tmp_path):
    file = tmp_path / "mtad.toml"
    file.write_text('[server]\ndata_dir = "data"\n')
    assert load(file, ["server.data_dir=here"]).server.data_dir == Path("here")


def test_an_empty_path_is_none_where_there_may_be_none():
    assert parse('shaping_file = ""', "mtad.toml").shaping_file is None


def test_pools_are_named_lists_of_addresses():
    config = parse('[delivery.pools]\nnews = ["192.0.2.1", "2001:db8::1"]\n')
    assert config.delivery.pools == {"news": ("192.0.2.1", "2001:db8::1")}


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ('smtp.trusted_networks=["127.0.0.0/8"]', "smtp.trusted_networks", ("127.0.0.0/8",)),
        ("delivery.dkim=false", "delivery.dkim", False),
        ("delivery.dkim = false", "delivery.dkim", False),
        ("delivery.relay=127.0.0.1:25", "delivery.relay", "127.0.0.1:25"),
        ("delivery.relay=[::1]:25", "delivery.relay", "[::1]:25"),
        ('delivery.relay="mail.example:25"', "delivery.relay", "mail.example:25"),
        ("server.hostname=mx.example.net", "server.hostname", "mx.example.net"),
        ("server.hostname=", "server.hostname", ""),
        ("server.data_dir=1", "server.data_dir", Path("1")),
        ("shaping_file=2026-01-01", "shaping_file", Path("2026-01-01")),
        ("queue.give_up_after_s=60", "queue.give_up_after_s", 60.0),
        ("queue.retry_waits_s=[1,2]", "queue.retry_waits_s", (1.0, 2.0)),
        ('delivery.pools={a=["::1"]}', "delivery.pools", {"a": ("::1",)}),
    ],
)
def test_an_override_is_toml_or_else_a_bare_word(override, key, value):
    assert value_of(parse("", "", [override]), key) == value


def test_an_override_beats_the_file_and_the_last_one_beats_all():
    config = parse("[queue]\nwindow = 1\nconnections = 7\n", "", ["queue.window=2", "queue.window=3"])
    assert config.queue == QueueConfig(window=3, connections=7)


def test_an_override_cannot_bring_in_a_second_key():
    assert "must be a whole number" in str(refusal("", "queue.window=1\npaused=true"))


# Mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[smtp]\nmax_recipient = 3", "mtad.toml: smtp.max_recipient: unknown key; did you mean smtp.max_recipients?"),
        ("[smpt]\nmx = []", "mtad.toml: smpt: unknown key; did you mean smtp?"),
        ("[smtp]\nwindow = 3", "mtad.toml: smtp.window: unknown key; did you mean queue.window?"),
        ("max_hops = 3", "mtad.toml: max_hops: unknown key; did you mean smtp.max_hops?"),
        ("smtp = 3", "mtad.toml: smtp: is a section: write [smtp] and its keys below"),
        ("[smtp]\nmax_errors = 0", "mtad.toml: smtp.max_errors = 0: must be 1 to 1_000_000_000"),
        ('[smtp]\nmax_errors = "9"', 'mtad.toml: smtp.max_errors = "9": must be a whole number'),
        ("[smtp]\nmax_errors = true", "mtad.toml: smtp.max_errors = true: must be a whole number"),
        ("[smtp]\nmax_errors = 9.0", "mtad.toml: smtp.max_errors = 9.0: must be a whole number"),
        ("[smtp]\nauth_without_tls = 1", "mtad.toml: smtp.auth_without_tls = 1: must be true or false"),
        ('[smtp]\nmx = "[::]:25"', 'smtp.mx = "[::]:25": must be a list in brackets, each item text in quotes'),
        ('[smtp]\nmx = ["[::]:25", 25]', 'smtp.mx = ["[::]:25", 25]: item 2: must be text in quotes'),
        ('[smtp]\nmx = ["::1:25"]', 'item 1: must be "host:port", an IPv6 address in brackets'),
        ('[smtp]\nmx = ["127.0.0.1:65536"]', "item 1: the port must be 0 to 65535"),
        ('[smtp]\nmx = ["127.0.0.256:25"]', 'item 1: "127.0.0.256" must be a host name in ASCII or an IP address'),
        ('[smtp]\ntrusted_networks = ["10.1.0.0/8"]', 'write "10.0.0.0/8", or the address alone'),
        ('[smtp]\ntrusted_networks = ["ten"]', '"ten" must be a network or an address, as "10.0.0.0/8"'),
        ('[smtp]\ntrusted_networks = ["0.0.0.0/0"]', '"0.0.0.0/0" is the whole Internet'),
        ('[smtp]\nproxy_networks = ["::/0"]', '"::/0" is the whole Internet'),
        ('[smtp]\ntls_certificate = "a.pem"', "smtp.tls_key: must name the key of smtp.tls_certificate"),
        ('[smtp]\ntls_key = "a.pem"', "smtp.tls_certificate: must name the certificate of smtp.tls_key"),
        ('[dns]\nnameservers = ["dns.example:53"]', "item 1: must be an IP address and a port"),
        ('[dns]\nnameservers = ["127.0.0.1:0"]', "item 1: the port must be 1 to 65535"),
        ("[queue]\nretry_waits_s = []", "queue.retry_waits_s = []: must have at least one item"),
        ("[queue]\nretry_waits_s = [1, 0]", "item 2: must be more than 0 seconds"),
        ("[queue]\nretry_waits_s = [1, true]", "item 2: must be a number"),
        ("[queue]\nretry_jitter = nan", "queue.retry_jitter = nan: must be 0 to 1"),
        ("[queue]\ngive_up_after_s = inf", "queue.give_up_after_s = inf: must be more than 0 seconds"),
        (f"[queue]\ngive_up_after_s = 1{'0' * 400}", "is too large a number"),
        ('[delivery]\ntls = "always"', 'must be one of "none", "opportunistic", "required", "verified"'),
        ('[delivery]\nrelay = "mail.example"', 'must be "host:port"'),
        ('[delivery]\nrelay = "mail.example:0"', "the port must be 1 to 65535"),
        ("[delivery]\nport = 0", "delivery.port = 0: must be 1 to 65_535"),
        ('[delivery]\nsources = ["mail.example"]', "must be an IP address of this machine"),
        ('[delivery.pools]\na = ["x"]', 'pool "a": item 1: "x" must be an IP address of this machine'),
        ("[delivery.pools]\na = []", 'pool "a": must have at least one address'),
        ('[delivery]\npools = ["x"]', "must be a table, as"),
        ('[delivery]\nrelay_login = "x"\nrelay_password = "y"', "delivery.relay: must name the host"),
        ('[server]\ndata_dir = ""', 'server.data_dir = "": must be a path in quotes'),
        ('[server]\nhostname = "-x"', '"-x" must be a host name in ASCII'),
        ('[server]\nlog_level = "INFO"', 'must be one of "debug", "info", "warning", "error"'),
        ("[smtp", "mtad.toml: must be TOML: "),
    ],
)
def test_a_mistake_is_told_with_file_key_and_what_is_right(text, said):
    problem = refusal(text)
    assert said in str(problem)
    assert problem.problems == (problem,)
    assert problem.file == "mtad.toml"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("delivery.dkm=false", "--set: delivery.dkm: unknown key; did you mean delivery.dkim?"),
        ("delivery.dkim=maybe", '--set: delivery.dkim = "maybe": must be true or false'),
        ("delivery.dkim", "--set: must be section.key=value, as delivery.dkim=false"),
        ("delivery={dkim=false}", "--set: delivery: must be section.key=value, as delivery.dkim=false"),
        ("nothing.of.this=1", "--set: nothing.of.this: unknown key"),
        ("=1", "--set"),
    ],
)
def test_a_mistake_in_an_override_is_told_as_such(override, said):
    assert said in str(refusal("[queue]\nwindow = 5\n", override))


def test_all_mistakes_are_told_at_once_one_line_each():
    problem = refusal("[smtp]\nmax_errors = 0\nmax_hop = 1\n[queue]\nwindow = -1\n", "delivery.port=0")
    keys = {one.key for one in problem.problems}
    assert keys == {"smtp.max_errors", "smtp.max_hop", "queue.window", "delivery.port"}
    assert len(str(problem).splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("[delivery]\nrelay_password = 80331", ()),
        ('[delivery]\nrelay_password = ["80331"]', ()),
        ('[delivery]\nrelay_pasword = "80331"', ()),
        ('[delivery]\nrelay_password = "80331"', ()),
        ("", ["delivery.relay_password=80331"]),
        ("", ["delivery.relay_pasword=80331"]),
        ("", ["delivery.relay_password:80331"]),
    ],
)
def test_no_refusal_shows_a_password(text, overrides):
    problem = refusal(text, *overrides)
    assert "80331" not in str(problem) + repr(problem) + repr(problem.value)


def test_no_print_of_the_configuration_shows_a_password():
    config = parse("", "", ["delivery.relay_password=80331", "delivery.relay_login=u", "delivery.relay=127.0.0.1:25"])
    assert config.delivery.relay_password == "80331"
    assert "80331" not in repr(config)


def test_a_long_wrong_value_is_cut():
    assert len(str(refusal(f'[delivery]\ntls = "{"x" * 10_000}"'))) < 300


def test_a_control_character_in_a_wrong_value_makes_no_second_line():
    assert len(str(refusal('[delivery]\ntls = "a\\nb"')).splitlines()) == 1


def test_a_section_made_with_a_wrong_value_is_refused():
    with pytest.raises(ConfigError, match=r"queue\.window = 0: must be 1 to"):
        QueueConfig(window=0)
    with pytest.raises(ConfigError) as caught:
        DeliveryConfig(relay="x", port=0)
    assert [problem.key for problem in caught.value.problems] == ["delivery.relay", "delivery.port"]


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'[server]\nhostname = "\xe9"\n')
    with pytest.raises(ConfigError, match="must be UTF-8 text; octet 22 is not"):
        load(tmp_path / "latin.toml")


# Reload


def test_waits_log_level_and_certificate_change_at_once_and_the_rest_at_a_restart():
    some = ['smtp.mx=["127.0.0.1:26"]', "store.cache_octets=1", 'server.log_level="debug"', "queue.retry_waits_s=[5.0]"]
    old, new = parse(""), parse("", "", some)
    assert changed(old, new) == ("server.log_level", "smtp.mx", "store.cache_octets", "queue.retry_waits_s")
    assert restart_needed(old, new) == ("smtp.mx", "store.cache_octets")
    assert restart_needed(old, old) == ()


# Helpers


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("[::]:25", "::", 25), ("localhost:2525", "localhost", 2525)],
)
def test_a_listen_address_is_a_host_and_a_port(text, host, port):
    assert parse_listen(text) == (host, port)


@pytest.mark.parametrize("text", ["", "25", ":25", "::1:25", "[::1]", "[127.0.0.1]:25", "a b:25", "é.example:25"])
def test_what_is_no_listen_address_is_refused(text):
    with pytest.raises(ValueError):
        parse_listen(text)


def test_networks_and_lone_addresses_are_networks():
    networks = parse_networks(["10.0.0.0/8", "::1", "192.0.2.1"])
    assert [str(network) for network in networks] == ["10.0.0.0/8", "::1/128", "192.0.2.1/32"]


@given(st.text(max_size=60))
def test_any_text_is_a_listen_address_or_a_value_error(text):
    try:
        host, port = parse_listen(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65_535


@given(st.sampled_from(known_keys()), st.text(max_size=40))
def test_any_override_is_taken_or_refused_with_its_key(key, text):
    problems = ()
    try:
        parse("", "", [f"{key}={text}"])
    except ConfigError as problem:
        problems = problem.problems
    assert {one.key.partition(".")[0] for one in problems} <= {key.partition(".")[0]}


def test_after_a_reload_what_is_in_force_is_the_old_with_what_a_running_daemon_takes_over():
    old = parse('[queue]\ngive_up_after_s = 100\nretry_waits_s = [1]\n[smtp]\ntls_certificate = "c"\ntls_key = "k"\n')
    new = parse(
        'shaping_file = "s"\n[queue]\ngive_up_after_s = 200\nretry_waits_s = [2]\n[server]\nlog_level = "debug"\n'
    )
    held = in_force(old, new)
    assert (held.queue.give_up_after_s, held.queue.retry_waits_s) == (100.0, (2.0,))
    assert (held.smtp.tls_certificate, held.smtp.tls_key) == (None, None)
    assert (held.server.log_level, str(held.shaping_file)) == ("debug", "s")
    assert restart_needed(held, new) == restart_needed(old, new) == ("queue.give_up_after_s",)
    assert changed(held, new) == ("queue.give_up_after_s",)


def test_a_key_that_is_set_back_before_the_restart_needs_none():
    first, second = parse("[store]\ncache_octets = 1\n"), parse("[store]\ncache_octets = 2\n")
    held = in_force(first, second)
    assert restart_needed(held, second) == ("store.cache_octets",)
    assert restart_needed(in_force(held, first), first) == ()


def test_message_memory_is_one_number_for_both_ways():
    queue = QueueConfig(memory_octets=1_000_001)
    assert (queue.incoming_octets, queue.outgoing_octets) == (500_000, 500_001)
