"""Credentials: the logins for SMTP of a domain. Passwords go in, and out only when they were made here, once.

Room: api. Both /domains/<domain>/credentials and /<domain>/credentials are answered.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api.account_operations import AccountOperations
from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted
from mtad.api.http.params import missing
from mtad.api.results import CredentialMade
from mtad.mail.address import BadAddress, key_of, parse_address

_NOT_FOUND = "Credentials not found"
_NOTE = "The password is shown this once and cannot be read again"

_PASSWORD = Param("password", "5 to 128 characters; one is made if there is none")
_CREATE = (
    Param("login", "local part or whole address", required=True),
    Param("mailbox", "the same as login"),
    _PASSWORD,
)


class Credentials:
    def __init__(self, operations: AccountOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        return [row for base in ("/domains/{domain}/credentials", "/{domain}/credentials") for row in self._under(base)]

    def _under(self, base: str) -> Sequence[Row]:
        row = partial(Row, chapter="Credentials", versions=(2, 3), limited=True)
        one, paging = base + "/{login}", (Param("limit", kind="integer"), Param("skip", kind="integer"))
        return (
            row(method="GET", path=base, handler=self.list, about="The logins of a domain", params=paging),
            row(method="POST", path=base, handler=self.create, about="Add a login", params=_CREATE),
            row(method="DELETE", path=base, handler=self.clear, about="Remove all logins of a domain"),
            row(method="PUT", path=one, handler=self.change, about="Give a login a new password", params=(_PASSWORD,)),
            row(method="DELETE", path=one, handler=self.remove, about="Remove a login"),
        )

    async def list(self, call: Call) -> Answer:
        limit, skip = call.params.limit(), call.params.skip()
        found = await carried_out(self._operations.credential_list(call.domain.name))
        items = [
            {"login": one.login, "mailbox": one.login, "size_bytes": 0, "created_at": gmt(one.created_at)}
            for one in found[skip : skip + limit]
        ]
        return counted(items, len(found))

    async def create(self, call: Call) -> Answer:
        text = call.params.text("login", "").strip() or call.params.text("mailbox", "").strip()
        if not text:
            raise missing("login")
        login = _login(call, text)
        if login is None:
            raise BadRequest(f"login parameter is no address of {call.domain.name}")
        made = await carried_out(self._operations.credential_add(login, _password(call)))
        return _with_password("Created 1 credentials pair(s)", made)

    async def change(self, call: Call) -> Answer:
        login = _there(call)
        made = await carried_out(self._operations.credential_change(login, _password(call)), _NOT_FOUND)
        return _with_password("Password changed", made)

    async def remove(self, call: Call) -> Answer:
        login = _there(call)
        await carried_out(self._operations.credential_remove(login), _NOT_FOUND)
        return said("Credentials have been deleted", spec=login)

    async def clear(self, call: Call) -> Answer:
        count = await carried_out(self._operations.credential_clear(call.domain.name))
        return said("All domain credentials have been deleted", count=count)


def _login(call: Call, text: str) -> str | None:
    """ "bob" or "bob@<domain>" -> "bob@<domain>". None: it is of another domain, or no address."""
    name = call.domain.name
    try:
        address = parse_address(text if "@" in text else f"{text}@{name}")
    except BadAddress:
        return None
    return key_of(str(address)) if address.domain == name else None


def _there(call: Call) -> str:
    login = _login(call, call["login"])
    if login is None:
        raise NotFound(_NOT_FOUND)
    return login


def _password(call: Call) -> str | None:
    """None: to be made."""
    return call.params.text("password") or None


def _with_password(message: str, made: CredentialMade) -> Answer:
    said_: dict[str, Any] = {"message": message}
    if made.password is not None:
        said_ |= {"note": _NOTE, "credentials": {made.login: made.password}}
    return answer(said_)
