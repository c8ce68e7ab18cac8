import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.cli import words
from mtad.mail.waiting import Waiting, WaitReason


@given(st.text())
def test_whatever_is_said_cannot_drive_a_terminal(text):
    shown = words.plain(text)
    assert not any(c in shown for c in "\x00\x07\x08\x1b\x7f\x9b\n\r\u202e\u2028\u200b")


def test_what_is_printable_stays_as_it_is():
    assert words.plain("Grüße, Ωμέγα [red] 😀") == "Grüße, Ωμέγα [red] 😀"
    assert words.plain("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (45, "45 s"), (60, "1 min"), (125, "2 min 5 s"), (7200, "2 h"), (90_000, "1 d 1 h")],
)
def test_a_length_of_time_is_its_two_largest_units(seconds, text):
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("30 min", 1800), ("2H", 7200), ("1.5d", 129_600), ("1w", 604_800)],
)
def test_lengths_of_time_are_read(text, seconds):
    assert words.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "1y", "1h30m", "inf", "nan"])
def test_what_is_no_length_of_time_is_none(text):
    assert words.seconds_of(text) is None


def test_points_in_time_are_read_as_ago_date_or_number():
    assert words.moment_of("2h", 10_000.0) == 2800.0
    assert words.moment_of("@1700000000", 0.0) == 1_700_000_000.0
    assert words.moment_of("2026-11-23T09:44:13+00:00", 0.0) == 1_795_427_053.0
    assert words.moment(words.moment_of("2026-11-23 09:44:13", 0.0)) == "2026-11-23 09:44:13"


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_none(text):
    found = words.moment_of(text, 0.0)
    assert found is None or isinstance(found, float)


def test_distances_are_told_both_ways():
    assert words.distance(100.0, 100.5) == "now"
    assert words.distance(400.0, 100.0) == "in 5 min"
    assert words.distance(100.0, 400.0) == "5 min ago"
    assert words.distance(None, 0.0) == ""


def test_a_reason_is_one_sentence_with_its_end():
    now = 1_700_000_000.0
    waiting = Waiting(WaitReason.SITE_SUSPENDED, now + 60, "suspended: 421 too\nmany.")
    assert words.why(waiting, now) == f"suspended: 421 too\\x0amany (until {words.moment(now + 60)[11:]})"
    far = Waiting(WaitReason.SCHEDULED, now + 3 * 86_400, "scheduled")
    assert words.why(far, now) == f"scheduled (until {words.moment(now + 3 * 86_400)})"
    assert words.why(Waiting(WaitReason.PAUSED, None, "paused"), now) == "paused"
    assert words.why(None, now) == ""


def test_sizes_and_counts():
    assert [words.size(n) for n in (812, 10_445, 5 << 20, 3 << 30)] == ["812 octets", "10.2 KiB", "5.0 MiB", "3.0 GiB"]
    assert (words.count(1, "recipient"), words.count(0, "recipient")) == ("1 recipient", "0 recipients")
