"""Parameters: what Content-Type and Content-Disposition say behind the first semicolon, however they say it.

Room: message. Pure. Source: RFC 2045 §5.1, RFC 2183, RFC 2231 (continuations, charsets), and RFC 2047 in the places
where it may not stand, which many programs use all the same. Nothing raises; work is linear in the bounded value.
"""

import re
from urllib.parse import unquote_to_bytes

from mtad.message.charsets import codec_of
from mtad.message.headers import decode

_MAX_VALUE = 16_384  # octets that are read
_MAX_NAME = 200  # characters of a file name
_TYPE = re.compile(rb"[ \t]*([!#$&^\w.+-]++/[!#$&^\w.+-]++)", re.ASCII)
_PARAMETER = re.compile(
    rb";[ \t]*([^=;\s*\"]++)(?:\*(\d{1,3}))?(\*)?[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*+)\"?|([^;]*+))", re.DOTALL
)
_PAIR = re.compile(rb"\\([\"\\])")  # no other: "C:\new.txt" is written as it is called
_SPACED_WORD = re.compile(r"=\?[\w.:+-]{1,40}\?[bBqQ]\?[^?]{1,600}\?=", re.ASCII)
_UNNAMEABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")
_FOLDERS = re.compile(r"[/\\]")

Parameters = dict[str, str]


def media_type(value: bytes) -> tuple[str, Parameters]:
    """("text/html", its parameters), all names in lower case; ("", …) where no type is named."""
    value = value[:_MAX_VALUE]
    found = _TYPE.match(value)
    if not found and value.strip(b" \t;").lower() == b"text":
        return "text/plain", {}
    return (found[1].decode("ascii").lower() if found else ""), parameters(value)


def disposition(value: bytes) -> tuple[str, Parameters]:
    """("attachment", its parameters). A value that begins with a parameter is one without a disposition."""
    value = value[:_MAX_VALUE]
    word = value.partition(b";")[0].strip(b" \t\"'").lower()
    if b"=" in word:
        return "", parameters(b";" + value)
    return word.decode("latin-1"), parameters(value)


def parameters(value: bytes) -> Parameters:
    """By lower-case name, values decoded; of two with one name the first."""
    if b";" not in value:
        return {}
    simple: Parameters = {}
    pieces: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for octets, number, encoded, quoted, plain in _PARAMETER.findall(value):
        name = octets.decode("latin-1").lower()
        said = _PAIR.sub(rb"\1", quoted) if quoted else plain.strip(b" \t\r\n")
        if number or encoded:
            pieces.setdefault(name, {}).setdefault(int(number or 0), (said, bool(encoded)))
        else:
            simple.setdefault(name, text_of(said))
    return simple | {name: _joined(some) for name, some in pieces.items()} if pieces else simple


def text_of(octets: bytes) -> str:
    """A value, with the encoded words that some write in it read."""
    if octets.isascii() and b"=?" not in octets:
        return octets.decode("ascii")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("cp1252", "replace")
    if "=?" in text:
        text = _SPACED_WORD.sub(lambda word: word[0].replace(" ", "_"), text)
        text = decode(text.encode(), _MAX_VALUE)
    return text


def _joined(pieces: dict[int, tuple[bytes, bool]]) -> str:
    """RFC 2231 §3 and §4: the pieces in the order of their numbers; the first one names the charset."""
    charset, octets = "", b""
    for place, number in enumerate(sorted(pieces)):
        said, encoded = pieces[number]
        if encoded and not place and said.count(b"'") >= 2:
            name, _, said = said.split(b"'", 2)
            charset = codec_of(name.decode("latin-1"))
        octets += unquote_to_bytes(said) if encoded else said
    if not charset:
        return text_of(octets)
    return octets.decode(charset, "replace")


def file_name(name: str) -> str:
    """A name as a file can have it: no folders, no characters that cannot be seen; "" when nothing is left."""
    name = _UNNAMEABLE.sub("", _FOLDERS.split(name)[-1]).strip(". \t") if name else ""
    if len(name) <= _MAX_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: _MAX_NAME - 21]}.{ending}" if dot and len(ending) <= 20 else name[:_MAX_NAME]
