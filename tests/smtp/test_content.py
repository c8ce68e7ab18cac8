import re

from hypothesis import given
from hypothesis import strategies as st

from mtad.smtp.content import Defect, defect_of, unstuff, with_crlf

OCTETS = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\0", b"\xff"]), max_size=30).map(b"".join)


@given(OCTETS)
def test_a_defect_is_what_the_definition_says(content):
    bare = re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    expected = Defect.BARE_NEWLINE if bare else Defect.NUL if b"\0" in content else None
    assert defect_of(content) is expected


@given(OCTETS)
def test_mended_content_has_no_bare_newline(content):
    mended = with_crlf(content)
    assert defect_of(mended) is not Defect.BARE_NEWLINE
    assert mended.replace(b"\r\n", b"\n") == content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert with_crlf(mended) == mended


@given(st.lists(st.text(alphabet=".ab", max_size=4).map(str.encode), max_size=20))
def test_unstuffing_undoes_stuffing(lines):
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert unstuff(stuffed) == b"".join(line + b"\r\n" for line in lines)
