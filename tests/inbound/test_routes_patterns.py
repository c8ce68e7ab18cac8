import re
import time
import warnings

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mtad.inbound.routes.dialects import fold, needles, parse_pattern
from mtad.inbound.routes.lexing import BadRoute
from mtad.inbound.routes.patterns import BUDGET_S, Budget, Runaway, Subject, compile_pattern

ATOMS = [
    "a",
    "b",
    "B",
    "ab",
    r"\.",
    ".",
    "[ab]",
    "[^a]",
    "[A-b]",
    r"\d",
    r"\w",
    r"\W",
    r"\s",
    r"[\d_]",
    r"[^\W\d]",
    "ü",
    "s",
]
ATOMS += ["^", "$", r"\b", r"\B", r"\A", r"\Z", "1", " ", "@", "k"]
REPEATS = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}?"]


def build(inner):
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        inner.map("({})".format),
        inner.map("(?i:{})".format),
        inner.map("(?={})".format),
        inner.map("(?!{})".format),
        st.tuples(inner, st.sampled_from(REPEATS)).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


patterns = st.recursive(st.sampled_from(ATOMS), build, max_leaves=6)
texts = st.text(alphabet="abABs.1 @_\tkKüÜé", max_size=10)


def look(pattern, text, budget=None):
    return pattern.match(Subject(text), budget or Budget(time.perf_counter))


@settings(max_examples=600)
@given(patterns, texts, st.booleans())
@example("(?:a|aa)+$", "aaaa", False)
@example(r"[^\W\d]+", "éa1", True)
@example(r"\W", "k", True)
def test_a_match_is_what_python_makes_of_it(text, subject, ignore_case):
    assume(subject or r"\B" not in text)  # which Python itself has changed its mind about, in 3.14
    try:
        expected = re.compile(text, re.IGNORECASE if ignore_case else 0).match(subject)
    except re.error:
        assume(False)
    found = look(compile_pattern(text, ignore_case=ignore_case), subject)
    assert (found is None) == (expected is None)
    if found and expected:
        assert found.text == expected.group()
        assert found.groups == tuple(one or "" for one in expected.groups())


@settings(max_examples=400)
@given(patterns, texts, st.booleans())
def test_what_matches_holds_a_needle(text, subject, ignore_case):
    parsed = parse_pattern(text)
    found = re.compile(text, re.IGNORECASE if ignore_case else 0).match(subject)
    for group in needles(parsed) if found else ():
        assert any(needle in fold(subject) for needle in group)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_fault(text, subject):
    try:
        pattern = compile_pattern(text, ignore_case=True)
    except BadRoute:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "[[" may mean another thing in a later Python
            with pytest.raises((re.error, OverflowError)):
                re.compile(text)
        return
    look(pattern, subject)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".*@bar.com", (("@bar",), ("com",))),
        (r"^chris\+(.*)@example\.com$", (("chris+",), ("@example.com",))),
        ("(.*)(urgent|help|asap)(.*)", (("urgent", "help", "asap"),)),
        ("(?i)[Ss]upport", (("support",),)),
        ("(.*)", ()),
        ("(?:foo)?", ()),
        ("(?:foo)+xy", (("foo",), ("xy",))),
        ("foo|x?", ()),
        ("(?!foo)ab", (("ab",),)),
    ],
)
def test_needles_are_found(text, expected):
    assert needles(parse_pattern(text)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(", "missing ), unterminated subpattern at its character 1"),
        ("*a", "nothing to repeat"),
        ("(?<=a*)b", "look-behind requires fixed-width pattern"),
        ("a{99999999999}", "too large a number"),
        ("(" * 300 + "a" + ")" * 300, "too many levels"),
        (r"\Q", "bad escape"),
    ],
)
def test_a_bad_pattern_is_refused_in_pythons_words(text, said):
    with pytest.raises(BadRoute, match=re.escape(said)):
        compile_pattern(text, ignore_case=False)


@pytest.mark.parametrize("text", ["[[:alpha:]]", "(?:foo){e<=1}", r"\x41", "[[a]", "a{,2}b"])
def test_what_only_other_engines_read_differently_means_what_python_means(text):
    pattern, again = compile_pattern(text, ignore_case=False), compile_pattern(f"(?=.*){text}", ignore_case=False)
    with pytest.warns() if "[[" in text else pytest.MonkeyPatch.context():
        expected = re.compile(text)
    for subject in ("a", "A:]", "[", "foo", "fox", "foo{e<=1}", "aab", "b", "]"):
        assert bool(look(pattern, subject)) is bool(look(again, subject)) is bool(expected.match(subject))


@pytest.mark.parametrize("text", ["(?:a|aa)+$", "(a+)+$", "(a|a)*b", "(.*)(.*)(.*)(.*)x$"])
@pytest.mark.parametrize("end", ["!", "é"])
def test_no_text_holds_up_a_pattern_that_is_linear(text, end):
    pattern, subject = compile_pattern(text, ignore_case=True), "a" * 4000 + end
    begun = time.thread_time()
    look(pattern, subject)
    assert pattern.is_linear
    assert time.thread_time() - begun < 0.5


def test_a_pattern_that_runs_away_is_stopped_and_the_decision_has_a_budget():
    pattern, budget = compile_pattern("(?:a|aa)+(?!b)$", ignore_case=False), Budget(time.perf_counter)
    assert not pattern.is_linear
    with pytest.raises(Runaway, match="took more than 50 ms"):
        look(pattern, "a" * 60 + "b", budget)
    assert budget.left_s < BUDGET_S
    with pytest.raises(Runaway, match="not tried"):
        look(pattern, "a", Budget(time.perf_counter, 0.0))


def test_a_line_break_in_an_encoded_word_is_a_space():
    assert look(compile_pattern("a.b$", ignore_case=False), "a\nb").text == "a b"
