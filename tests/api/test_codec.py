from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.codec import BadShape, from_json, read_as, to_json
from mtad.mail.waiting import Waiting, WaitReason


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Leaf:
    name: str
    at: float | None
    octets: bytes
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Tree:
    count: int
    flag: bool
    leaves: tuple[Leaf, ...]
    why: Waiting | None
    more: dict[str, Any]


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
LEAVES = st.builds(Leaf, TEXT, st.none() | st.floats(allow_nan=False, allow_infinity=False), st.binary(max_size=20))
WHY = st.none() | st.builds(Waiting, st.sampled_from(WaitReason), st.none() | st.floats(0, 1e10), TEXT)
TREES = st.builds(
    Tree,
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.lists(LEAVES, max_size=3).map(tuple),
    WHY,
    st.dictionaries(TEXT, st.integers(0, 9) | TEXT, max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["count", "leaves", "x"]), inner),
    max_leaves=8,
)


@given(TREES)
def test_what_is_written_is_read_again(tree):
    assert read_as(Tree, from_json(to_json(tree))) == tree


@given(JSON)
def test_any_json_is_read_or_refused_and_never_half_read(value):
    try:
        found = read_as(Tree, value)
    except BadShape:
        return
    assert isinstance(found, Tree)


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, True, "must be int"),
        (float, "1", "must be float"),
        (str, None, "must be str"),
        (tuple[str, ...], "abc", "must be an array"),
        (tuple[str, ...], ["a", 1], r"\[1\] must be str"),
        (bytes, "no base 64!", "base 64"),
        (Colour, "blue", "one of red"),
        (Leaf, {"name": "x", "at": None}, "lacks the member 'octets'"),
        (Leaf, {"name": "x", "at": None, "octets": "", "y": 1}, "no member 'y'"),
        (float | None, "x", "must be float"),
    ],
)
def test_a_wrong_shape_is_named(hint, value, said):
    with pytest.raises(BadShape, match=said):
        read_as(hint, value)


def test_a_whole_number_is_a_float_where_one_is_wanted():
    assert isinstance(read_as(float, 3), float)


def test_what_is_no_json_is_refused():
    with pytest.raises(BadShape):
        from_json(b"{")
