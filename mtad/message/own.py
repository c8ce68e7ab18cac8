"""Own: the fields of ours that recipients see: who sent it for whom, and the sender's own data.

Room: message. Pure. Source: RFC 5322 §3.6.2 (Sender). Fields come out whole, with CRLF; b"" is none.
"""

import re

from mtad.mail.address import MAX_LOCAL, BadAddress, parse_address
from mtad.message.headers import HeaderBlock

_SIGNED = re.compile(rb"(?:^|[;\s])h=([^;]*)", re.IGNORECASE)


def sender_field(block: HeaderBlock, domain: str) -> bytes:
    """ "Sender: bob=their.example@ours.example" for mail of ours whose From is at a domain of somebody else's.

    A message that is signed by them with its Sender, or the lack of one, keeps what it has: the signature would break.
    """
    if b"sender" in block:
        return b""
    named = block.addresses(b"from")[:1]
    if not named:
        return b""
    try:
        author = parse_address(named[0])
    except BadAddress:
        return b""
    if author.domain == domain or author.domain.endswith("." + domain) or not author.local.isascii():
        return b""
    local = f"{author.local}={author.domain}"
    if '"' in local or len(local) > MAX_LOCAL or _signs_sender(block):
        return b""
    return f"Sender: {local}@{domain}\r\n".encode()


def _signs_sender(block: HeaderBlock) -> bool:
    for value in block.all(b"dkim-signature"):
        found = _SIGNED.search(value)
        if found and b"sender" in [name.strip().lower() for name in found[1].split(b":")]:
            return True
    return False
