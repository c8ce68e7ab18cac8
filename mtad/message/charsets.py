"""Charsets: octets of a text -> the text, in the charset they are in, which need not be the one they claim.

Room: message. Pure. Source: RFC 2045 §5.2, RFC 2046 §4.1.2, and the Encoding Standard for names that mean more in
mail than they say. Nothing raises; guessing is bounded in octets and, for each message, in number.
"""

import codecs
import re
from dataclasses import dataclass
from functools import lru_cache

_MAX_NAME = 40
_SAMPLE = 4096  # octets that a guess is made from
_MAX_GUESSES = 4  # for one message; later texts are taken to be in the charset of the last guess

# Names that mail programs write, and what is then in the text: supersets, and what is misspelt.
_MEANT = {
    "iso8859-1": "cp1252",
    "ascii": "",  # eight-bit "ASCII" may be anything
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso2022_jp": "iso2022_jp_ext",
    "big5": "big5hkscs",
}
_MISSPELT = {
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "x-windows-949": "cp949",
    "x-sjis": "cp932",
    "ms932": "cp932",
    "windows-31j": "cp932",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "utf8mb4": "utf-8",
    "x-gbk": "gb18030",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "windows-874": "cp874",
    "cp-850": "cp850",
    "iso_8859-1": "cp1252",
    "latin1_swedish_ci": "cp1252",
}
_NO_TEXT = re.compile(r"idna|punycode|undefined|unicode.escape|raw.unicode.escape|mbcs|oem")
_SHIFTING = re.compile(r"iso2022|hz|utf-?7|utf-?(16|32)")  # ASCII octets need not be ASCII letters in these
_ESCAPED = re.compile(rb"\x1b\$[@B]")  # RFC 1468: Japanese that does not say so
_ODD_LINE = re.compile(rb"[^\n\x80-\xff]*+[\x80-\xff][^\n]*+\n?")
_UNPOSTABLE = re.compile("[\x00\ud800-\udfff]")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Reading:
    """text: fit to be written as UTF-8, without NUL. charset: it was read in. faithful: each octet is told by it."""

    text: str
    charset: str
    faithful: bool


class Reader:
    """Reads the texts of one message."""

    __slots__ = ("_guessed", "_guesses")

    def __init__(self) -> None:
        self._guesses, self._guessed = 0, ""

    def read(self, octets: bytes, declared: str) -> Reading:
        """declared: the charset parameter, "" when there is none."""
        codec = codec_of(declared) if declared else ""
        if octets.isascii() and not _SHIFTING.match(codec):
            if _ESCAPED.search(octets) and (text := _strictly(octets, "iso2022_jp_ext")) is not None:
                return _reading(text, "iso-2022-jp")
            return _reading(octets.decode("ascii"), "us-ascii")
        for mark, marked in _BOMS:
            if octets.startswith(mark) and (text := _strictly(octets, marked)) is not None:
                return _reading(text, marked)
        # UTF-8 is not come upon by chance; a text that says Latin-1 and is UTF-8 is UTF-8.
        if codec in ("", "cp1252", "utf-8"):
            if (text := _strictly(octets, "utf-8")) is not None:
                return _reading(text, "utf-8")
        elif (text := _strictly(octets, codec)) is not None:
            return _reading(text, codec)
        return self._undeclared(octets, codec)

    def _undeclared(self, octets: bytes, codec: str) -> Reading:
        """A text that is not in the charset it claims, or claims none."""
        if codec == "cp1252":
            return _western(octets)
        if codec != "utf-8" and (text := _strictly(octets, "utf-8")) is not None:
            return _reading(text, "utf-8")
        mended = octets.decode("utf-8", "replace")
        if mended.count("\ufffd") * 4 <= len(_MANY_OCTETS.findall(mended)):  # UTF-8, but for octets that went astray
            return Reading(_UNPOSTABLE.sub("\ufffd", mended), "utf-8", False)
        guess = self._guess(octets)
        if guess and (text := _strictly(octets, guess)) is not None:
            return Reading(_UNPOSTABLE.sub("\ufffd", text), guess, not _NOT_WRITTEN.search(text))
        return Reading(_UNPOSTABLE.sub("\ufffd", octets.decode(guess or "cp1252", "replace")), guess, False)

    def _guess(self, octets: bytes) -> str:
        """A codec, "" for none."""
        if self._guesses < _MAX_GUESSES:
            self._guesses += 1
            sample = _sample(octets)
            guess = _guessed(sample, _WRITTEN) or _guessed(sample, _WRITTEN[1:])
            if guess in _LATIN and _WESTERN.fullmatch(sample.decode("cp1252", "replace")):
                guess = "cp1252"  # seven in ten octets are the same letters in cp1250, and the guess as good as chance
            self._guessed = guess or self._guessed
        return self._guessed


_LATIN = frozenset({"cp1250", "cp1254", "cp1257", "cp1258", "iso8859-2", "mac-latin2", "mac-roman", "hp-roman8"})
# The letters of French, German, Spanish, Italian, Portuguese and Dutch, and what is set around them.
_WESTERN = re.compile("[\x00-\x7f\xa0àâäáãçéèêëíìîïñóòôöõúùûüßœÀÂÄÁÃÇÉÈÊËÍÌÎÏÑÓÒÔÖÕÚÙÛÜŒ«»“”„‘’‚–—…•€£§°´©®¡¿ªº]*+")
_WRITTEN = [  # what mail without a charset is in; a guess among all of Python's is wrong more often
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "koi8_r", "koi8_u", "cp866", "cp874"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("iso8859_2", "iso8859_5", "iso8859_7", "iso8859_9", "iso8859_15", "mac_roman"),
]
_NOT_WRITTEN = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ud800-\udfff]")  # controls: the guess may be wrong
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_MANY_OCTETS = re.compile("[\x80-\ufffc\U00010000-\U0010ffff]")


@lru_cache(maxsize=256)
def codec_of(name: str) -> str:
    """Python's name of the codec that reads a charset, as mail programs mean it; "" for none, or none of texts."""
    name = name.strip(" \t\"'").lower()[:_MAX_NAME]
    name = _MISSPELT.get(name, name)
    try:
        codec = codecs.lookup(name).name
        if _NO_TEXT.match(codec):
            return ""
        b"x".decode(codec, "replace")  # LookupError: a codec, but none of texts
    except (LookupError, ValueError):
        return ""
    return _MEANT.get(codec, codec)


def _strictly(octets: bytes, codec: str) -> str | None:
    try:
        return octets.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _western(octets: bytes) -> Reading:
    text = _strictly(octets, "cp1252")
    # Five octets mean nothing in cp1252, and controls in Latin-1: these are read as the charset says.
    return _reading(text, "cp1252") if text is not None else _reading(octets.decode("latin-1"), "iso-8859-1")


def _reading(text: str, charset: str) -> Reading:
    """NUL, and halves of UTF-16 pairs, are letters of no text, and cannot be posted or stored everywhere."""
    if _UNPOSTABLE.search(text):
        return Reading(_UNPOSTABLE.sub("\ufffd", text), charset, False)
    return Reading(text, charset, True)


def _guessed(sample: bytes, among: list[str]) -> str:
    """Letters of any one-octet charset are half-width katakana in Shift_JIS, in which nobody writes whole letters."""
    from charset_normalizer import from_bytes  # two megabytes, which few messages need

    found = from_bytes(sample, steps=4, chunk_size=512, preemptive_behaviour=False, cp_isolation=among)
    for one in found:
        text = str(one)
        if len(_HALF_WIDTH.findall(text)) * 3 < len(text):
            return codec_of(one.encoding)
    return ""


def _sample(octets: bytes) -> bytes:
    """Lines with octets that are not ASCII, from the beginning."""
    lines: list[bytes] = []
    room = _SAMPLE
    for line in _ODD_LINE.finditer(octets, 0, 64 * _SAMPLE):
        lines.append(line[0][:room])
        room -= len(lines[-1])
        if room <= 0:
            break
    return b"".join(lines)
