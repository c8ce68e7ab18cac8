"""Table: the rows of all chapters as a tree of path segments.

Room: api. Pure. A literal segment goes before a variable one. The first segment is a resource or a domain, never both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from mtad.api.http.answers import NotAllowed, NotFound
from mtad.api.http.call import Row, slashed

RESOURCES = frozenset(
    [
        "domains",
        "routes",
        "lists",
        "stats",
        "address",
        "ips",
        "ip_pools",
        "templates",
        "dkim",
        "analytics",
        "webhooks",
        "keys",
        "accounts",
        "users",
        "x509",
        "alerts",
        "inbox",
        "bounce-classification",
    ]
)
MAX_SEGMENTS = 16
VERSIONS = (1, 2, 3, 4, 5)


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    variable: "_Node | None" = None
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """path: as asked for, one slash between segments, none at the end. variables: decoded."""

    row: Row
    version: int
    path: str
    variables: dict[str, str]


class Table:
    """Raises ValueError when two rows are for the same call."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: tuple[Row, ...] = tuple(rows)
        self._root = _Node()
        for row in self.rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        node = self._root
        for segment in slashed(row.path):
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literal.setdefault(segment, _Node())
        if row.method in node.rows:
            raise ValueError(f"{row.method} {row.path} is there twice")
        node.rows[row.method] = row

    def find(self, method: str, raw_path: str) -> Found:
        """raw_path: still encoded. Raises NotFound and NotAllowed."""
        raw = slashed(raw_path)
        version = _version(raw[0]) if raw else 0
        if not version or len(raw) > MAX_SEGMENTS:
            raise NotFound("Not Found")
        raw = raw[1:]
        segments = [_decoded(segment) for segment in raw]
        allowed: set[str] = set()
        row = self._search(self._root, segments, 0, method, allowed)
        if row is None:
            if allowed:
                raise NotAllowed("Method Not Allowed", headers={"Allow": ", ".join(sorted(allowed))})
            raise NotFound("Not Found")
        pairs = zip(slashed(row.path), segments, strict=True)
        variables = {part[1:-1]: segment for part, segment in pairs if part.startswith("{")}
        return Found(row, version, "/" + "/".join(raw), variables)

    def _search(self, node: _Node, segments: Sequence[str], at: int, method: str, allowed: set[str]) -> Row | None:
        if at == len(segments):
            row = node.rows.get(method) or (node.rows.get("GET") if method == "HEAD" else None)
            allowed.update(node.rows)
            return row
        literal = node.literal.get(segments[at])
        row = self._search(literal, segments, at + 1, method, allowed) if literal is not None else None
        if row is None and node.variable is not None and not (at == 0 and segments[0] in RESOURCES):
            row = self._search(node.variable, segments, at + 1, method, allowed)
        return row


def _version(segment: str) -> int:
    return int(segment[1]) if len(segment) == 2 and segment[0] in "vV" and segment[1] in "12345" else 0


def _decoded(segment: str) -> str:
    """Percent-decoded; "+" stays. What is no UTF-8 names nothing."""
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise NotFound("Not Found") from None
