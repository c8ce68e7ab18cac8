import base64
import binascii
import quopri

from hypothesis import given
from hypothesis import strategies as st

from mtad.message.transfer import Quoted, base64_lines, continued, joined, piece, quoted, read_base64, whole_lines

TEXT = st.lists(st.sampled_from([b"-", b"--b", b"=", b" ", b"\t", b"\r\n", b".", b"a" * 30, b"x", b"\xc3\xa9"])).map(
    b"".join
)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_pieces_put_together_say_what_they_said_apart(texts):
    written = [quoted(text) for text in texts]
    whole = joined([piece(one) for one in written])
    assert quopri.decodestring(whole) == b"".join(texts)
    assert max(map(len, whole.split(b"\r\n"))) <= 78
    assert not any(line.startswith(b"--") for line in whole.split(b"\r\n"))


@given(TEXT, st.data())
def test_any_cut_of_read_text_leads_back_to_the_octets_that_say_it(text, data):
    read = Quoted(quoted(text))
    assert read.octets == text
    cut = data.draw(st.integers(0, len(text)))
    first, second = read.written(0, cut), read.written(cut, len(text))
    assert first + second == read.raw
    assert quopri.decodestring(piece(first) + continued(second)) == text


def test_broken_quoted_printable_stands_for_itself():
    raw = b"=XY =\r\nA=3 b= \t\r\nc=0D=0A="
    assert Quoted(raw).octets == b"=XY A=3 bc\r\n="
    assert Quoted(raw).written(0, 3) == b"=XY"


def test_a_full_line_still_takes_its_soft_break():
    assert piece(b"x" * 76) == b"x" * 75 + b"=\r\nx=\r\n"
    assert piece(b"x" * 73 + b"=3D") == b"x" * 73 + b"=\r\n=3D=\r\n"
    assert piece(b"line\r\n") == b"line\r\n"


@given(st.binary(max_size=400))
def test_base64_is_cut_where_nothing_behind_can_change_it(octets):
    whole = whole_lines(octets)
    assert base64_lines(octets[:whole]) + base64_lines(octets[whole:]) == base64_lines(octets)
    assert read_base64(base64_lines(octets)) == octets


def test_base64_of_which_a_decoder_would_lose_something_is_not_read():
    two = base64.b64encode(b"a") + b"\r\n" + base64.b64encode(b"b")
    assert read_base64(two) is None
    assert read_base64(b"QQ=") is None
    assert read_base64(b"QUJD\r\n !\r\nREVG\r\n") == b"ABCDEF"
    assert binascii.a2b_base64(two) != b"ab"
