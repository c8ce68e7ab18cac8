"""django-anymail's own inbound view, in a Django application: it must accept and read what we post of any message."""

import warnings
from pathlib import Path

import pytest

from mtad.inbound.payload import Stored as Place
from mtad.inbound.payload import forwarded, letter, raw, stored
from mtad.message.parse import parse
from mtad.webhooks.forward import form_of
from mtad.webhooks.payload import stamp
from tests.webhooks.samples import NOW
from tests.webhooks.test_anymail import KEY, application

pytest.importorskip("anymail.webhooks.mailgun")
from anymail.inbound import AnymailInboundMessage

__all__ = ["application"]  # the fixture
TOKEN = "ef" * 25
SAMPLES = sorted(Path(__file__).resolve().parents[1].rglob("samples/**/*.eml"))
TEXT = b"From: =?utf-8?q?Z=C3=B6e?= <z@their.example>\r\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\n\r\nHello\r\n"
ODD_NAMES = b"".join(
    [
        b"Subject: names\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee.\r\n",
        *[
            b"--b\r\nContent-Type: text/csv\r\nContent-Disposition: attachment%b\r\n\r\n%d\r\n" % (name, number)
            for number, name in enumerate(
                (
                    b"",
                    b'; filename=""',
                    b'; filename="../../x"',
                    b'; filename=".."',
                    b'; filename="a/b\\\\c"',
                    b'; filename="\r\n x"',
                )
            )
        ],
        b"--b--\r\n",
    ]
)


@pytest.fixture
def seen(application):
    from anymail.signals import inbound

    found = []

    def take(sender, event, esp_name, **kwargs):
        found.append(event)

    inbound.connect(take)
    yield found
    inbound.disconnect(take)


@pytest.fixture
def post(application, seen):
    """post(fields) -> status, and what the application was told."""
    from django.test import Client

    client = Client(enforce_csrf_checks=True)

    def call(fields, key=KEY):
        mark = stamp(key, int(NOW), TOKEN)
        tail = [("timestamp", str(mark.timestamp)), ("token", mark.token), ("signature", mark.signature)]
        body = form_of(list(fields), tail)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = client.post("/anymail/mailgun/inbound/", data=body.content, content_type=body.content_type)
        return answer.status_code, seen[-1] if seen else None

    return call


def crlf(file):
    return file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("file", SAMPLES, ids=[f"{file.parent.name}-{file.stem}" for file in SAMPLES])
def test_every_message_of_the_samples_is_read_from_its_pieces(post, file):
    made = letter(parse(crlf(file)))
    status, event = post(forwarded(made, "bob@ours.example", "ann@their.example"))
    assert status == 200
    message = event.message
    assert (message.envelope_recipient, message.envelope_sender) == ("bob@ours.example", "ann@their.example")
    assert message.subject == made.parsed.subject or not made.parsed.subject
    assert message.text.rstrip() == made.parsed.plain.replace("\r\n", "\n").rstrip()
    assert message.stripped_text == made.stripped.text
    files = [*message.attachments, *message.content_id_map.values()]
    assert len(files) == len(made.parsed.attachments)


@pytest.mark.parametrize("file", SAMPLES, ids=[f"{file.parent.name}-{file.stem}" for file in SAMPLES])
def test_every_message_of_the_samples_is_read_as_it_is(post, file):
    content = crlf(file)
    status, event = post(raw(content, "bob@ours.example", ""))
    assert status == 200
    message, wanted = event.message, AnymailInboundMessage.parse_raw_mime_bytes(content)
    assert (message.envelope_recipient, message.envelope_sender) == ("bob@ours.example", "")
    if content.isascii():
        assert [one.get_content_type() for one in message.walk()] == [one.get_content_type() for one in wanted.walk()]
        assert (message.subject, message.text, message.html) == (wanted.subject, wanted.text, wanted.html)


def test_names_in_other_letters_arrive(post):
    _, event = post(forwarded(letter(parse(TEXT)), "bob@ours.example", "z@their.example"))
    assert (event.message.from_email.display_name, event.message.subject) == ("Zöe", "Größe")
    assert event.message.text == "Hello\n"


def test_files_with_names_that_are_none_arrive_too(post):
    made = letter(parse(ODD_NAMES))
    status, event = post(forwarded(made, "bob@ours.example", ""))
    assert status == 200
    assert [one.get_content_bytes().strip() for one in event.message.attachments] == [b"%d" % n for n in range(6)]


def test_marks_of_the_spam_filter_are_read(post):
    content = b"X-Mailgun-Sflag: Yes\r\nX-Mailgun-Sscore: 7.5\r\n" + TEXT
    for fields in (forwarded(letter(parse(content)), "b@ours.example", ""), raw(content, "b@ours.example", "")):
        _, event = post(fields)
        assert (event.message.spam_detected, event.message.spam_score) == (True, 7.5)


def test_a_wrong_key_is_refused(post, seen):
    assert post(raw(TEXT, "b@ours.example", ""), "key-other") == (400, None)


def test_the_notice_of_a_stored_message_is_told_apart(post, seen):
    from anymail.exceptions import AnymailConfigurationError

    place = Place("ours.example", "http://x.example/k", lambda number: f"http://x.example/k/{number}")
    with pytest.raises(AnymailConfigurationError, match=r"store\(\)"):
        post(stored(letter(parse(ODD_NAMES)), "bob@ours.example", "", place))
