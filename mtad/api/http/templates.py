"""Templates: /<domain>/templates and their versions; without a domain they are the account's, for all its domains.

Room: api. May import: message, storage.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from mtad.api.http.answers import Answer, BadRequest, NotFound, answer, said
from mtad.api.http.call import Call, Param, Row
from mtad.api.http.messages import Rendered
from mtad.api.http.paging import Page, links, paged, read_page
from mtad.api.http.params import Params, missing
from mtad.api.http.template_forms import (
    ENGINE,
    check,
    read_content,
    read_headers,
    read_name,
    read_short,
    show_template,
    show_version,
)
from mtad.api.templates import NoTemplate, Templates
from mtad.clock import Clock
from mtad.mail.ids import IdSource
from mtad.mail.options import Variables
from mtad.message.handlebars.nodes import BadTemplate
from mtad.storage import templates
from mtad.storage.accounts import DomainRow
from mtad.storage.database import Database
from mtad.storage.templates import TemplateRow, VersionRow

T = TypeVar("T")

MAX_TEMPLATES = 1000  # of one domain, or of the account
MAX_VERSIONS = 100  # of one template
MAX_SHOWN = 25  # templates on one page with their contents
_INITIAL = "initial"

_NOT_FOUND, _NO_VERSION = "template not found", "version not found"

_ACTIVE = Param("active", "with the active version", "boolean")
_PAGING = (Param("limit", kind="integer"), Param("page"), Param("p", "name or tag that the page begins behind"))
_HEADERS = Param("headers", "JSON: From, Subject and Reply-To unless the message has its own", "object")
_VERSION = (
    Param("template", "html in Handlebars: {{name}}, {{{name}}}, #if, #unless, #each, #with, #equal"),
    Param("tag", "name of the version; initial"),
    Param("comment"),
    Param("engine", ENGINE),
    _HEADERS,
)
_CREATE = (Param("name", required=True), Param("description"), Param("createdBy"), *_VERSION)
_CHANGE = (Param("template"), Param("comment"), _HEADERS, Param("active", "use it from now on", "boolean"))


class Render:
    """What POST /messages asks for the text of a template."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    async def __call__(self, domain: DomainRow, name: str, version: str, variables: Variables, text: bool) -> Rendered:
        try:
            filled = await self._templates.fill(domain.id, name, version, variables, text=text)
        except NoTemplate as error:
            raise NotFound(str(error)) from None
        except BadTemplate as error:
            raise BadRequest(str(error)) from None
        return Rendered(filled.html, filled.text, filled.headers)


class TemplateChapter:
    """using: the templates as senders have them in memory; told of every change."""

    def __init__(self, database: Database, ids: IdSource, clock: Clock, using: Templates) -> None:
        self._database, self._ids, self._clock, self._using = database, ids, clock, using

    def rows(self) -> Sequence[Row]:
        return [*self._under("/{domain}/templates", 3), *self._under("/templates", 4)]

    def _under(self, base: str, version: int) -> Sequence[Row]:
        row = partial(Row, chapter="Templates", versions=(version,))
        one, all_ = f"{base}/{{name}}", f"{base}/{{name}}/versions"
        tag = f"{all_}/{{tag}}"
        named = (*_VERSION, _CHANGE[-1])
        return (
            row(method="GET", path=base, handler=self.list, about="The templates", params=(*_PAGING, _ACTIVE)),
            row(method="POST", path=base, handler=self.create, about="Store a template", params=_CREATE),
            row(method="DELETE", path=base, handler=self.clear, about="Remove all templates"),
            row(method="GET", path=one, handler=self.show, about="One template", params=(_ACTIVE,)),
            row(method="PUT", path=one, handler=self.update, about="Describe it", params=(Param("description"),)),
            row(method="DELETE", path=one, handler=self.delete, about="Remove it with its versions"),
            row(method="GET", path=all_, handler=self.list_versions, about="Its versions", params=_PAGING),
            row(method="POST", path=all_, handler=self.create_version, about="Store a version", params=named),
            row(method="GET", path=tag, handler=self.show_version, about="One version"),
            row(method="PUT", path=tag, handler=self.update_version, about="Change it", params=_CHANGE),
            row(method="DELETE", path=tag, handler=self.delete_version, about="Remove a version"),
            row(
                method="PUT",
                path=f"{tag}/copy/{{new}}",
                handler=self.copy_version,
                about="Store it under another tag too",
                params=(Param("comment"),),
            ),
        )

    # --- templates ---

    async def list(self, call: Call) -> Answer:
        with_text = call.params.flag("active", False)
        page = read_page(call, "p", MAX_SHOWN if with_text else 1000)
        domain = _domain(call)

        def read(connection: sqlite3.Connection) -> tuple[list[TemplateRow], dict[int, VersionRow]]:
            rows = templates.page(connection, domain, page.limit, *_beyond(page))
            return rows, templates.active(connection, [row.number for row in rows]) if with_text else {}

        rows, active = await self._database.read(read)
        items = [show_template(row, active.get(row.number)) for row in rows]
        return paged(items, links(call, page, "p", [row.name for row in rows], keep=("active",)))

    async def create(self, call: Call) -> Answer:
        params, now = call.params, self._clock.now()
        params.need("name")
        template = TemplateRow(
            number=self._ids.next(),
            domain_id=_domain(call),
            name=read_name(params, "name"),
            description=read_short(params, "description") or "",
            created_at=now,
            created_by=read_short(params, "createdBy") or "",
        )
        content = read_content(call)
        made = await self._new_version(call, template.number, content) if content else None

        def write(connection: sqlite3.Connection) -> VersionRow | None:
            if templates.count(connection, template.domain_id) >= MAX_TEMPLATES:
                raise BadRequest(f"there are {MAX_TEMPLATES} templates, and more are not possible")
            if not templates.add(connection, template):
                raise BadRequest(f"template with name '{template.name}' already exists")
            return templates.put_version(connection, made) if made else None

        stored = await self._write(write)
        return said("template has been stored", template=show_template(template, stored))

    async def show(self, call: Call) -> Answer:
        template = await self._found(call)
        active = None
        if call.params.flag("active", False):
            active = await self._database.read(lambda c: templates.version(c, template.number, ""))
        return answer({"template": show_template(template, active)})

    async def update(self, call: Call) -> Answer:
        template = await self._found(call)
        description = read_short(call.params, "description")
        if description is not None and not await self._write(
            lambda connection: templates.describe(connection, template.number, description)
        ):
            raise NotFound(_NOT_FOUND)
        return said("template has been updated", template={"name": template.name})

    async def delete(self, call: Call) -> Answer:
        template = await self._found(call)
        if not await self._write(lambda connection: templates.remove(connection, template.number)):
            raise NotFound(_NOT_FOUND)
        return said("template has been deleted", template={"name": template.name})

    async def clear(self, call: Call) -> Answer:
        domain = _domain(call)
        while await self._write(lambda connection: templates.clear(connection, domain)):
            continue
        return said("templates have been deleted")

    # --- versions ---

    async def list_versions(self, call: Call) -> Answer:
        template, page = await self._found(call), read_page(call, "p")
        found = await self._database.read(
            lambda connection: templates.versions(connection, template.number, page.limit, *_beyond(page))
        )
        shown = [{name: value for name, value in show_version(one).items() if name != "template"} for one in found]
        paging = links(call, page, "p", [one.tag for one in found])
        return answer({"template": {**show_template(template), "versions": shown}, "paging": paging})

    async def create_version(self, call: Call) -> Answer:
        template = await self._found(call)
        content = read_content(call)
        if not content:
            raise missing("template")
        call.params.need("tag")
        made = await self._new_version(call, template.number, content)

        stored = await self._write(partial(_put, made=made))
        return said("new version of the template has been stored", template=show_template(template, stored))

    async def show_version(self, call: Call) -> Answer:
        template = await self._found(call)
        return answer({"template": show_template(template, await self._found_version(call, template))})

    async def update_version(self, call: Call) -> Answer:
        template = await self._found(call)
        tag = (await self._found_version(call, template)).tag
        comment = read_short(call.params, "comment")
        content = read_content(call)
        headers = read_headers(call.params) if "headers" in call.params else None
        active = call.params.flag("active", False)
        await check(content, headers or {})

        def write(connection: sqlite3.Connection) -> VersionRow | None:
            old = templates.version(connection, template.number, tag)
            if old is None:
                raise NotFound(_NO_VERSION)
            made = replace(
                old,
                content=content or old.content,
                headers=old.headers if headers is None else headers,
                comment=old.comment if comment is None else comment,
                active=old.active or active,
            )
            return templates.put_version(connection, made, replace=True)

        await self._write(write)
        return said("version has been updated", template={"name": template.name, "version": {"tag": tag}})

    async def delete_version(self, call: Call) -> Answer:
        template, tag = await self._found(call), call["tag"].strip().lower()
        if not await self._write(lambda connection: templates.remove_version(connection, template.number, tag)):
            raise NotFound(_NO_VERSION)
        return said("version has been deleted", template={"name": template.name, "version": {"tag": tag}})

    async def copy_version(self, call: Call) -> Answer:
        """What is there under the new tag is replaced."""
        template = await self._found(call)
        old = await self._found_version(call, template)
        comment = read_short(call.params, "comment")
        made = VersionRow(
            number=self._ids.next(),
            template=template.number,
            tag=read_name(Params([("tag", call["new"])]), "tag"),
            content=old.content,
            headers=old.headers,
            comment=old.comment if comment is None else comment,
            created_at=self._clock.now(),
        )
        stored = await self._write(partial(_put, made=made, again=True))
        shown = show_version(stored)
        return said("version has been copied", template={**show_template(template), "version": shown}, version=shown)

    # --- both ---

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        result = await self._database.writer.write(work)
        self._using.changed()
        return result

    async def _found(self, call: Call) -> TemplateRow:
        domain, name = _domain(call), call["name"].strip().lower()
        row = await self._database.read(lambda connection: templates.find(connection, domain, name))
        if row is None:
            raise NotFound(_NOT_FOUND)
        return row

    async def _found_version(self, call: Call, template: TemplateRow) -> VersionRow:
        tag = call["tag"].strip().lower()
        row = await self._database.read(lambda connection: templates.version(connection, template.number, tag))
        if row is None or not tag:
            raise NotFound(_NO_VERSION)
        return row

    async def _new_version(self, call: Call, template: int, content: str) -> VersionRow:
        params = call.params
        engine = params.text("engine", "").strip().lower()
        if engine not in ("", ENGINE):
            raise BadRequest(f"engine parameter is not {ENGINE}")
        made = VersionRow(
            number=self._ids.next(),
            template=template,
            tag=read_name(params, "tag") if params.text("tag", "").strip() else _INITIAL,
            content=content,
            headers=read_headers(params),
            comment=read_short(params, "comment") or "",
            active=params.flag("active", False),
            created_at=self._clock.now(),
        )
        await check(made.content, made.headers)
        return made


def _put(connection: sqlite3.Connection, made: VersionRow, again: bool = False) -> VersionRow:
    if templates.count_versions(connection, made.template) >= MAX_VERSIONS:
        raise BadRequest(f"there are {MAX_VERSIONS} versions of the template, and more are not possible")
    try:
        stored = templates.put_version(connection, made, replace=again)
    except sqlite3.IntegrityError:  # the template was removed meanwhile
        raise NotFound(_NOT_FOUND) from None
    if stored is None:
        raise BadRequest(f"version with tag '{made.tag}' already exists")
    return stored


def _domain(call: Call) -> int:
    """0: the account."""
    return call.found_domain.id if call.found_domain else 0


def _beyond(page: Page) -> tuple[str | None, bool]:
    return page.pivot.strip().lower() or None, page.backwards
