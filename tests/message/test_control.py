import base64
import json
import quopri
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtad.mail.options import Clicks, Options, options_from_json
from mtad.message.control import CONTROL_NAMES, Control, has_control, read_control
from mtad.message.headers import scan, strip

SAMPLES = Path(__file__).parent / "samples" / "control"
DAY = 86_400
NOW = datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp()


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes().replace(b"\n", b"\r\n")


def read(*fields: str | bytes, now: float = NOW) -> Control:
    raw = [field if isinstance(field, bytes) else field.encode() for field in fields]
    return read_control(scan(b"".join([*(field + b"\r\n" for field in raw), b"\r\nbody\r\n"])), now, 3 * DAY)


def faults(control: Control) -> list[str]:
    return [str(fault) for fault in control.faults]


def test_every_field_of_the_contract_is_read():
    control = read_control(scan(sample("every-field.eml")), NOW, 3 * DAY)
    assert control.refusal is None
    assert control.faults == ()
    assert control.options == Options(
        tags=("newsletter", "March"),
        campaigns=("spring-26",),
        dkim=False,
        test_mode=True,
        deliver_at=datetime(2026, 1, 6, 9, tzinfo=UTC).timestamp(),
        track_opens=False,
        track_clicks=Clicks.HTML_ONLY,
        pixel_top=True,
        require_tls=True,
        skip_verification=False,
        template="welcome",
        template_version="v2",
        template_variables={"title": "Grüße"},
        variables={"first_name": "Johnny", "last_name": "Smith", "my_message_id": 123},
        recipient_variables={"bob@example.com": {"name": "Bob"}, "carol@example.com": {"name": "Carol", "points": 12}},
    )


def test_control_fields_are_taken_off_and_unknown_ones_stay():
    content = sample("every-field.eml")
    names = read_control(scan(content), NOW, 3 * DAY).names
    left = scan(strip(content, names))
    assert [name for name, _ in left.fields] == [
        b"from", b"to", b"x-mailgun-something-new", b"x-mailer", b"subject",
    ]  # fmt: skip


def test_the_fields_without_effect_are_known_too():
    names = [
        "X-Mailgun-Delivery-Time-Optimize-Period", "X-Mailgun-Time-Zone-Localize", "X-Mailgun-Sending-Ip",
        "X-Mailgun-Sending-Ip-Pool", "X-Mailgun-Archive-To", "X-Mailgun-Suppress-Headers", "X-Mailgun-Secondary-Dkim",
        "X-Mailgun-Secondary-Dkim-Public", "X-Mailgun-Deliver-Within", "X-Mailgun-Native-Send",
    ]  # fmt: skip
    control = read(*(f"{name}: whatever" for name in names))
    assert control.options == Options()
    assert control.faults == ()
    assert control.names == {name.lower().encode() for name in names}


def test_mail_without_control_fields_has_none():
    content = b"From: a@b\r\nX-Mailgun-Sid: 1\r\nX-Mailgun-Incoming: Yes\r\n\r\nX-Mailgun-Tag: body\r\n"
    assert not has_control(scan(content))
    assert read_control(scan(content), NOW, DAY) == Control(Options())
    assert has_control(scan(b"x-MAILGUN-tAG : a\r\n\r\n"))


def test_no_field_of_recipients_mail_is_a_control_field():
    for name in (b"x-mailgun-sid", b"x-mailgun-incoming", b"x-mailgun-spf", b"x-mailgun-sflag", b"x-mailgun-sscore"):
        assert name not in CONTROL_NAMES


@pytest.mark.parametrize(
    ("fields", "tags", "why"),
    [
        (["a", "b", "c", "d"], ("a", "b", "c"), ["X-Mailgun-Tag is there more than 3 times"]),
        (["a", "A", "b", "a"], ("a", "b"), []),
        (["x" * 129, "ok"], ("ok",), ["X-Mailgun-Tag is longer than 128 characters"]),
        (["grün", "ok"], ("ok",), ["X-Mailgun-Tag is not printable ASCII"]),
        (["=?utf-8?q?gr=C3=BCn?=", "=?utf-8?q?ok?="], ("ok",), ["X-Mailgun-Tag is not printable ASCII"]),
        (["", " "], (), ["X-Mailgun-Tag is empty"]),
        (["two words\r\n more"], ("two words more",), []),
    ],
)
def test_tags(fields, tags, why):
    control = read(*(f"X-Mailgun-Tag: {one}" for one in fields))
    assert control.options.tags == tags
    assert faults(control) == why
    assert control.refusal is None


def test_campaigns_add_up_to_three():
    control = read(*(f"X-Mailgun-Campaign-Id: {one}" for one in ("a", "x" * 65, "b", "a", "c", "d")))
    assert control.options.campaigns == ("a", "b", "c")
    assert len(control.faults) == 2


@pytest.mark.parametrize(
    ("field", "member"),
    [
        ("X-Mailgun-Dkim", "dkim"),
        ("X-Mailgun-Drop-Message", "test_mode"),
        ("X-Mailgun-Track-Opens", "track_opens"),
        ("X-Mailgun-Require-TLS", "require_tls"),
        ("X-Mailgun-Skip-Verification", "skip_verification"),
        ("X-Mailgun-Tracking-Pixel-Location-Top", "pixel_top"),
        ("X-Mailgun-Track-Pixel-Location-Top", "pixel_top"),
    ],
)
def test_switches(field, member):
    assert getattr(read(f"{field}: yes").options, member) is True
    assert getattr(read(f"{field}:\r\n TRUE ").options, member) is True
    assert getattr(read(f"{field}: =?us-ascii?Q?yes?=").options, member) is True
    assert getattr(read(f"{field}: No").options, member) is False
    assert getattr(read(f"{field}: no", f"{field}: yes", f"{field}:").options, member) is True  # the last good one
    assert read(f"{field}:").options == Options()
    assert read(f"{field}:").refusal is None
    wrong = read(f"{field}: 1")
    assert wrong.options == Options()
    assert faults(wrong) == [f"{field} is neither yes nor no"]
    assert (wrong.refusal is not None) == (field == "X-Mailgun-Require-TLS")  # else it would go in the clear


@pytest.mark.parametrize(
    ("fields", "opens", "clicks"),
    [
        ([], None, None),
        (["Track: yes"], True, Clicks.YES),
        (["Track: no"], False, Clicks.NO),
        (["Track-Clicks: htmlonly"], None, Clicks.HTML_ONLY),
        (["Track-Clicks: no", "Track: yes"], True, Clicks.NO),
        (["Track: no", "Track-Opens: yes"], True, Clicks.NO),
        (["Track: yes", "Track-Clicks: sometimes", "Track-Opens: ?"], True, Clicks.YES),
    ],
)
def test_what_is_said_of_clicks_or_opens_goes_before_what_is_said_of_both(fields, opens, clicks):
    options = read(*(f"X-Mailgun-{one}" for one in fields)).options
    assert (options.track_opens, options.track_clicks) == (opens, clicks)


def test_a_time_up_to_three_days_ahead_is_kept_and_a_past_one_is_now():
    assert read(f"X-Mailgun-Deliver-By: {NOW + 3 * DAY}").options.deliver_at == NOW + 3 * DAY
    assert read("X-Mailgun-Deliver-By: Tue, 06 Jan\r\n 2026 10:00:00 +0000").options.deliver_at == NOW + DAY
    past = read("X-Mailgun-Deliver-By: Mon, 05 Jan 2026 09:59:59 GMT")
    assert past.options.deliver_at is None
    assert past.refusal is None
    assert past.faults == ()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            f"X-Mailgun-Deliver-By: {NOW + 3 * DAY + 1}",
            "X-Mailgun-Deliver-By is more than 3 days ahead; choose an earl",
        ),
        ("X-Mailgun-Deliver-By: tomorrow", "X-Mailgun-Deliver-By is neither an RFC 2822 date nor Unix seconds; write"),
        ("X-Mailgun-Recipient-Variables: {", "X-Mailgun-Recipient-Variables is not valid JSON; write"),
        ("X-Mailgun-Recipient-Variables:", "X-Mailgun-Recipient-Variables is not valid JSON; write"),
        (
            'X-Mailgun-Recipient-Variables: {"a": 1}',
            "X-Mailgun-Recipient-Variables is not a JSON object of objects; wr",
        ),
        ("X-Mailgun-Template-Variables: []", "X-Mailgun-Template-Variables is not a JSON object; write"),
        (f"X-Mailgun-Template-Name: {'x' * 256}", "X-Mailgun-Template-Name is longer than 255 characters; shorten it"),
        ("X-Mailgun-Require-TLS: of course", "X-Mailgun-Require-TLS is neither yes nor no; write yes or no"),
    ],
)
def test_what_could_not_be_mended_afterwards_is_refused_with_advice(field, said):
    control = read(field)
    assert control.refusal is not None
    assert str(control.refusal).startswith(f"554 5.6.0 {said}")
    assert len(str(control.refusal)) < 500
    assert str(control.refusal).isascii()
    assert control.faults


def test_the_first_reason_to_refuse_is_told():
    control = read("X-Mailgun-Template-Variables: ?", "X-Mailgun-Deliver-By: ?")
    assert "X-Mailgun-Deliver-By" in str(control.refusal)


def test_variables_are_merged_the_later_winning_and_bad_json_is_ignored():
    control = read(
        'X-Mailgun-Variables: {"a": 1, "b": {"c": [1, 2.5, null, true]}}',
        "X-Mailgun-Variables: {not json}",
        "X-Mailgun-Variables: [1]",
        'x-mailgun-variables: {"a":\r\n\t"two\r\n\twords"}',
    )
    assert control.options.variables == {"a": "two words", "b": {"c": [1, 2.5, None, True]}}
    assert faults(control) == ["X-Mailgun-Variables is not valid JSON", "X-Mailgun-Variables is not a JSON object"]
    assert control.refusal is None
    assert control.names == {b"x-mailgun-variables"}


def test_recipient_variables_of_several_fields_are_put_together():
    field = "X-Mailgun-Recipient-Variables"
    control = read(f'{field}: {{"a@b.c": {{"x": 1, "y": 1}}}}', f'{field}: {{"A@b.c": {{"y": 2}}, "d@e.f": {{}}}}')
    assert control.options.recipient_variables == {"a@b.c": {"x": 1, "y": 2}, "d@e.f": {}}
    assert read(f"{field}: {{}}").options.recipient_variables == {}
    assert read("Subject: x").options.recipient_variables is None


VALUE = {"name": "Jürgen ✓", "n": 1}
JSON = json.dumps(VALUE, ensure_ascii=False)


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(VALUE).encode(),
        JSON.encode(),
        b"=?utf-8?b?%b?=" % base64.b64encode(JSON.encode()),
        b"=?utf-8?b?%b?=\r\n =?utf-8?b?%b?="
        % (base64.b64encode(JSON.encode()[:12]), base64.b64encode(JSON.encode()[12:])),
        b"=?utf-8?q?%b?=" % quopri.encodestring(JSON.encode(), header=True).replace(b"=\n", b"").replace(b"?", b"=3F"),
        b'{"name": "=?utf-8?q?J=C3=BCrgen_=E2=9C=93?=", "n": 1}',
        b'{"name": "=?iso-8859-1?q?J=FCrgen?= =?utf-8?q?_=E2=9C=93?=",\r\n "n": 1}',
    ],
)
def test_variables_may_be_folded_and_encoded_in_every_way_mailers_do(value):
    assert read(b"X-Mailgun-Variables: " + value).options.variables == VALUE


def test_encoded_words_that_would_break_the_json_are_text_in_it():
    control = read(b'X-Mailgun-Variables: {"a": "=?utf-8?q?=22?="}')
    assert control.options.variables == {"a": "=?utf-8?q?=22?="}


def test_large_json_is_read_whole():
    value = {f"k{n}": "x" * 90 for n in range(1000)}
    lines = json.dumps(value).replace(", ", ",\r\n ")
    assert read(f"X-Mailgun-Variables: {lines}").options.variables == value
    octets = json.dumps(value).encode()
    pieces = [base64.b64encode(octets[start : start + 45]).decode() for start in range(0, len(octets), 45)]
    words = "\r\n ".join(f"=?utf-8?b?{piece}?=" for piece in pieces)
    assert read(f"X-Mailgun-Variables: {words}").options.variables == value


def test_json_of_both_headers_of_a_container_has_one_bound():
    block = scan(b'X-Mailgun-Variables: {"a": "%b"}\r\n\r\n' % (b"x" * 200_000))
    assert read_control(block, NOW, DAY).refusal is None
    both = read_control(block, NOW, DAY, outer=block)
    assert str(both.refusal).startswith("554 5.6.0 X-Mailgun-Variables and other JSON fields have more than 256 KiB")


def test_the_inner_header_wins_and_what_repeats_adds_up_innermost_first():
    outer = scan(
        b"X-Mailgun-Tag: o1\r\nX-Mailgun-Tag: O2\r\nX-Mailgun-Dkim: no\r\n"
        b"X-Mailgun-Track: no\r\nX-Mailgun-Archive-To: x\r\n\r\n"
    )
    inner = scan(b"X-Mailgun-Tag: i1\r\nX-Mailgun-Tag: o2\r\nX-Mailgun-Dkim: yes\r\nX-Mailgun-Track: perhaps\r\n\r\n")
    control = read_control(inner, NOW, DAY, outer=outer)
    assert control.options.tags == ("i1", "o2", "o1")
    assert control.options.dkim is True
    assert control.options.track_opens is False
    assert control.names == {b"x-mailgun-tag", b"x-mailgun-dkim", b"x-mailgun-track"}


def test_faults_tell_no_values():
    control = read("X-Mailgun-Dkim: s3cret", "X-Mailgun-Variables: s3cret", "X-Mailgun-Deliver-By: s3cret")
    assert len(control.faults) == 3
    assert "s3cret" not in str(control)


def test_faults_do_not_grow_with_the_number_of_fields():
    assert len(read(*["X-Mailgun-Tag: \x01"] * 1900).faults) == 1


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALAR, lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXT, some, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
TAGS = st.lists(
    st.text("abcXYZ 09-", min_size=1, max_size=10).filter(lambda t: t == t.strip()), max_size=3, unique_by=str.lower
)
SWITCH = st.none() | st.booleans()
OPTIONS = st.builds(
    Options,
    tags=TAGS.map(tuple),
    campaigns=st.lists(st.sampled_from(["a", "B", "c-1"]), max_size=3, unique=True).map(tuple),
    dkim=SWITCH,
    test_mode=st.booleans(),
    deliver_at=st.none() | st.integers(1, 3 * DAY).map(lambda wait: NOW + wait),
    track_opens=SWITCH,
    track_clicks=st.none() | st.sampled_from(Clicks),
    pixel_top=SWITCH,
    require_tls=SWITCH,
    skip_verification=SWITCH,
    template=st.sampled_from(["", "welcome", "ü 1"]),
    template_version=st.sampled_from(["", "v1"]),
    template_variables=OBJECTS,
    variables=OBJECTS,
    recipient_variables=st.none() | st.dictionaries(st.sampled_from(["a@b.c", "d@e.f"]), OBJECTS),
)  # fmt: skip


def written(options: Options, encode: bool) -> list[str]:
    """The fields that say `options`."""

    def word(switch: bool | None) -> str | None:
        return None if switch is None else "yes" if switch else "No"

    def text(value: object) -> str | None:
        if not value and value != {}:
            return None
        dumped = json.dumps(value, ensure_ascii=encode)
        return (
            f"=?utf-8?b?{base64.b64encode(dumped.encode()).decode()}?=" if encode else dumped.replace(", ", ",\r\n\t")
        )

    fields = {
        "Dkim": word(options.dkim),
        "Drop-Message": word(options.test_mode),
        "Deliver-By": None if options.deliver_at is None else f"{options.deliver_at:.0f}",
        "Track-Opens": word(options.track_opens),
        "Track-Clicks": options.track_clicks,
        "Tracking-Pixel-Location-Top": word(options.pixel_top),
        "Require-TLS": word(options.require_tls),
        "Skip-Verification": word(options.skip_verification),
        "Template-Name": options.template or None,
        "Template-Version": options.template_version or None,
        "Template-Variables": text(options.template_variables),
        "Variables": text(options.variables),
        "Recipient-Variables": text(options.recipient_variables),
    }
    several = [("Tag", tag) for tag in options.tags] + [("Campaign-Id", one) for one in options.campaigns]
    return [f"X-Mailgun-{name}: {value}" for name, value in [*several, *fields.items()] if value is not None]


@settings(max_examples=60)
@given(OPTIONS)
def test_options_written_as_fields_are_read_back(options):
    control = read(*written(options, encode=True))
    assert control.refusal is None
    assert control.options == options


@settings(max_examples=60)
@given(OPTIONS)
def test_options_survive_the_store(options):
    read_back = options_from_json(options.to_json())
    if options.recipient_variables is not None:
        assert read_back.recipient_variables == {}  # they are stored with the recipients
        read_back.recipient_variables = options.recipient_variables
    assert read_back == options


NAMES = sorted(CONTROL_NAMES)
PIECES = [
    b"yes", b"htmlonly", b" ", b"\t", b"\r\n ", b"{", b"}", b'"a@b.c"', b":", b",", b"[", b"1", b"=?utf-8?q?", b"?=",
    b"\xff", b"\\",
]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=40),
        ),
        max_size=6,
    )
)
def test_no_header_breaks_the_reading(fields):
    block = scan(b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n")
    control = read_control(block, NOW, DAY, outer=block)
    assert control.names <= CONTROL_NAMES
    assert str(control.refusal).isascii()
    assert "\n" not in str(control.refusal)
    assert options_from_json(control.options.to_json()).variables == control.options.variables


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":' * 40_000,
        b"[" * 200_000,
        b'{"a":[' + b"{}," * 80_000,
        b"=?utf-8?q?=7B?= " * 12_000,
        b'"\\' * 100_000,
        b"1," * 100_000,
    ],
)
def test_hostile_fields_cost_little(value):
    block = scan(b"".join(name + b": " + value[: 250_000 // len(NAMES)] + b"\r\n" for name in NAMES) + b"\r\n")
    whole = scan(b"X-Mailgun-Variables: " + value + b"\r\n\r\n")
    began = time.process_time()
    read_control(block, NOW, DAY)
    read_control(whole, NOW, DAY)
    assert time.process_time() - began < 2
