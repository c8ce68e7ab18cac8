"""Commands: the arguments of EHLO, MAIL, RCPT and BDAT, from octets to our types.

Room: smtp. Pure. May import: mail. Source: RFC 5321 §4.1.1 and §4.1.2, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531
(SMTPUTF8), RFC 4954 §5 (AUTH=), RFC 3461 (RET, ENVID, NOTIFY, ORCPT), RFC 3030 (BDAT). Used by smtp.receiver.
Whatever is wrong raises Refused with the reply that says what would be right.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from mtad.mail.address import Address, BadAddress, parse_address
from mtad.mail.envelope import Submission
from mtad.mail.reply import Refused, Reply

_PLAIN = rb"<([\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+)>"
_PLAIN_MAIL = re.compile(rb"FROM:" + _PLAIN + rb"(?: SIZE=(\d{1,18}))?", re.IGNORECASE)
_PLAIN_RCPT = re.compile(rb"TO:" + _PLAIN, re.IGNORECASE)
_PATH = rb' *<((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>(?: +(.*?))? *'
_MAIL = re.compile(rb"FROM:" + _PATH, re.IGNORECASE)
_RCPT = re.compile(rb"TO:" + _PATH, re.IGNORECASE)
_SOURCE_ROUTE = re.compile(r"@[^:\"]*:")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2})+")  # \x{..} of RFC 6533 fits too
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")
_BDAT = re.compile(rb"(\d{1,15})( +LAST)? *", re.IGNORECASE)
_HELO_DIRT = re.compile(r"[^!#-'*-:=?-\[\]-~]")  # no blanks, quotes, parentheses, angle brackets, ";" or "\"

MAX_HELO = 255
MAX_ENVID = 100  # RFC 3461 §4.4
MAX_ORCPT = 500  # §4.2

_MAIL_SYNTAX = Reply(501, "5.4", "Write MAIL FROM:<address>, and parameters after a blank")
_RCPT_SYNTAX = Reply(501, "5.4", "Write RCPT TO:<address>, and parameters after a blank")
_NOT_UTF8 = Reply(501, "5.2", "The address is not UTF-8")
_UTF8_UNASKED = Reply(553, "6.7", "An address that is not ASCII needs SMTPUTF8 on MAIL FROM")

_address = lru_cache(maxsize=4096)(parse_address)  # clients of ours write the same few hundred again and again


def parse_mail(arg: bytes) -> tuple[Submission, int]:
    """ "FROM:<a@b> SIZE=10" -> an empty submission with its reverse-path and parameters, and the declared size."""
    plain = _PLAIN_MAIL.fullmatch(arg)
    if plain:
        submission = _empty(_sender(plain[1].decode("ascii")))
        return submission, int(plain[2] or 0)
    found = _MAIL.fullmatch(arg)
    if not found:
        raise Refused(_MAIL_SYNTAX)
    given = _parameters(found[2], _MAIL_KEYS)
    submission = _empty(None)
    submission.smtputf8 = "SMTPUTF8" in given
    path = _text(found[1], submission.smtputf8)
    submission.reverse_path = _sender(_SOURCE_ROUTE.sub("", path, count=1)) if path else None
    submission.eight_bit = given.get("BODY", "").upper() == "8BITMIME" or submission.smtputf8
    submission.ret = given.get("RET", "").upper()
    submission.envid = given.get("ENVID", "")
    return submission, int(given.get("SIZE", 0))


def parse_rcpt(arg: bytes, smtputf8: bool, default_domain: str) -> tuple[Address, str, str]:
    """ "TO:<a@b> NOTIFY=NEVER" -> the address, NOTIFY and ORCPT ("" when not given).

    "<postmaster>" is the postmaster of default_domain (RFC 5321 §4.5.1). A source route is dropped (§3.6.1).
    """
    plain = _PLAIN_RCPT.fullmatch(arg)
    if plain:
        return _recipient(plain[1].decode("ascii")), "", ""
    found = _RCPT.fullmatch(arg)
    if not found:
        raise Refused(_RCPT_SYNTAX)
    given = _parameters(found[2], _RCPT_KEYS)
    path = _SOURCE_ROUTE.sub("", _text(found[1], smtputf8), count=1)
    if path.lower() == "postmaster":
        path = f"{path}@{default_domain}"
    return _recipient(path), given.get("NOTIFY", "").upper(), given.get("ORCPT", "")


def parse_bdat(arg: bytes) -> tuple[int, bool] | None:
    """ "1000 LAST" -> (1000, True). None: where the next command begins cannot be known."""
    found = _BDAT.fullmatch(arg)
    return (int(found[1]), bool(found[2])) if found else None


def clean_helo(arg: bytes) -> str:
    """The name a client gives itself, fit for a Received field. "" when it gave none or one beyond MAX_HELO."""
    word = arg.strip().partition(b" ")[0]
    return _HELO_DIRT.sub("?", word.decode("ascii", "replace")) if len(word) <= MAX_HELO else ""


def _empty(reverse_path: Address | None) -> Submission:
    return Submission(reverse_path, [], b"", "", 0.0)


def _sender(text: str) -> Address:
    try:
        return _address(text)
    except BadAddress as error:
        raise Refused(Reply(501, "1.7", f"Bad sender address: {error}")) from error


def _recipient(text: str) -> Address:
    try:
        return _address(text)
    except BadAddress as error:
        raise Refused(Reply(501, "1.3", f"Bad recipient address: {error}")) from error


def _text(path: bytes, smtputf8: bool) -> str:
    if path.isascii():
        return path.decode("ascii")
    if not smtputf8:
        raise Refused(_UTF8_UNASKED)
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(_NOT_UTF8) from error


def _is_size(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 18


def _is_body(value: str) -> bool:
    if value.upper() == "BINARYMIME":
        raise Refused(Reply(555, "6.1", "BINARYMIME is not offered here; send the message as BODY=8BITMIME"))
    return value.upper() in ("7BIT", "8BITMIME")


def _is_xtext(value: str) -> bool:
    return len(value) <= MAX_ORCPT and _XTEXT.fullmatch(value) is not None


def _is_orcpt(value: str) -> bool:
    return len(value) <= MAX_ORCPT and _ORCPT.fullmatch(value) is not None


# Parameter -> is its value right? A parameter that is not here is answered 555.
_Checks = dict[str, Callable[[str], bool]]
_MAIL_KEYS: _Checks = {
    "SIZE": _is_size,
    "BODY": _is_body,
    "SMTPUTF8": lambda value: value == "",
    "AUTH": _is_xtext,  # Sendmail and Postfix send it; we know who is logged in, so it changes nothing
    "RET": lambda value: value.upper() in ("FULL", "HDRS"),
    "ENVID": lambda value: len(value) <= MAX_ENVID and _is_xtext(value),
}
_RCPT_KEYS: _Checks = {"NOTIFY": lambda value: _NOTIFY.fullmatch(value.upper()) is not None, "ORCPT": _is_orcpt}


def _parameters(given: bytes | None, known: _Checks) -> dict[str, str]:
    """ "SIZE=10 body=7bit" -> {"SIZE": "10", "BODY": "7bit"}."""
    result: dict[str, str] = {}
    for word in (given or b"").split():
        try:
            key, equals, value = word.decode("utf-8").partition("=")
        except UnicodeDecodeError as error:
            raise Refused(Reply(501, "5.4", "A parameter is not UTF-8")) from error
        key = key.upper()
        if key not in known:
            shown = key if key.isascii() and key.isprintable() else "parameter"
            raise Refused(Reply(555, "5.4", f"{shown[:40]} is not known here; send the command without it"))
        if key in result or (equals and not value) or not known[key](value):
            raise Refused(Reply(501, "5.4", f"{key} is given twice or has a value that cannot be"))
        result[key] = value
    return result
