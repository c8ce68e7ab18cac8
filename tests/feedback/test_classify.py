from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.config import ConfigError
from mtad.feedback.classify import Cause, Classifier, Kind, Rule, Verdict, event_reason, load_rules
from mtad.mail.reply import Phase, Reply

FILE = Path(__file__).resolve().parents[2] / "conf" / "bounces.toml"
RULES = load_rules(FILE.read_text(encoding="utf-8"), str(FILE))
CLASSIFIER = Classifier(RULES)
BARE = Classifier(())


def reply(line: str) -> Reply:
    """ "550 5.1.1 words" -> Reply."""
    return Reply.from_text(int(line[:3]), line[4:])


def phase_for(rule: Rule) -> Phase:
    return Phase.RCPT if Phase.RCPT in rule.phases else min(rule.phases)


@pytest.mark.parametrize(
    ("rule", "example"),
    [pytest.param(rule, example, id=f"{rule.name} {i}") for rule in RULES for i, example in enumerate(rule.examples)],
)
def test_each_example_is_caught_by_its_own_rule(rule, example):
    verdict = CLASSIFIER.verdict(reply(example), phase_for(rule), rule.hosts[0] if rule.hosts else "mx.example.net")
    assert (verdict.rule, verdict.cause) == (rule.name, rule.cause)


def test_every_rule_has_an_example_and_a_name_of_its_own():
    assert [rule.name for rule in RULES if not rule.examples] == []
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_cause_has_a_kind():
    assert {cause.kind for cause in Cause} == set(Kind)


@pytest.mark.parametrize(
    ("line", "phase", "cause", "kind", "permanent"),
    [
        ("550 5.1.1 nix", Phase.RCPT, Cause.NO_SUCH_USER, Kind.HARD, True),
        ("450 4.1.1 nix", Phase.RCPT, Cause.NO_SUCH_USER, Kind.SOFT, None),
        ("550 nix (#5.1.1)", Phase.RCPT, Cause.NO_SUCH_USER, Kind.HARD, True),
        ("550 nix 5.1.1.3", Phase.RCPT, Cause.RECIPIENT_REFUSED, Kind.HARD, True),
        ("550 nix (#4.1.1)", Phase.FINAL, Cause.UNKNOWN, Kind.UNKNOWN, None),
        ("552 5.2.2 nix", Phase.FINAL, Cause.MAILBOX_FULL, Kind.SOFT, None),
        ("550 5.7.999 nix", Phase.FINAL, Cause.POLICY, Kind.POLICY, None),
        ("550 5.5.99 nix", Phase.FINAL, Cause.PROTOCOL, Kind.SOFT, None),
        ("554 5.0.0 nix", Phase.FINAL, Cause.UNKNOWN, Kind.UNKNOWN, None),
        ("450 4.7.28 nix", Phase.FINAL, Cause.RATE_LIMITED, Kind.THROTTLED, False),
        ("550 5.7.28 nix", Phase.FINAL, Cause.RATE_LIMITED, Kind.THROTTLED, False),
        ("556 5.1.10 nix", Phase.DNS, Cause.NO_SUCH_DOMAIN, Kind.HARD, True),
        ("550 nix", Phase.RCPT, Cause.RECIPIENT_REFUSED, Kind.HARD, True),
        ("550 nix", Phase.MAIL, Cause.POLICY, Kind.POLICY, None),
        ("550 nix", Phase.FINAL, Cause.UNKNOWN, Kind.UNKNOWN, None),
        ("554 nix", Phase.GREETING, Cause.POLICY, Kind.POLICY, None),
        ("552 nix", Phase.RCPT, Cause.MAILBOX_FULL, Kind.SOFT, None),
        ("552 nix", Phase.MAIL, Cause.MESSAGE_TOO_LARGE, Kind.MESSAGE, None),
        ("421 nix", Phase.EHLO, Cause.SYSTEM, Kind.SOFT, None),
        ("535 nix", Phase.AUTH, Cause.AUTH_REQUIRED, Kind.POLICY, None),
        ("454 nix", Phase.TLS, Cause.TLS, Kind.SOFT, None),
        ("498 no MX", Phase.DNS, Cause.DNS, Kind.SOFT, None),
        ("499 timed out", Phase.CONNECT, Cause.CONNECTION, Kind.SOFT, None),
        ("602 nix", Phase.LOCAL, Cause.UNKNOWN, Kind.UNKNOWN, None),
    ],
)
def test_without_rules_the_status_and_then_the_code_decide(line, phase, cause, kind, permanent):
    verdict = BARE.verdict(reply(line), phase, "")
    assert (verdict.cause, verdict.kind, verdict.permanent) == (cause, kind, permanent)


def test_a_verdict_names_what_it_rests_on():
    assert BARE.verdict(reply("550 5.1.1 nix"), Phase.RCPT).rule == "status 5.1.1"
    assert BARE.verdict(reply("550 nix"), Phase.RCPT).rule == "code 550 at rcpt"
    assert BARE.verdict(reply("599 nix"), Phase.RCPT).rule == ""


def test_only_hard_verdicts_suppress_the_address():
    assert CLASSIFIER.verdict(reply("550 5.1.1 User unknown"), Phase.RCPT).suppresses
    assert not CLASSIFIER.verdict(reply("450 4.1.1 User unknown"), Phase.RCPT).suppresses
    assert not CLASSIFIER.verdict(reply("552 5.2.2 Mailbox full"), Phase.RCPT).suppresses


def test_our_own_words_about_a_connection_are_not_read_as_a_hosts():
    verdict = CLASSIFIER.verdict(reply("499 mailbox full of spam"), Phase.CONNECT, "")
    assert verdict.cause is Cause.CONNECTION


def test_a_reply_over_several_lines_is_read_as_one_text():
    said = "The email account that you tried to 5.1.1 reach does not exist"
    assert CLASSIFIER.verdict(Reply(550, "1.1", said), Phase.RCPT, "").rule == "user-does-not-exist"


@given(
    code=st.integers(400, 599),
    detail=st.sampled_from(["", "1.1", "7.1", "0.0", "999.999"]),
    text=st.text(max_size=3000),
    phase=st.sampled_from(Phase),
    host=st.text(max_size=30),
)
def test_any_reply_gets_a_verdict(code, detail, text, phase, host):
    verdict = CLASSIFIER.verdict(Reply(code, detail, text), phase, host)
    assert isinstance(verdict, Verdict)
    assert verdict.kind is not Kind.HARD or verdict.permanent is True


@given(st.text(alphabet=st.sampled_from([*" .#[](){}*+?\\'\"5\r\n\0mailbox fulspam"]), max_size=200), st.booleans())
def test_the_verdict_stays_the_same_when_text_beyond_the_limit_changes(text, other):
    long = text.ljust(1000, "x")
    assert CLASSIFIER.verdict(Reply(550, "", long + "spam" * other), Phase.FINAL) == CLASSIFIER.verdict(
        Reply(550, "", long), Phase.FINAL
    )


def rules_of(text: str) -> tuple[Rule, ...]:
    return load_rules(text, "b.toml")


def test_a_rule_may_make_a_4xx_hard_and_a_5xx_passing():
    hard, passing = rules_of("""
        [[rule]]
        name = "gone"
        cause = "mailbox-disabled"
        kind = "hard"
        pattern = 'gone for good'
        [[rule]]
        name = "shy"
        cause = "policy"
        permanent = false
        pattern = 'shy'
    """)
    told = Classifier((hard, passing))
    assert told.verdict(reply("450 Gone for good"), Phase.RCPT) == Verdict(
        Cause.MAILBOX_DISABLED, Kind.HARD, "gone", True
    )
    assert told.verdict(reply("550 shy"), Phase.RCPT).permanent is False


def test_a_rule_holds_only_for_its_hosts_codes_statuses_and_phases():
    (rule,) = rules_of("""
        [[rule]]
        name = "narrow"
        cause = "spam"
        codes = [550]
        enhanced = ["5.7.1"]
        hosts = ["Example.net"]
        phases = ["final"]
    """)
    told = Classifier((rule,))
    assert told.verdict(reply("550 5.7.1 x"), Phase.FINAL, "MX.example.net.").rule == "narrow"
    assert told.verdict(reply("550 5.7.1 x"), Phase.FINAL, "notexample.net").rule != "narrow"
    assert told.verdict(reply("550 5.7.1 x"), Phase.RCPT, "mx.example.net").rule != "narrow"
    assert told.verdict(reply("550 5.7.0 x"), Phase.FINAL, "mx.example.net").rule != "narrow"
    assert told.verdict(reply("554 5.7.1 x"), Phase.FINAL, "mx.example.net").rule != "narrow"


GOOD = '[[rule]]\nname = "a"\ncause = "spam"\npattern = "spam"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = 1", "rule = 1: must be written [[rule]]"),
        ("[[rule", "b.toml: must be TOML"),
        ("[rules]", "rules"),
        ("[[rule]]\ncause = 'spam'", "rule 1.name: each rule needs a name"),
        (GOOD + "[[rule]]\nname = 'b'", "rule 2 (b).cause: each rule needs a name, and a cause: no-such-user"),
        (GOOD + "[[rule]]\nname = 'b'\ncause = 'spa'", 'rule 2 (b).cause = "spa": must be one of no-such-user'),
        ("[[rule]]\nname = 'b'\ncause = 'spam'", "needs at least one of pattern, codes, enhanced"),
        (GOOD + "examples = ['x']", 'rule 1 (a).examples = ["x"]: is no known key; known are cause, codes, en'),
        (GOOD + "codes = [250]", "must be an array of whole numbers from 400 to 599"),
        (GOOD + "codes = [true]", "must be an array of whole numbers"),
        (GOOD + "enhanced = ['7.1']", 'must be an enhanced status code, as "5.7.1"'),
        (GOOD + "phases = ['helo']", "must be of dns, connect"),
        (GOOD + "permanent = 1", "must be true or false"),
        (GOOD + "hosts = [1]", "must be a text, or an array of texts"),
    ],
)
def test_a_wrong_file_is_refused_with_file_rule_and_what_is_right(text, said):
    with pytest.raises(ConfigError) as refused:
        rules_of(text)
    assert str(refused.value).startswith("b.toml: ")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("spam.*", "a repeat needs an upper bound"),
        ("spam+", "a repeat needs an upper bound"),
        ("spam.{3,}", "a repeat is {0,60} or {3}"),
        ("spam.{0,900}", "up to 200"),
        ("(?:sp.{0,9}){0,9}", "a group may be optional"),
        ("a.{0,9}b.{0,9}c.{0,9}d.{0,9}e", "at most 3 repeats"),
        ("Spam", "write it in lower case"),
        ("[A-Z]pam", "write it in lower case"),
        ("(?i)spam", "no flags or names"),
        ("(spam", "it is no regular expression"),
        ("x", "a pattern has 2 to 600 characters"),
        ("x" * 601, "a pattern has 2 to 600 characters"),
    ],
)
def test_a_pattern_that_could_search_long_or_in_vain_is_refused(pattern, said):
    with pytest.raises(ConfigError, match="rule 1 \\(a\\)") as refused:
        rules_of(f"[[rule]]\nname = 'a'\ncause = 'spam'\npattern = '{pattern}'")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "pattern", [r"[*+]spam", r"\*spam\+", r"\Dspam\S", r"spam(?: now)?", r"sp[ \]+]am", r"(?<!no )spam"]
)
def test_harmless_patterns_are_taken(pattern):
    (rule,) = rules_of(f"[[rule]]\nname = 'a'\ncause = 'spam'\npattern = '{pattern}'")
    assert rule.pattern is not None


@pytest.mark.parametrize(
    ("line", "permanent", "reason"),
    [
        ("550 5.1.1 User unknown", True, "bounce"),
        ("552 5.2.2 Mailbox full", True, "bounce"),
        ("552 5.3.4 Message too large", True, "bounce"),
        ("554 5.7.1 Spam message rejected", True, "espblock"),
        ("421 4.7.0 too many connections", True, "espblock"),
        ("554 5.0.0 transaction went wrong", True, "generic"),
        ("498 no MX", True, "generic"),
        ("451 4.7.1 Greylisting in action", False, "greylisted"),
        ("421 4.7.1 blocked using zen.spamhaus.org", False, "blacklisted"),
        ("451 4.7.1 spam", False, "espblock"),
        ("452 4.2.2 Mailbox full", False, "generic"),
        ("550 5.4.7 x", True, "old"),
    ],
)
def test_the_reason_of_a_failed_event(line, permanent, reason):
    phase = Phase.DNS if line.startswith("498") else Phase.FINAL
    assert event_reason(CLASSIFIER.verdict(reply(line), phase), permanent) == reason
