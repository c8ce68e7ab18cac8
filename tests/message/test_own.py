"""Sender: who sent it for whom."""

import pytest

from mtad.message.headers import scan
from mtad.message.own import sender_field

OURS = "ours.example"


def sender(text: str) -> bytes:
    return sender_field(scan(text.replace("\n", "\r\n").encode()), OURS)


def test_mail_in_the_name_of_another_domain_says_who_sent_it():
    assert sender("From: Bob <bob@their.example>\n\n") == b"Sender: bob=their.example@ours.example\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "From: bob@ours.example\n\n",
        "From: bob@news.ours.example\n\n",
        "From: bob@their.example\nSender: secretary@their.example\n\n",
        "Subject: nobody\n\n",
        "From: nobody at all\n\n",
        f"From: {'b' * 60}@their.example\n\n",
        'From: "odd one"@their.example\n\n',
    ],
)
def test_mail_of_ours_or_with_a_sender_or_without_an_author_stays_as_it_is(text):
    assert sender(text) == b""


def test_a_signature_that_covers_the_lack_of_a_sender_is_not_broken():
    signed = "DKIM-Signature: v=1; a=rsa-sha256;\n h=from:{}subject; b=x\nFrom: bob@their.example\n\n"
    assert sender(signed.format("sender : ")) == b""
    assert sender(signed.format("to:")) != b""
