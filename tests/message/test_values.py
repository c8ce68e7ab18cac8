import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.options import Clicks
from mtad.message.values import (
    MAX_DEPTH,
    MAX_JSON,
    MAX_VALUES,
    BadValue,
    parse_bool,
    parse_campaign,
    parse_campaigns,
    parse_clicks,
    parse_date,
    parse_deliver_at,
    parse_name,
    parse_object,
    parse_recipient_variables,
    parse_tag,
    parse_tags,
)

DAY = 86_400
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("TRUE", True), (" Yes ", True), ("no", False), ("False", False)]
)
def test_a_bool_is_one_of_four_words_in_any_case(text, value):
    assert parse_bool(text) is value
    assert parse_bool(text, form=True) is value


@pytest.mark.parametrize(("text", "value"), [("1", True), ("on", True), ("0", False), ("off", False)])
def test_a_form_has_four_words_more(text, value):
    assert parse_bool(text, form=True) is value
    with pytest.raises(BadValue, match="is neither yes nor no"):
        parse_bool(text)


@pytest.mark.parametrize("text", ["", "maybe", "yes no", "y", "htmlonly"])
def test_other_words_are_no_bool(text):
    with pytest.raises(BadValue):
        parse_bool(text, form=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", Clicks.YES),
        ("true", Clicks.YES),
        ("NO", Clicks.NO),
        ("false", Clicks.NO),
        ("HtmlOnly", Clicks.HTML_ONLY),
    ],
)
def test_clicks_are_a_bool_or_htmlonly(text, value):
    assert parse_clicks(text) is value
    with pytest.raises(BadValue, match="htmlonly"):
        parse_clicks(f"{text}!")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Fri, 14 Oct 2011 23:10:10 -0000", 1318633810),
        ("Fri, 14 Oct 2011 23:10:10 +0000", 1318633810),
        ("Fri, 14 Oct 2011 23:10:10 GMT", 1318633810),
        ("fri,14 oct 2011  23:10:10 utc", 1318633810),
        ("14 Oct 2011 23:10:10 Z", 1318633810),
        ("Sat, 15 Oct 2011 01:10:10 +0200 (CEST)", 1318633810),
        ("14 Oct 11 18:10 EST", 1318633800),
        ("Fri,\t14 Oct 2011\t23:10:10 GMT", 1318633810),
        ("1318633810", 1318633810),
        (" 1318633810.25 ", 1318633810.25),
    ],
)
def test_dates_are_rfc_2822_or_unix_seconds(text, at):
    assert parse_date(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2011-10-14",
        "2011-10-14T23:10:10Z",
        "Fri, 14 Oct 2011 23:10:10",
        "Fri, 31 Feb 2011 23:10:10 GMT",
        "Fri, 14 Oct 2011 25:10:10 GMT",
        "Fri, 14 Oct 2011 23:10:10 +9999",
        "Fri, 14 Zzz 2011 23:10:10 GMT",
        "Fri, 00 Jan 0000 00:00:00 GMT",
        "-5",
        "1e9",
        "nan",
        "inf",
        "1" * 400,
        "١٣١٨٦٣٣٨١٠",
        "Fri, 14 Oct 2011 23:10:10 GMT" + " (x)" * 100,
    ],
)
def test_other_dates_are_refused_with_an_example(text):
    with pytest.raises(BadValue, match="is neither an RFC 2822 date nor Unix seconds") as caught:
        parse_date(text)
    assert parse_date("Fri, 14 Oct 2011 23:10:10 +0000") == parse_date("1318633810")  # the example is right
    assert "Fri, 14 Oct 2011 23:10:10 +0000" in caught.value.advice


@given(st.integers(1, 4_000_000_000))
def test_a_date_is_read_as_it_is_written(at):
    assert parse_date(datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")) == at


def test_the_zone_of_this_machine_does_not_matter(monkeypatch):
    monkeypatch.setenv("TZ", "XXX+5")
    time.tzset()
    try:
        assert parse_date("Fri, 14 Oct 2011 23:10:10 -0000") == 1318633810
        assert parse_date("Fri, 14 Oct 2011 23:10:10 GMT") == 1318633810
    finally:
        monkeypatch.undo()
        time.tzset()


def test_scheduling_has_a_limit_and_the_past_is_now():
    assert parse_deliver_at(str(NOW + 3 * DAY), NOW, 3 * DAY) == NOW + 3 * DAY
    assert parse_deliver_at(str(NOW), NOW, 3 * DAY) is None
    assert parse_deliver_at("0", NOW, 3 * DAY) is None
    with pytest.raises(BadValue, match="is more than 3 days ahead"):
        parse_deliver_at(str(NOW + 3 * DAY + 1), NOW, 3 * DAY)
    with pytest.raises(BadValue, match="is more than 1 day ahead"):
        parse_deliver_at("999999999999999", NOW, DAY)
    with pytest.raises(BadValue, match=r"is more than 0\.5 hours ahead"):
        parse_deliver_at(str(NOW + 3600), NOW, 1800)


def test_tags_keep_their_first_spelling_and_there_are_three_at_most():
    assert parse_tags(["News", "NEWS", " b ", "news", "c", "d"]) == ("News", "b", "c")
    assert parse_tags([]) == ()
    assert parse_tag("x" * 128) == "x" * 128


@pytest.mark.parametrize("text", ["", " ", "x" * 129, "grün", "a\tb", "a\0"])
def test_a_tag_is_short_printable_ascii(text):
    with pytest.raises(BadValue):
        parse_tags(["ok", text])


def test_campaigns_are_ids_of_64_characters():
    assert parse_campaigns(["a", "A", "a", "b", "c"]) == ("a", "A", "b")
    assert parse_campaign("ü" * 64) == "ü" * 64
    for text in ("", "x" * 65, "a\nb"):
        with pytest.raises(BadValue):
            parse_campaign(text)


def test_names_are_one_line():
    assert parse_name(" Welcome mail ") == "Welcome mail"
    for text in ("", "x" * 256, "a\r\nb"):
        with pytest.raises(BadValue):
            parse_name(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a": "\xc3\xbc"}', {"a": "ü"}),
        ('{"n": 18446744073709551616}', {"n": 2.0**64}),
        (' {"": {"x": [null, true, 1.5, "\\u0000"]}} ', {"": {"x": [None, True, 1.5, "\0"]}}),
    ],
)
def test_objects_are_read(text, value):
    assert parse_object(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ("{'a': 1}", "is not valid JSON"),
        ('{"a": NaN}', "is not valid JSON"),
        ('{"a": Infinity}', "is not valid JSON"),
        ('{"a": 1e999}', "is not valid JSON"),
        ('{"a": "\\ud800"}', "is not valid JSON"),
        ('{"a": "\ud800"}', "is not valid JSON"),
        (b'{"a": "\xff"}', "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ('"text"', "is not a JSON object"),
        ('{"a": "%s"}' % ("x" * MAX_JSON), "is larger than 256 KiB"),
        ('{"a": %s}' % ("[" * MAX_DEPTH + "]" * MAX_DEPTH), "is nested more than 32 deep"),
        ("[" * 5000, "is not valid JSON"),
        ('{"a": [%s0]}' % ("0," * MAX_VALUES), "has more than 100000 values"),
    ],
)
def test_what_is_no_bearable_object_is_told(text, why):
    with pytest.raises(BadValue) as caught:
        parse_object(text)
    assert str(caught.value) == why


def test_depth_up_to_the_limit_is_fine():
    text = '{"a": %s}' % ("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert parse_object(text)["a"] is not None


def test_recipient_variables_are_kept_under_one_key_for_all_spellings():
    text = '{"Bob@Example.ORG": {"a": 1}, " bob@example.org ": {"b": 2}, "x@Bücher.example": {}}'
    assert parse_recipient_variables(text) == {"bob@example.org": {"a": 1, "b": 2}, "x@xn--bcher-kva.example": {}}
    assert parse_recipient_variables("{}") == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"bob@example.org": "Bob"}',
        '{"bob": {"name": "Bob"}}',
        '{"Bob <bob@example.org>": {}}',
        '{"bob@example.org": {}, "carol@": {}}',
        '{"@": {}}',
        '{"%s@example.org": {}}' % ("x" * 400),
    ],
)
def test_recipient_variables_of_another_form_are_refused(text):
    with pytest.raises(BadValue, match="is not a JSON object of objects"):
        parse_recipient_variables(text)


def test_a_batch_has_a_thousand_recipients_at_most():
    def text(count):
        return json.dumps({f"r{n}@example.org": {"n": n} for n in range(count)})

    assert len(parse_recipient_variables(text(1000))) == 1000
    with pytest.raises(BadValue, match="has more than 1000 recipients"):
        parse_recipient_variables(text(1001))


ANY = [
    parse_bool, parse_clicks, parse_date, parse_tag, parse_campaign, parse_name, parse_object,
    parse_recipient_variables, lambda text: parse_deliver_at(text, NOW, DAY),
]  # fmt: skip
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "a@b",
    "1",
    "e9",
    "\\u",
    "yes",
    "Fri, ",
    "14 Oct 2011 ",
    "23:10:10 ",
    "GMT",
    "\ud800",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_is_a_value_or_a_bad_value(text):
    wrong = [error for error in (_attempt(parse, text) for parse in ANY) if error is not None]
    assert all(str(error).isascii() and error.advice.isascii() for error in wrong)


def _attempt(parse, text):
    try:
        parse(text)
    except BadValue as error:
        return error
    return None
