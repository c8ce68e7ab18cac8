"""OpenAPI: the description of the API (OpenAPI 3.1), made of the rows that answer.

Room: api. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mtad import __version__
from mtad.api.http.call import Needs, Param, Row, slashed

_WORD = re.compile(r"[A-Za-z0-9_.]+")
_FORM, _PARTS = "application/x-www-form-urlencoded", "multipart/form-data"
_SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "string", "enum": ["yes", "no", "true", "false", "1", "0", "on", "off"]},
    "object": {"type": "string", "contentMediaType": "application/json"},
    "file": {"type": "string", "contentMediaType": "application/octet-stream"},
}
_ERROR = {"$ref": "#/components/responses/Error"}


def describe(rows: Iterable[Row], base_url: str) -> dict[str, Any]:
    """base_url: "" leaves it to the reader, who knows where he got the document."""
    rows = list(rows)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        for version in row.versions:
            paths.setdefault(f"/v{version}{row.path}", {})[row.method.lower()] = _operation(row, version)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mtad",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": (
                "Every path is answered under /v1 to /v5; those listed are the ones clients use. /v2 answers in the"
                " shapes of Mailgun's manual of 2013, the others in today's."
            ),
        },
        "servers": [{"url": base_url or "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in dict.fromkeys(row.chapter for row in rows)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "basic", "description": "User name api, password an API key"}
            },
            "schemas": {
                "Message": {
                    "type": "object",
                    "required": ["message"],
                    "properties": {"message": {"type": "string"}},
                }
            },
            "responses": {
                "Error": {
                    "description": "What is wrong, in one sentence",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}},
                }
            },
        },
    }


def _operation(row: Row, version: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation_id(row, version),
        "summary": row.about,
        "tags": [row.chapter],
        "parameters": [_in_path(name) for name in _variables(row)],
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}},
            **{str(status): _ERROR for status in _statuses(row)},
        },
    }
    if row.needs is Needs.OPEN:
        made["security"] = []
    if row.needs is Needs.SENDING:
        made["description"] = "A sending key of the domain is enough."
    if row.stub:
        made["description"] = "Answered for the sake of clients that ask; it changes nothing."
    if row.method in ("GET", "HEAD"):
        made["parameters"] += [_in_query(param) for param in row.params]
    elif row.params:
        made["requestBody"] = _body(row.params)
    return made


def operation_id(row: Row, version: int) -> str:
    """ "post-v3-domain-messages": the same as long as the row is."""
    words = [row.method.lower(), f"v{version}", *_WORD.findall(row.path)]
    return "-".join(words)


def _variables(row: Row) -> list[str]:
    return [segment[1:-1] for segment in slashed(row.path) if segment.startswith("{")]


def _statuses(row: Row) -> list[int]:
    found = [400, 404, 413, 500, 503]
    if row.needs is not Needs.OPEN:
        found += [401, 403]
    return sorted([*found, 429])


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(param: Param) -> dict[str, Any]:
    told = {"name": param.name, "in": "query", "required": param.required, "schema": _schema(param)}
    return {**told, "description": param.about} if param.about else told


def _body(params: Sequence[Param]) -> dict[str, Any]:
    properties = {param.name: _described(param) for param in params}
    required = [param.name for param in params if param.required]
    schema = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    kinds = [_PARTS] if any(param.kind == "file" for param in params) else []
    return {"required": bool(required), "content": {kind: {"schema": schema} for kind in (*kinds, _FORM)}}


def _described(param: Param) -> dict[str, Any]:
    return {**_schema(param), "description": param.about} if param.about else _schema(param)


def _schema(param: Param) -> dict[str, Any]:
    one = _SCHEMAS[param.kind]
    return {"type": "array", "items": one} if param.many else dict(one)
