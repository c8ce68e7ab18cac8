"""Call: one request as a handler sees it, and the rows by which chapters say what they answer.

Room: api. May import: storage. A chapter is a class with its collaborators and `rows()`; the application asks no more.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from mtad.api.http.answers import Answer, NotFound
from mtad.api.http.params import Params
from mtad.storage.accounts import DomainRow


class Needs(Enum):
    """Which key a row asks for."""

    ACCOUNT = "account"
    SENDING = "sending"  # the account's, or the sending key of the domain in the path
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. domain: the only one this key may send for; None: the account's key, for everything."""

    key_id: int
    name: str
    domain: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A part with a file name. content_type: as sent, with its parameters; "" when there was none."""

    name: str
    filename: str
    content_type: str
    content: bytes


@dataclass(slots=True, kw_only=True)
class Call:
    """version: 1 to 5. path: behind the version, as it was asked for, still encoded, one slash between segments.

    variables: the segments of the row's template, decoded. params: query and form together. body: the parsed JSON of
    a JSON body, None else; members of a JSON object are in `params` too. base_url: ours as the caller reaches it,
    without a slash at the end. peer: address of the client. now: epoch seconds.
    """

    method: str
    version: int
    path: str
    variables: Mapping[str, str]
    params: Params
    files: Sequence[Upload] = ()
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    principal: Principal
    base_url: str
    peer: str
    now: float
    request_id: str
    found_domain: DomainRow | None = None

    @property
    def old(self) -> bool:
        """The caller speaks /v2: answers have the manual's shapes."""
        return self.version == 2

    @property
    def domain(self) -> DomainRow:
        """The domain of ours that `{domain}` of the row names."""
        if self.found_domain is None:
            raise NotFound("Domain not found")
        return self.found_domain

    @property
    def url(self) -> str:
        """Of this request without its query, for links back to it."""
        return f"{self.base_url}/v{self.version}{self.path}"

    def __getitem__(self, variable: str) -> str:
        """A segment of the path by its name in the row's template."""
        return self.variables[variable]


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter, for the description. kind: string, integer, boolean, number, file, object. where: query or form."""

    name: str
    about: str = ""
    kind: str = "string"
    required: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One endpoint. path: behind the version, "/domains/{domain}/tracking/{kind}"; `{domain}` is one of ours, else the
    call ends in 404 before the handler. versions: those a client is known to use; all five are answered.
    limited: counts towards the account's requests per minute. stub: answers in the right shape, and does nothing.
    """

    method: str
    path: str
    handler: Handler
    about: str
    chapter: str
    needs: Needs = Needs.ACCOUNT
    params: Sequence[Param] = ()
    versions: Sequence[int] = (3,)
    limited: bool = False
    stub: bool = False


class Chapter(Protocol):
    def rows(self) -> Sequence[Row]: ...


def slashed(path: str) -> list[str]:
    """The segments of a path, without empty ones."""
    return [segment for segment in path.split("/") if segment]
