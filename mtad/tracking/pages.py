"""Pages: what a recipient sees who unsubscribes, and who follows a link that is none of ours. Made once.

Room: tracking. Pure. Plain HTML that needs no script, no image and no other request.
"""

import hashlib
import html
from base64 import b64encode

from mtad.mail.token import Purpose

_STYLE = (
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em;color:#1b1b1b;"
    "background:#fff}button{font:inherit;padding:.6em 1.4em;border:2px solid #174ea6;border-radius:.3em;"
    "background:#174ea6;color:#fff;cursor:pointer}button:focus-visible{outline:3px solid #f9ab00;outline-offset:2px}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#1b1b1b}}"
)
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# RFC 8058 §3.1: what a mail program posts. Our own form posts the same.
ONE_CLICK = ("List-Unsubscribe", "One-Click")

_WHAT = {
    Purpose.UNSUBSCRIBE: "mail from this sender",
    Purpose.UNSUBSCRIBE_TAGS: "mail of this kind from this sender",
    Purpose.UNSUBSCRIBE_LIST: "mail from this list",
}


def _page(title: str, body: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="robots" content="noindex">\n<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def _form(what: str) -> str:
    # No action: it goes to the page's own address.
    return (
        f"<p>Your address will get no more {what}.</p>\n"
        f'<form method="post">\n<input type="hidden" name="{ONE_CLICK[0]}" value="{ONE_CLICK[1]}">\n'
        '<button type="submit">Yes, unsubscribe me</button>\n</form>\n'
        "<p>If that is not what you want, just close this page.</p>"
    )


ASK = {purpose: _page("Unsubscribe?", _form(what)) for purpose, what in _WHAT.items()}
DONE = {
    purpose: _page(
        "You are unsubscribed",
        f'<p role="status">Your address will get no more {what}. Messages that are on their way already may still '
        "come.</p>\n<p>There is nothing else to do: you can close this page.</p>",
    )
    for purpose, what in _WHAT.items()
}
NOT_FOUND = _page(
    "This link does not work",
    "<p>It may have been cut off on its way to you. Open it from the message once more, or copy the whole of it.</p>",
)
NOT_ALLOWED = _page("That cannot be done here", "<p>Open the link from your message instead.</p>")
TOO_LARGE = _page("That is too much", "<p>The request is larger than this page takes.</p>")
TOO_MANY = _page("One moment, please", "<p>Many requests came from your address. Try again in a few seconds.</p>")
LATER = _page(
    "Please try again",
    "<p>Your wish could not be stored just now, so nothing was changed. Open the link again in a few minutes.</p>",
)
BROKEN = _page("Something went wrong", "<p>This is our fault. Please try again later.</p>")

# A transparent image of one pixel (GIF89a).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
