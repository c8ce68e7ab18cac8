"""Nodes: what a template consists of once it is read.

Room: message. Pure. Source: the language guide at handlebarsjs.com.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MAX_SOURCE = 524_288  # characters
MAX_DEPTH = 50  # blocks within blocks


class BadTemplate(ValueError):
    """The text is no template we know how to fill, or its result has no bounds. The message says where and why."""


class Kind(Enum):
    """SECTION is {{#name}}: as often as `name` has items, once where it is true."""

    IF = "if"
    UNLESS = "unless"
    EACH = "each"
    WITH = "with"
    EQUAL = "equal"
    SECTION = ""


@dataclass(frozen=True, slots=True)
class Path:
    """../a.b -> up 1, names (a, b). data: begins with @, as @index. No names: the context itself, or @ alone."""

    up: int
    names: tuple[str, ...]
    data: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, number, truth value or nothing that the template itself says."""

    value: str | int | float | bool | None


Expression = Path | Literal


@dataclass(frozen=True, slots=True)
class Value:
    """{{expression}}; escaped False: {{{expression}}}."""

    expression: Expression
    escaped: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """One arm of a block. negated: {{^name}}, taken where the other would not be. zero: 0 counts as true."""

    kind: Kind
    arguments: tuple[Expression, ...]
    body: Sequence["Node"]
    negated: bool = False
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """The first branch that has something to say is taken, and else `otherwise`."""

    branches: Sequence[Branch]
    otherwise: Sequence["Node"]


Node = str | Value | Block
