import pytest

from mtad.mail.address import Address
from mtad.mail.reply import Reply
from mtad.smtp.policy import DoorPolicy
from mtad.smtp.session import Listener, Session

ANN, BOB = Address("ann", "ours.test"), Address("bob", "elsewhere.test")
NO_RELAY = Reply(550, "7.1", "relaying refused")


@pytest.fixture
def policy():
    return DoorPolicy(
        default_domain="default.test",
        is_ours=lambda domain: domain == "ours.test",
        recipient=lambda address: None if address.domain == "ours.test" else NO_RELAY,
        accepting=lambda: None,
    )


@pytest.mark.parametrize("listener", list(Listener))
def test_whoever_has_logged_in_sends_anywhere_under_its_own_domain(policy, listener):
    session = Session(listener, "192.0.2.1", login="x@ours.test", domain="ours.test")
    assert policy.mail(session, BOB, 0) is None
    assert policy.rcpt(session, BOB) is None
    assert session.domain == "ours.test"


def test_a_stranger_sends_to_us_only_and_by_mx_only(policy):
    stranger = Session(Listener.MX, "192.0.2.1")
    assert policy.mail(stranger, BOB, 0) is None
    assert policy.rcpt(stranger, ANN) is None
    assert policy.rcpt(stranger, BOB) is NO_RELAY
    assert stranger.domain == ""
    for listener in (Listener.SUBMISSION, Listener.SUBMISSIONS):
        assert str(policy.mail(Session(listener, "192.0.2.1", tls="TLSv1.3"), BOB, 0)).startswith("530 5.7.0")
    assert "STARTTLS" in str(policy.mail(Session(Listener.SUBMISSION, "192.0.2.1"), BOB, 0))


def test_a_trusted_client_sends_for_the_domain_of_its_reverse_path_if_it_is_ours(policy):
    session = Session(Listener.SUBMISSION, "192.0.2.1", trusted=True)
    for reverse_path, domain in ((ANN, "ours.test"), (BOB, "default.test"), (None, "default.test")):
        assert policy.mail(session, reverse_path, 0) is None
        assert policy.rcpt(session, BOB) is None
        assert session.domain == domain
