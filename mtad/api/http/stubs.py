"""Stubs: what clients may call and mtad has no use for, answered in the shape they expect.

Room: api. Address validation is not among the empty ones: it says what can be said without asking anybody.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.params import missing
from mtad.mail.address import Address, BadAddress, parse_address
from mtad.message.fields import display, entries, mailbox

MAX_ADDRESSES = 1000

_RUNNING = {"is_disabled": False, "disabled": {"until": "", "reason": ""}}
_ROLES = frozenset(
    (
        *("abuse", "admin", "administrator", "billing", "contact", "help", "hostmaster", "info", "noc", "no-reply"),
        *("noreply", "postmaster", "root", "sales", "security", "support", "webmaster"),
    )
)

Drop = Callable[[int], Awaitable[object]]  # all mail of a domain that waits, by the domain's id


class Stubs:
    """sources: the addresses mail leaves from, [] where the system chooses. drop: see Drop; None: not offered."""

    def __init__(self, sources: Sequence[str] = (), drop: Drop | None = None) -> None:
        self._sources, self._drop = tuple(dict.fromkeys(sources)), drop

    def rows(self) -> Sequence[Row]:
        ips = partial(Row, chapter="IPs", stub=True)
        pools = partial(Row, chapter="IP pools", stub=True, versions=(1, 3))
        check = partial(Row, chapter="Address validation")
        address = (Param("address", required=True),)
        envelopes = Row(
            method="DELETE",
            path="/{domain}/envelopes",
            handler=self.drop_envelopes,
            about="Drop all queued and scheduled mail of the domain",
            chapter="Queue",
        )
        return (
            *([envelopes] if self._drop is not None else []),
            Row(
                method="GET",
                path="/domains/{domain}/sending_queues",
                handler=self.sending_queues,
                about="Whether the domain's queues are stopped",
                chapter="Queue",
                stub=True,
            ),
            ips(method="GET", path="/ips", handler=self.list_ips, about="The addresses mail leaves from"),
            ips(method="GET", path="/ips/{ip}", handler=self.show_ip, about="One address"),
            ips(method="GET", path="/domains/{domain}/ips", handler=self.list_ips, about="The domain's addresses"),
            ips(method="POST", path="/domains/{domain}/ips", handler=self.success, about="Add an address"),
            ips(method="DELETE", path="/domains/{domain}/ips/{ip}", handler=self.success, about="Take one away"),
            pools(method="GET", path="/ip_pools", handler=self.list_pools, about="The pools of addresses"),
            pools(method="POST", path="/ip_pools", handler=self.success, about="Add a pool"),
            pools(method="GET", path="/ip_pools/{pool}", handler=self.no_pool, about="One pool"),
            pools(method="PATCH", path="/ip_pools/{pool}", handler=self.success, about="Change a pool"),
            pools(method="DELETE", path="/ip_pools/{pool}", handler=self.success, about="Remove a pool"),
            check(
                method="GET",
                path="/address/validate",
                handler=self.validate,
                about="Whether an address is well formed",
                params=address,
                versions=(3, 4),
            ),
            check(
                method="POST",
                path="/address/validate",
                handler=self.validate,
                about="Whether an address is well formed",
                params=address,
                versions=(4,),
            ),
            check(
                method="GET",
                path="/address/parse",
                handler=self.parse,
                about="Which addresses of a list are well formed",
                params=(Param("addresses", "with commas between", required=True, many=True),),
                versions=(2, 3),
            ),
        )

    async def sending_queues(self, call: Call) -> Answer:
        return answer({"regular": _RUNNING, "scheduled": _RUNNING})

    async def drop_envelopes(self, call: Call) -> Answer:
        if self._drop is not None:
            await self._drop(call.domain.id)
        return said("done")

    async def list_ips(self, call: Call) -> Answer:
        return answer({"items": self._sources, "total_count": len(self._sources)})

    async def show_ip(self, call: Call) -> Answer:
        if call["ip"] not in self._sources:
            raise NotFound("IP not found")
        return answer({"ip": call["ip"], "rdns": "", "dedicated": True})

    async def success(self, call: Call) -> Answer:
        return said("success")

    async def list_pools(self, call: Call) -> Answer:
        return said("success", ip_pools=[])

    async def no_pool(self, call: Call) -> Answer:
        raise NotFound("Pool not found")

    async def validate(self, call: Call) -> Answer:
        text = call.params.need("address")
        address = _parsed(text)
        if call.version == 4:
            role = address is not None and address.local.lower() in _ROLES
            return answer(
                {
                    "address": text,
                    "is_disposable_address": False,
                    "is_role_address": role,
                    "reason": [] if address else ["malformed address; missing @ sign, or a part of it is not legal"],
                    "result": "unknown" if address else "undeliverable",
                    "risk": "low" if address else "high",
                }
            )
        parts = {"local_part": address and address.local, "domain": address and address.domain, "display_name": None}
        return answer({"address": text, "is_valid": address is not None, "parts": parts, "did_you_mean": None})

    async def parse(self, call: Call) -> Answer:
        if "addresses" not in call.params:
            raise missing("addresses")
        found = [one for text in call.params.all("addresses") for one in entries(text)]
        if len(found) > MAX_ADDRESSES:
            raise BadRequest(f"more than {MAX_ADDRESSES} addresses")
        written: list[Any] = [(one, mailbox(display(one.phrase), one.address, True)) for one in found]
        return answer(
            {
                "parsed": [good for _, good in written if good is not None],
                "unparseable": [one.raw for one, good in written if good is None],
            }
        )


def _parsed(text: str) -> Address | None:
    try:
        return parse_address(text)
    except BadAddress:
        return None
