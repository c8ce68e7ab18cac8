from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.config import ConfigError
from mtad.mail.reply import Phase, Reply
from mtad.queue.shaping import Do, Shaping, WarmUpCurve, load_shaping, site_key
from mtad.queue.sites import CAPTURE, RELAY

FILE = Path(__file__).resolve().parents[2] / "conf" / "shaping.toml"
OURS = load_shaping(FILE.read_text(encoding="utf-8"), str(FILE))
SMALL = """
[default]
max_connections = 10
[[default.reply]]
match = 'busy'
action = "slow"
[[provider]]
name = "big"
mx = ["big.example"]
max_connections = 50
[[provider.reply]]
match = 'busy'
codes = [421]
phases = ["mail"]
action = "suspend-site"
for_s = 60
[[site]]
name = "mx.small.example"
max_connections = 3
[[site]]
domain = "eu.big.example"
max_rate = 7
"""


def shaping(text: str = SMALL) -> Shaping:
    return load_shaping(text, "s.toml")


@pytest.mark.parametrize(
    ("hosts", "provider"),
    [
        (["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"], "gmail"),
        (["ASPMX.L.GOOGLE.COM.", "aspmx2.googlemail.com"], "gmail"),
        (["hotmail-com.olc.protection.outlook.com"], "outlook"),
        (["contoso-com.mail.protection.outlook.com"], "office365"),
        (["contoso-com.o-v1.mx.microsoft"], "office365"),
        (["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"], "yahoo"),
        (["mx01.mail.icloud.com", "mx02.mail.icloud.com"], "icloud"),
        (["mx00.emig.gmx.net"], "united-internet"),
        (["mxa-00123.gslb.pphosted.com"], "proofpoint"),
        (["eu-smtp-inbound-1.mimecast.com"], "mimecast"),
    ],
)
def test_the_file_that_comes_with_mtad_knows_the_large_providers(hosts, provider):
    assert site_key(hosts, OURS) == provider
    assert OURS.profile_for(provider, hosts).name == provider


def test_every_profile_of_the_file_can_recover_and_send():
    for profile in (OURS.default, OURS.relay, OURS.capture, *OURS.providers):
        assert 1 <= profile.min_connections <= profile.start_connections <= profile.max_connections
        assert profile.max_rate == 0 or 0 < profile.min_rate <= profile.start_rate <= profile.max_rate


def test_the_smarthost_has_no_pace_but_its_own():
    relay = OURS.profile_for(RELAY)
    assert (relay.name, relay.max_rate, relay.max_connections) == ("relay", 0, 40)
    assert OURS.profile_for(CAPTURE).max_rate == 0


def test_no_strangers_words_can_stop_a_sending_domain():
    assert [rule for rule in OURS.default.rules if rule.action.do is Do.SUSPEND_TENANT] == []


def test_a_strangers_host_among_a_providers_makes_another_site_with_the_providers_limits():
    told = shaping()
    hosts = ["mx1.big.example", "dead.stranger.example"]
    key = site_key(hosts, told)
    assert key == "(dead.stranger.example|mx1.big.example)"
    assert told.profile_for(key, hosts).max_connections == 50
    assert (
        told.profile_for("x.example", ["a.stranger.example", "b.stranger.example", "mx1.big.example"]).name == "default"
    )


def test_a_site_changes_what_it_names_and_lets_the_rest_follow():
    profile = shaping().profile_for("mx.small.example", ["mx.small.example"])
    assert (profile.name, profile.max_connections, profile.start_connections) == ("mx.small.example", 3, 3)
    assert profile.max_rate == shaping().default.max_rate


def test_a_site_by_domain_builds_on_the_provider_of_its_hosts():
    profile = shaping().profile_for("mx.eu.big.example", ["mx.eu.big.example"])
    assert (profile.max_connections, profile.max_rate) == (50, 7)
    assert shaping().profile_for("mx.us.big.example", ["mx.us.big.example"]).max_rate == shaping().default.max_rate


def test_a_reply_asks_for_the_action_of_the_first_rule_that_fits():
    told = shaping()
    big, default = told.profile_for("big"), told.default
    action = told.action_for(big, Reply(421, "", "I am BUSY"), Phase.MAIL)
    assert action is not None
    assert (action.do, action.for_s, action.rule) == (Do.SUSPEND_SITE, 60, "busy")
    for profile, phase in ((big, Phase.RCPT), (default, Phase.MAIL)):
        action = told.action_for(profile, Reply(421, "", "busy"), phase)
        assert action is not None
        assert action.do is Do.SLOW
    assert told.action_for(default, Reply(421, "", "what?"), Phase.MAIL) is None
    assert told.action_for(told.relay, Reply(421, "", "busy"), Phase.MAIL) is None


@pytest.mark.parametrize(
    ("site", "line", "do"),
    [
        ("gmail", "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail", Do.SLOW),
        ("gmail", "450 4.2.1 The user you are trying to contact is receiving mail too quickly.", Do.RETRY_IN),
        ("outlook", "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited", Do.SLOW),
        ("outlook", "550 5.7.1 part of their network is on our block list (S3140).", Do.SUSPEND_SITE),
        ("yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", Do.SLOW),
        ("yahoo", "553 5.7.1 [BL21] Connections will not be accepted", Do.SUSPEND_SITE),
        ("yahoo", "421 Max message per connection reached, closing transmission channel", Do.IGNORE),
        ("mx.example.net", "451 4.7.1 Greylisted, try again later: rate limited", Do.IGNORE),
        ("mx.example.net", "421 too many concurrent connections from your host", Do.SLOW),
        ("relay", "421 4.7.0 too many connections", Do.SLOW),
    ],
)
def test_the_rules_of_the_file_answer_what_hosts_say(site, line, do):
    action = OURS.action_for(OURS.profile_for(site), Reply.from_text(int(line[:3]), line[4:]), Phase.FINAL)
    assert action is not None
    assert action.do is do


@given(st.sampled_from(["gmail", "yahoo", "relay", "x.example"]), st.integers(400, 599), st.text(max_size=2000))
def test_any_reply_may_be_asked_about(site, code, text):
    OURS.action_for(OURS.profile_for(site), Reply(code, "", text), Phase.FINAL)


def test_warm_up_is_for_addresses_named_and_new():
    told = shaping("[warmup]\nper_day = [8, 16]\nestablished = ['192.0.2.9']")
    assert told.warms("192.0.2.1") == WarmUpCurve((8, 16))
    assert told.warms("192.0.2.9") is None
    assert told.warms("") is None
    assert shaping("[warmup]\nenabled = false\nper_day = [8]").warms("192.0.2.1") is None
    assert shaping("").warms("192.0.2.1") is None


def test_an_empty_file_is_a_good_one():
    assert shaping("").default.max_connections >= 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nmax_conections = 1", "s.toml: default.max_conections = 1: is no known key; known are burst, conn"),
        ("[defaults]", "s.toml: defaults"),
        ("[default]\nmax_connections = 0", "default.max_connections = 0: must be a whole number from 1 to 10000"),
        ("[default]\nmax_connections = true", "must be a whole number"),
        ("[default]\nmin_rate = 0", "default.min_rate = 0: must be a number from 0.001"),
        ("[default]\nmax_rate = nan", "must be a number"),
        ("[default]\ndecrease = 1.0", "default.decrease = 1.0: must be a number from 0.1 to 0.95"),
        (
            "[default]\nstart_connections = 9\nmax_connections = 5",
            "start_connections = 9: must be at most max_connections",
        ),
        ("[default]\nrest_s = 90\nmax_rest_s = 9", "default.rest_s = 90.0: must be at most max_rest_s, which is 9"),
        ("default = 1", "default = 1: must be a table"),
        ("[[provider]]\nname = 'a b'\nmx = ['x.example']", 'provider 1 (a b).name = "a b": must be a word as gmail'),
        ("[[provider]]\nname = 'relay'\nmx = ['x.example']", "and none of capture, "),
        ("[[provider]]\nname = 'big'", "provider 1 (big).mx: must name the hosts"),
        ("[[provider]]\nname='a'\nmx=['x']\n[[provider]]\nname='a'\nmx=['y']", "two providers have this name"),
        ("[[site]]\nmax_rate = 1", "site 1.name: needs the name of a site"),
        ("[[default.reply]]\naction = 'slow'", "default, reply 1.match: a reply rule needs match"),
        ("[[default.reply]]\nmatch = 'x y'", "default, reply 1.action: a reply rule needs match"),
        ("[[default.reply]]\nmatch = 'x.*'\naction = 'slow'", "a repeat needs an upper bound"),
        ("[[default.reply]]\nmatch = 'xy'\naction = 'stop'", "must be one of slow, suspend-site, suspend-tenant"),
        ("[[default.reply]]\nmatch = 'xy'\naction = 'retry-in'", "retry-in needs for_s, in seconds"),
        ("[warmup]\nenabled = true", "warmup.per_day: must say how many messages"),
        ("[warmup]\nper_day = [0]", "must be an array of whole numbers from 1"),
        ("[relay]\nname = 1", "relay.name = 1: must be a text"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_what_is_right(text, said):
    with pytest.raises(ConfigError) as refused:
        shaping(text)
    assert str(refused.value).startswith("s.toml: ")
    assert said in str(refused.value)


def test_hosts_that_are_posted_to_have_a_profile_of_their_own():
    shaping = load_shaping("[default]\nmax_rate = 5\nstart_rate = 5\n[web]\nmax_connections = 7\n", "shaping.toml")
    profile = shaping.profile_for("http:app.example:443", ["app.example"])
    assert (profile.name, profile.max_connections, profile.start_connections, profile.max_rate) == ("web", 7, 7, 0)
    assert shaping.profile_for("app.example", ["app.example"]).max_rate == 5
