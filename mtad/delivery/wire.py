"""The byte-level writer: commands and message bytes as they leave. Nothing else writes to a peer.

Room: delivery. Pure. Source: RFC 5321 §4.5.2 (transparency), §2.3.8 (a line ends with CRLF and only so); parameters of
MAIL and RCPT: RFC 1870, 6152, 6531, 3461. What could smuggle a second message or command out raises ValueError: the
doors have refused it already, this is the second lock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mtad.mail.envelope import Transaction

# One pass of memchr speed over CR; the lookahead is asked once per line.
_ODD_CR = re.compile(rb"\r(?!\n(?!\.))")  # not followed by LF, or followed by a line that begins with a dot
_BARE_CR = re.compile(rb"\r(?!\n)")
_BARE_LF = re.compile(rb"\n(?<!\r\n)")

# A path without its angle brackets: no control, blank or bracket outside a quoted local part, and no bracket at all.
_PATH = re.compile(r'[^\x00-\x20<>"\x7f]+|"(?:[^\x00-\x1f<>"\\\x7f]|\\[ -;=?-~])*"@[^\x00-\x20<>"\x7f]+')
_XTEXT = re.compile(r"(?=.{1,100}\Z)(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")  # RFC 3461 §4.4: ENVID
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")  # §4.1
_ORCPT = re.compile(r"([A-Za-z0-9-]{1,32});(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2}){1,500}")  # §4.2, RFC 6533 §3
_REMEMBERED_OCTETS = 262_144
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Features:
    """What the host's EHLO announced.

    size: its limit in octets, 0 announced without a limit, None not announced. max_recipients (per transaction) and
    max_messages (per connection): LIMITS (RFC 9422), 0 not announced.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    size: int | None = None
    max_recipients: int = 0
    max_messages: int = 0


def stuff(chunks: Sequence[bytes]) -> list[bytes]:
    """The message as DATA carries it, without the final dot; a chunk that needs no change is not copied.

    Raises ValueError when the content has a bare CR, a bare LF or NUL, or does not end with CRLF.
    """
    if len(chunks) != 1 or len(chunks[0]) > _REMEMBERED_OCTETS:
        return _stuff(chunks)
    [content] = chunks
    if content is not _last.content:  # of a message to many, the same octets come again and again
        _last.stuffed = _stuff(chunks)
        _last.content = content
    return list(_last.stuffed)


def _stuff(chunks: Sequence[bytes]) -> list[bytes]:
    stuffed: list[bytes] = []
    line_start = True
    for chunk in _whole_line_ends(chunks):
        odd = _ODD_CR.search(chunk)
        if odd is not None and _BARE_CR.search(chunk, odd.start()):
            raise ValueError("the message has a bare CR")
        _check_rest(chunk)
        if line_start and chunk.startswith(b"."):
            stuffed.append(b".")
        stuffed.append(chunk if odd is None else chunk.replace(b"\r\n.", b"\r\n.."))
        line_start = chunk.endswith(b"\r\n")
    _check_end(line_start and bool(stuffed))
    return stuffed


@dataclass(slots=True)
class _Last:
    """A content that passed, and what became of it."""

    content: bytes | None = None
    stuffed: Sequence[bytes] = ()


_last = _Last()


def check(chunks: Sequence[bytes]) -> list[bytes]:
    """The message as BDAT carries it: the same demands as stuff(), no stuffing."""
    pieces = _whole_line_ends(chunks)
    for chunk in pieces:
        if _BARE_CR.search(chunk):
            raise ValueError("the message has a bare CR")
        _check_rest(chunk)
    _check_end(bool(pieces) and pieces[-1].endswith(b"\r\n"))
    return pieces


def _whole_line_ends(chunks: Sequence[bytes]) -> list[bytes]:
    """No empty chunks, and no CRLF cut in two: such chunks (rare) are joined."""
    pieces = [chunk for chunk in chunks if chunk]
    if any([chunk.endswith(b"\r") for chunk in pieces]):
        return [b"".join(pieces)]
    return pieces


def _check_rest(chunk: bytes) -> None:
    if _BARE_LF.search(chunk):
        raise ValueError("the message has a bare LF")
    if b"\0" in chunk:
        raise ValueError("the message has a NUL")


def _check_end(ends: bool) -> None:
    if not ends:
        raise ValueError("the message does not end with CRLF")


def mail_command(tx: Transaction, size: int, features: Features, smtputf8: bool) -> bytes:
    """MAIL FROM with the parameters the host announced. Raises ValueError for what is no path or ENVID."""
    command = f"MAIL FROM:<{_path(tx.reverse_path) if tx.reverse_path else ''}>"
    if features.size is not None:
        command += f" SIZE={size}"
    if tx.eight_bit and features.eight_bit:
        command += " BODY=8BITMIME"
    if smtputf8:
        command += " SMTPUTF8"
    if features.dsn:
        if tx.ret in ("FULL", "HDRS"):
            command += f" RET={tx.ret}"
        if tx.envid:
            if not _XTEXT.fullmatch(tx.envid):
                raise ValueError(f"{tx.envid!r} is no ENVID")
            command += f" ENVID={tx.envid}"
    return command.encode() + b"\r\n"


def rcpt_command(recipient: str) -> bytes:
    """Raises ValueError for what is no path."""
    return b"RCPT TO:<%b>\r\n" % _path(recipient).encode()


def rcpt_command_dsn(recipient: str, notify: str, orcpt: str, smtputf8: bool) -> bytes:
    """RCPT for a host that offers DSN: NOTIFY and ORCPT as they came, none where none came (RFC 3461 §5.2.2).

    smtputf8: the transaction uses SMTPUTF8. Raises ValueError for what is no path or no such parameter.
    """
    command = f"RCPT TO:<{_path(recipient)}>"
    if notify:
        if not _NOTIFY.fullmatch(notify):
            raise ValueError(f"{notify!r} is no NOTIFY")
        command += f" NOTIFY={notify}"
    if orcpt:
        command += _original(orcpt, smtputf8)
    return command.encode() + b"\r\n"


def _original(orcpt: str, smtputf8: bool) -> str:
    """ " ORCPT=utf-8;..." as this transaction may write it; "" when it may not."""
    found = _ORCPT.fullmatch(orcpt)
    if not found:
        raise ValueError(f"{orcpt!r} is no ORCPT")
    if not orcpt.isascii():
        if found[1].lower() != "utf-8":
            return ""  # an address of a type that is ASCII by definition: nobody could read it
        if not smtputf8:  # RFC 6533 §3: the ASCII form of the same
            orcpt = _NOT_ASCII.sub(lambda char: f"\\x{{{ord(char[0]):02X}}}", orcpt)
    return f" ORCPT={orcpt}"


def _path(address: str) -> str:
    if not _PATH.fullmatch(address):
        raise ValueError(f"{address!r} is no address that may stand in a command")
    return address
