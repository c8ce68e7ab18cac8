import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtad.webhooks.targets import BadTarget, is_allowed, parse_target, shown


@pytest.mark.parametrize(
    ("text", "url", "place", "authorization"),
    [
        ("https://x.example/hook", "https://x.example/hook", "x.example:443", ""),
        ("http://X.Example", "http://x.example/", "x.example:80", ""),
        ("http://x.example:8080/a%20b?q=1&q=%2f#frag", "http://x.example:8080/a%20b?q=1&q=%2f", "x.example:8080", ""),
        ("https://bob:p%40ss@x.example/", "https://x.example/", "x.example:443", "Basic Ym9iOnBAc3M="),
        ("https://bob@x.example/", "https://x.example/", "x.example:443", "Basic Ym9iOg=="),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC", "xn--bcher-kva.example:80", ""),
        ("http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81/", "[2001:db8::1]:81", ""),
    ],
)
def test_a_url_is_read(text, url, place, authorization):
    target = parse_target(text)
    assert (target.url, target.place, target.authorization) == (url, place, authorization)
    assert shown(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.example/hook",
        "ftp://x.example/",
        "file:///etc/passwd",
        "gopher://x.example/",
        "http://",
        "http:///path",
        "http://x.example:0/",
        "http://x.example:70000/",
        "http://x.example/a b",
        "http://x.example/\r\nHost: y",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://x..example/",
        "http://x.example/" + "a" * 2048,
    ],
)
def test_what_is_no_url_to_post_to_is_refused_without_repeating_it(text):
    with pytest.raises(BadTarget) as refusal:
        parse_target(text)
    assert not text or text not in str(refusal.value)
    assert shown(text) == "(unusable)"


def test_a_password_is_in_no_representation():
    assert "c2Vj" not in repr(parse_target("http://bob:secret@x.example/"))


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_public_addresses_may_be_talked_to(text):
    assert is_allowed(text, private=False)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.1.2", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:7f00:1::", "::127.0.0.1", "192.0.2.1", "198.18.0.1", "2001:db8::1",
        "192.0.0.8", "192.0.0.192", "::ffff:192.0.0.192", "64:ff9b::c000:c0",
    ],
)  # fmt: skip
def test_private_addresses_only_if_the_operator_says_so(text):
    assert not is_allowed(text, private=False)


@pytest.mark.parametrize(
    "text", ["0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "240.0.0.1", "x"]
)
def test_nobodys_addresses_never(text):
    assert not is_allowed(text, private=False)
    assert not is_allowed(text, private=True)


def test_loopback_when_it_is_allowed():
    assert is_allowed("127.0.0.1", private=True)
    assert is_allowed("::ffff:10.0.0.1", private=True)


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_a_bad_one(rest):
    for text in (rest, f"http://{rest}", f"http://a:{rest}@x.example/", f"http://x.example/{rest}"):
        try:
            target = parse_target(text)
        except BadTarget:
            continue
        assert target.url.isascii()
        assert target.url.isprintable()
        assert " " not in target.url
