"""delivery.dialogue: every reply at every phase, lost connections, and what may follow on the connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.delivery.dialogue import MERGE, Dialogue, Reuse
from mtad.delivery.wire import Features
from mtad.mail.envelope import Transaction
from mtad.mail.reply import Deferred, Delivered, Failed, Hop, Phase

HOP = Hop("mx.example", "192.0.2.1")
BODY = b"Subject: x\r\n\r\n.hidden dot\r\nend\r\n"
STUFFED = b"Subject: x\r\n\r\n..hidden dot\r\nend\r\n"
BOB, ANN, JOE = "bob@x.example", "ann@x.example", "joe@x.example"

STEPWISE = Features()
PIPELINED = Features(pipelining=True)
CHUNKED = Features(pipelining=True, chunking=True)
EVERY = pytest.mark.parametrize("features", [STEPWISE, PIPELINED, CHUNKED], ids=["stepwise", "pipelined", "chunked"])


def transaction(*recipients, body=BODY, sender="ann@s.example", **rest):
    return Transaction(sender, recipients or (BOB,), (body,), len(body), **rest)


def begin(features=PIPELINED, *recipients, **rest):
    dialogue = Dialogue(features, HOP)
    return dialogue, b"".join(dialogue.start(transaction(*recipients, **rest)))


def hear(dialogue, *replies):
    return b"".join(b"".join(dialogue.feed(reply.encode() + b"\r\n")) for reply in replies)


def merged(features):
    """Replies of a host that takes one recipient: chunked hosts say no 354."""
    return ["250 ok", "250 ok"] if features.chunking else ["250 ok", "250 ok", "354 go"]


# ---- the good case


def test_with_pipelining_the_envelope_and_data_are_one_segment_and_the_body_is_stuffed():
    dialogue, written = begin(PIPELINED, BOB, ANN)
    assert written == (b"MAIL FROM:<ann@s.example>\r\nRCPT TO:<bob@x.example>\r\nRCPT TO:<ann@x.example>\r\nDATA\r\n")
    assert hear(dialogue, "250 ok", "250 ok", "250 ok") == b""
    assert hear(dialogue, "354 go") == STUFFED + b".\r\n"
    assert not dialogue.done
    hear(dialogue, "250 2.0.0 queued as 1")
    assert dialogue.done
    assert dialogue.reuse is Reuse.CLEAN
    bob, ann = dialogue.outcomes(1.5)
    assert isinstance(bob, Delivered)
    assert (str(bob.reply), bob.hop, bob.took_s) == ("250 2.0.0 queued as 1", HOP, 1.5)
    assert ann == bob


ASKED = {"notify": ("", "NEVER"), "orcpt": ("rfc822;Bob@x.example", ""), "envid": "Q1", "ret": "HDRS"}


def test_a_host_with_dsn_is_told_what_each_recipients_sender_asked_for():
    _, written = begin(Features(pipelining=True, dsn=True), BOB, ANN, **ASKED)
    assert written == (
        b"MAIL FROM:<ann@s.example> RET=HDRS ENVID=Q1\r\n"
        b"RCPT TO:<bob@x.example> ORCPT=rfc822;Bob@x.example\r\n"
        b"RCPT TO:<ann@x.example> NOTIFY=NEVER\r\nDATA\r\n"
    )


def test_a_host_without_dsn_hears_nothing_of_it():
    _, written = begin(PIPELINED, BOB, ANN, **ASKED)
    assert written == b"MAIL FROM:<ann@s.example>\r\nRCPT TO:<bob@x.example>\r\nRCPT TO:<ann@x.example>\r\nDATA\r\n"


def test_parameters_that_must_not_be_on_the_wire_change_nothing():
    dialogue = Dialogue(Features(dsn=True), HOP)
    with pytest.raises(ValueError, match="NOTIFY"):
        dialogue.start(transaction(notify=("NEVER\r\nRSET",)))
    assert dialogue.done
    assert dialogue.reuse is Reuse.CLEAN


def test_without_pipelining_each_command_waits_for_the_reply_before():
    dialogue, written = begin(STEPWISE, BOB, ANN)
    assert written == b"MAIL FROM:<ann@s.example>\r\n"
    assert hear(dialogue, "250 ok") == b"RCPT TO:<bob@x.example>\r\n"
    assert hear(dialogue, "250 ok") == b"RCPT TO:<ann@x.example>\r\n"
    assert hear(dialogue, "250 ok") == b"DATA\r\n"
    assert hear(dialogue, "354 go") == STUFFED + b".\r\n"
    hear(dialogue, "250 ok")
    assert all(isinstance(outcome, Delivered) for outcome in dialogue.outcomes())


def test_with_chunking_a_small_message_goes_with_its_envelope_unstuffed():
    dialogue, written = begin(CHUNKED)
    assert written == b"MAIL FROM:<ann@s.example>\r\nRCPT TO:<bob@x.example>\r\nBDAT %d LAST\r\n%b" % (len(BODY), BODY)
    hear(dialogue, "250 ok", "250 ok", "250 2.0.0 taken")
    assert isinstance(dialogue.outcomes()[0], Delivered)
    assert dialogue.reuse is Reuse.CLEAN


def test_with_chunking_a_large_message_waits_for_the_recipients():
    large = b"x" * 70 + b"\r\n"
    large *= MERGE // len(large) + 1
    dialogue, written = begin(CHUNKED, body=large)
    assert b"BDAT" not in written
    assert hear(dialogue, "250 ok") == b""
    assert hear(dialogue, "250 ok") == b"BDAT %d LAST\r\n%b" % (len(large), large)
    hear(dialogue, "250 ok")
    assert isinstance(dialogue.outcomes()[0], Delivered)


def test_a_large_message_is_not_sent_when_nobody_is_left_to_get_it():
    large = b"x\r\n" * MERGE
    dialogue, _ = begin(CHUNKED, body=large)
    assert hear(dialogue, "250 ok", "550 no") == b""
    assert dialogue.done
    assert dialogue.reuse is Reuse.RSET


def test_parameters_are_sent_only_where_they_were_announced():
    rest = {"smtputf8": True, "eight_bit": True, "envid": "QQ1", "ret": "HDRS"}
    features = Features(eight_bit=True, smtputf8=True, dsn=True, size=0)
    _, written = begin(features, **rest)
    assert written == (b"MAIL FROM:<ann@s.example> SIZE=%d BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ1\r\n" % len(BODY))
    _, written = begin(STEPWISE, eight_bit=True, envid="QQ1", ret="HDRS")
    assert written == b"MAIL FROM:<ann@s.example>\r\n"


def test_the_null_path_is_written_as_such():
    _, written = begin(STEPWISE, sender="")
    assert written == b"MAIL FROM:<>\r\n"


# ---- refusals


@EVERY
@pytest.mark.parametrize(("reply", "kind"), [("451 4.7.1 later", Deferred), ("550 5.7.1 never", Failed)])
def test_a_refused_mail_is_the_outcome_of_all(features, reply, kind):
    dialogue, _ = begin(features, BOB, ANN)
    hear(dialogue, reply)
    if features.pipelining:
        assert not dialogue.done
        hear(dialogue, "503 MAIL first", "503 MAIL first", "503 RCPT first")
    assert dialogue.done
    assert dialogue.reuse is Reuse.RSET
    for outcome in dialogue.outcomes():
        assert isinstance(outcome, kind)
        assert (str(outcome.reply), outcome.phase) == (reply, Phase.MAIL)


@EVERY
def test_a_refused_recipient_does_not_hinder_the_others(features):
    dialogue, _ = begin(features, BOB, ANN, JOE)
    hear(dialogue, "250 ok", "550 5.1.1 who?", "250 ok", "452 4.2.2 full")
    if not features.chunking:
        assert hear(dialogue, "354 go").endswith(b"end\r\n.\r\n")
    hear(dialogue, "250 ok")
    bob, ann, joe = dialogue.outcomes()
    assert isinstance(bob, Failed)
    assert bob.phase is Phase.RCPT
    assert isinstance(ann, Delivered)
    assert isinstance(joe, Deferred)
    assert str(joe.reply) == "452 4.2.2 full"
    assert dialogue.reuse is Reuse.CLEAN


def test_stepwise_all_recipients_refused_means_no_data():
    dialogue, _ = begin(STEPWISE)
    assert hear(dialogue, "250 ok", "550 5.1.1 who?") == b"RCPT TO:<bob@x.example>\r\n"
    assert dialogue.done
    assert dialogue.reuse is Reuse.RSET


def test_pipelined_all_recipients_refused_and_data_refused():
    dialogue, _ = begin(PIPELINED)
    assert hear(dialogue, "250 ok", "550 5.1.1 who?", "554 no valid recipients") == b""
    assert dialogue.done
    assert dialogue.outcomes()[0].phase is Phase.RCPT
    assert dialogue.reuse is Reuse.RSET


@pytest.mark.parametrize("final", ["554 no valid recipients", "250 ok then"])
def test_a_host_that_wants_a_message_for_nobody_gets_an_empty_one(final):
    dialogue, _ = begin(PIPELINED)
    assert hear(dialogue, "250 ok", "550 5.1.1 who?", "354 go") == b".\r\n"
    assert not dialogue.done
    hear(dialogue, final)
    (outcome,) = dialogue.outcomes()
    assert isinstance(outcome, Failed)
    assert outcome.phase is Phase.RCPT
    assert dialogue.reuse is Reuse.RSET


def test_a_mail_refused_but_rcpt_and_data_taken_is_still_refused():
    dialogue, _ = begin(PIPELINED)
    assert hear(dialogue, "550 no", "250 ok", "354 go") == b".\r\n"
    hear(dialogue, "250 ok")
    assert isinstance(dialogue.outcomes()[0], Failed)


@pytest.mark.parametrize(("reply", "kind"), [("451 4.3.0 disk", Deferred), ("554 5.6.0 no", Failed)])
def test_refused_data_and_refused_message(reply, kind):
    for heard, phase in ((["250 ok", "250 ok"], Phase.DATA), (["250 ok", "250 ok", "354 go"], Phase.FINAL)):
        dialogue, _ = begin(PIPELINED)
        hear(dialogue, *heard, reply)
        (outcome,) = dialogue.outcomes()
        assert isinstance(outcome, kind)
        assert (outcome.phase, str(outcome.reply)) == (phase, reply)
        assert dialogue.reuse is Reuse.RSET


def test_too_many_recipients_as_552_means_later():
    dialogue, _ = begin(PIPELINED, BOB, ANN, JOE)
    hear(dialogue, "250 ok", "250 ok", "552 too many recipients", "552 5.2.2 mailbox full", "354 go", "250 ok")
    bob, ann, joe = dialogue.outcomes()
    assert isinstance(bob, Delivered)
    assert isinstance(ann, Deferred)
    assert ann.reply.code == 452
    assert isinstance(joe, Failed)


# ---- decided without the host


def test_a_message_larger_than_the_host_takes_fails_at_once():
    dialogue, written = begin(Features(size=10), BOB, ANN)
    assert written == b""
    assert dialogue.done
    for outcome in dialogue.outcomes():
        assert isinstance(outcome, Failed)
        assert (outcome.reply.code, outcome.reply.enhanced, outcome.phase) == (552, "5.3.4", Phase.LOCAL)
    assert dialogue.reuse is Reuse.CLEAN


def test_a_message_that_needs_smtputf8_fails_where_it_is_not_offered():
    for rest in ({"smtputf8": True}, {"sender": "änn@s.example"}):
        dialogue, written = begin(PIPELINED, **rest)
        assert written == b""
        assert dialogue.outcomes()[0].reply.enhanced == "5.6.7"


def test_an_internationalised_recipient_fails_alone():
    dialogue, written = begin(PIPELINED, "bób@x.example", ANN)
    assert written == b"MAIL FROM:<ann@s.example>\r\nRCPT TO:<ann@x.example>\r\nDATA\r\n"
    hear(dialogue, "250 ok", "250 ok", "354 go", "250 ok")
    bob, ann = dialogue.outcomes()
    assert isinstance(bob, Failed)
    assert isinstance(ann, Delivered)
    _, written = begin(Features(smtputf8=True, pipelining=True), "bób@x.example")
    assert written.startswith(b"MAIL FROM:<ann@s.example> SMTPUTF8\r\nRCPT TO:<b\xc3\xb3b@x.example>")


def test_recipients_above_the_hosts_limit_wait():
    dialogue, written = begin(Features(pipelining=True, max_recipients=1), BOB, ANN)
    assert b"ann@x.example" not in written
    hear(dialogue, "250 ok", "250 ok", "354 go", "250 ok")
    bob, ann = dialogue.outcomes()
    assert isinstance(bob, Delivered)
    assert isinstance(ann, Deferred)
    assert ann.reply.enhanced == "4.5.3"


# ---- 421, lost, slow, broken


@EVERY
def test_421_at_any_phase_ends_the_connection_and_defers_what_is_open(features):
    replies = merged(features)
    for said in range(len(replies) + 1):
        dialogue, _ = begin(features)
        hear(dialogue, *replies[:said], "421 4.3.2 going down")
        (outcome,) = dialogue.outcomes()
        assert isinstance(outcome, Deferred)
        assert str(outcome.reply) == "421 4.3.2 going down"
        assert not outcome.unknown
        assert (
            outcome.phase
            is [Phase.MAIL, Phase.RCPT, Phase.FINAL if features.chunking else Phase.DATA, Phase.FINAL][said]
        )
        assert dialogue.reuse is Reuse.DEAD
        assert dialogue.farewell == "421 4.3.2 going down"


def test_421_leaves_refusals_that_were_said_before():
    dialogue, _ = begin(PIPELINED, BOB, ANN)
    hear(dialogue, "250 ok", "550 5.1.1 who?", "421 bye")
    bob, ann = dialogue.outcomes()
    assert isinstance(bob, Failed)
    assert isinstance(ann, Deferred)


@pytest.mark.parametrize("features", [STEPWISE, PIPELINED], ids=["stepwise", "pipelined"])
def test_a_connection_lost_before_the_body_is_a_known_deferral(features):
    phases = [Phase.MAIL, Phase.RCPT, Phase.DATA]
    for said in range(3):
        dialogue, _ = begin(features)
        hear(dialogue, *merged(features)[:said])
        dialogue.lost("closed the connection")
        (outcome,) = dialogue.outcomes()
        assert isinstance(outcome, Deferred)
        assert (outcome.phase, outcome.unknown, outcome.reply.enhanced) == (phases[said], False, "4.4.2")
        assert "mx.example closed the connection while we waited for its reply to" in outcome.reply.text


def test_a_connection_lost_after_the_whole_message_leaves_the_outcome_unknown():
    dialogue, _ = begin(PIPELINED, BOB, ANN)
    hear(dialogue, "250 ok", "550 5.1.1 who?", "250 ok", "354 go")
    dialogue.lost("closed the connection")
    bob, ann = dialogue.outcomes()
    assert isinstance(bob, Failed)
    assert isinstance(ann, Deferred)
    assert (ann.phase, ann.unknown) == (Phase.FINAL, True)


def test_a_connection_lost_in_the_middle_of_the_message_is_no_unknown_outcome():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED))
    dialogue.whole = False
    dialogue.lost("closed the connection")
    assert dialogue.outcomes()[0].unknown is False


def test_a_merged_message_lost_before_any_reply_may_have_been_taken():
    dialogue, _ = begin(CHUNKED)
    dialogue.lost("closed the connection")
    assert (dialogue.outcomes()[0].phase, dialogue.outcomes()[0].unknown) == (Phase.FINAL, True)


def test_a_timeout_says_which_reply_and_how_long():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, "250 ok")
    dialogue.expire(300.0)
    (outcome,) = dialogue.outcomes()
    assert outcome.reply.text == "mx.example sent no reply to RCPT TO within 300 s"
    assert not outcome.unknown
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED))
    dialogue.expire(600.0)
    assert dialogue.outcomes()[0].unknown
    assert dialogue.reuse is Reuse.DEAD


def test_a_refusal_in_mid_message_counts_and_ends_the_connection():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED))
    dialogue.whole = False
    hear(dialogue, "552 5.3.4 too big")
    assert isinstance(dialogue.outcomes()[0], Failed)
    assert dialogue.reuse is Reuse.DEAD


def test_an_acceptance_in_mid_message_is_not_believed():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED))
    dialogue.whole = False
    hear(dialogue, "250 ok")
    (outcome,) = dialogue.outcomes()
    assert isinstance(outcome, Deferred)
    assert not outcome.unknown


@pytest.mark.parametrize("features", [STEPWISE, PIPELINED], ids=["stepwise", "pipelined"])
def test_an_acceptance_before_the_message_was_written_is_not_believed(features):
    dialogue, _ = begin(features)
    assert dialogue.feed(b"250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued\r\n") == []
    (outcome,) = dialogue.outcomes()
    assert isinstance(outcome, Deferred)
    assert not outcome.unknown
    assert dialogue.reuse is Reuse.DEAD


@pytest.mark.parametrize(
    "replies",
    [
        ["354 go"],
        ["250 ok", "354 go"],
        ["250 ok", "250 ok", "250 ok"],
        ["250 ok", "250 ok", "354 go", "354 again"],
        ["hello"],
        ["199 odd"],
        ["250-begins\r\n550 and ends"],
        ["250x"],
        ["250 " + "x" * 3000],
        ["250-x\r\n" * 20_000],
    ],
)
def test_replies_that_break_the_protocol_defer_and_end_the_connection(replies):
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *replies)
    (outcome,) = dialogue.outcomes()
    assert isinstance(outcome, Deferred)
    assert outcome.reply.enhanced == "4.5.0"
    assert outcome.unknown is (len(replies) == 4)
    assert dialogue.reuse is Reuse.DEAD


# ---- reuse


@EVERY
def test_a_clean_connection_takes_the_next_mail_at_once(features):
    dialogue, _ = begin(features)
    hear(dialogue, *merged(features), "250 ok")
    assert b"".join(dialogue.start(transaction())).startswith(b"MAIL FROM:")
    hear(dialogue, *merged(features), "250 ok")
    assert isinstance(dialogue.outcomes()[0], Delivered)


@EVERY
def test_after_a_refusal_rset_comes_first(features):
    dialogue, _ = begin(features)
    hear(dialogue, *merged(features), "550 no")
    written = b"".join(dialogue.start(transaction()))
    if features.pipelining:
        assert written.startswith(b"RSET\r\nMAIL FROM:")
        hear(dialogue, "250 reset")
    else:
        assert written == b"RSET\r\n"
        assert hear(dialogue, "250 reset").startswith(b"MAIL FROM:")
    hear(dialogue, *merged(features), "250 ok")
    assert isinstance(dialogue.outcomes()[0], Delivered)
    assert dialogue.reuse is Reuse.CLEAN


def test_a_host_that_refuses_rset_is_left():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED), "550 no")
    dialogue.start(transaction())
    hear(dialogue, "500 what?")
    (outcome,) = dialogue.outcomes()
    assert isinstance(outcome, Deferred)
    assert outcome.reply.text == "mx.example answered RSET with 500 what?"


def test_more_replies_than_questions_make_the_connection_useless():
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED))
    hear(dialogue, "250 ok\r\n250 ok again")
    assert isinstance(dialogue.outcomes()[0], Delivered)
    assert dialogue.reuse is Reuse.DEAD


@pytest.mark.parametrize("octets", [b"421 4.4.2 idle too long\r\n", b"garbage\r\n", b"25"])
def test_anything_said_while_idle_ends_the_connection(octets):
    dialogue, _ = begin(PIPELINED)
    hear(dialogue, *merged(PIPELINED), "250 ok")
    dialogue.feed(octets)
    assert dialogue.done
    assert dialogue.reuse is Reuse.DEAD


# ---- what must not get out


@pytest.mark.parametrize("features", [PIPELINED, CHUNKED], ids=["stuffed", "chunked"])
@pytest.mark.parametrize(
    "body", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r\n.\nb\r\n", b"a\r\n.\rb\r\n", b"a\r\r\n", b"a", b"", b"a\r"]
)
def test_content_that_could_smuggle_is_refused_and_changes_nothing(features, body):
    dialogue = Dialogue(features, HOP)
    with pytest.raises(ValueError):
        dialogue.start(transaction(body=body))
    assert dialogue.done
    assert dialogue.reuse is Reuse.CLEAN
    assert dialogue.start(transaction())


@pytest.mark.parametrize("bad", ["a\r\nRSET@x", "a b@x", "a>@x", "<a@x", '"a\r\n"@x', '"a>"@x', "a\0@x", "", '"'])
def test_addresses_that_could_smuggle_are_refused(bad):
    with pytest.raises(ValueError):
        begin(PIPELINED, bad)
    if bad:
        with pytest.raises(ValueError):
            begin(PIPELINED, sender=bad)
    with pytest.raises(ValueError):
        begin(Features(dsn=True), envid="a b")


# ---- any bytes


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"250 ok\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"250-a\r\n", b"451 x\n", b"2"]
            ),
        ),
        max_size=12,
    ),
    st.sampled_from([STEPWISE, PIPELINED, CHUNKED]),
    st.integers(1, 3),
)
def test_any_bytes_come_to_an_outcome_for_each_recipient(pieces, features, recipients):
    dialogue, _ = begin(features, *(BOB, ANN, JOE)[:recipients])
    for piece in pieces:
        dialogue.feed(piece)
    if not dialogue.done:
        dialogue.lost("closed the connection")
    outcomes = dialogue.outcomes()
    assert len(outcomes) == recipients
    for outcome in outcomes:
        low = {Delivered: 200, Deferred: 400, Failed: 500}[type(outcome)]
        assert low <= outcome.reply.code < low + 100
        assert outcome.reply.text.isprintable()
        assert len(outcome.reply.text) <= 2000
    if any(isinstance(outcome, Delivered) for outcome in outcomes):
        assert b"".join(pieces).count(b"250") >= 3


@given(st.binary(max_size=200), st.integers(1, 20))
def test_how_the_bytes_are_cut_makes_no_difference(noise, step):
    whole, _ = begin(PIPELINED)
    cut, _ = begin(PIPELINED)
    # What follows 354 in the same segment came before the message was written: there the cut does matter.
    for octets in (b"250-2.1.0 one\r\n250 2.1.0 two\r\n250 ok\r\n354 go\r\n", noise):
        whole.feed(octets)
        for at in range(0, len(octets), step):
            cut.feed(octets[at : at + step])
    assert whole.done == cut.done
    if whole.done:
        assert whole.outcomes() == cut.outcomes()
