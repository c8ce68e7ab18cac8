"""Own: the fields of ours that recipients see: who sent it for whom, and the sender's own data.

Room: message. Pure. Source: RFC 5322 §3.6.2 (Sender). Fields come out whole, with CRLF; b"" is none.
"""

import re

from mtad.mail.address import MAX_LOCAL, BadAddress, parse_address
from mtad.message.headers import HeaderBlock

_ATOMS = rb"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_LABELS = rb"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
_PLAIN = re.compile(rb"(?:[\w .'-]*<(%b)@(%b)>|(%b)@(%b))" % (_ATOMS, _LABELS, _ATOMS, _LABELS))
_SHORT = 200  # octets of a From that is looked at so
_SIGNED = re.compile(rb"(?:^|[;\s])h=([^;]*)", re.IGNORECASE)


def sender_field(block: HeaderBlock, domain: str) -> bytes:
    """ "Sender: bob=their.example@ours.example" for mail of ours whose From is at a domain of somebody else's.

    A message that is signed by them with its Sender, or the lack of one, keeps what it has: the signature would break.
    """
    if b"sender" in block:
        return b""
    local, theirs = _author(block)
    if not theirs or theirs == domain or theirs.endswith("." + domain) or not local.isascii():
        return b""
    local = f"{local}={theirs}"
    if '"' in local or len(local) > MAX_LOCAL or _signs_sender(block):
        return b""
    return f"Sender: {local}@{domain}\r\n".encode()


def _author(block: HeaderBlock) -> tuple[str, str]:
    """Local part, and domain in A-labels, of the first From address; ("", "") when there is none. Every message is
    asked, so what nearly all write is read in one step.
    """
    value = block.first(b"from") or b""
    plain = _PLAIN.fullmatch(value) if len(value) <= _SHORT else None
    if plain:
        return (plain[1] or plain[3]).decode(), (plain[2] or plain[4]).decode().lower()
    for address in block.addresses(b"from")[:1]:
        try:
            author = parse_address(address)
        except BadAddress:
            break
        return author.local, author.domain
    return "", ""


def _signs_sender(block: HeaderBlock) -> bool:
    for value in block.all(b"dkim-signature"):
        found = _SIGNED.search(value)
        if found and b"sender" in [name.strip().lower() for name in found[1].split(b":")]:
            return True
    return False
