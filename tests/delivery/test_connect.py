"""delivery.connect and delivery.handshake: from a list of hosts to a session, or why there is none."""

import asyncio
import socket
import ssl

import pytest
import trustme
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.client import Connection
from mtad.delivery.connect import MAX_TRIES
from mtad.delivery.dial import SystemDialer
from mtad.delivery.handshake import features_of
from mtad.delivery.tls import Level, Requirement
from mtad.delivery.wire import Features
from mtad.mail.reply import Deferred, Delivered, Failed, Phase, Reply
from tests.delivery.opening import Opening, transaction
from tests.scripted import DROP, HANG, Act, Peer, _Session, both_loops

CA = trustme.CA()
LOGIN = {"relay": "mx.example:25", "relay_login": "us", "relay_password": "secret"}


def server_tls(name="mx.example", ca=CA):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


async def deliver(opened, **rest):
    """One message through it, and QUIT."""
    assert isinstance(opened, Connection), opened
    (outcome,) = await opened.send(transaction(**rest))
    assert isinstance(outcome, Delivered), outcome
    opened.close()
    await asyncio.wait_for(opened.wait_closed(), 10)
    return outcome


def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Dialer:
    """Connects to the port a test names for an address, whatever the address; remembers the sockets."""

    def __init__(self, **ports):
        self.ports, self.dialed, self.sockets = {key.replace("_", "."): value for key, value in ports.items()}, [], []

    async def dial(self, address, port, source):
        self.dialed.append((address, port, source))
        there = self.ports.get(address, port)
        if there is None:
            await asyncio.get_running_loop().create_future()
        sock = await SystemDialer().dial("127.0.0.1", there, "")
        self.sockets.append(sock)
        return sock


# ---- in the clear


@both_loops
async def test_a_session_in_the_clear_knows_the_host_and_its_features():
    async with Peer("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000") as peer:
        opened = await Opening().open(peer.port)
        assert opened.features == Features(True, True, True, True, True, 1000)
        assert (opened.hop.host, opened.hop.address, opened.hop.tls) == ("mx.example", "127.0.0.1", None)
        assert peer.commands == ["EHLO here.example"]
        await deliver(opened)


async def test_chunking_is_not_used_when_the_operator_does_not_want_it():
    async with Peer("PIPELINING", "CHUNKING") as peer:
        opened = await Opening(chunking=False).open(peer.port)
        await deliver(opened)
        assert "DATA" in peer.commands


async def test_a_host_without_ehlo_is_greeted_with_helo():
    async with Peer(ehlo="502 5.5.1 what?") as peer:
        opened = await Opening().open(peer.port)
        assert opened.features == Features()
        await deliver(opened)
        assert peer.commands[:3] == ["EHLO here.example", "HELO here.example", "MAIL FROM:<ann@s.example>"]


async def test_the_source_address_is_bound_before_connecting():
    async with Peer() as peer:
        opened = await Opening().open(peer.port, source="127.0.0.5")
        assert peer.sessions[0].transport.get_extra_info("peername")[0] == "127.0.0.5"
        assert opened.hop.source == "127.0.0.5"
        await deliver(opened)


async def test_a_source_of_the_other_family_is_not_tried():
    dialer = Dialer()
    opening = Opening(dialer=dialer, addresses={"mx.example": ("2001:db8::1",)})
    outcome = await opening.open(25, source="127.0.0.1")
    assert isinstance(outcome, Deferred)
    assert "mx.example [2001:db8::1] cannot be reached from 127.0.0.1" in outcome.reply.text
    assert not dialer.dialed


# ---- hosts and addresses in order


async def test_the_next_host_is_tried_after_each_kind_of_no():
    for answers in (
        {"connect": "421 4.3.2 busy"},
        {"connect": "554 5.7.1 not you"},
        {"connect": DROP},
        {"connect": "250 hello?"},
        {"connect": b"SSH-2.0-x\r\n"},
        {"ehlo": "421 4.3.2 busy"},
        {"ehlo": DROP},
        {"ehlo": "550 no", "helo": "550 no"},
    ):
        async with Peer(**answers) as bad, Peer() as good:
            dialer = Dialer(**{"192_0_2_1": bad.port, "192_0_2_2": good.port})
            addresses = {"one.example": ("192.0.2.1",), "two.example": ("192.0.2.2",)}
            opened = await Opening(dialer=dialer, addresses=addresses).open(25, "one.example", "two.example")
            assert opened.hop.host == "two.example"
            await deliver(opened)


async def test_the_next_address_of_a_host_is_tried():
    async with Peer() as good:
        dialer = Dialer(**{"192_0_2_1": unused_port(), "192_0_2_2": good.port})
        addresses = {"mx.example": ("192.0.2.1", "192.0.2.2")}
        opened = await Opening(dialer=dialer, addresses=addresses).open(25)
        assert opened.hop.address == "192.0.2.2"
        await deliver(opened)


async def test_nobody_reached_tells_what_each_host_said():
    addresses = {"none.example": ()}
    outcome = await Opening(addresses=addresses).open(unused_port(), "mx.example", "none.example")
    assert isinstance(outcome, Deferred)
    assert (outcome.reply.code, outcome.reply.enhanced, outcome.hop) == (499, "4.4.1", None)
    assert outcome.phase is Phase.CONNECT
    assert "mx.example [127.0.0.1]: Connection refused; none.example has no address" in outcome.reply.text


async def test_the_tries_and_the_words_are_bounded():
    dialer = Dialer(**{f"192_0_2_{number}": unused_port() for number in range(3)})
    hosts = [f"{'x' * 60}.{'y' * 60}.{'z' * 60}.host{number}.example" for number in range(30)]
    opening = Opening(dialer=dialer, addresses={host: ("192.0.2.1", "192.0.2.2") for host in hosts})
    outcome = await opening.open(25, *hosts)
    assert len(dialer.dialed) == MAX_TRIES
    assert len(outcome.reply.text) <= 1000


async def test_no_host_at_all_is_a_deferral():
    outcome = await Opening().connector.open((), 25, "", Opening()._ask)
    assert isinstance(outcome, Deferred)


async def test_a_temporary_greeting_is_the_outcome_in_the_hosts_words():
    async with Peer(connect="421 4.7.0 [GL01] try later") as peer:
        outcome = await Opening().open(peer.port)
        assert isinstance(outcome, Deferred)
        assert (str(outcome.reply), outcome.phase) == ("421 4.7.0 [GL01] try later", Phase.GREETING)
        assert outcome.hop.address == "127.0.0.1"


async def test_a_permanent_greeting_does_not_bounce_mail_but_is_told():
    async with Peer(connect="554 5.7.1 blocked by a list") as peer:
        outcome = await Opening().open(peer.port)
        assert isinstance(outcome, Deferred)
        assert str(outcome.reply) == "499 4.7.1 mx.example said: 554 5.7.1 blocked by a list"


async def test_hosts_that_take_no_mail_ever_fail_it():
    async with Peer(connect="521 5.3.2 no mail here") as peer:
        outcome = await Opening().open(peer.port)
        assert isinstance(outcome, Failed)
        assert outcome.reply == Reply(521, "3.2", "no mail here")


async def test_a_deferral_by_policy_skips_the_host():
    opening = Opening()
    refusal = Deferred(Reply(451, "7.5", "the policy does not allow it"), None, Phase.TLS)

    async def ask(host):
        return refusal if host == "one.example" else opening.requirement

    async with Peer() as peer:
        await deliver(await opening.connector.open(["one.example", "two.example"], peer.port, "", ask))
        outcome = await opening.connector.open(["one.example"], peer.port, "", ask)
        assert outcome.reply == refusal.reply


# ---- time


@both_loops
async def test_each_wait_has_its_limit_and_says_so():
    async def words(**config):
        outcome = await Opening(**config).open(peer.port)
        assert isinstance(outcome, Deferred)
        return outcome.reply.text, outcome.phase

    async with Peer(connect=HANG) as peer:
        found = await words(greeting_timeout_s=0.05)
        assert found == ("mx.example sent no greeting within 0.05 s", Phase.GREETING)
    async with Peer(ehlo=HANG) as peer:
        assert await words(ehlo_timeout_s=0.05) == ("mx.example sent no reply to EHLO within 0.05 s", Phase.EHLO)
    async with Peer(tls=server_tls(), starttls=Act("220 go", hang=True)) as peer:
        text, phase = await words(ehlo_timeout_s=0.05, level=Level.REQUIRED)
        assert (text.split(";")[0], phase) == ("mx.example sent no answer to STARTTLS within 0.05 s", Phase.TLS)
    dialer = Dialer(**{"192_0_2_1": None})
    opening = Opening(dialer=dialer, addresses={"mx.example": ("192.0.2.1",)}, connect_timeout_s=0.05)
    outcome = await opening.open(25)
    assert outcome.reply.text == "mx.example [192.0.2.1] did not answer within 0.05 s"


@both_loops
async def test_a_cancelled_open_leaves_no_socket():
    for answers in ({"connect": HANG}, {"ehlo": HANG}, {"starttls": Act("220 go", hang=True)}):
        async with Peer(tls=server_tls(), **answers) as peer:
            dialer = Dialer()
            opening = asyncio.ensure_future(Opening(Level.REQUIRED, dialer).open(peer.port))
            while not (peer.sessions and peer.sessions[0].silent):
                await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.wait_for(peer.sessions[0].gone.wait(), 10)
            assert dialer.sockets[0].fileno() == -1


# ---- TLS


@both_loops
async def test_opportunistic_tls_takes_any_certificate():
    async with Peer(tls=server_tls("other.example", trustme.CA())) as peer:
        opened = await Opening(Level.OPPORTUNISTIC).open(peer.port)
        outcome = await deliver(opened, body=b"x" * 200_000 + b"\r\n", require_tls=True)
        assert outcome.hop.tls == "TLSv1.3"
        assert not outcome.hop.verified
        assert peer.taken[0].over_tls
        assert len(peer.taken[0].content) == 200_002
        assert peer.commands.count("EHLO here.example") == 2


async def test_a_verified_certificate_is_told(ca_file):
    async with Peer(tls=server_tls()) as peer:
        outcome = await deliver(await Opening(Level.VERIFIED, ca_file=ca_file).open(peer.port))
        assert outcome.hop.verified


@pytest.mark.parametrize(
    ("tls", "word"), [(server_tls("other.example"), "mismatch"), (server_tls(ca=trustme.CA()), "unable to get")]
)
@pytest.mark.parametrize("new_loop", ["asyncio", "uvloop"])
def test_a_certificate_that_proves_nothing_defers_where_proof_is_demanded(tls, word, new_loop, ca_file):
    async def scenario():
        async with Peer(tls=tls) as peer:
            outcome = await Opening(Level.VERIFIED, ca_file=ca_file).open(peer.port)
            assert isinstance(outcome, Deferred)
            assert (outcome.reply.enhanced, outcome.phase) == ("4.7.5", Phase.TLS)
            assert word in outcome.reply.text
            assert outcome.reply.text.endswith("TLS is needed because a test says so")
            assert not peer.taken
            assert len(peer.sessions) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if new_loop == "uvloop" else None) as runner:
        runner.run(scenario())


class FromTheFirstOctet(Peer):
    """As port 465 is: TLS, then the greeting."""

    def __init__(self, context, **answers):
        super().__init__("PIPELINING", "AUTH PLAIN", **answers)
        self.context = context

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self.sessions = [session for session in self.sessions if hasattr(session, "transport")]  # the others failed
        await super().__aexit__(*error)


def implicit(ca_file, **config):
    opening = Opening(ca_file=ca_file, **LOGIN, **config)
    opening.requirement = Requirement(Level.VERIFIED, (), "a test says so", implicit=True)
    return opening


@pytest.fixture
def both(request):
    """Runs a coroutine function with arguments on asyncio's loop and on uvloop's."""

    def run(scenario, *arguments):
        for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(asyncio.wait_for(scenario(*arguments), 20))

    return run


async def smarthost_on_465(ca_file):
    async with FromTheFirstOctet(server_tls()) as peer:
        outcome = await deliver(await implicit(ca_file).open(peer.port), body=b"x" * 200_000 + b"\r\n")
        assert (outcome.hop.tls, outcome.hop.verified) == ("TLSv1.3", True)
        assert peer.commands[:2] == ["EHLO here.example", "AUTH PLAIN AHVzAHNlY3JldA=="]
        assert "STARTTLS" not in peer.commands
        assert len(peer.taken[0].content) == 200_002


def test_tls_begins_with_the_first_octet_where_the_relay_wants_it_so(both, ca_file):
    both(smarthost_on_465, ca_file)


async def stranger_on_465(ca_file):
    for tls, word in ((server_tls("other.example"), "mismatch"), (server_tls(ca=trustme.CA()), "unable to get")):
        async with FromTheFirstOctet(tls) as peer:
            outcome = await implicit(ca_file).open(peer.port)
            assert isinstance(outcome, Deferred)
            assert (outcome.reply.code, outcome.reply.enhanced, outcome.phase) == (451, "4.7.5", Phase.TLS)
            assert word in outcome.reply.text
            assert not peer.commands


def test_a_relay_that_does_not_prove_who_it_is_gets_no_password(both, ca_file):
    both(stranger_on_465, ca_file)


async def refusals_on_465(ca_file):
    async with FromTheFirstOctet(server_tls(), connect="554 5.7.1 not you") as peer:
        outcome = await implicit(ca_file).open(peer.port)
        assert (outcome.phase, outcome.reply.text) == (Phase.GREETING, "mx.example said: 554 5.7.1 not you")
    async with FromTheFirstOctet(server_tls(), connect=HANG) as peer:
        outcome = await implicit(ca_file, greeting_timeout_s=0.2).open(peer.port)
        assert outcome.reply.text == "mx.example sent no greeting within 0.2 s"
    async with Peer() as plain:  # it speaks first, and no TLS
        outcome = await implicit(ca_file).open(plain.port)
        assert isinstance(outcome, Deferred)
        assert outcome.reply.code in (451, 499)
        assert len(plain.sessions) == 1
        assert not plain.taken


def test_a_relay_without_tls_from_the_first_octet_is_told_of_in_words(both, ca_file):
    both(refusals_on_465, ca_file)


BROKEN_TLS = [
    Act("454 4.7.0 not now"),
    Act("220 go", drop=True),
    Act("220 go\r\n250 injected in the clear", hang=True),
    Act("220 go", hang=True, then=b"this is no TLS record at all\r\n" * 20),
    DROP,
]
IDS = ["refused", "dropped", "silent", "garbage", "lost"]


@pytest.mark.parametrize("broken", BROKEN_TLS, ids=IDS)
async def test_opportunistic_tls_that_fails_goes_in_the_clear_and_is_remembered(broken):
    async with Peer(tls=server_tls(), starttls=broken) as peer:
        opening = Opening(Level.OPPORTUNISTIC, ehlo_timeout_s=0.2)
        opened = await opening.open(peer.port)
        assert len(peer.sessions) == 2
        assert (await deliver(opened)).hop.tls is None
        await deliver(await opening.open(peer.port))
        assert peer.commands.count("STARTTLS") == 1


@both_loops
async def test_words_injected_before_the_handshake_are_forgotten():
    async with Peer(tls=server_tls(), starttls=b"220 go\r\n250-evil\r\n250 LIMITS MAILMAX=1\r\n") as peer:
        opened = await Opening(Level.REQUIRED).open(peer.port)
        assert opened.features.max_messages == 0
        assert (await deliver(opened)).hop.tls


@pytest.mark.parametrize("level", [Level.REQUIRED, Level.VERIFIED])
@pytest.mark.parametrize("broken", BROKEN_TLS, ids=IDS)
async def test_mandatory_tls_that_fails_defers(level, broken):
    async with Peer(tls=server_tls(), starttls=broken) as peer:
        outcome = await Opening(level, ehlo_timeout_s=0.2).open(peer.port)
        assert isinstance(outcome, Deferred)
        assert outcome.reply.code == 451
        assert outcome.reply.enhanced.startswith("4.")
        assert outcome.phase is Phase.TLS
        assert "TLS is needed because" in outcome.reply.text
        assert len(peer.sessions) == 1
        assert not [command for command in peer.commands if command.startswith("MAIL")]


async def test_mandatory_tls_that_is_not_offered_defers():
    async with Peer() as peer:
        outcome = await Opening(Level.REQUIRED).open(peer.port)
        assert outcome.reply.enhanced == "4.7.4"
        assert outcome.reply.text == "mx.example offers no STARTTLS; TLS is needed because a test says so"


async def test_level_none_does_not_start_tls():
    async with Peer(tls=server_tls()) as peer:
        await deliver(await Opening(Level.NONE).open(peer.port))
        assert "STARTTLS" not in peer.commands


# ---- AUTH


@both_loops
async def test_the_smarthost_is_told_the_login_over_tls():
    for methods, command in (
        ("AUTH LOGIN PLAIN", "AUTH PLAIN AHVzAHNlY3JldA=="),
        ("AUTH LOGIN CRAM-MD5", "AUTH LOGIN dXM="),
    ):
        async with Peer("PIPELINING", methods, tls=server_tls(), c2vjcmv0="235 2.7.0 ok") as peer:
            await deliver(await Opening(Level.REQUIRED, **LOGIN).open(peer.port))
            assert command in peer.commands
            assert peer.commands.index(command) > peer.commands.index("STARTTLS")


async def test_the_login_may_go_in_the_clear_to_loopback_only():
    async with Peer("AUTH PLAIN") as peer:
        await deliver(await Opening(Level.NONE, **LOGIN).open(peer.port))
        dialer = Dialer(**{"192_0_2_1": peer.port})
        opening = Opening(Level.NONE, dialer, {"mx.example": ("192.0.2.1",)}, **LOGIN)
        outcome = await opening.open(25)
        assert isinstance(outcome, Deferred)
        assert outcome.phase is Phase.AUTH
        assert "relay_password is not sent" in outcome.reply.text
        assert len([command for command in peer.commands if command.startswith("AUTH")]) == 1


@pytest.mark.parametrize(
    ("methods", "answer", "words"),
    [
        ("AUTH PLAIN", "535 5.7.8 wrong", "mx.example said: 535 5.7.8 wrong"),
        ("AUTH PLAIN", "454 4.7.0 later", "later"),
        ("AUTH GSSAPI", "235 ok", "neither AUTH PLAIN nor LOGIN"),
        ("8BITMIME", "235 ok", "neither AUTH PLAIN nor LOGIN"),
    ],
)
async def test_a_login_that_does_not_work_defers_and_shows_no_password(methods, answer, words):
    async with Peer(methods, **{"auth PLAIN": answer}) as peer:
        outcome = await Opening(Level.NONE, **LOGIN).open(peer.port)
        assert isinstance(outcome, Deferred)
        assert outcome.phase is Phase.AUTH
        assert words in outcome.reply.text
        assert "secret" not in repr(outcome)


# ---- the hand-over


@both_loops
async def test_no_octet_is_lost_at_the_hand_over():
    goodbye = "\r\n421 4.3.2 changed my mind"
    ehlo = "250-scripted.example\r\n250 AUTH PLAIN LOGIN"
    for level, answers in (
        (Level.NONE, {"ehlo": ehlo + goodbye}),
        (Level.NONE, {"ehlo": "500 no", "helo": "250 hello" + goodbye}),
        (Level.REQUIRED, {"ehlo": [ehlo + "\r\n250 STARTTLS", ehlo + goodbye], "tls": server_tls()}),
        (Level.NONE, {"auth PLAIN": "235 ok" + goodbye, "ehlo": ehlo}),
    ):
        answers = {**answers}
        if "tls" in answers:
            answers["ehlo"][0] = "250-scripted.example\r\n250 STARTTLS"
        async with Peer(**answers) as peer:
            config = LOGIN if "auth PLAIN" in answers else {}
            outcome = await Opening(level, **config).open(peer.port)
            assert isinstance(outcome, Deferred)
            assert str(outcome.reply) == "421 4.3.2 changed my mind"


@both_loops
async def test_a_host_that_changes_its_mind_in_its_greeting_is_heard():
    for drop in (False, True):
        async with Peer(connect=Act("220 hello\r\n421 4.3.2 changed my mind", drop=drop)) as peer:
            outcome = await Opening().open(peer.port)
            assert isinstance(outcome, Deferred)
            assert (str(outcome.reply), outcome.phase) == ("421 4.3.2 changed my mind", Phase.GREETING)


@both_loops
async def test_a_second_segment_right_after_ehlo_is_seen():
    async with Peer(ehlo=Act("250 scripted.example", drop=True)) as peer:
        opened = await Opening().open(peer.port)
        if isinstance(opened, Connection):  # the end came after the hand-over
            (outcome,) = await opened.send(transaction())
            assert isinstance(outcome, Deferred)
            await asyncio.wait_for(opened.wait_closed(), 10)
        else:
            assert isinstance(opened, Deferred)


# ---- features


def test_features_are_read_from_what_ehlo_says():
    said = {"size": "", "limits": "RCPTMAX=20 mailmax=7 FOO BAR=x", "chunking": ""}
    assert features_of(said, chunking=True) == Features(size=0, chunking=True, max_recipients=20, max_messages=7)
    assert features_of({}, chunking=True) == Features()


@given(st.dictionaries(st.sampled_from(["size", "limits", "pipelining"]), st.text(max_size=30)))
def test_any_parameters_are_read_without_an_exception(said):
    features = features_of(said, chunking=True)
    assert features.size is None or features.size >= 0
    assert features.max_recipients >= 0
