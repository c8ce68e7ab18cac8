"""Values: what may stand in a control header or in its twin among the parameters of the HTTP API.

Room: message. Pure. Source: RFC 5322 §3.3 and §4.3 (dates), RFC 8259 (JSON). Used by message.control and
message.container, and by the HTTP door. Every function takes any text and either gives a value or raises BadValue, in
time linear in the text. Text comes decoded, and without white space around it that matters to nobody.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime

import orjson

from mtad.mail.address import BadAddress, parse_address
from mtad.mail.options import Clicks, Variables

MAX_TAGS = 3
MAX_TAG = 128  # characters
MAX_CAMPAIGNS = 3
MAX_CAMPAIGN = 64  # characters
MAX_NAME = 255  # characters, of a template or its version
MAX_RECIPIENTS = 1000
MAX_JSON = 262_144  # octets
MAX_RECIPIENT_JSON = 2_097_152  # octets: 2 KiB for each recipient of the largest batch
MAX_DEPTH = 32  # objects and arrays within each other; orjson writes no more than 254
MAX_VALUES = 100_000  # commas and opening brackets, also those in strings: 100 values for each recipient

_WORDS = {"yes": True, "true": True, "no": False, "false": False}
_FORM_WORDS = {**_WORDS, "1": True, "on": True, "0": False, "off": False}
_CLICKS = {"yes": Clicks.YES, "true": Clicks.YES, "no": Clicks.NO, "false": Clicks.NO, "htmlonly": Clicks.HTML_ONLY}

_MAX_DATE = 100  # characters
_SECONDS = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_DATE = re.compile(
    r"(?:[a-z]{3}(?: *, *| +))?\d{1,2} +[a-z]{3} +(?:\d{4}|\d{2}) +\d{1,2}:\d{2}(?::\d{2})?"
    r" *(?:[+-]\d{4}|ut|utc|gmt|z|[ecmp][sd]t)(?: *\([^()]*\))?",
    re.ASCII | re.IGNORECASE,
)
_MAX_ADDRESS = 320  # characters; longer ones are no address, and are not looked at
_DAY_S = 86_400


class BadValue(ValueError):
    """The text is no such value. str(): a predicate, to stand behind the name of the field or parameter.

    advice: what to write instead, as a half sentence; may be "".
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice


def parse_bool(text: str, *, form: bool = False) -> bool:
    """yes, no, true and false in any letter case. form: also 1, 0, on and off, as HTML forms send them."""
    value = (_FORM_WORDS if form else _WORDS).get(text.strip().lower())
    if value is None:
        raise BadValue("is neither yes nor no", "write yes or no")
    return value


def parse_clicks(text: str) -> Clicks:
    value = _CLICKS.get(text.strip().lower())
    if value is None:
        raise BadValue("is none of yes, no and htmlonly", "write yes, no or htmlonly")
    return value


def parse_date(text: str) -> float:
    """ "Fri, 14 Oct 2011 23:10:10 -0000" or "1318633810.5" -> epoch seconds. The zone must be said."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    squeezed = " ".join(text.split()) if len(text) <= _MAX_DATE else ""
    if _DATE.fullmatch(squeezed):
        try:
            at = parsedate_to_datetime(squeezed)  # without a zone where it was -0000 (RFC 5322 §3.3): UTC is meant
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):  # 31 Feb, 25:00, a zone of more than a day
            pass
    raise BadValue(
        "is neither an RFC 2822 date nor Unix seconds", 'write it as "Fri, 14 Oct 2011 23:10:10 +0000" or 1318633810'
    )


def parse_deliver_at(text: str, now: float, max_schedule_s: float) -> float | None:
    """When to send, in epoch seconds; None: now, because the time is past."""
    at = parse_date(text)
    if at - now > max_schedule_s:
        raise BadValue(f"is more than {_span(max_schedule_s)} ahead", "choose an earlier time, or submit it later")
    return at if at > now else None


def _span(seconds: float) -> str:
    count, unit = (seconds / _DAY_S, "day") if seconds >= _DAY_S else (seconds / 3600, "hour")
    return f"{count:g} {unit}" + ("" if count == 1 else "s")


def parse_tag(text: str) -> str:
    """One tag, as written."""
    text = text.strip()
    if not text:
        raise BadValue("is empty")
    if len(text) > MAX_TAG:
        raise BadValue(f"is longer than {MAX_TAG} characters", "shorten it")
    if not (text.isascii() and text.isprintable()):
        raise BadValue("is not printable ASCII", "spell it in ASCII")
    return text


def parse_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """The first three that differ in more than letter case. BadValue for any that is no tag."""
    return distinct([parse_tag(text) for text in texts], str.lower)[:MAX_TAGS]


def parse_campaign(text: str) -> str:
    """One campaign id, as written."""
    return _line(text, MAX_CAMPAIGN)


def parse_campaigns(texts: Iterable[str]) -> tuple[str, ...]:
    """The first three that differ. BadValue for any that is no campaign id."""
    return distinct([parse_campaign(text) for text in texts])[:MAX_CAMPAIGNS]


def parse_name(text: str) -> str:
    """The name of a template, or of a version of one, as written."""
    return _line(text, MAX_NAME)


def _line(text: str, limit: int) -> str:
    text = text.strip()
    if not text:
        raise BadValue("is empty")
    if len(text) > limit:
        raise BadValue(f"is longer than {limit} characters", "shorten it")
    if not text.isprintable():
        raise BadValue("has a control character", "leave it out")
    return text


def distinct(texts: Iterable[str], key: Callable[[str], str] = str) -> tuple[str, ...]:
    """Without those whose key came before."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(key(text), text)
    return tuple(first.values())


def parse_object(text: str | bytes, limit: int = MAX_JSON) -> Variables:
    """A JSON object. Of members with the same name the last counts; numbers beyond 64 bits become floats.

    limit: octets.
    """
    octets = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(octets) > limit:
        raise BadValue(f"is larger than {limit // 1024} KiB", "send less data")
    if sum(octets.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise BadValue(f"has more than {MAX_VALUES} values", "send less data")
    try:
        value = orjson.loads(octets.removeprefix(b"\xef\xbb\xbf"))  # RFC 8259 §8.1: readers may pass over a BOM
    except orjson.JSONDecodeError:
        raise BadValue("is not valid JSON", 'write a JSON object: {"name": "value"}') from None
    if not isinstance(value, dict):
        raise BadValue("is not a JSON object", 'write a JSON object: {"name": "value"}')
    _check_depth(value)
    return value


def _check_depth(value: Variables) -> None:
    level: list[Variables | list[object]] = [value]
    for _ in range(MAX_DEPTH):
        inside = (one for parent in level for one in (parent.values() if isinstance(parent, dict) else parent))
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return
    raise BadValue(f"is nested more than {MAX_DEPTH} deep", "make it flatter")


def parse_recipient_variables(text: str | bytes) -> dict[str, Variables]:
    """A JSON object of objects by plain address -> the same by Address.key."""
    people = by_address(parse_object(text, MAX_RECIPIENT_JSON))
    if people is None:
        raise BadValue("is not a JSON object of objects", 'write {"bob@example.org": {"name": "Bob"}, ...}')
    return people


def by_address(value: Variables) -> dict[str, Variables] | None:
    """The members by Address.key when each is an object under an address, else None.

    BadValue: there are more than a batch may have. Of one address in several spellings the variables are put together.
    """
    if not all(isinstance(member, dict) and "@" in name for name, member in value.items()):
        return None
    if len(value) > MAX_RECIPIENTS:
        raise BadValue(f"has more than {MAX_RECIPIENTS} recipients", "send it in several messages")
    pairs = [(_address_key(name), member) for name, member in value.items()]
    if any(key is None for key, _ in pairs):
        return None
    return _joined((key, member) for key, member in pairs if key is not None)


def _address_key(text: str) -> str | None:
    try:
        return parse_address(text.strip()).key if len(text) <= _MAX_ADDRESS else None
    except BadAddress:
        return None


def joined(*each: dict[str, Variables]) -> dict[str, Variables]:
    """Variables of recipients from several places: of one address they are put together, the later winning."""
    return _joined(pair for some in each for pair in some.items())


def _joined(pairs: Iterable[tuple[str, Variables]]) -> dict[str, Variables]:
    people: dict[str, Variables] = {}
    for key, member in pairs:
        people[key] = {**people[key], **member} if key in people else member
    return people
