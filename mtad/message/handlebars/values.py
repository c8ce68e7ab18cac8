"""Values: how JSON values are looked up, judged and written in templates, as JavaScript would.

Room: message. Pure. Only members of objects, places of arrays and `length` can be reached: never what Python knows of a
value beside them. Source: ECMA-262 §7.1.17 (ToString), §6.1.6.1.20 (Number::toString), the guide's #if.
"""

import math
from collections.abc import Sequence
from typing import Any

MAX_NESTED = 60  # arrays within arrays that are written; inside of them nothing is


class Undefined:
    """There is no such variable."""

    __slots__ = ()


UNDEFINED = Undefined()


def is_nothing(value: Any) -> bool:
    return value is None or value is UNDEFINED


def is_empty(value: Any) -> bool:
    """false, nothing, "" and [] are; 0 and {} are not."""
    return is_nothing(value) or value is False or value == "" or (isinstance(value, list) and not value)


def is_true(value: Any, zero: bool) -> bool:
    """zero: what 0 is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return zero if number and value == 0 else not is_empty(value)


def find(context: Any, names: Sequence[str]) -> Any:
    for name in names:
        context = member(context, name)
        if is_nothing(context):
            return context
    return context


def member(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name, UNDEFINED)
    if isinstance(value, list | str) and name == "length":
        return len(value)
    if isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(value):
        return value[int(name)]
    return UNDEFINED


def text_of(value: Any, nested: int = 0) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case list():
            return ",".join([text_of(one, nested + 1) for one in value]) if nested < MAX_NESTED else ""
        case dict():
            return "[object Object]"
    return ""


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    mantissa, letter, exponent = repr(value).partition("e")
    if not letter:
        return mantissa.removesuffix(".0")
    power = int(exponent)
    sign, digits = ("-" if value < 0 else ""), mantissa.lstrip("-").replace(".", "")
    if 0 < power < 21:  # Python writes 1e+16, JavaScript 10000000000000000
        return sign + digits.ljust(power + 1, "0")
    if -7 < power < 0:  # 1e-05 and 0.00001
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return f"{mantissa}e{power:+d}"
