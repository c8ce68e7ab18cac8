"""What parsing an inbound message costs: medians in milliseconds, and the worst of hostile input.

  .venv/bin/python bench/parse.py

One process, no disk, no network. `fields` is what a forward posts: parsing, quotations and all fields of it.
"""

import base64
import statistics
import time
from collections.abc import Callable
from functools import partial

from mtad.message.htmlquotes import split_html
from mtad.message.htmltext import html_to_text
from mtad.message.parse import parse
from mtad.message.quotes import split_text

_HEAD = (
    b"Received: from a.example by b.example; Mon, 05 Jan 2026 10:00:00 +0000\r\n" * 6
    + b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s1; h=from:to:subject; bh=abc=;\r\n b="
    + b"A" * 300
    + b"\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\r\nTo: support@example.org\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
)
_WORDS = b"Some words that make a line of a usual length in a message, or nearly so.\r\n"
_QUOTE = b"On Mon, 5 Jan 2026 at 10:00, Bob <bob@example.org> wrote:\r\n" + b"> what was written before\r\n" * 40


def alternative(octets: int) -> bytes:
    """text and html of the same size, as an answer from a web mail: `octets` in all."""
    text = _WORDS * ((octets // 2 - 1500) // len(_WORDS)) + b"\r\n" + _QUOTE
    html = b'<div dir=3D"ltr">' + (b"<div>" + _WORDS[:-2] + b"</div>\r\n") * ((octets // 2 - 1800) // 86)
    html += b'<div class=3D"gmail_quote"><div class=3D"gmail_attr">On Mon, Bob wrote:<br></div>'
    html += b'<blockquote class=3D"gmail_quote">'
    html += b"what was written<br>\r\n" * 40 + b"</blockquote></div></div>\r\n"
    return (
        _HEAD
        + b'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n--b1\r\n'
        + b'Content-Type: text/plain; charset="UTF-8"\r\n\r\n'
        + text
        + b'\r\n--b1\r\nContent-Type: text/html; charset="UTF-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
        + html
        + b"\r\n--b1--\r\n"
    )


def with_file(octets: int) -> bytes:
    file = base64.encodebytes(bytes(range(256)) * (octets // 256)).replace(b"\n", b"\r\n")
    return (
        _HEAD
        + b'Content-Type: multipart/mixed; boundary="b2"\r\n\r\n--b2\r\n'
        + alternative(10_000).split(b"MIME-Version: 1.0\r\n", 1)[1]
        + b'\r\n--b2\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        + b"Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.pdf\r\n\r\n"
        + file
        + b"\r\n--b2--\r\n"
    )


def html_only(octets: int) -> bytes:
    row = b"<tr><td style='padding:0'>Words &amp; more <b>to read</b> <a href='https://x.example/1'>link</a></td></tr>\r\n"
    return _HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><table>" + row * (octets // len(row))


def bombs() -> dict[str, bytes]:
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(5000))
    part = b"--b\r\nContent-Type: text/plain; charset=x\r\n\r\n\xe4\xf6\r\n"
    return {
        "20,000 parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 20_000 + b"--b--",
        "20,000 empty parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 20_000,
        "nested 5,000 deep": nested,
        "nested, 20 MB within": nested[:2600] + b"x" * 20_000_000,
        "false delimiters, 20 MB": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bx\r\n" * 3_300_000,
        "base64 of 20 MB": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUJD\r\n" * 3_300_000,
        "broken base64, 20 MB": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QU=D\r\n" * 3_300_000,
        "quoted signs, 20 MB": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=\r" * 10_000_000,
        "unknown charset, 20 MB": b"Content-Type: text/plain; charset=x\r\n\r\n" + b"\x81\xfe\r\n" * 5_000_000,
        "parameters, 250 KB": b"Content-Type: text/plain" + b"; a*1*=b" * 30_000 + b"\r\n\r\nx",
        "header fields": b"A: =?utf-8?q?=41?=\r\n" * 20_000 + b"\r\nx",
        "html, 20 MB": b"Content-Type: text/html\r\n\r\n" + b"<p>x" * 5_000_000,
        "html, deep": b"Content-Type: text/html\r\n\r\n" + b"<div>" * 4_000_000,
        "html, open comments": b"Content-Type: text/html\r\n\r\n" + b"<!--" * 4_000_000,
        "quotes, 20 MB": b"\r\n" + b"> x\r\nOn 1 wrote:\r\n" * 1_200_000,
        "dashes, 20 MB": b"\r\n" + b"-- \r\n" * 4_000_000,
        "one line, 20 MB": b"\r\nOn " + b"a:1 " * 5_000_000,
    }


def median_ms(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


def stripped(content: bytes) -> None:
    parsed = parse(content)
    split_text(parsed.plain, parsed.subject)
    if parsed.html is not None:
        split_html(parsed.html, parsed.subject)


def main() -> None:
    samples = {
        "text and html, 10 KB": alternative(10_000),
        "text and html, 100 KB": alternative(100_000),
        "with a file of 1 MB": with_file(1_000_000),
        "html alone, 10 KB": html_only(10_000),
        "html alone, 30 KB": html_only(30_000),
    }
    for name, content in samples.items():
        parsed, all_of_it = median_ms(partial(parse, content), 200), median_ms(partial(stripped, content), 100)
        print(f"{name:24} {len(content) / 1000:8.1f} kB  parse {parsed:.3f} ms  with quotations {all_of_it:.3f} ms")
    html = html_only(30_000).decode()
    print(f"{'html to text, 30 KB':24} {median_ms(lambda: html_to_text(html), 50):.3f} ms")
    for name, content in bombs().items():
        begun = time.perf_counter()
        stripped(content)
        taken_s = time.perf_counter() - begun
        verdict = parse(content).verdict or "whole"
        print(f"{name:24} {len(content) / 1e6:8.1f} MB  {taken_s * 1000:7.0f} ms  {verdict}")


if __name__ == "__main__":
    main()
