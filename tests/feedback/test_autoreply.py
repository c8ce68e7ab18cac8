import pytest

from mtad.feedback.autoreply import certain_mark, possible_mark
from mtad.feedback.mime import parse


@pytest.mark.parametrize(
    "field",
    [
        "Subject: Automatic reply: news",
        "Subject: Re: Out of Office: news",
        "Subject: RE: AW: Abwesenheitsnotiz",
        "Subject: [Auto] Out of the office",
        "Subject: Auto: news",
        "Subject: =?utf-8?q?R=C3=A9ponse_automatique_:_news?=",
        "Subject: Respuesta automática: news",
        "Subject: Risposta automatica",
        "Subject: Automatisch antwoord: news",
        "Subject: Odpowiedź automatyczna: news",
        "Subject: Автоответ: news",
        "Subject: 自動応答: news",
        "Subject: 自动回复: news",
        "Subject: Resposta automática",
        "X-Autoreply: yes",
        "X-Autorespond: news",
        "Precedence: auto_reply",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=x",
        "Content-Type: message/disposition-notification",
    ],
)
def test_what_only_automatic_answers_carry(field):
    assert certain_mark(parse(f"{field}\r\n\r\nx".encode())) != ""


@pytest.mark.parametrize(
    "field",
    [
        "Subject: Undelivered Mail Returned to Sender",
        "Subject: Re: news",
        "Subject: Re: Re: Re: Re: Re: Out of office",
        "Subject: ",
        "Auto-Submitted: auto-replied",  # reports of delivery say so too
        "Auto-Submitted: auto-generated (failure)",
        "Precedence: bulk",
        "X-Auto-Response-Suppress: All",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
    ],
)
def test_what_others_carry_too(field):
    assert certain_mark(parse(f"{field}\r\n\r\nx".encode())) == ""


def test_auto_submitted_is_a_possible_mark():
    assert possible_mark(parse(b"Auto-Submitted: auto-replied; owner=x\r\n\r\n")) == "auto-submitted: auto-replied"
    assert possible_mark(parse(b"Auto-Submitted: No\r\n\r\n")) == ""
    assert possible_mark(parse(b"Subject: x\r\n\r\n")) == ""
