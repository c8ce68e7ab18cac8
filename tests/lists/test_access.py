"""Who may post to a list."""

import pytest

from mtad.lists.access import Post, Proof, at_rcpt, of_another_domain, refusal
from mtad.mail.lists import AccessLevel, MailingList
from mtad.message.headers import scan

ANN, BOB = "ann@a.example", "bob@b.example"
PLAIN = scan(b"From: Ann <ann@a.example>\r\nSubject: x\r\n\r\n")


def of(level: AccessLevel) -> MailingList:
    return MailingList(number=1, address="dev@lists.example", access_level=level)


def said(level: AccessLevel, post: Post | None, block=PLAIN) -> int:
    reply = refusal(of(level), block, "mark", post)
    return 250 if reply is None else reply.code


def post(authors=(ANN,), envelope=ANN, proof=Proof.NONE, members=(ANN,)) -> Post:
    return Post(authors, envelope, proof, set(members))


def test_our_own_users_post_to_every_list():
    assert [said(level, None) for level in AccessLevel] == [250, 250, 250]


@pytest.mark.parametrize(
    ("level", "code"), [(AccessLevel.READONLY, 550), (AccessLevel.MEMBERS, 250), (AccessLevel.EVERYONE, 250)]
)
def test_a_member_from_outside(level, code):
    assert said(level, post()) == code


@pytest.mark.parametrize(
    ("level", "code"), [(AccessLevel.READONLY, 550), (AccessLevel.MEMBERS, 550), (AccessLevel.EVERYONE, 250)]
)
def test_a_stranger(level, code):
    assert said(level, post(members=())) == code


def test_at_rcpt_only_what_is_closed_to_all_strangers_is_refused_and_with_what_to_do():
    assert [at_rcpt(of(level)) is None for level in AccessLevel] == [False, True, True]
    reply = at_rcpt(of(AccessLevel.READONLY))
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert "log in with AUTH" in reply.text


@pytest.mark.parametrize(
    ("claimed", "code"),
    [
        (post(proof=Proof.PASSED), 250),
        (post(proof=Proof.FAILED), 550),
        (post(proof=Proof.UNKNOWN), 451),
        (post(envelope="bounces@esp.example"), 550),
        (post(envelope="bounces@esp.example", proof=Proof.PASSED), 250),
        (post(envelope=BOB, members=(ANN, BOB)), 250),
        (post(authors=(ANN, BOB)), 550),
        (post(authors=(ANN, BOB), members=(ANN, BOB)), 250),
        (post(authors=(), envelope=ANN), 550),
        (post(envelope="", proof=Proof.PASSED), 550),
    ],
)
def test_that_a_member_wrote_it_must_be_believable(claimed, code):
    assert said(AccessLevel.MEMBERS, claimed) == code


@pytest.mark.parametrize("level", [AccessLevel.MEMBERS, AccessLevel.EVERYONE])
def test_lists_take_no_automatic_answers(level):
    away = scan(b"From: ann@a.example\r\nAuto-Submitted: Auto-Replied (vacation)\r\n\r\n")
    assert said(level, post(proof=Proof.PASSED), away) == 550
    assert said(level, post(envelope="")) == 550


@pytest.mark.parametrize("claimed", [None, post()])
@pytest.mark.parametrize("field", [b"X-Loop: mark", b"List-Id: <dev.lists.example>"])
def test_what_came_from_the_list_does_not_go_there_again(claimed, field):
    assert said(AccessLevel.EVERYONE, claimed, scan(field + b"\r\nFrom: ann@a.example\r\n\r\n")) == 554


@pytest.mark.parametrize(
    ("said_of_it", "code"), [("auto-replied (vacation)", 550), ("auto-generated", 250), ("no", 250)]
)
def test_absent_users_of_ours_do_not_answer_the_list_but_their_programs_may_tell_it_news(said_of_it, code):
    block = scan(b"From: ann@lists.example\r\nAuto-Submitted: %b\r\n\r\n" % said_of_it.encode())
    assert [said(level, None, block) for level in AccessLevel] == [code, code, code]


@pytest.mark.parametrize(
    ("level", "author", "code"),
    [
        (AccessLevel.READONLY, "ann@a.example", 550),
        (AccessLevel.READONLY, "ceo@lists.example", 550),
        (AccessLevel.MEMBERS, "ann@a.example", 250),
        (AccessLevel.EVERYONE, "ann@a.example", 250),
        (AccessLevel.EVERYONE, "ceo@LISTS.example", 550),
        (AccessLevel.EVERYONE, "ann@a.example, ceo@lists.example", 550),
        (AccessLevel.MEMBERS, "ceo@mail.lists.example", 550),
    ],
)
def test_a_login_of_another_domain_does_not_write_in_the_name_of_the_lists(level, author, code):
    reply = of_another_domain(of(level), scan(b"From: %b\r\n\r\n" % author.encode()))
    assert (reply.code if reply is not None else 250) == code
    assert reply is None or "lists.example" in reply.text
