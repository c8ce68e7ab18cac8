import re

import pytest
from aiohttp import FormData
from hypothesis import example, given
from hypothesis import strategies as st

from mtad.api.http.answers import BadRequest
from mtad.api.http.forms import read_body, read_query
from mtad.api.http.multipart import BadMultipart, boundary_of, parameters, parts

NAME = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"], blacklist_characters='"\\\x85'),
    min_size=1,
    max_size=20,
)


def written(*fields: tuple[str, bytes], boundary: bytes = b"b", ending: bytes = b"\r\n") -> bytes:
    body = b""
    for head, content in fields:
        body += b"--" + boundary + ending + head.encode() + ending + ending + content + ending
    return body + b"--" + boundary + b"--" + ending


def read(body: bytes, boundary: bytes = b"b") -> list[tuple[str, str | None, str, bytes]]:
    return [(one.name, one.filename, one.content_type, bytes(one.content)) for one in parts(body, boundary)]


@given(st.lists(st.tuples(NAME, st.binary(max_size=200)), max_size=5), st.sampled_from([b"\r\n", b"\n"]))
def test_what_is_written_is_read_back(fields, ending):
    contents = [(name, content.replace(b"--b", b"").rstrip(b"\r")) for name, content in fields]
    body = written(*[(f'Content-Disposition: form-data; name="{n}"', c) for n, c in contents], ending=ending)
    if b"\n--b" not in b"\n".join(content for _, content in contents):
        assert [(name, content) for name, _, _, content in read(body)] == contents


@given(st.binary(max_size=400))
@example(b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b--")
@example(b"--b\n\n--b--")
def test_any_octets_are_read_or_refused(body):
    for octets in (body, b"--b\r\n" + body, body.replace(b"\0", b"\r\n--b")):
        try:
            read(octets)
        except BadMultipart:
            pass


@given(st.text(max_size=60), st.binary(max_size=200))
def test_any_body_of_any_type_gives_a_form_or_400(kind, body):
    try:
        read_body(body, kind)
    except BadRequest:
        pass


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        ('Content-Disposition: form-data; name="a"; filename="b.txt"\r\nContent-Type: a/b', ("a", "b.txt", "a/b")),
        ("content-disposition: FORM-DATA; name=a; filename=b", ("a", "b", "")),
        ('Content-Disposition: form-data; name="a"; filename="日本.txt"', ("a", "日本.txt", "")),
        ("Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''%E6%97%A5%20x.txt", ("a", "日 x.txt", "")),
        ("Content-Disposition: form-data; name=\"a\"; filename=\"x\"; filename*=utf-8''%C3%A4", ("a", "ä", "")),
        ("Content-Disposition: form-data; name=\"a\"; filename*=iso-8859-1'en'%E4", ("a", "ä", "")),
        ('Content-Disposition: form-data; name="a"; filename="C:\\Users\\me\\b.txt"', ("a", "b.txt", "")),
        ('Content-Disposition: form-data; name="a"; filename="x\\"y"', ("a", 'x"y', "")),
        ('Content-Disposition: form-data; name="a"; filename=""', ("a", "", "")),
        ('Content-Disposition: form-data;\r\n name="a";\r\n\tfilename="b"', ("a", "b", "")),
        ("Content-Disposition: form-data; name=\"a\"; filename=\"b\u2028c\"", ("a", "b\u2028c", "")),
    ],
)  # fmt: skip
def test_names_are_read_as_clients_write_them(head, wanted):
    ((name, filename, kind, content),) = read(written((head, b"x")))
    assert (name, filename, kind, content) == (*wanted, b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=a\r\nx\r\n--b--",
        b"--bx\r\n\r\n--b--",
        b"--b\r\nX: " + b"y" * 20_000 + b"\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 10_002 + b"--b--",
    ],
)
def test_what_is_cut_off_or_nameless_is_refused(body):
    with pytest.raises(BadMultipart):
        read(body)


def test_a_delimiter_within_a_line_or_longer_than_ours_is_content():
    content = b"a --b\r\n--bb\r\nc"
    assert read(written(("Content-Disposition: form-data; name=a", content)))[0][3] == content


def test_a_preamble_and_white_space_behind_a_delimiter_are_passed_over():
    body = b"preamble\r\n" + written(("Content-Disposition: form-data; name=a", b"x")).replace(
        b"--b\r\n", b"--b \t\r\n", 1
    )
    assert read(body) == [("a", None, "", b"x")]


async def test_what_another_library_writes_is_read():
    form = FormData(quote_fields=True)
    form.add_field("tö", "vä\r\n--x", content_type="text/plain")
    form.add_field("file", b"\r\n--\r\n", filename='a"b%.txt')
    payload = form()
    payload._is_form_data = False  # else it insists on a name in ASCII
    chunks: list[bytes] = []

    class Writer:
        async def write(self, chunk):
            chunks.append(bytes(chunk))

    await payload.write(Writer())
    found = list(parts(b"".join(chunks), boundary_of(payload.headers["Content-Type"])))
    assert [one.name for one in found] == ["tö", "file"]
    assert [bytes(one.content) for one in found] == ["vä\r\n--x".encode(), b"\r\n--\r\n"]


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=x; Boundary="a b"', b"a b"),
        ("multipart/form-data;boundary=----WebKit'()+_,-./:=?", b"----WebKit'()+_,-./:=?"),
    ],
)
def test_a_boundary_is_found(kind, boundary):
    assert boundary_of(kind) == boundary


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "x; boundary=", 'x; boundary=""', "x; boundary=ä", "x; boundary=" + "a" * 300]
)
def test_a_boundary_that_cannot_be_used_is_refused(kind):
    with pytest.raises(BadMultipart):
        boundary_of(kind)


@given(st.dictionaries(st.from_regex(re.compile(r"[a-z]{1,8}", re.ASCII), fullmatch=True), NAME, max_size=4))
def test_parameters_are_read_back(wanted):
    header = "x" + "".join(f'; {name}="{value}"' for name, value in wanted.items())
    assert parameters(header) == wanted


@given(st.text(max_size=200))
def test_any_query_is_read_or_refused(query):
    try:
        assert all(isinstance(name, str) for name, _ in read_query(query))
    except BadRequest:
        pass


def test_more_parameters_than_anybody_needs_are_refused():
    with pytest.raises(BadRequest, match="more than 10000 parameters"):
        read_query("a=1&" * 10_001)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"to":[' + b"1," * 10_000 + b"1]}", "more than 10000 parameters"),
        (b"{" + b",".join(b'"v:%d":1' % n for n in range(10_001)) + b"}", "more than 10000 parameters"),
        (b"[" + b"[]," * 300_000 + b"[]]", "more than 500000 values"),
        (b'{"a":' + b"[" * 400 + b"]" * 400 + b"}", "nested too deep"),
    ],
    ids=["list", "members", "values", "depth"],
)
def test_json_of_more_values_than_anybody_needs_is_refused(body, said):
    with pytest.raises(BadRequest, match=said):
        read_body(body, "application/json")


def test_a_long_list_in_json_is_its_values_in_order():
    form = read_body(b'{"to":["a","b"],"limit":3,"deep":[[1]]}', "application/json")
    assert form.pairs == [("to", "a"), ("to", "b"), ("limit", "3"), ("deep", "[[1]]")]
