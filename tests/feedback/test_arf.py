import pytest

from mtad.feedback.incoming import Complaint, NoReport
from tests.feedback.reports import read, sample


def test_a_complaint_says_what_its_fields_say():
    found = read(sample("arf-abuse"))
    assert isinstance(found, Complaint)
    assert found.feedback_type == "abuse"
    assert [str(address) for address in found.original_rcpt_to] == ["bob@example.net"]
    assert str(found.original_mail_from) == "bounce+abc@news.example.com"
    assert (found.source_ip, found.user_agent) == ("192.0.2.10", "ExampleFBL/1.0")
    assert found.arrived_at == 1_767_607_200.0
    assert found.message_id == "m1@news.example.com"


def test_a_complaint_without_names_still_leads_to_our_reverse_path():
    found = read(sample("arf-redacted"))
    assert found.original_rcpt_to == ()
    assert str(found.original_mail_from) == "bounce+abc@news.example.com"
    assert (found.source_ip, found.arrived_at) == ("2001:db8::10", None)


def test_each_recipient_is_named_once():
    found = read(sample("arf-headers-only"))
    assert [str(address) for address in found.original_rcpt_to] == ["bob@example.net", "carol@example.net"]
    assert [part.name for part in found.returned.parts] == ["notification.txt", "report.txt", "headers.txt"]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("abuse", "abuse"),
        ("Abuse; x", "abuse"),
        ("FRAUD", "fraud"),
        ("opt-out", "opt-out"),
        ("opt-out-list", "opt-out"),
        ("other", "other"),
        ("spam", "abuse"),
    ],
)
def test_types_of_complaint(written, kind):
    found = read(sample("arf-abuse").replace(b"Feedback-Type: abuse", f"Feedback-Type: {written}".encode()))
    assert found.feedback_type == kind


@pytest.mark.parametrize("written", ["virus", "not-spam", "auth-failure", "x-new", ""])
def test_types_by_which_nobody_complains(written):
    content = sample("arf-abuse").replace(b"Feedback-Type: abuse", f"Feedback-Type: {written}".encode())
    assert read(content) == NoReport()


@pytest.mark.parametrize("date", ["Mon, 99 Jan 2026", "x", "", "Mon, 05 Jan 99999 10:00:00 +9999", "1" * 5000])
def test_a_date_that_is_none_is_left_out(date):
    content = sample("arf-abuse").replace(b"Mon, 05 Jan 2026 10:00:00 +0000\r\nSource", date.encode() + b"\r\nSource")
    found = read(content)
    assert (found.arrived_at, found.source_ip) == (None, "192.0.2.10")
