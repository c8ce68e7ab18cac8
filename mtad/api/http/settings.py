"""Settings: how a domain's mail is carried, tracked and signed: connection, tracking, authority, selector, prefix.

Room: api. May import: storage.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mtad.api.account_operations import AccountOperations
from mtad.api.http.answers import Answer, BadRequest, answer, said
from mtad.api.http.asking import carried_out
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.domains import sending_records
from mtad.api.http.params import Params, missing
from mtad.api.results import DomainSettings, DomainView
from mtad.message.values import BadValue, parse_bool
from mtad.storage.accounts import DomainChanges

_ACTIVE = Param("active", kind="boolean", required=True)
_TLS = (Param("require_tls", kind="boolean"), Param("skip_verification", kind="boolean"))
_OPEN = (_ACTIVE, Param("place_at_the_top", "of the html, not at its end", "boolean"))
_FOOTER = (
    Param("active", kind="boolean"),
    Param("html_footer", "with %unsubscribe_url%"),
    Param("text_footer", "with %unsubscribe_url%"),
)


class Settings:
    def __init__(self, operations: AccountOperations) -> None:
        self._operations = operations

    def rows(self) -> Sequence[Row]:
        get = partial(Row, method="GET", chapter="Domain settings", limited=True)
        put = partial(Row, method="PUT", chapter="Domain settings", limited=True)
        one = "/domains/{domain}"
        track = f"{one}/tracking"
        return (
            get(path=f"{one}/connection", handler=self.connection, about="How its mail is carried"),
            put(path=f"{one}/connection", handler=self.connect, about="Change how its mail is carried", params=_TLS),
            get(path=track, handler=self.tracking, about="What is tracked of its mail"),
            put(path=f"{track}/open", handler=self.opens, about="Track opens", params=_OPEN),
            put(
                path=f"{track}/click",
                handler=self.clicks,
                about="Track clicks",
                params=(Param("active", "yes, no or htmlonly", required=True),),
            ),
            put(path=f"{track}/unsubscribe", handler=self.footer, about="The unsubscribe footer", params=_FOOTER),
            put(
                path=f"{one}/dkim_authority",
                handler=self.authority,
                about="Sign with its own keys, or those of a domain above it",
                params=(Param("self", kind="boolean", required=True),),
            ),
            put(
                path=f"{one}/dkim_selector",
                handler=self.selector,
                about="The selector it signs under",
                params=(Param("dkim_selector", required=True),),
            ),
            put(
                path=f"{one}/web_prefix",
                handler=self.web_prefix,
                about="The host label of links in its mail",
                params=(Param("web_prefix", required=True),),
            ),
        )

    async def connection(self, call: Call) -> Answer:
        return answer(_both_forms((await self._view(call)).settings))

    async def connect(self, call: Call) -> Answer:
        require, skip = call.params.flag("require_tls"), call.params.flag("skip_verification")
        settings = await self._change(call, DomainChanges(require_tls=require, skip_verification=skip))
        message = "Domain connection settings have been updated, may take 10 minutes to fully propagate"
        return said(message, **_both_forms(settings))

    async def tracking(self, call: Call) -> Answer:
        settings = (await self._view(call)).settings
        shown = {
            "open": _open(settings),
            "click": _click(settings),
            "unsubscribe": _unsubscribe(settings),
            "web_scheme": settings.web_scheme,
        }
        return answer({"tracking": shown})

    async def opens(self, call: Call) -> Answer:
        active, top = call.params.flag("active"), call.params.flag("place_at_the_top")
        if active is None:
            raise missing("active")
        return _tracked("open", _open(await self._change(call, DomainChanges(opens=active, pixel_top=top))))

    async def clicks(self, call: Call) -> Answer:
        return _tracked("click", _click(await self._change(call, DomainChanges(clicks=_read_clicks(call.params)))))

    async def footer(self, call: Call) -> Answer:
        params = call.params
        changes = DomainChanges(
            footer=params.flag("active"),
            footer_html=params.text("html_footer"),
            footer_text=params.text("text_footer"),
        )
        if not changes.named:
            raise missing("active")
        return _tracked("unsubscribe", _unsubscribe(await self._change(call, changes)))

    async def authority(self, call: Call) -> Answer:
        own = call.params.flag("self")
        if own is None:
            raise missing("self")
        changed = await carried_out(self._operations.dkim_authority(call.domain.name, own))
        message = "Domain DKIM authority has been changed" if changed else "Domain DKIM authority has not been changed"
        return said(message, changed=changed, sending_dns_records=sending_records(await self._view(call)))

    async def selector(self, call: Call) -> Answer:
        await carried_out(self._operations.dkim_select(call.domain.name, call.params.need("dkim_selector")))
        return said("DKIM selector changed")

    async def web_prefix(self, call: Call) -> Answer:
        await self._change(call, DomainChanges(web_prefix=call.params.need("web_prefix")))
        return said("Domain web prefix updated")

    async def _view(self, call: Call) -> DomainView:
        return await carried_out(self._operations.domain_show(call.domain.name))

    async def _change(self, call: Call, changes: DomainChanges) -> DomainSettings:
        return (await carried_out(self._operations.domain_set(call.domain.name, changes=changes))).settings


def _both_forms(settings: DomainSettings) -> dict[str, Any]:
    """Bare and under `connection`: one half of the clients reads each."""
    bare = {"require_tls": settings.require_tls, "skip_verification": settings.skip_verification}
    return {**bare, "connection": bare}


def _tracked(kind: str, setting: dict[str, Any]) -> Answer:
    return answer({"message": "Domain tracking settings have been updated", kind: setting})


def _open(settings: DomainSettings) -> dict[str, Any]:
    return {"active": settings.opens, "place_at_the_top": settings.pixel_top}


def _click(settings: DomainSettings) -> dict[str, Any]:
    return {"active": settings.clicks if settings.clicks == "htmlonly" else settings.clicks == "yes"}


def _unsubscribe(settings: DomainSettings) -> dict[str, Any]:
    return {
        "active": settings.footer,
        "html_footer": settings.footer_html,
        "text_footer": settings.footer_text,
    }


def _read_clicks(params: Params) -> str:
    text = params.need("active")
    if text.lower() == "htmlonly":
        return "htmlonly"
    try:
        return "yes" if parse_bool(text, form=True) else "no"
    except BadValue:
        raise BadRequest("active parameter is none of yes, no and htmlonly") from None
