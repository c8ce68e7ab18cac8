"""The header of each recipient's copy, made again from the stored one."""

import pytest

from mtad.mail.options import Options, Tracking
from mtad.mail.token import KEY_OCTETS, Tokens
from mtad.message.finish import Finisher
from mtad.message.variables import Unfillable
from mtad.queue.compose import Composer
from mtad.queue.headers import _KEPT, SentHeaders
from mtad.queue.prepare import Personal, person_of
from mtad.storage.outgoing import Flag, StoredMessage, StoredRecipient
from tests.virtualclock import VirtualClock

HEADER = (
    b"Received: from x\r\n\tby y\r\nFrom: a@ours.example\r\nTo: Una %recipient.n% <una@x.example>, zoe@x.example\r\n"
    b"Subject: For %recipient.n%\r\nContent-Type: text/plain\r\n"
)


class Domains:
    web_url = "https://links.example"

    def name_of(self, number: int) -> str:
        return "ours.example"

    def tracking(self, domain_id: int) -> Tracking:
        return Tracking(list_unsubscribe=domain_id == 2, web_url=self.web_url)

    def signers(self, domain_id: int) -> tuple[()]:
        return ()


@pytest.fixture
def headers():
    tokens = Tokens(b"k" * KEY_OCTETS)
    clock = VirtualClock()
    return SentHeaders(
        Composer(domains=Domains(), tokens=tokens, finisher=Finisher(None), clock=clock, verp=True)  # type: ignore[arg-type]
    )


def message(number: int = 1, flags: int = Flag.COMPOSE, options: Options | None = None, domain: int = 1):
    said = options.to_json() if options is not None else None
    return StoredMessage(number, domain, "", 0, 0, flags, None, None, None, b"", said)


def recipient(address: str, **variables: object):
    personal = person_of(Personal(variables=variables or None))
    return StoredRecipient(7, 1, 1, 0, address, 0, 0, 0.0, personal=personal)


BATCH = Options(recipient_variables={})


def test_each_of_a_batch_has_his_own_to_and_subject_and_the_rest_as_it_was(headers):
    made = headers(HEADER, message(options=BATCH), recipient("una@x.example", n="One"))
    assert made == HEADER.replace(b", zoe@x.example", b"").replace(b"%recipient.n%", b"One")
    made = headers(HEADER, message(options=BATCH), recipient("zoe@x.example", n="Two"))
    assert b"una@" not in made
    assert b"To: zoe@x.example\r\nSubject: For Two\r\n" in made


def test_what_is_not_composed_is_told_as_it_stands(headers):
    assert headers(HEADER, message(flags=0), recipient("una@x.example")) is HEADER
    assert headers(HEADER, message(flags=Flag.TRACK), recipient("una@x.example")) is HEADER
    assert headers(HEADER, message(2), recipient("una@x.example")) == HEADER  # keys are a batch's


def test_fields_that_a_domain_adds_are_told_too(headers):
    made = headers(HEADER, message(flags=Flag.TRACK, domain=2), recipient("una@x.example"))
    assert made.startswith(HEADER)
    assert b"\r\nList-Unsubscribe: <mailto:" in made
    assert b"https://links.example/u/" in made


def test_a_copy_that_could_not_be_made_has_no_header(headers):
    options = Options(recipient_variables={}, shared_variables={"n": "x" * 70_000_000})
    with pytest.raises(Unfillable):
        headers(HEADER, message(options=options), recipient("una@x.example"))


def test_only_the_last_few_messages_are_kept(headers):
    for number in range(3 * _KEPT):
        headers(HEADER, message(number, options=BATCH), recipient("una@x.example", n="One"))
    assert len(headers._kept) == _KEPT
