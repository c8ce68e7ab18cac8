"""Codec: frozen dataclasses <-> JSON, by their type hints. Octets travel as base 64.

Room: api. Pure. Nothing here trusts what it reads: a value of another type than the hint is a BadShape.
"""

import base64
import binascii
import types
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson

_SCALARS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}


class BadShape(ValueError):
    """The JSON is not what was to be read. The message says where and what."""


def to_json(value: object, *, indent: bool = False) -> bytes:
    return orjson.dumps(value, default=_octets, option=orjson.OPT_INDENT_2 if indent else None)


def _octets(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def from_json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadShape(f"no JSON: {error}") from None


def read_as(hint: Any, value: Any, name: str = "the answer") -> Any:
    """A value of JSON -> what the hint says. Raises BadShape."""
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(get_args(hint), value, name)
    if hint is None or hint is type(None):
        return _checked(value, value is None, name, "null")
    if hint in _SCALARS:
        fits = isinstance(value, _SCALARS[hint]) and (hint is bool or not isinstance(value, bool))
        return _checked(float(value) if hint is float and fits else value, fits, name, hint.__name__)
    if hint is bytes:
        return _read_octets(value, name)
    if origin is tuple:
        _checked(value, isinstance(value, list), name, "an array")
        return tuple(read_as(get_args(hint)[0], item, f"{name}[{place}]") for place, item in enumerate(value))
    if origin is dict:
        return _checked(value, isinstance(value, dict), name, "an object")
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _read_enum(hint, value, name)
    if is_dataclass(hint) and isinstance(hint, type):
        _checked(value, isinstance(value, dict), name, "an object")
        return hint(**read_members(*_shape(hint), value, name))
    raise TypeError(f"{name}: {hint!r} cannot be read from JSON")


def read_members(hints: dict[str, Any], required: frozenset[str], value: dict[str, Any], name: str) -> dict[str, Any]:
    """The members of an object, each by its hint; missing and unknown ones are a BadShape."""
    unknown, missing = value.keys() - hints.keys(), required - value.keys()
    if unknown:
        raise BadShape(f"{name} has no member {min(unknown)[:60]!r}")
    if missing:
        raise BadShape(f"{name} lacks the member {min(missing)!r}")
    return {key: read_as(hints[key], item, key) for key, item in value.items()}


@lru_cache(maxsize=256)
def _shape(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    hints = get_type_hints(kind)
    bare = [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]
    return {one.name: hints[one.name] for one in fields(kind)}, frozenset(bare)


def _one_of(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    problem = BadShape(f"{name} is of no known shape")
    for hint in hints:
        try:
            return read_as(hint, value, name)
        except BadShape as error:
            problem = problem if hint is type(None) else error
    raise problem


def _read_octets(value: Any, name: str) -> bytes:
    _checked(value, isinstance(value, str), name, "base 64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadShape(f"{name} must be base 64") from None


def _read_enum(kind: type[Enum], value: Any, name: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise BadShape(f"{name} must be one of {', '.join(str(one.value) for one in kind)}") from None


def _checked(value: Any, fits: bool, name: str, wanted: str) -> Any:
    if not fits:
        raise BadShape(f"{name} must be {wanted}")
    return value
