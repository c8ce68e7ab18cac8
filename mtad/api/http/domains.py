"""Domains: /domains: those of the account, their settings, the records they need, and whether DNS has them.

Room: api. May import: storage.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api import passwords
from mtad.api.account_operations import SPAM_ACTIONS, WEB_SCHEMES, AccountOperations, NewDomain
from mtad.api.http.answers import Answer, BadRequest, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.dates import gmt
from mtad.api.http.paging import counted
from mtad.api.http.params import Params
from mtad.api.results import DnsRecord, DomainView
from mtad.storage.accounts import DomainChanges

STATES = ("active", "unverified", "disabled")
KEY_SIZES = (1024, 2048)
MESSAGE_TTL_S = 259_200

_SETTINGS = (
    Param("smtp_password", "of the login postmaster, 5 to 128 characters"),
    Param("spam_action", "disabled, tag, block or delete; the last two are one"),
    Param("wildcard", "take mail to sub-domains too", "boolean"),
    Param("web_scheme", "http or https"),
    Param("web_prefix", "host label of links in mail"),
    Param("require_tls", "", "boolean"),
    Param("skip_verification", "of the certificates of receiving hosts", "boolean"),
)
_CREATE = (
    Param("name", required=True),
    *_SETTINGS,
    Param("force_dkim_authority", "sign with own keys even if a domain above has some", "boolean"),
    Param("dkim_key_size", "1024 or 2048 bits; 2048 if not given", "integer"),
    Param("dkim_selector"),
)
_LIST = (
    Param("limit", kind="integer"),
    Param("skip", kind="integer"),
    Param("state", "active, unverified or disabled"),
    Param("sort", "name, name:asc or name:desc"),
    Param("authority", "only those whose mail is signed by this domain"),
    Param("search", "a part of the name"),
)


class Domains:
    def __init__(self, operations: AccountOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        row = partial(Row, chapter="Domains", versions=(2, 3, 4), limited=True)
        one = "/domains/{domain}"
        return (
            row(method="GET", path="/domains", handler=self.list, about="The domains", params=_LIST),
            row(method="POST", path="/domains", handler=self.create, about="Add a domain", params=_CREATE),
            row(method="GET", path=one, handler=self.show, about="A domain and its DNS records"),
            row(method="PUT", path=one, handler=self.update, about="Change a domain's settings", params=_SETTINGS),
            row(method="DELETE", path=one, handler=self.delete, about="Remove a domain"),
            row(method="PUT", path=f"{one}/verify", handler=self.verify, about="Look its records up in DNS now"),
        )

    async def list(self, call: Call) -> Answer:
        params = call.params
        limit, skip = params.limit(), params.skip()
        state, authority = params.text("state", "").strip().lower(), params.text("authority", "").strip().lower()
        if state and state not in STATES:
            raise BadRequest("state parameter is none of active, unverified and disabled")
        search, backwards = params.text("search", "").strip().lower(), _is_backwards(params)
        found = [
            view
            for view in await self._operations.domain_list()
            if state in ("", view.state) and authority in ("", view.authority) and search in view.name
        ]
        found.sort(key=lambda view: view.name, reverse=backwards)
        return counted([domain_object(view) for view in found[skip : skip + limit]], len(found))

    async def create(self, call: Call) -> Answer:
        params = call.params
        name = params.need("name")
        new = NewDomain(
            selector=params.text("dkim_selector", "").strip(),
            bits=_key_size(params),
            own_dkim=params.flag("force_dkim_authority", False),
            login=True,
            password=_password(params),
            changes=read_changes(params),
        )
        work = self._operations.domain_create(name, new)
        made = await carried_out(work, taken="This domain name is already taken")
        # The first clients of the API read it back; today's never see it.
        return _whole(made.domain, "Domain has been created", made.password if call.old else "")

    async def show(self, call: Call) -> Answer:
        return _whole(await carried_out(self._operations.domain_show(call.domain.name)))

    async def update(self, call: Call) -> Answer:
        changes, password, name = read_changes(call.params), _password(call.params), call.domain.name
        view = await carried_out(self._operations.domain_set(name, changes=changes))
        if password is not None:
            await carried_out(self._operations.credential_add(f"postmaster@{name}", password))
        return _whole(view, "Domain has been updated")

    async def verify(self, call: Call) -> Answer:
        view = await carried_out(self._operations.domain_verify(call.domain.name))
        return _whole(view, "Domain DNS records have been updated")

    async def delete(self, call: Call) -> Answer:
        await carried_out(self._operations.domain_remove(call.domain.name))
        return said("Domain has been deleted")


def read_changes(params: Params) -> DomainChanges:
    """What creating and changing a domain share."""
    return DomainChanges(
        spam_action=word(params, "spam_action", SPAM_ACTIONS),
        wildcard=params.flag("wildcard"),
        web_scheme=word(params, "web_scheme", WEB_SCHEMES),
        web_prefix=params.text("web_prefix", "").strip() or None,
        require_tls=params.flag("require_tls"),
        skip_verification=params.flag("skip_verification"),
    )


def word(params: Params, name: str, words: Sequence[str]) -> str | None:
    """One of the words, in any case; None when it is blank or not there."""
    text = params.text(name, "").strip().lower()
    if text and text not in words:
        raise BadRequest(f"{name} parameter is none of {', '.join(words[:-1])} and {words[-1]}")
    return text or None


def _is_backwards(params: Params) -> bool:
    key, _, order = params.text("sort", "").strip().lower().partition(":")
    if key not in ("", "name") or order not in ("", "asc", "desc"):
        raise BadRequest("sort parameter is none of name, name:asc and name:desc")
    return order == "desc"


def _key_size(params: Params) -> int:
    size = params.integer("dkim_key_size", 2048)
    if size not in KEY_SIZES:
        raise BadRequest("dkim_key_size parameter is neither 1024 nor 2048")
    return size


def _password(params: Params) -> str | None:
    password = params.text("smtp_password") or None
    wrong = passwords.fault(password) if password else None
    if wrong:
        raise BadRequest(f"smtp_password parameter: {wrong}")
    return password


def _whole(view: DomainView, message: str = "", password: str = "") -> Answer:
    """The domain with its records, as most calls answer."""
    shown = {
        "domain": domain_object(view) | ({"smtp_password": password} if password else {}),
        "receiving_dns_records": [record_object(one) for one in view.records if one.kind == "mx"],
        "sending_dns_records": sending_records(view),
    }
    return answer({"message": message, **shown} if message else shown)


def domain_object(view: DomainView) -> dict[str, Any]:
    settings = view.settings
    mark = hashlib.sha256(f"{view.number} {view.name}".encode()).hexdigest()[:16]
    return {
        "id": f"{int(view.created_at) & 0xFFFFFFFF:08x}{mark}",
        "name": view.name,
        "created_at": gmt(view.created_at),
        "smtp_login": f"postmaster@{view.name}",
        "spam_action": settings.spam_action,
        "wildcard": settings.wildcard,
        "state": view.state,
        "type": "sandbox" if view.name.endswith(".mtad.test") else "custom",
        "is_disabled": view.state == "disabled",
        "require_tls": settings.require_tls,
        "skip_verification": settings.skip_verification,
        "web_prefix": settings.web_prefix,
        "web_scheme": settings.web_scheme,
        "use_automatic_sender_security": False,
        "message_ttl": MESSAGE_TTL_S,
    }


def sending_records(view: DomainView) -> list[dict[str, Any]]:
    """SPF first, as it is the one every domain has."""
    records = [record_object(one) for one in view.records if one.kind != "mx"]
    return sorted(records, key=lambda record: not record["value"].startswith("v=spf1"))


def record_object(record: DnsRecord) -> dict[str, Any]:
    """cached: what DNS had there."""
    made = {
        "record_type": record.type,
        "name": record.name,
        "value": record.value,
        "valid": record.valid,
        "is_active": record.active,
        "cached": list(record.found),
    }
    if record.type == "MX":
        priority, _, host = record.value.partition(" ")
        made |= {"priority": priority, "value": host}
    return made
