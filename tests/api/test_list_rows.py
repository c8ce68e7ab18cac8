"""What people enter of lists and members: read, or refused with one line; never anything else."""

import csv
import io
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.base import Impossible
from mtad.api.list_rows import MAX_VARIABLES, key_in, read_csv, read_entry, read_mailbox, read_variables
from mtad.mail.lists import MemberEntry

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_NAMES = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20)


@given(st.text(max_size=200))
def test_any_text_is_a_mailbox_or_none(text):
    with suppress(Impossible):
        address, name = read_mailbox(text)
        assert key_in(address)
        assert name.isprintable()


@given(_JSON | st.dictionaries(st.sampled_from(["address", "name", "vars", "subscribed"]), _JSON))
def test_any_json_is_a_member_or_none(value):
    with suppress(Impossible):
        entry = read_entry(value, None)
        assert key_in(entry.address) == entry.key


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=4))
def test_variables_come_back_as_they_were_from_an_object_and_from_its_text(value):
    for given_as in (value, json.dumps(value)):
        assert json.loads(read_variables(given_as)) == value


@pytest.mark.parametrize("value", ["", "[]", "x", 7, None, "{" * 100, {"a": "x" * MAX_VARIABLES}])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(Impossible, match="vars is"):
        read_variables(value)


@given(st.text(max_size=300))
def test_any_text_is_read_as_csv_to_its_end(text):
    with suppress(Impossible):  # of its first line
        for line, one in read_csv(text, None):
            assert line >= 1
            assert isinstance(one, MemberEntry | Impossible)


@given(st.lists(st.tuples(_NAMES, st.sampled_from(["yes", "no", ""]), _NAMES), max_size=8), st.booleans())
def test_what_is_written_as_csv_is_read_again(rows, subscribed):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["subscribed", "Colour", "name", "Address"])
    for place, (name, said, colour) in enumerate(rows):
        writer.writerow([said, colour, name, f"u{place}@x.org"])
    expected = [
        MemberEntry(
            f"u{place}@x.org",
            name or None,
            {"yes": True, "no": False, "": subscribed}[said],
            json.dumps({"Colour": colour}, ensure_ascii=False, separators=(",", ":")),
        )
        for place, (name, said, colour) in enumerate(rows)
    ]
    assert [one for _, one in read_csv(file.getvalue(), subscribed)] == expected


def test_a_row_that_cannot_be_read_is_told_by_its_line_and_the_others_are_read():
    found = list(read_csv('address,vars\r\n\r\na@x.org,\r\nb,\r\n"c@x.org","{\r\n"\r\nd@x.org', None))
    assert [(line, getattr(one, "address", str(one))) for line, one in found] == [
        (3, "a@x.org"),
        (4, "'b' is no address: an address is local-part@domain"),
        (6, "vars is not valid JSON"),
        (7, "d@x.org"),
    ]
