"""Answers: what a handler gives back, and the errors it may raise; each becomes JSON with one readable string.

Room: api. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mtad.api.codec import to_json

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """body: the octets as they are sent, of the type `content_type`."""

    body: bytes
    status: int = 200
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(value: Any, status: int = 200, *, pretty: bool = False) -> Answer:
    """value: anything with a JSON form: dicts, lists, dataclasses, scalars."""
    return Answer(to_json(value, indent=pretty), status)


def said(message: str, status: int = 200, **more: Any) -> Answer:
    """{"message": "…", …}"""
    return answer({"message": message, **more}, status)


class Wrong(Exception):
    """What was asked cannot be answered with 200. The text is for the caller and goes out as `message`.

    members: further members of the body. headers: of the answer.
    """

    status = 400

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(message)
        self.message, self.members, self.headers = message, members, dict(headers or {})

    def answer(self) -> Answer:
        return Answer(to_json({"message": self.message, **self.members}), self.status, headers=self.headers)


class BadRequest(Wrong):
    """400: a parameter is missing, malformed, over a limit, or names what is there already."""


class Unauthorized(Wrong):
    status = 401


class NotCarriedOut(Wrong):
    """402: the parameters are fine, but an account's limit or a refused test is in the way."""

    status = 402


class Forbidden(Wrong):
    status = 403


class NotFound(Wrong):
    status = 404


class NotAllowed(Wrong):
    status = 405


class TooSlow(Wrong):
    status = 408


class TooLarge(Wrong):
    status = 413


class TooMany(Wrong):
    status = 429


class Unavailable(Wrong):
    """503: ours to mend; nothing was done."""

    status = 503
