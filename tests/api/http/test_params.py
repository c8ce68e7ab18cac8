import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.http.answers import BadRequest
from mtad.api.http.dates import gmt, numeric, rfc3339
from mtad.api.http.params import Params, mailboxes, plain_name


def one(value: str) -> Params:
    return Params([("x", "ignored"), ("x", value)])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("to[]", "to"),
        ("to[0]", "to"),
        ("o:tag[12]", "o:tag"),
        ("a[b]", "a[b]"),
        ("[]", ""),
        ("to]", "to]"),
        ("to", "to"),
    ],
)
def test_brackets_are_no_part_of_a_name(name, wanted):
    assert plain_name(name) == wanted


@pytest.mark.parametrize("word", ["yes", "true", "True", "TRUE", "1", "on", " yes "])
def test_words_for_true(word):
    assert one(word).flag("x") is True


@pytest.mark.parametrize("word", ["no", "false", "False", "FALSE", "0", "off"])
def test_words_for_false(word):
    assert one(word).flag("x") is False


def test_a_flag_that_is_not_said_is_its_default_and_any_other_word_is_wrong():
    assert one("").flag("x") is None
    assert Params([]).flag("x", True) is True
    with pytest.raises(BadRequest, match="x parameter is neither yes nor no"):
        one("perhaps").flag("x")


def test_the_last_of_several_values_counts_and_all_can_be_had():
    params = Params([("to[1]", "a"), ("to", "b")])
    assert (params.text("to"), params.all("to"), params.text("cc"), params.text("cc", "d")) == (
        "b",
        ["a", "b"],
        None,
        "d",
    )
    assert len(params) == 2
    assert "to" in params


def test_what_is_needed_and_missing_or_blank_is_named():
    assert one(" v ").need("x") == "v"
    for params in (one(" "), Params([])):
        with pytest.raises(BadRequest, match="x parameter is missing"):
            params.need("x")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1318633810", 1318633810.0),
        ("1318633810.25", 1318633810.25),
        ("Fri, 14 Oct 2011 23:10:10 -0000", 1318633810.0),
        ("Fri, 14 Oct 2011 23:10:10 GMT", 1318633810.0),
        ("14 Oct 2011 23:10:10 UTC", 1318633810.0),
        ("Sat, 15 Oct 2011 01:10:10 +0200", 1318633810.0),
    ],
)
def test_dates(text, at):
    assert one(text).date("x") == at
    assert one(text).date("x", days=True) == at


@pytest.mark.parametrize(("text", "at"), [("2011-10-14", 1318550400.0), ("2011-10-14T23:10:10Z", 1318633810.0)])
def test_days_only_where_they_may_be(text, at):
    assert one(text).date("x", days=True) == at
    with pytest.raises(BadRequest, match="x is neither an RFC 2822 date nor Unix seconds"):
        one(text).date("x")


@pytest.mark.parametrize("text", ["2011-13-45", "soon", "2011-10-14T25:00:00Z"])
def test_what_is_no_date_is_said(text):
    with pytest.raises(BadRequest, match="neither"):
        one(text).date("x", days=True)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a@b.c", [("", "a@b.c")]),
        ("Name <a@b.c>", [("Name", "a@b.c")]),
        ('"Na, me" <a@b.c>, d@e.f', [("Na, me", "a@b.c"), ("", "d@e.f")]),
        ("=?utf-8?q?B=C3=B6b?= <a@B.C>", [("Böb", "a@b.c")]),
        ("a@b.c,", [("", "a@b.c")]),
        ("a@bücher.example", [("", "a@xn--bcher-kva.example")]),
        ("a@b.c (comment)", [("comment", "a@b.c")]),
        ("  ", []),
    ],
)
def test_address_lists(text, wanted):
    assert [(box.phrase, str(box.address)) for box in mailboxes("to", text)] == wanted


@pytest.mark.parametrize(
    "text", ["a", "a b@c.d", "Name <a@>", "a@b.c, x", "a@b.c d@e.f", "<>", "a@b..c", "Na, me <a@b.c>"]
)
def test_what_is_no_address_is_said_with_its_name(text):
    with pytest.raises(BadRequest, match="to parameter is not a valid address"):
        mailboxes("to", text)


def test_one_address():
    found = one("A <a@b.c>").address("x")
    assert str(found) == "a@b.c"
    assert one("").address("x") is None
    with pytest.raises(BadRequest):
        one("a@b.c, d@e.f").address("x")


def test_objects_and_json():
    assert one('{"a": 1}').object("x") == {"a": 1}
    assert one("[1]").json("x") == [1]
    assert one("").json("x") is None
    with pytest.raises(BadRequest, match="x parameter is not a JSON object"):
        one("[1]").object("x")
    with pytest.raises(BadRequest, match="x parameter is not valid JSON"):
        one("{").json("x")


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text):
    params = one(text)
    for read in (
        params.flag,
        params.integer,
        params.date,
        params.address,
        params.addresses,
        params.object,
        params.json,
    ):
        try:
            read("x")
        except BadRequest:
            pass


def test_dates_in_answers():
    assert gmt(1318528920.9) == "Thu, 13 Oct 2011 18:02:00 GMT"
    assert numeric(1795420646) == "Mon, 23 Nov 2026 07:57:26 +0000"
    assert rfc3339(1633973642.297) == "2021-10-11T17:34:02.297Z"
    assert rfc3339(0.9996) == "1970-01-01T00:00:01.000Z"
