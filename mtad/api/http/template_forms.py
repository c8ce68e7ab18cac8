"""Template forms: what a request says of a template or a version, checked; and how answers show them.

Room: api. May import: message, storage.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from mtad.api.http.answers import BadRequest
from mtad.api.http.call import Call
from mtad.api.http.dates import gmt
from mtad.api.http.params import Params
from mtad.mail.ids import event_id
from mtad.message.handlebars.letter import read_letter
from mtad.message.handlebars.nodes import BadTemplate
from mtad.message.values import parse_name
from mtad.storage.templates import TemplateRow, VersionRow

MAX_TEXT = 2000  # characters of a description, a comment, and of whoever made it
MAX_HEADERS = 20
MAX_HEADER = 10_000  # characters of one
ENGINE = "handlebars"


async def check(content: str, headers: Mapping[str, str]) -> None:
    """That both can be read. Beside the loop: a long one takes a while."""
    try:
        await asyncio.to_thread(read_letter, content, headers)
    except BadTemplate as error:
        raise BadRequest(f"template parameter: {error}") from None


def read_name(params: Params, name: str) -> str:
    return params.value(name, parse_name).lower()


def read_short(params: Params, name: str) -> str | None:
    text = params.text(name)
    if text is not None and len(text) > MAX_TEXT:
        raise BadRequest(f"{name} parameter is longer than {MAX_TEXT} characters")
    return text


def read_content(call: Call) -> str:
    """A field or a file; "" there is none."""
    upload = next((one for one in call.files if one.name == "template"), None)
    if upload is None:
        return call.params.text("template", "")
    try:
        return upload.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("template parameter is not UTF-8") from None


def read_headers(params: Params) -> dict[str, str]:
    found = params.object("headers") or {}
    for name, value in found.items():
        if not isinstance(value, str) or not name.isascii() or not name.isprintable() or not name:
            raise BadRequest("headers parameter is not a JSON object of texts")
        if len(name) + len(value) > MAX_HEADER:
            raise BadRequest(f"headers parameter: {name[:60]} is longer than {MAX_HEADER} characters")
    if len(found) > MAX_HEADERS:
        raise BadRequest(f"headers parameter has more than {MAX_HEADERS} members")
    return found


def show_template(row: TemplateRow, version: VersionRow | None = None) -> dict[str, Any]:
    shown = {
        "name": row.name,
        "description": row.description,
        "createdAt": gmt(row.created_at),
        "createdBy": row.created_by,
        "id": event_id(row.number),
    }
    return {**shown, "version": show_version(version)} if version else shown


def show_version(row: VersionRow) -> dict[str, Any]:
    return {
        "tag": row.tag,
        "template": row.content,
        "engine": ENGINE,
        "mjml": "",
        "createdAt": gmt(row.created_at),
        "comment": row.comment,
        "active": row.active,
        "id": event_id(row.number),
        "headers": row.headers,
    }
