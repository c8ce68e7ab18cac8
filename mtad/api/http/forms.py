"""Forms: query and body of a request -> pairs, files, JSON.

Room: api. Pure. Text is UTF-8; what is not is refused, as a guess would be sent to thousands.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from mtad.api.http.answers import BadRequest
from mtad.api.http.call import Upload
from mtad.api.http.multipart import BadMultipart, boundary_of, parts
from mtad.api.http.params import plain_name

MAX_PAIRS = 10_000
MAX_VALUES = 500_000  # commas and opening brackets of a JSON body, also those in strings: each may cost 200 octets

_NOT_UTF8 = "the text of a parameter is not UTF-8"
_TOO_MANY = f"more than {MAX_PAIRS} parameters"


@dataclass(slots=True)
class Form:
    pairs: list[tuple[str, str]] = field(default_factory=list)
    files: list[Upload] = field(default_factory=list)
    body: Any = None


def read_query(raw: str) -> list[tuple[str, str]]:
    """raw: as in the URL, without "?"."""
    return _pairs(raw.encode("utf-8", "surrogateescape")) if raw else []


def read_body(body: bytes, content_type: str) -> Form:
    """Raises BadRequest."""
    if not body:
        return Form()
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(body, content_type)
    if kind == "application/json" or body[:1] in b"[{":
        return _json(body)
    if kind in ("application/x-www-form-urlencoded", ""):
        return Form(_pairs(body))
    raise BadRequest(f"request body is of the type {kind[:60]}; send a form or JSON")


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    pieces = [piece for piece in raw.replace(b"+", b" ").split(b"&") if piece]
    if len(pieces) > MAX_PAIRS:
        raise BadRequest(_TOO_MANY)
    try:
        return [(_decoded(name), _decoded(value)) for name, _, value in [piece.partition(b"=") for piece in pieces]]
    except UnicodeDecodeError:
        raise BadRequest(_NOT_UTF8) from None


def _decoded(raw: bytes) -> str:
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()


def _multipart(body: bytes, content_type: str) -> Form:
    form = Form()
    try:
        for part in parts(body, boundary_of(content_type)):
            if part.filename is not None:
                name = plain_name(part.name)  # PHP and Ruby send attachment[0]
                form.files.append(Upload(name, part.filename, part.content_type, bytes(part.content)))
            else:
                form.pairs.append((part.name, str(part.content, "utf-8")))
    except BadMultipart:
        raise BadRequest("request body is not valid multipart/form-data") from None
    except UnicodeDecodeError:
        raise BadRequest(_NOT_UTF8) from None
    return form


def _json(body: bytes) -> Form:
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
        raise BadRequest(f"request body has more than {MAX_VALUES} values")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequest("request body is not valid JSON") from None
    if not isinstance(value, dict):
        return Form(body=value)
    lists = [(name, member if _is_plain_list(member) else [member]) for name, member in value.items()]
    if sum(len(members) for _, members in lists) > MAX_PAIRS:
        raise BadRequest(_TOO_MANY)
    try:
        return Form([(name, _text(one)) for name, members in lists for one in members], body=value)
    except orjson.JSONEncodeError:  # it reads what is nested deeper than it writes
        raise BadRequest("request body is nested too deep") from None


def _is_plain_list(value: object) -> bool:
    return isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)


def _text(value: object) -> str:
    """A JSON member as a form would have sent it."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
