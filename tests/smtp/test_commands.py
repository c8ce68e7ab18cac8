from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.mail.address import Address
from mtad.mail.reply import Refused
from mtad.smtp.commands import clean_helo, parse_bdat, parse_mail, parse_rcpt


def rcpt(text, smtputf8=False):
    return parse_rcpt(text.encode(), smtputf8, "ours.test")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("FROM:<ann@b.test>", "ann@b.test"),
        ("from:<Ann@B.test>", "Ann@b.test"),
        ("FROM: <ann@b.test> ", "ann@b.test"),
        ("FROM:<@relay.test,@other.test:ann@b.test>", "ann@b.test"),
        ('FROM:<"an n>"@b.test>', '"an n>"@b.test'),
        ("FROM:<ann@[192.0.2.1]>", "ann@[192.0.2.1]"),
        ("FROM:<SRS0=x=y=c.test=ann@b.test>", "SRS0=x=y=c.test=ann@b.test"),
        ("FROM:<>", "None"),
        ("FROM:<> BODY=7BIT", "None"),
    ],
)
def test_a_reverse_path_is_read(text, address):
    assert str(parse_mail(text.encode())[0].reverse_path) == address


def test_the_parameters_of_mail_are_read():
    submission, size = parse_mail(
        b"FROM:<ann@b.test> SIZE=123 body=8bitmime AUTH=ann@b.test RET=FULL ENVID=QQ314159 SMTPUTF8"
    )
    assert size == 123
    assert (submission.eight_bit, submission.smtputf8) == (True, True)
    assert (submission.ret, submission.envid) == ("FULL", "QQ314159")
    assert parse_mail(b"FROM:<ann@b.test> AUTH=<>")[1] == 0


def test_a_utf8_address_needs_smtputf8():
    with pytest.raises(Refused, match=r"553 5\.6\.7"):
        parse_mail("FROM:<jürgen@b.test>".encode())
    with pytest.raises(Refused, match=r"553 5\.6\.7"):
        rcpt("TO:<jürgen@b.test>")
    assert parse_mail("FROM:<jürgen@b.test> SMTPUTF8".encode())[0].reverse_path == Address("jürgen", "b.test")
    assert rcpt("TO:<jürgen@bücher.test>", smtputf8=True)[0] == Address("jürgen", "xn--bcher-kva.test")
    with pytest.raises(Refused, match=r"501 5\.5\.2"):
        parse_mail(b"FROM:<j\xfcrgen@b.test> SMTPUTF8")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("", "501 5.5.4"),
        ("ann@b.test", "501 5.5.4"),
        ("FROM:ann@b.test", "501 5.5.4"),
        ("FROM:<ann>", "501 5.1.7"),
        ("FROM:<ann@b..test>", "501 5.1.7"),
        ("FROM:<.ann@b.test>", "501 5.1.7"),
        ("FROM:<" + "a" * 65 + "@b.test>", "501 5.1.7"),
        ("FROM:<ann@b.test>SIZE=1", "501 5.5.4"),
        ("FROM:<ann@b.test> SIZE=x", "501 5.5.4"),
        ("FROM:<ann@b.test> SIZE", "501 5.5.4"),
        ("FROM:<ann@b.test> SIZE=1 SIZE=2", "501 5.5.4"),
        ("FROM:<ann@b.test> SIZE=" + "9" * 30, "501 5.5.4"),
        ("FROM:<ann@b.test> SMTPUTF8=1", "501 5.5.4"),
        ("FROM:<ann@b.test> BODY=BINARYMIME", "555 5.6.1"),
        ("FROM:<ann@b.test> BODY=9BIT", "501 5.5.4"),
        ("FROM:<ann@b.test> RET=ALL", "501 5.5.4"),
        ("FROM:<ann@b.test> ENVID=" + "x" * 101, "501 5.5.4"),
        ("FROM:<ann@b.test> FOO=1", "555 5.5.4 FOO is not known"),
    ],
)
def test_a_wrong_mail_command_says_what_is_wrong(text, reply):
    with pytest.raises(Refused) as refused:
        parse_mail(text.encode())
    assert str(refused.value.reply).startswith(reply)


def test_a_forward_path_and_its_parameters_are_read():
    assert rcpt("TO:<Bob@B.test>") == (Address("Bob", "b.test"), "", "")
    assert rcpt("TO:<@a.test:bob@b.test>") == (Address("bob", "b.test"), "", "")
    assert rcpt("TO:<PostMaster>")[0] == Address("PostMaster", "ours.test")
    given = rcpt("TO:<bob@b.test> notify=failure,delay ORCPT=rfc822;Bob+2Bx@c.test")
    assert given == (Address("bob", "b.test"), "FAILURE,DELAY", "rfc822;Bob+2Bx@c.test")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("TO:<>", "501 5.1.3"),
        ("TO:<bob>", "501 5.1.3"),
        ("TO:bob@b.test", "501 5.5.4"),
        ("TO:<bob@b.test> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<bob@b.test> NOTIFY=", "501 5.5.4"),
        ("TO:<bob@b.test> ORCPT=bob@b.test", "501 5.5.4"),
        ("TO:<bob@b.test> ORCPT=rfc822;" + "x" * 500, "501 5.5.4"),
        ("TO:<bob@b.test> SIZE=1", "555 5.5.4"),
    ],
)
def test_a_wrong_rcpt_command_says_what_is_wrong(text, reply):
    with pytest.raises(Refused) as refused:
        rcpt(text)
    assert str(refused.value.reply).startswith(reply)


def test_bdat_has_a_count_and_perhaps_last():
    assert parse_bdat(b"10") == (10, False)
    assert parse_bdat(b"0 last") == (0, True)
    for wrong in (b"", b"x", b"-1", b"1 FIRST", b"1LAST", b"9" * 16, b"1 LAST 2", "١".encode()):
        assert parse_bdat(wrong) is None


def test_a_helo_name_is_one_clean_word():
    assert clean_helo(b" laptop of ann ") == "laptop"
    assert clean_helo(b"[192.0.2.1]") == "[192.0.2.1]"
    assert clean_helo(b"a;(b)\xff") == "a??b??"
    assert clean_helo(b"") == clean_helo(b"x" * 256) == ""


@given(
    arg=st.binary(max_size=200), start=st.sampled_from([b"", b"FROM:<", b"TO:<", b"FROM:<a@b> ", b"TO:<a@b> ORCPT="])
)
def test_any_octets_are_read_or_refused(arg, start):
    for read in (lambda one: parse_mail(one), lambda one: parse_rcpt(one, True, "ours.test")):
        with suppress(Refused):
            read(start + arg)
    clean_helo(arg)
    parse_bdat(arg)
