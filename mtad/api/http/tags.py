"""Tags: the names under which messages are counted, their numbers, and what these are by country, provider and device.

Room: api. May import: mail, storage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mtad.api.http.answers import Answer, NotFound, answer, said
from mtad.api.http.call import Call, Handler, Param, Row
from mtad.api.http.dates import rfc3339
from mtad.api.http.paging import links, paged, read_page
from mtad.api.http.stats import TIME_PARAMS, totals_answer
from mtad.mail.metric import Metric
from mtad.storage import counters
from mtad.storage.counters import Tag
from mtad.storage.database import Database

LIMIT = 4000  # tags of a domain; what is said, and not what is refused
_CHAPTER = "Tags"
_TAG = Param("tag", "The tag", required=True)
_ENGAGED = {
    "clicked": Metric.CLICKED,
    "complained": Metric.COMPLAINED,
    "opened": Metric.OPENED,
    "unique_clicked": Metric.CLICKED_UNIQUE,
    "unique_opened": Metric.OPENED_UNIQUE,
    "unsubscribed": Metric.UNSUBSCRIBED,
}
_PROVIDED = {**_ENGAGED, "accepted": Metric.ACCEPTED_OUTGOING, "delivered": Metric.DELIVERED_SMTP}
# The last segment of the path -> (member and kind of the counters, members of a value, values always there)
_AGGREGATES: Mapping[str, tuple[str, Mapping[str, Metric], Sequence[str]]] = {
    "countries": ("country", _ENGAGED, ()),
    "providers": ("provider", _PROVIDED, ()),
    "devices": ("device", _ENGAGED, ("desktop", "mobile", "tablet", "unknown")),
}


class Tags:
    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> Sequence[Row]:
        paged_by = (
            Param("limit", "Tags of a page", "integer"),
            Param("prefix", "What they begin with"),
            Param("page", "first, next, previous or last"),
            Param("tag", "The tag the page is behind or before"),
        )
        described = (Param("description", "What it is for"),)
        one, query = "/{domain}/tags/{tag}", "/{domain}/tag"
        return (
            _row("GET", "/{domain}/tags", self.index, "The tags of a domain", paged_by),
            _row("GET", one, self.show, "A tag"),
            _row("PUT", one, self.change, "Describe a tag", described),
            _row("DELETE", one, self.delete, "Forget a tag and its numbers"),
            _row("GET", one + "/stats", self.stats, "Numbers of a tag", TIME_PARAMS),
            _row("GET", one + "/stats/aggregates/{kind}", self.aggregates, "Numbers of a tag by whom and with what"),
            _row("GET", query, self.show, "A tag, named in the query", (_TAG,)),
            _row("PUT", query, self.change, "Describe a tag, named in the query", (_TAG, *described)),
            _row("DELETE", query, self.delete, "Forget a tag, named in the query", (_TAG,)),
            _row("GET", query + "/stats", self.stats, "Numbers of a tag, named in the query", (_TAG, *TIME_PARAMS)),
            _row(
                "GET",
                query + "/stats/aggregates",
                self.aggregates,
                "Numbers of a tag, named in the query, by whom and with what",
                (_TAG, Param("type", "country, provider or device", required=True)),
            ),
            _row("GET", "/domains/{domain}/limits/tag", self.limit, "How many tags a domain may have"),
        )

    async def index(self, call: Call) -> Answer:
        page, domain = read_page(call, "tag"), call.domain
        prefix = call.params.text("prefix", "").strip()
        beyond = page.pivot or None
        found = await self._database.read(
            lambda connection: counters.tags(
                connection, domain.id, page.limit, beyond=beyond, backwards=page.backwards, prefix=prefix
            )
        )
        return paged(
            [tag_json(tag) for tag in found], links(call, page, "tag", [tag.shown for tag in found], ["prefix"])
        )

    async def show(self, call: Call) -> Answer:
        return answer(tag_json(await self._find(call)))

    async def change(self, call: Call) -> Answer:
        tag, domain = await self._find(call), call.domain
        description = call.params.text("description")
        if description is not None:
            await self._database.writer.write(
                lambda connection: counters.describe_tag(connection, domain.id, tag.shown, description[:1000])
            )
        return said("Tag updated")

    async def delete(self, call: Call) -> Answer:
        """Of a tag that was never used too."""
        await forget(self._database, call.domain.id, _name(call))
        return said("Tag deleted")

    async def stats(self, call: Call) -> Answer:
        tag = await self._find(call)
        label = f"t:{tag.shown.lower()}"
        return await totals_answer(self._database, call, [call.domain.id], label, tag.description, tag=tag.shown)

    async def aggregates(self, call: Call) -> Answer:
        tag, domain = await self._find(call), call.domain
        word = call.variables.get("kind") or call.params.need("type").lower()
        known = _AGGREGATES.get(word) or next((one for one in _AGGREGATES.values() if one[0] == word), None)
        if known is None:
            raise NotFound("Not Found")
        kind, members, always = known
        found = await self._database.read(
            lambda connection: counters.aggregates(connection, domain.id, f"t:{tag.shown.lower()}", kind)
        )
        values = {value: found.get(value, {}) for value in (*always, *sorted(found))}
        shown = {
            value: {name: counts.get(metric, 0) for name, metric in members.items()} for value, counts in values.items()
        }
        return answer({"tag": tag.shown, kind: shown})

    async def limit(self, call: Call) -> Answer:
        domain = call.domain
        count = await self._database.read(lambda connection: counters.count_tags(connection, domain.id))
        return answer({"id": "tag", "limit": LIMIT, "count": count})

    async def _find(self, call: Call) -> Tag:
        name, domain = _name(call), call.domain
        tag = await self._database.read(lambda connection: counters.tag(connection, domain.id, name))
        if tag is None:
            raise NotFound("Tag not found")
        return tag


def _row(method: str, path: str, handler: Handler, about: str, params: Sequence[Param] = ()) -> Row:
    return Row(method=method, path=path, handler=handler, about=about, chapter=_CHAPTER, params=params)


def _name(call: Call) -> str:
    return call.variables.get("tag") or call.params.need("tag")


def tag_json(tag: Tag) -> dict[str, Any]:
    return {
        "tag": tag.shown,
        "description": tag.description,
        "first-seen": rfc3339(tag.first_at),
        "last-seen": rfc3339(tag.last_at),
    }


async def forget(database: Database, domain_id: int, name: str) -> None:
    """In as many transactions as it takes."""
    while await database.writer.write(lambda connection: counters.delete_tag(connection, domain_id, name)):
        continue
