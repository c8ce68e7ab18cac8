import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.inbound.routes.actions import Destination, Forward, Kind, Stop, Store, destination, parse_action, references
from mtad.inbound.routes.expressions import (
    And,
    CatchAll,
    MatchHeader,
    MatchRecipient,
    Not,
    Or,
    parse_expression,
    show,
)
from mtad.inbound.routes.lexing import MAX_TEXT, BadRoute

A, B, C = MatchRecipient(0, "a"), MatchRecipient(1, "b"), MatchRecipient(2, "c")
PIECES = ["match_recipient", "match_header", "catch_all()", "catchall", "(", ")", ",", " and ", " OR ", "not ", "\n"]
PIECES += [
    '"a"',
    "'b.*'",
    '"\\',
    '"',
    "'",
    "\\",
    "=",
    "x",
    "é",
    "\ud800",
    'match_recipient("a")',
    "match_header('S', \"x\")",
]
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('match_recipient("a")', A),
        (" MATCH_Recipient ( 'a' ) ", A),
        ('match_header("Subject", "x")', MatchHeader(0, "subject", "x")),
        ("catch_all()", CatchAll()),
        ("catchall( )", CatchAll()),
        ('match_recipient("a") AND\r\n\tmatch_recipient("b")', And((A, B))),
        (
            'match_recipient("a") or match_recipient("b") and match_recipient("c")',
            Or((A, And((B, C)))),
        ),
        ('(match_recipient("a") Or match_recipient("b"))and match_recipient("c")', And((Or((A, B)), C))),
        ('not match_recipient("a") and catch_all()', And((Not(A), CatchAll()))),
        (r'match_recipient("\d\"\\")', MatchRecipient(0, r"\d" + '"' + r"\\")),
        (r"""match_recipient('\"\'')""", MatchRecipient(0, "\\\"'")),
    ],
)
def test_an_expression_is_read_as_a_tree(text, tree):
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", None, "the expression is empty"),
        ("match_recipient(a)", 16, "a pattern is expected"),
        ('match_recipient("a" "b")', 20, "')' is expected after the pattern at character 21, before \"b\")"),
        ('match_recipient("a', 16, 'has no closing " at character 17'),
        ('match_header("a")', 16, "',' is expected between the header's name and the pattern"),
        ('match_header("Subject:", "a")', 13, "without a colon"),
        ('match_recipient("")', 16, "a pattern is empty"),
        ('matches("a")', 0, "there is no matches"),
        ("catch_all() and", 15, "at the end of the expression"),
        ("catch_all() catch_all()", 12, '"and", "or" or the end is expected'),
        ("match_recipient(“a”)", 16, "“ is no quote here"),
        ("__import__('os')", 0, "there is no __import__"),
        ("(" * 100 + "catch_all()" + ")" * 100, 33, "levels"),
        (" and ".join(["catch_all()"] * 65), 64 * 16, "conditions"),
        ('match_recipient("' + "a" * MAX_TEXT + '")', MAX_TEXT, "4000 is the most"),
    ],
)
def test_a_fault_is_told_with_its_place_and_what_would_be_right(text, place, said):
    with pytest.raises(BadRoute) as error:
        parse_expression(text)
    assert error.value.place == place
    assert said in str(error.value)


@given(texts)
def test_any_text_is_an_expression_or_a_fault(text):
    try:
        tree = parse_expression(text)
    except BadRoute:
        return
    assert parse_expression(show(tree)) == tree


@given(texts)
def test_any_text_is_an_action_or_a_fault(text):
    for whole in (text, f'forward("{text}")', f"store({text})"):
        try:
            parse_action(whole)
        except BadRoute:
            continue


leaves = st.sampled_from([CatchAll(), A, MatchHeader(0, "x-a", "'\\\"'\n")])
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)


@given(trees)
def test_a_tree_that_is_shown_is_read_as_it_was(tree):
    shown = show(tree)
    assert show(parse_expression(shown)) == shown


@pytest.mark.parametrize(
    "piece", ["(", "not ", '"', "\\", "match_recipient(", "a", " ", 'match_recipient("a") and ', "'\\"]
)
def test_long_texts_are_read_in_no_time(piece):
    text = (piece * MAX_TEXT)[:MAX_TEXT]
    begun = time.process_time()
    for read in (parse_expression, parse_action):
        with pytest.raises(BadRoute):
            read(text)
    assert time.process_time() - begun < 0.2


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ('forward("bob@example.org")', Forward(("bob@example.org",))),
        ("Forward( 'http://a.example/x , bob@example.org' )", Forward(("http://a.example/x", "bob@example.org"))),
        (r'forward("http://a.example/\1?n=\g<name>")', Forward((r"http://a.example/\1?n=\g<name>",))),
        ("store()", Store()),
        ('store(notify="http://a.example/")', Store("http://a.example/")),
        ("store( 'https://a.example/' )", Store("https://a.example/")),
        ("stop()", Stop()),
        ("STOP ( )", Stop()),
    ],
)
def test_an_action_is_read(text, action):
    assert parse_action(text) == action


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the action is empty"),
        ("stop", "'(' is expected after stop"),
        ("drop()", 'forward("…"), store()'),
        ("forward()", "a destination"),
        ('forward("")', "is empty"),
        ('forward("bob")', "'bob' is neither an address nor a URL"),
        ('forward("a@example.org,,b@example.org")', "a destination is empty"),
        ('forward("ftp://a.example/")', "neither an address nor a URL"),
        ('forward("http:///x")', "host or port"),
        ('forward("http://a.example:99999/")', "host or port"),
        ('forward("http://a.example/a b")', "' '"),
        ('forward("http://a.example/\\n")', "percent-encoded"),
        (r'forward("\d@example.org")', "is no address"),
        ('store(notify="bob@example.org")', "begins with http://"),
        ('store(url="http://a.example")', "notify="),
        ('forward("a@example.org"), stop()', "each action is given on its own"),
        ('forward("' + ",".join(["a@example.org"] * 21) + '")', "destinations"),
    ],
)
def test_a_bad_action_is_refused_with_what_would_be_right(text, said):
    with pytest.raises(BadRoute) as error:
        parse_action(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("template", "made"),
    [
        (r"http://a.example/\1", Destination(Kind.URL, "http://a.example/o%27x%2B1@y%2F%3F%C3%BC-._~")),
        (r"http://a.example/\g<name>/", Destination(Kind.URL, "http://a.example/bob/")),
        (r"\g<name>@example.net", Destination(Kind.ADDRESS, "bob@example.net")),
        ("http://a.example/MIME//", Destination(Kind.RAW_URL, "http://a.example/MIME//")),
        ("https://a.example/raw-mime?x=1#y", Destination(Kind.RAW_URL, "https://a.example/raw-mime?x=1#y")),
        ("http://a.example/?mime", Destination(Kind.URL, "http://a.example/?mime")),
        ("http://mime", Destination(Kind.URL, "http://mime")),
        (r"http://\g<name>.a.example/", Destination(Kind.URL, "http://bob.a.example/")),
        (r"http://a.example/\2", Destination(Kind.URL, "http://a.example/")),
        ("HTTP://a.example/", Destination(Kind.URL, "HTTP://a.example/")),
    ],
)
def test_captured_text_is_put_into_a_destination(template, made):
    captured = {"1": "o'x+1@y/?ü-._~", "2": "", "name": "bob"}
    assert destination(template, captured.get) == made


@pytest.mark.parametrize("text", ["evil.example/", "u@evil.example", "a:80", "", "a b", "é"])
def test_what_a_sender_writes_does_not_turn_a_url_to_another_place(text):
    with pytest.raises(BadRoute, match=r"host of a URL|host or port"):
        destination(r"http://\1/x", lambda _: text)


@pytest.mark.parametrize("text", ["", "a b", "a@b", "a>", "a\r\nRCPT TO:<x@y.example>", "x" * 65])
def test_captured_text_makes_no_bad_address(text):
    with pytest.raises(BadRoute):
        destination(r"\1@example.org", lambda _: text)


@pytest.mark.parametrize("text", [".", ".."])
def test_captured_text_does_not_climb_out_of_the_path(text):
    with pytest.raises(BadRoute, match="dots alone"):
        destination(r"http://a.example/in/\1", lambda _: text)
    assert destination(r"http://a.example/in/\1.", lambda _: f"a{text}").text == f"http://a.example/in/a{text}."
    assert destination(r"http://a.example/../\1", lambda _: "x").text == "http://a.example/../x"  # who made it knows


@given(st.text(max_size=40).filter(lambda text: text not in (".", "..")))
def test_captured_text_never_adds_structure_to_a_url(text):
    url = destination(r"http://a.example/in/\1", lambda _: text).text
    assert url.startswith("http://a.example/in/")
    assert not set(url[len("http://a.example/in/") :]) & set("/?#&= \r\n\"'\\<>")


def test_references_are_found():
    assert references(parse_action(r'forward("http://a.example/\1/\g<u>, \2@example.org")')) == ["1", "u", "2"]
    assert references(Stop()) == []
