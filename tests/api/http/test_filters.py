import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.http.answers import BadRequest
from mtad.api.http.event_fields import Filters
from mtad.api.http.filters import MAX_DEPTH, MAX_TEXT, Kind, matches, needed, parse
from mtad.mail.event import EventType


def is_true(text, *values, kind=Kind.TEXT):
    node = parse(text, kind)
    assert node is not None
    return matches(node, kind, values)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("rejected OR failed", "failed", True),
        ("hello", "Oh HELLO there", True),
        ("weekly news", "news of the weekly", True),
        ('"weekly news"', "news of the weekly", False),
        ('"weekly news" -draft', "The weekly news", True),
        ('"weekly news" -draft', "Draft: weekly news", False),
        ("(Hello AND NOT Rachel) OR (Farewell AND Monica)", "hello joey", True),
        ("(Hello AND NOT Rachel) OR (Farewell AND Monica)", "hello rachel", False),
        ("(Hello AND NOT Rachel) OR (Farewell AND Monica)", "rachel: farewell monica", True),
        ("a OR b c", "b", False),  # "and" binds closer
        ("a or b", "a", False),  # lower case is a word like others
        ("Bob <bob@x.org>", "Bob <bob@x.org>", True),
        (">5", "a >5 b", True),  # no number field: a word
        ("well-known", "well-known", True),
        ("well-known", "well", False),
        ("-(a b)", "a", True),
        ('-"a b"', "a b", False),
        ("- a", "- a", True),
        ('"AND"', "and", True),
        ("NOT -a", "b", True),  # behind NOT the sign is part of the word
        ("NOT -a", "-a", False),
        ("straße", "STRASSE", True),
        ('""', "anything", True),
    ],
)
def test_words_are_found_in_texts(text, value, expected):
    assert is_true(text, value) is expected


def test_a_list_has_a_word_if_any_member_has_it():
    assert is_true("news", "x", "News", kind=Kind.WHOLE)
    assert not is_true("-news", "x", "News", kind=Kind.WHOLE)
    assert not is_true("new", "News", kind=Kind.WHOLE)
    assert not is_true("news", kind=Kind.WHOLE)
    assert is_true("NOT news", kind=Kind.WHOLE)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        (">10000 <20000", 15_000, True),
        (">10000 <20000", 20_000, False),
        (">=20000", 20_000, True),
        ("20000", 20_000, True),
        ("20000", 20_001, False),
        ("<1.5 OR > 7", 8, True),
        ("NOT <=5", 5, False),
    ],
)
def test_numbers_are_compared(text, size, expected):
    assert is_true(text, size, kind=Kind.NUMBER) is expected


def test_a_message_id_is_whole_with_or_without_brackets():
    assert is_true("<a.b@c>", "a.b@C", kind=Kind.ID)
    assert is_true("a.b@c", "<a.b@c>", kind=Kind.ID)
    assert not is_true("b@c", "a.b@c", kind=Kind.ID)


def test_a_whole_address_is_that_one_and_a_part_is_any_that_has_it():
    assert is_true("Bob@X.example", "bob@x.example", kind=Kind.ADDRESS)
    assert not is_true("bob@x.example", "jimbob@x.example", kind=Kind.ADDRESS)
    assert is_true("bob@x", "jimbob@x.example", kind=Kind.ADDRESS)
    assert is_true("@x.example", "jimbob@x.example", kind=Kind.ADDRESS)


@pytest.mark.parametrize(
    "text",
    [
        *("(a", "a)", "()", '"a', "a OR", "OR a", "AND", "NOT", "NOT NOT a", "a AND OR b", "-(", '-"', "a OR OR b"),
        *("(OR)", "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "a " * 200, "a" * (MAX_TEXT + 1)),
    ],
)
def test_what_has_no_sense_is_refused(text):
    with pytest.raises(ValueError, match=r"^(is|has|ends) "):
        parse(text, Kind.TEXT)


@pytest.mark.parametrize("text", ["abc", ">", "> x", ">>5", "5 OR x", '"big"', "1e9"])
def test_a_number_field_takes_numbers(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse(text, Kind.NUMBER)


def test_nothing_is_no_filter():
    assert parse("  ", Kind.TEXT) is None
    assert Filters([("subject", " "), ("unknown", "(")]).filters == []


def test_the_name_of_the_field_is_told():
    with pytest.raises(BadRequest, match=r"^subject parameter has a quotation mark without its pair$"):
        Filters([("subject", '"a')])
    with pytest.raises(BadRequest, match="longer than"):
        Filters([("subject", "a " * 40), ("from", "b" * MAX_TEXT)])


@given(text=st.text(st.sampled_from('ab()"- <>=5ANDORNT'), max_size=60), kind=st.sampled_from(Kind))
def test_any_text_is_a_tree_or_an_error(text, kind):
    try:
        node = parse(text, kind)
    except ValueError:
        return
    if node is None:
        assert not text.strip()
    else:
        assert matches(node, kind, ["5"] if kind is Kind.NUMBER else ["ab", ""]) in (True, False)
        needed(node, kind)


# A tree is written down as text, and asked twice: by our own parser, and as Python asks it.

WORDS = st.sampled_from(["a", "b", "ab", "c d", "x@y.example", "or", "not"])
TREES = st.recursive(
    WORDS.map(lambda word: ("word", word)),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=12,
)


def written(tree, dashes):
    match tree:
        case ("word", word):
            return f'"{word}"' if " " in word else word
        case ("not", inner):
            return ("-" if dashes else "NOT ") + f"({written(inner, dashes)})"
        case ("and", inner):
            return "(" + (" " if dashes else " AND ").join(written(one, dashes) for one in inner) + ")"
        case ("or", inner):
            return "(" + " OR ".join(written(one, dashes) for one in inner) + ")"


def naive(tree, value, whole):
    match tree:
        case ("word", word):
            return word == value if whole else word in value
        case ("not", inner):
            return not naive(inner, value, whole)
        case ("and", inner):
            return all(naive(one, value, whole) for one in inner)
        case ("or", inner):
            return any(naive(one, value, whole) for one in inner)


VALUES = st.one_of(WORDS, st.text("abcd ", max_size=6))


@given(tree=TREES, value=VALUES, dashes=st.booleans(), whole=st.booleans())
def test_the_tree_means_what_was_written(tree, value, dashes, whole):
    text, kind = written(tree, dashes), Kind.WHOLE if whole else Kind.TEXT
    if len(re.findall(r'[()]|"[^"]*"|[^\s()"]+', text)) > 60:
        return
    assert is_true(text, value, kind=kind) is naive(tree, value, whole)


@given(tree=TREES, value=VALUES, kind=st.sampled_from([Kind.WHOLE, Kind.ID, Kind.ADDRESS, Kind.TEXT]))
def test_what_is_needed_is_there_wherever_it_matches(tree, value, kind):
    text = written(tree, False)
    if text.count(" ") > 40:
        return
    node = parse(text, kind)
    texts = needed(node, kind)
    if texts is not None and matches(node, kind, [value]):
        assert value.strip() in texts


def test_types_and_needs_are_told_to_the_store():
    filters = Filters([("event", "failed OR opened"), ("severity", "permanent"), ("recipient", "a@b.example")])
    assert filters.types == (EventType.FAILED_PERMANENT, EventType.FAILED_LATE)
    (need,) = filters.needs
    assert need.texts == {"a@b.example"}
    assert Filters([("tags", "*")]).types == (EventType.UNSUBSCRIBED,)
    assert Filters([("tags", "a OR *")]).needs == Filters([("recipient", "-a@b.example")]).needs == ()
    assert Filters([("event", "nothing")]).types == ()
