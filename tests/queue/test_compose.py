"""What a message needs to be composed for: what its sender says, else what its domain wants."""

import email
import email.policy

import orjson
import pytest

from mtad.mail.options import Clicks, Options, Tracking
from mtad.mail.token import Purpose, Tokens
from mtad.message.finish import Finisher
from mtad.queue.compose import Composer
from mtad.queue.work import Held, Job
from mtad.storage.outgoing import Flag, StoredMessage, StoredRecipient
from tests.virtualclock import VirtualClock

URL = "http://links.ours.example"
HTML = b'MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p><a href="http://shop.example/">shop</a></p>\r\n'
TOKENS = Tokens(b"k" * 32)
OWN = Flag.TRACK | Flag.VERP


class Domains:
    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def name_of(self, number: int) -> str:
        return "ours.example" if number == 1 else ""

    def tracking(self, domain_id: int) -> Tracking:
        return self._tracking

    def signers(self, domain_id: int) -> tuple:
        return ()


def composer(tracking: Tracking | None = None, *, verp: bool = True) -> Composer:
    domains = Domains(tracking or Tracking(web_url=URL))
    return Composer(domains=domains, tokens=TOKENS, finisher=Finisher(None), clock=VirtualClock(), verp=verp)


def job(options: Options | None = None, flags: int = OWN, personal: dict | None = None, address="bob@b.example") -> Job:
    said = options.to_json() if options else None
    message = StoredMessage(10, 1, "ann@their.example", len(HTML), 1, flags, None, None, None, b"{}", said or None)
    stored = orjson.dumps(personal) if personal else None
    recipient = StoredRecipient(11, 10, 1, 1, address, 1, 0, 2e9, personal=stored)
    return Job(Held(message, 1), recipient, None)


async def composed(made: Composer, one: Job, content: bytes = HTML) -> str:
    found = made.chunks(one, content)
    octets = b"".join(found if isinstance(found, tuple) else await found)
    return email.message_from_bytes(octets, policy=email.policy.default).get_content()


async def test_a_message_that_asks_for_tracking_is_tracked_where_the_domain_does_not_ask():
    text = await composed(composer(), job(Options(track_opens=True, track_clicks=Clicks.YES)))
    assert f"{URL}/o/" in text
    assert f"{URL}/c/" in text


async def test_a_message_that_refuses_tracking_is_not_tracked_where_the_domain_asks():
    wanted = Tracking(opens=True, clicks=Clicks.YES, web_url=URL)
    assert URL not in await composed(composer(wanted), job(Options(track_opens=False, track_clicks=Clicks.NO)))
    assert f"{URL}/o/" in await composed(composer(wanted), job())


async def test_the_footer_does_not_hang_on_tracking():
    wanted = Tracking(footer_html="<p>%unsubscribe_url%</p>", list_unsubscribe=True, web_url=URL)
    text = await composed(composer(wanted), job(Options(track_opens=False, track_clicks=Clicks.NO)))
    assert f"{URL}/u/" in text


async def test_what_nobody_asked_to_change_is_the_same_object():
    [chunk] = composer().chunks(job(), HTML)
    assert chunk is HTML


async def test_without_a_place_for_links_nothing_is_tracked():
    assert "/o/" not in await composed(composer(Tracking(opens=True)), job())


@pytest.mark.parametrize(
    ("flags", "verp", "address", "reverse_path"),
    [
        (OWN, True, "bob@b.example", f"{TOKENS.local_part(Purpose.BOUNCE, 11)}@ours.example"),
        (OWN, False, "bob@b.example", "ann@their.example"),
        (Flag.REPORT, True, "bob@b.example", "ann@their.example"),
        (OWN | Flag.ROUTED, True, "http://app.example/", "ann@their.example"),
    ],
)
def test_the_reverse_path_names_the_recipient_where_reports_can_find_us(flags, verp, address, reverse_path):
    made = composer(verp=verp)
    assert made.reverse_path(job(flags=flags, address=address)) == reverse_path


def test_recipients_share_a_transaction_only_when_nothing_is_their_own():
    plain = job(flags=0).held
    assert not composer().alone(plain)
    assert composer().alone(job().held)
    assert composer(verp=False).alone(job(Options(recipient_variables={}), OWN | Flag.COMPOSE).held)


async def test_a_cc_of_a_batch_reads_the_letter_of_the_one_it_is_a_copy_of():
    options = Options(recipient_variables={}, shared_variables={"shop": "Shop"})
    personal = {"name": "Al", "variables": {"first": "Al"}, "to": "al@b.example"}
    one = job(options, OWN | Flag.COMPOSE, personal, "cc@b.example")
    content = b"To: x\r\nContent-Type: text/plain\r\n\r\n%recipient% %recipient.first% %recipient.shop%\r\n"
    assert (await composed(composer(), one, content)).strip() == "Al <al@b.example> Al Shop"
