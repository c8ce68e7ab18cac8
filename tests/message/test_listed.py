"""The header that a message has on its way from a mailing list to its members."""

from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.lists import MailingList, ReplyPreference
from mtad.message.headers import scan
from mtad.message.listed import Listing, for_members, has_been, list_id, loop_mark

DEV = MailingList(number=7, address="Dev@lists.example", name="The, Team")
QUIET = MailingList(number=8, address="quiet@lists.example", reply_preference=ReplyPreference.SENDER)
POST = (
    b"Received: from x\r\nFrom: Ann <ann@strict.example>\r\nSender: ann=strict.example@a.example\r\n"
    b"To: dev@lists.example\r\nSubject: Hi\r\nList-Id: <other.example>\r\nPrecedence: bulk\r\n"
    b"List-Unsubscribe: <https://other.example/leave>\r\nList-Post: <mailto:other@other.example>\r\n\r\nText\r\n"
)


def made(post: bytes = POST, found: MailingList = DEV, **more: bool):
    content = for_members(scan(post), Listing(found, "0123456789abcdef", **more))
    assert content.endswith(post[scan(post).end :])
    return message_from_bytes(content, policy=default)


def test_a_copy_says_which_list_it_is_of():
    copy = made()
    assert copy.get_all("list-id") == ['"The, Team" <dev.lists.example>']
    assert copy.get_all("precedence") == ["list"]
    assert copy.get_all("x-loop") == ["0123456789abcdef"]
    assert (copy["from"], copy["to"]) == ("Ann <ann@strict.example>", "dev@lists.example")


def test_our_own_users_may_say_how_one_leaves_and_a_strangers_word_for_it_is_dropped():
    assert made()["list-unsubscribe"] == "<https://other.example/leave>"
    copy = made(stranger=True)
    assert "list-unsubscribe" not in copy
    assert "list-post" not in copy


def test_members_do_not_see_to_whom_else_a_batch_went():
    batch = POST.replace(b"To: dev@lists.example", b"To: dev@lists.example,\r\n eve@e.example")
    assert "eve@" in made(batch)["to"]
    assert made(batch, alone=True).get_all("to") == ['"The, Team" <Dev@lists.example>']
    own = b"To: You <%recipient%>\r\n\r\n"
    assert made(own, alone=True).get_all("to") == ["You <%recipient%>"]


def test_answers_go_to_the_list_where_it_wants_them_and_nobody_said_otherwise():
    assert made()["reply-to"] == '"The, Team" <Dev@lists.example>'
    assert "reply-to" not in made(found=QUIET)
    said = b"Reply-To: desk@a.example\r\n" + POST
    assert made(said).get_all("reply-to") == ["desk@a.example"]
    assert made(said, rewrite=True).get_all("reply-to") == ["desk@a.example"]


def test_from_becomes_the_lists_and_the_author_stays_to_be_seen_and_answered():
    copy = made(rewrite=True)
    assert copy.get_all("from") == ['"Ann via The, Team" <Dev@lists.example>']
    assert copy["x-original-from"] == "Ann <ann@strict.example>"
    assert "sender" not in copy
    copy = made(found=QUIET, rewrite=True)
    assert copy["from"] == "Ann via quiet <quiet@lists.example>"
    assert copy["reply-to"] == "Ann <ann@strict.example>"


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (b"From: ann@strict.example", "ann via quiet"),
        (b"From: =?utf-8?q?=C3=84nn?= <ann@strict.example>", "Änn via quiet"),
        (b"From: Ann <a@x.example>, Bob <b@x.example>", "Ann and Bob via quiet"),
        (b"From: nobody", "quiet"),
        (b"Subject: no author", "quiet"),
    ],
)
def test_whoever_the_author_is_the_rewritten_from_can_be_read(field, shown):
    copy = made(field + b"\r\n\r\n\r\n", QUIET, rewrite=True)
    [author] = copy["from"].addresses
    assert (author.display_name, author.addr_spec) == (shown, "quiet@lists.example")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("dev@lists.example", "dev.lists.example"),
        ("Dev.Team@lists.example", "dev.team.lists.example"),
        ('"odd (one)"@lists.example', "odd-one.lists.example"),
        ("ünï@lists.example", "n.lists.example"),
        ("ü@lists.example", "lists.example"),
    ],
)
def test_a_list_id_is_made_of_labels(address, said):
    assert list_id(MailingList(address=address)) == said


def test_a_message_from_the_list_is_known_by_either_mark():
    mark = loop_mark(b"k" * 32, DEV.key)
    assert not has_been(scan(POST), DEV, mark)
    assert has_been(scan(b"X-Loop: " + mark.encode() + b"\r\n\r\n"), DEV, mark)
    assert has_been(scan(b"List-Id: The Team <DEV.lists.example>\r\n\r\n"), DEV, "")
    assert not has_been(scan(for_members(scan(POST), Listing(QUIET, "x"))), DEV, mark)


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_any_octets_can_be_posted_and_their_body_stays(octets, rewrite, stranger):
    content = for_members(scan(octets), Listing(DEV, "m", rewrite, stranger))
    block = scan(content)
    assert block.all(b"list-id") == [b'"The, Team" <dev.lists.example>']
    assert len(block.all(b"precedence")) == 1
    if rewrite:
        assert block.addresses(b"from") == ["Dev@lists.example"]
