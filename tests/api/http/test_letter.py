import email

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.api.http.answers import BadRequest
from mtad.api.http.letter import read_header, read_options, read_people
from mtad.api.http.params import Params
from mtad.message.headers import scan
from mtad.message.variables import Unfillable


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=300)), max_size=5))
def test_whatever_a_header_holds_it_is_one_field_and_no_more(pairs):
    try:
        given_fields = read_header(pairs)
    except (BadRequest, Unfillable):
        return
    raw = b"".join(given_fields.fields)
    block = scan(raw + b"\r\n")
    assert (block.end, block.body_start) == (len(raw), len(raw) + 2)
    assert len(block.fields) == len(given_fields.fields)
    assert max([len(line) for line in raw.split(b"\r\n")]) <= 998
    assert len(email.message_from_bytes(raw + b"\r\n").keys()) == len(given_fields.fields)


@given(st.lists(st.tuples(st.sampled_from(["to", "cc", "bcc"]), st.integers(0, 8), st.booleans()), min_size=1))
def test_every_recipient_is_there_once_and_in_order(chosen):
    pairs = [(name, f"U{n}@x.org" if upper else f"u{n}@x.org") for name, n, upper in chosen]
    if not any(name == "to" for name, _ in pairs):
        with pytest.raises(BadRequest, match="to parameter is missing"):
            read_people(Params(pairs))
        return
    ordered = [text.lower() for wanted in ("to", "cc", "bcc") for name, text in pairs if name == wanted]
    found = [one.key for one in read_people(Params(pairs)).recipients]
    assert found == list(dict.fromkeys(ordered))


NAMES = ["o:tag", "o:campaign", "o:dkim", "o:testmode", "o:tracking", "o:tracking-clicks", "o:deliverytime", "v:x"]
NAMES += ["t:variables", "template", "recipient-variables", "h:X-Mailgun-Variables", "o:anything", "t:version"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=60)), max_size=6))
def test_any_options_are_read_or_refused(pairs):
    try:
        options = read_options(Params(pairs), 1_800_000_000.0, 86_400.0)
    except BadRequest:
        return
    options.to_json()
