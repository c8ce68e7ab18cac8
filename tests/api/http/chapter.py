"""A chapter of rows that only tests have: they tell what reached them."""

import asyncio
from collections.abc import Sequence

from mtad.api.http.answers import Answer, BadRequest, answer
from mtad.api.http.call import Call, Needs, Param, Row
from mtad.api.http.paging import counted, links, paged, read_page


class Chapter:
    """under_way, most: uploads being handled, now and at most."""

    def __init__(self) -> None:
        self.under_way = self.most = 0

    def rows(self) -> Sequence[Row]:
        def row(method, path, handler, **more):
            return Row(method=method, path=path, handler=handler, about="A row of tests", chapter="Tests", **more)

        return (
            *(row(method, "/lists", self.echo) for method in ("GET", "POST", "PUT", "DELETE")),
            row("GET", "/lists/pages", self.pages, params=(Param("limit", kind="integer"), Param("term"))),
            row("GET", "/lists/{address}", self.echo),
            row("GET", "/{domain}/things/{name}", self.echo, versions=(2, 3)),
            row("POST", "/{domain}/upload", self.echo, needs=Needs.SENDING, params=(Param("file", kind="file"),)),
            row("POST", "/{domain}/slow", self.slow),
            row("GET", "/webhooks", self.echo, limited=True),
            row("GET", "/address/open", self.echo, needs=Needs.OPEN),
            row("GET", "/routes", self.counted),
            row("GET", "/ips/crash", self.crash),
            row("GET", "/ips/wrong", self.wrong),
        )

    async def echo(self, call: Call) -> Answer:
        return answer(
            {
                "version": call.version,
                "old": call.old,
                "url": call.url,
                "variables": dict(call.variables),
                "params": list(call.params),
                "files": [[one.name, one.filename, one.content_type, one.content.decode()] for one in call.files],
                "body": call.body,
                "domain": call.found_domain.name if call.found_domain else None,
                "key": call.principal.name,
                "peer": call.peer,
            }
        )

    async def counted(self, call: Call) -> Answer:
        limit, skip = call.params.limit(), call.params.skip()
        return counted([limit, skip], 7)

    async def pages(self, call: Call) -> Answer:
        page = read_page(call, "address")
        keys = sorted(f"{letter}+1@x.org" for letter in "abcdefg")
        some = [key for key in keys if key > page.pivot] if not page.backwards else keys[::-1]
        if page.backwards and page.pivot:
            some = [key for key in some if key < page.pivot]
        some = sorted(some[: page.limit])
        return paged(some, links(call, page, "address", some, keep=("term",)))

    async def slow(self, call: Call) -> Answer:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        for _ in range(10):
            await asyncio.sleep(0)
        self.under_way -= 1
        return answer([len(one.content) for one in call.files])

    async def crash(self, call: Call) -> Answer:
        raise RuntimeError("the secret of /var/lib/mtad")

    async def wrong(self, call: Call) -> Answer:
        raise BadRequest("this is wrong", hint="that")
