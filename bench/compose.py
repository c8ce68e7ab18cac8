"""What composing a message costs: medians in milliseconds.

  .venv/bin/python bench/compose.py

One process, no disk, no network. `fill` is paid once per recipient, `compile` once per message, `may_need` once per
message of the plain relay.
"""

import base64
import statistics
import time
from collections.abc import Callable

from mtad.mail.options import Clicks
from mtad.mail.token import Purpose, Tokens
from mtad.message.headers import scan
from mtad.message.plan import Plan
from mtad.message.template import compile, may_need
from mtad.message.transfer import quoted
from mtad.message.variables import Person

LINKS, HTML_OCTETS, PLAIN_OCTETS = 40, 30_000, 20_000


class OurLinks:
    def __init__(self, tokens: Tokens, recipient_id: int) -> None:
        self._tokens, self._id, self._clicks = tokens, recipient_id, tokens.clicks(recipient_id)

    def open_url(self) -> str:
        return "https://track.sender.example/o/" + self._tokens.link(Purpose.OPEN, self._id)

    def click_url(self, target: str) -> str:
        return "https://track.sender.example/c/" + self._clicks(target)

    def unsubscribe_url(self) -> str:
        return "https://track.sender.example/u/" + self._tokens.link(Purpose.UNSUBSCRIBE, self._id)

    tag_unsubscribe_url = mailing_list_unsubscribe_url = unsubscribe_url

    def unsubscribe_email(self) -> str:
        return self._tokens.local_part(Purpose.LEAVE, self._id) + "@sender.example"


def html_text() -> bytes:
    rows = []
    filler = '<tr><td style="padding:0 4px; width:100%">Some words about a thing one may buy, or not.</td></tr>\r\n'
    for number in range(LINKS):
        rows.append(
            f'<tr><td><a class="x" href="https://shop.example/p?id={number}&amp;from=mail">Item</a></td></tr>\r\n'
        )
        rows.append(filler * ((HTML_OCTETS // LINKS - 110) // len(filler)))
    head = "<html><body>\r\n<p>Dear %recipient.first%, your number is %recipient.id%.</p>\r\n<table>\r\n"
    return (head + "".join(rows) + '</table><a href="%unsubscribe_url%">Leave</a>\r\n</body></html>\r\n').encode()


def message(coding: str) -> bytes:
    html, text = html_text(), b"Dear %recipient.first%,\r\nsee https://shop.example/ for more.\r\n"
    if coding == "quoted-printable":
        html, text = quoted(html), quoted(text)
    elif coding == "base64":
        html, text = (base64.encodebytes(one).replace(b"\n", b"\r\n") for one in (html, text))
    parts = b"".join(
        b"--part\r\nContent-Type: %b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n"
        % (kind, coding.encode(), body)
        for kind, body in ((b"text/plain", text), (b"text/html", html))
    )
    header = (
        b"From: Shop <shop@sender.example>\r\nTo: %recipient%\r\nSubject: News for %recipient.first%\r\n"
        b"Message-ID: <1@sender.example>\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative; boundary="part"\r\n\r\n'
    )
    return header + parts + b"--part--\r\n"


def plain(line: bytes, coding: bytes = b"7bit") -> bytes:
    header = b"From: a@sender.example\r\nTo: b@recipient.example\r\nSubject: plain\r\nMIME-Version: 1.0\r\n"
    header += b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: " + coding + b"\r\n\r\n"
    return header + (line + b"\r\n") * (PLAIN_OCTETS // (len(line) + 2))


def median_ms(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000


def busy(coding: str, tokens: Tokens) -> str:
    everything = Plan(opens=True, clicks=Clicks.YES, batch=True, list_unsubscribe=True)
    content, first = message(coding), "Zoe" if coding == "7bit" else "Zoë"
    template, numbers = compile(content, everything), iter(range(1, 1_000_000))

    def fill() -> bytes:
        number = next(numbers)
        links, variables = OurLinks(tokens, number), {"first": first, "id": number}
        return template.fill(Person(f"u{number}@recipient.example", "A Person", variables, "", links))

    sizes = f"{len(content) / 1000:5.1f} kB -> {len(fill()) / 1000:5.1f} kB"
    compiled = median_ms(lambda: compile(content, everything), 30)
    return f"{coding:24} {sizes}  fill {median_ms(fill, 500):.3f} ms  compile {compiled:.3f} ms"


def idle(name: str, content: bytes) -> str:
    block, nothing = scan(content), Plan()
    assert compile(content, nothing).static
    needed = median_ms(lambda: may_need(content, block), 2000) * 1000
    compiled = median_ms(lambda: compile(content, nothing), 500)
    return f"{name:24} {len(content) / 1000:5.1f} kB  may_need {needed:.2f} µs  compile {compiled:.3f} ms"


def main() -> None:
    tokens = Tokens(b"k" * 32)
    for coding in ("7bit", "8bit", "quoted-printable", "base64"):
        print(busy(coding, tokens))
    words = b"Some words that make a line of a usual length in a message, or nearly so."
    print(idle("nothing, no sign", plain(words)))
    print(idle("nothing, percent signs", plain(b'<td width="100%">' + words)))
    print(idle("nothing, quoted", plain(words + b"=25 a=C3=A4=", b"quoted-printable")))
    print(idle("nothing, base64", plain(base64.b64encode(words[:57]), b"base64")))


if __name__ == "__main__":
    main()
