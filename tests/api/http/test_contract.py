"""Every call of the HTTP API, one row each, against a whole daemon: what it answers to the least that it needs.

A row stands for itself: what it asks for or deletes was made before, by `Place`. Mailing lists and campaigns have
tables of their own.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.flows.application import NameServer
from tests.flows.inland import API_KEY, DOMAIN, Inland
from tests.live import wait_until

OTHER, PICTURE = "other.example", b"\x89PNG"
ELSEWHERE = re.compile(r"/v\d/(lists|\{domain\}/campaigns)(/|$)")


@dataclass(frozen=True)
class Form:
    """files: part name -> content; there is one: the body is multipart."""

    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


def form(*pairs: str, **files: bytes) -> Form:
    """pairs: "name=value"."""
    return Form(tuple([(name, value) for name, _, value in (pair.partition("=") for pair in pairs)]), (*files.items(),))


@dataclass(frozen=True)
class Row:
    """path: {names} are Place's. body: a Form, or what is sent as JSON. wants: members that must be there, as
    "items.0.address"; "name=text" says what must stand there, "[]" that the answer is a list. sending: a sending key of
    the domain may do it too.
    """

    method: str
    path: str
    body: Any = None
    wants: tuple[str, ...] = ()
    status: int = 200
    sending: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def row(method: str, path: str, *wants: str, body: Any = None, **more: Any) -> Row:
    return Row(method, path, body, wants, **more)


LETTER = ("from=ann@{domain}", "to=accept@outcome.mtad.test", "subject=Hello")
PAGING = ("paging.first", "paging.next", "paging.previous", "paging.last")
DOMAIN_KEYS = (
    "domain.id",
    "domain.name",
    "domain.state",
    "domain.smtp_login",
    "domain.spam_action",
    "domain.created_at",
)
RECORDS = ("receiving_dns_records.0.record_type=MX", "sending_dns_records.0.value", "sending_dns_records.0.cached")
WHOLE_DOMAIN = (*DOMAIN_KEYS, *RECORDS)
ROUTE = ("id", "priority", "description", "expression", "actions", "created_at")
TOTALS = ("start", "end", "resolution=day", "stats.0.time", "stats.0.accepted.total")

SENDING = [
    row(
        "POST",
        "/v3/{domain}/messages",
        "id",
        "message=Queued. Thank you.",
        body=form(*LETTER, "text=Hi"),
        sending=True,
    ),
    row("POST", "/v2/{domain}/messages", "id", "message", body=form(*LETTER, "text=Hi", attachment=b"x"), sending=True),
    row(
        "POST",
        "/v3/{domain}/messages.mime",
        "id",
        "message=Queued. Thank you.",
        body=form("to=accept@outcome.mtad.test", message=b"Subject: x\n\nText\n"),
        sending=True,
    ),
    row("POST", "/v3/{domain}/messages", "message=from parameter is missing", body=form("to=a@x.org"), status=400),
    row("POST", "/v3/{domain}/messages", "message=to parameter is missing", body=form("from=a@x.org"), status=400),
    row("POST", "/v3/{domain}/messages.mime", "message", body=form("to=a@x.org"), status=400, sending=True),
    row(
        "POST",
        "/v3/nowhere.example/messages",
        "message=Domain not found: nowhere.example",
        body=form(*LETTER, "text=Hi"),
        status=404,
    ),
    row("GET", "/v3/domains/{domain}/sending_queues", "regular.is_disabled", "scheduled.disabled.reason"),
    row("DELETE", "/v3/{other}/envelopes", "message=done"),
]
STORED = [
    row(
        "GET",
        "/v3/domains/{domain}/messages/{stored}",
        *("recipients", "recipient", "sender", "from", "subject", "body-plain", "stripped-text", "stripped-signature"),
        *("attachments.0.url", "content-id-map", "message-headers.0", "message-url", "Subject"),
    ),
    row(
        "GET",
        "/v2/domains/{domain}/messages/{stored}",
        *("recipients", "recipient", "sender", "from", "subject", "body-mime"),
        headers=(("Accept", "message/rfc2822"),),
    ),
    row("GET", "/v3/domains/{domain}/messages/{stored}/attachments/1", "octets"),
    row("DELETE", "/v3/domains/{domain}/messages/{stored}/attachments/1", "message", status=405),
    row("POST", "/v3/domains/{domain}/messages/{stored}", "id", "message", body=form("to=accept@outcome.mtad.test")),
    row("DELETE", "/v3/domains/{domain}/messages/{spare_stored}", "message=Message has been deleted"),
    row("GET", "/v3/domains/{domain}/messages/nothing", "message", status=404),
]
EVENTS = [
    row("GET", "/v3/{domain}/events", "items.0.event", "items.0.timestamp", "items.0.id", "items.0.log-level", *PAGING),
    row("GET", "/v3/{domain}/events/{token}", "items", *PAGING),
    row("GET", "/v3/{domain}/events?page=nonsense", "message", status=400),
    row(
        "GET",
        "/v2/{domain}/log",
        *("total_count", "items.0.hap", "items.0.created_at", "items.0.type", "items.0.message", "items.0.message_id"),
    ),
]
STATS = [
    row(
        "GET",
        "/v2/{domain}/stats?event=sent",
        *(
            "total_count",
            "items.0.event=sent",
            "items.0.total_count",
            "items.0.created_at",
            "items.0.id",
            "items.0.tags",
        ),
    ),
    row("GET", "/v3/{domain}/stats/total?event=accepted", *TOTALS, "stats.0.accepted.outgoing"),
    row("GET", "/v3/stats/total?event=accepted", *TOTALS),
    row("GET", "/v3/stats/filter?event=accepted", *TOTALS),
    row("GET", "/v3/{domain}/stats/total", "message", status=400),
    row("GET", "/v3/{domain}/tags", "items.0.tag", "items.0.description", "items.0.first-seen", *PAGING),
    row("GET", "/v3/{domain}/tags/news", "tag=news", "description", "first-seen", "last-seen"),
    row("GET", "/v3/{domain}/tags/unknown", "message=Tag not found", status=404),
    row("PUT", "/v3/{domain}/tags/news", "message=Tag updated", body=form("description=About")),
    row("DELETE", "/v3/{domain}/tags/spare", "message=Tag deleted"),
    row("GET", "/v3/{domain}/tags/news/stats?event=accepted", "tag=news", "description", *TOTALS),
    row("GET", "/v3/{domain}/tags/news/stats/aggregates/countries", "tag=news", "country"),
    row("GET", "/v3/{domain}/tags/news/stats/aggregates/providers", "tag=news", "provider"),
    row("GET", "/v3/{domain}/tags/news/stats/aggregates/devices", "tag=news", "device.desktop.unique_opened"),
    row("GET", "/v3/{domain}/tag?tag=news", "tag=news"),
    row("PUT", "/v3/{domain}/tag?tag=news", "message=Tag updated", body=form("description=About")),
    row("DELETE", "/v3/{domain}/tag?tag=never", "message=Tag deleted"),
    row("GET", "/v3/{domain}/tag/stats?tag=news&event=accepted", "tag=news", *TOTALS),
    row("GET", "/v3/{domain}/tag/stats/aggregates?tag=news&type=country", "tag=news", "country"),
    row("GET", "/v3/domains/{domain}/limits/tag", "id=tag", "limit", "count"),
    row("POST", "/v1/analytics/tags", "items.0.tag", "items.0.first_seen", "pagination.total", body={}),
    row("PUT", "/v1/analytics/tags", "message=Tag updated", body={"tag": "news", "description": "x"}),
    row("DELETE", "/v1/analytics/tags", "message=Tag deleted", body={"tag": "never"}),
    row("GET", "/v1/analytics/tags/limits", "limit", "count", "limit_reached"),
    row(
        "POST",
        "/v1/analytics/metrics",
        *("start", "end", "resolution", "duration", "dimensions", "pagination", "aggregates.metrics"),
        *(
            "items.0.dimensions.0.dimension=time",
            "items.0.dimensions.0.display_value",
            "items.0.metrics.accepted_count",
        ),
        body={"metrics": ["accepted_count"], "dimensions": ["time"]},
    ),
    row(
        "POST",
        "/v1/analytics/logs",
        *("start", "end", "items.0.event", "pagination.next", "pagination.previous", "pagination.first"),
        *("pagination.last", "aggregates"),
        body={},
    ),
]


def _suppressions(name: str, field: str, one: str, gone: str, all_gone: str) -> Iterator[Row]:
    added = "whitelists" if name == "allowlist" else name
    key = "value" if added == "whitelists" else "address"
    base = f"/v3/{{domain}}/{name}"
    message = "message=Address/Domain has been added to the whitelists table"
    if added != "whitelists":
        message = f"message=Address has been added to the {name} table"
    yield row("GET", base, f"items.0.{key}", *PAGING)
    yield row("GET", f"{base}/kept@x.org", f"{key}=kept@x.org")
    yield row("GET", f"{base}/nobody@x.org", f"message={one}", status=404)
    yield row("POST", base, message, f"{key}=new@x.org", body=form("address=new@x.org"))
    yield row("POST", base, "message", body=form("address=nonsense"), status=400)
    yield row("POST", base, "message", body=[{"address": "new1@x.org"}, {"address": "new2@x.org"}])
    yield row("POST", f"{base}/import", "message", body=form(file=b"address\nnew3@x.org\n"), status=202)
    yield row("DELETE", f"{base}/spare-{name}@x.org", f"message={gone}", f"{key}=spare-{name}@x.org")
    yield row("DELETE", f"/v3/{{other}}/{name}", f"message={all_gone}")
    if added != "whitelists":
        old = f"/v2/{{domain}}/{name}"
        yield row("GET", old, "total_count", "items.0.address", "items.0.created_at")
        yield row("GET", f"{old}/kept@x.org", field)


SUPPRESSIONS = [
    *_suppressions(
        "bounces",
        "bounce.code=550",
        "Address not found in bounces table",
        "Bounced address has been removed",
        "Bounced addresses for this domain have been removed",
    ),
    *_suppressions(
        "unsubscribes",
        "items.0.tag=*",
        "Address not found in unsubscribers table",
        "Unsubscribe event has been removed",
        "Unsubscribe addresses for this domain have been removed",
    ),
    *_suppressions(
        "complaints",
        "complaint.count",
        "No spam complaints found for this address",
        "Spam complaint has been removed",
        "Complaint addresses for this domain have been removed",
    ),
    *[
        one
        for name in ("whitelists", "allowlist")
        for one in _suppressions(
            name,
            "",
            "Address/Domain not found in whitelists table",
            "Whitelist address/domain has been removed",
            "Allowlist addresses/domains for this domain have been removed",
        )
    ],
]
ROUTES = [
    row("GET", "/v3/routes", "total_count", *[f"items.0.{name}" for name in ROUTE]),
    row("GET", "/v3/routes/{route}", *[f"route.{name}" for name in ROUTE]),
    row("GET", "/v3/routes/0123456789abcdef01234567", "message=Route not found", status=404),
    row(
        "POST",
        "/v3/routes",
        "message=Route has been created",
        *[f"route.{name}" for name in ROUTE],
        body=form("expression=catch_all()", "action=stop()", "priority=9"),
    ),
    row(
        "POST",
        "/v3/routes",
        "message='action' parameter is required",
        body=form("expression=catch_all()"),
        status=400,
    ),
    row("PUT", "/v3/routes/{route}", "message=Route has been updated", *ROUTE, body=form("description=x")),
    row("DELETE", "/v3/routes/{spare_route}", "message=Route has been deleted", "id={spare_route}"),
    row("GET", "/v3/routes/match?address=box@{domain}", "route.id"),
    row("POST", "/v3/routes/test", body=form("address=box@{domain}")),
]
DOMAINS = [
    row("GET", "/v3/domains", "total_count", "items.0.name", "items.0.state"),
    row("GET", "/v4/domains", "total_count", "items.0.name"),
    row("GET", "/v4/domains/{domain}", *WHOLE_DOMAIN),
    row("GET", "/v3/domains/nowhere.example", "message", status=404),
    row("POST", "/v3/domains", "message=Domain has been created", *WHOLE_DOMAIN, body=form("name=made.example")),
    row(
        "POST",
        "/v2/domains",
        "message",
        "domain.smtp_password=12345678",
        body=form("name=old.example", "smtp_password=12345678"),
    ),
    row("POST", "/v3/domains", "message=This domain name is already taken", body=form("name={domain}"), status=400),
    row("PUT", "/v3/domains/{other}", "message=Domain has been updated", *WHOLE_DOMAIN, body=form("wildcard=true")),
    row("PUT", "/v4/domains/{other}/verify", "message=Domain DNS records have been updated", *WHOLE_DOMAIN),
    row("DELETE", "/v3/domains/spare.example", "message=Domain has been deleted"),
    *[
        one
        for base in ("/v3/domains/{domain}/credentials", "/v3/{domain}/credentials")
        for one in (
            row(
                "GET",
                base,
                "total_count",
                "items.0.login",
                "items.0.mailbox",
                "items.0.size_bytes",
                "items.0.created_at",
            ),
            row(
                "POST",
                base,
                "message=Created 1 credentials pair(s)",
                body=form("login=new", "password=correct-horse-1"),
            ),
            row("POST", base, "message", body=form("login=new", "password=x"), status=400),
            row("PUT", f"{base}/kept", "message=Password changed", body=form("password=correct-horse-2")),
            row(
                "PUT",
                f"{base}/nobody",
                "message=Credentials not found",
                body=form("password=correct-horse-2"),
                status=404,
            ),
        )
    ],
    row(
        "DELETE",
        "/v3/domains/{domain}/credentials/spare1",
        "message=Credentials have been deleted",
        "spec=spare1@{domain}",
    ),
    row("DELETE", "/v3/{domain}/credentials/spare2", "message=Credentials have been deleted", "spec=spare2@{domain}"),
    row("DELETE", "/v3/domains/{other}/credentials", "message=All domain credentials have been deleted", "count"),
    row("DELETE", "/v3/{other}/credentials", "message=All domain credentials have been deleted", "count"),
    row("GET", "/v3/domains/{domain}/connection", "require_tls", "connection.skip_verification"),
    row("PUT", "/v3/domains/{other}/connection", "message", "require_tls", body=form("require_tls=false")),
    row(
        "GET",
        "/v3/domains/{domain}/tracking",
        *("tracking.open.active", "tracking.open.place_at_the_top", "tracking.click.active", "tracking.web_scheme"),
        *("tracking.unsubscribe.active", "tracking.unsubscribe.html_footer", "tracking.unsubscribe.text_footer"),
    ),
    *[
        row(
            "PUT",
            f"/v3/domains/{{other}}/tracking/{kind}",
            "message=Domain tracking settings have been updated",
            f"{kind}.active",
            body=form("active=yes"),
        )
        for kind in ("open", "click", "unsubscribe")
    ],
    row("PUT", "/v3/domains/{other}/dkim_authority?self=true", "message", "changed", "sending_dns_records"),
    row("PUT", "/v3/domains/{other}/dkim_selector?dkim_selector=s2", "message=DKIM selector changed"),
    row("PUT", "/v3/domains/{other}/web_prefix?web_prefix=links", "message=Domain web prefix updated"),
    row("GET", "/v4/domains/{domain}/keys", "items.0.signing_domain", "items.0.selector", "items.0.dns_record.value"),
    row(
        "PUT",
        "/v4/domains/{domain}/keys/kept/activate",
        *("message=domain key activated", "authority", "selector=kept", "active"),
    ),
    row(
        "PUT", "/v4/domains/{domain}/keys/kept/deactivate", "message=domain key deactivated", "selector=kept", "active"
    ),
    row("GET", "/v1/dkim/keys", "items.0.signing_domain", *PAGING),
    row(
        "POST",
        "/v1/dkim/keys",
        *("signing_domain={domain}", "selector=new", "dns_record.value"),
        body=form("signing_domain={domain}", "selector=new", "bits=1024"),
    ),
    row("DELETE", "/v1/dkim/keys?signing_domain={domain}&selector=spare", "message=success"),
]
WEBHOOKS = [
    row("GET", "/v3/domains/{domain}/webhooks", "webhooks.delivered.urls.0", "webhooks.deliver.url"),
    row("GET", "/v3/domains/{domain}/webhooks/delivered", "webhook.urls.0"),
    row("GET", "/v2/domains/{domain}/webhooks/deliver", "webhook.url"),
    row("GET", "/v3/domains/{domain}/webhooks/complained", "message", status=404),
    row(
        "POST",
        "/v3/domains/{domain}/webhooks",
        *("message=Webhook has been created", "webhook.urls.0"),
        body=form("id=accepted", "url={base}/x"),
    ),
    row("POST", "/v3/domains/{domain}/webhooks", "message", body=form("id=nonsense", "url={base}/x"), status=400),
    row(
        "PUT",
        "/v3/domains/{domain}/webhooks/delivered",
        *("message=Webhook has been updated", "webhook.urls.0"),
        body=form("url={base}/y"),
    ),
    row("DELETE", "/v3/domains/{domain}/webhooks/unsubscribed", "message=Webhook has been deleted", "webhook"),
    row("PUT", "/v3/domains/{domain}/webhooks/delivered/test", "code", "message", body=form("url={base}/health")),
    row("GET", "/v4/domains/{domain}/webhooks", "webhooks"),
    row(
        "POST",
        "/v4/domains/{other}/webhooks",
        *("message=Webhook has been created", "webhooks.opened"),
        body=form("event_types=opened,clicked", "url={base}/z"),
    ),
    row(
        "PUT",
        "/v4/domains/{other}/webhooks",
        *("message=Webhook has been updated", "webhooks.opened"),
        body=form("event_types=opened", "url={base}/z2"),
    ),
    row("DELETE", "/v4/domains/{domain}/webhooks?url={base}/gone", "message=Webhook has been deleted", "webhooks"),
    row("GET", "/v5/accounts/http_signing_key", "message=success", "http_signing_key"),
    row("POST", "/v5/accounts/http_signing_key", "message=success", "http_signing_key"),
]


def _templates(base: str, of_all: str) -> Iterator[Row]:
    name = ("name", "description", "createdAt", "createdBy", "id")
    version = ("tag", "template", "engine=handlebars", "createdAt", "comment", "active", "id")
    whole = [f"template.{one}" for one in name]
    with_version = [*whole, *[f"template.version.{one}" for one in version]]
    made = form("name=New", "template=Hi {{name}}", "tag=Initial")
    yield row("POST", base, "message=template has been stored", *with_version, "template.name=new", body=made)
    yield row("GET", base, "items.0.name", *PAGING)
    yield row("GET", f"{base}/kept", *whole)
    yield row("GET", f"{base}/kept?active=yes", *with_version)
    yield row("GET", f"{base}/nothing", "message", status=404)
    changed = form("description=x")
    yield row("PUT", f"{base}/kept", "message=template has been updated", "template.name=kept", body=changed)
    yield row("DELETE", f"{base}/spare", "message=template has been deleted", "template.name=spare")
    versions = f"{base}/kept/versions"
    more = form("template=Ho", "tag=new")
    yield row("POST", versions, "message=new version of the template has been stored", *with_version, body=more)
    yield row("GET", versions, *whole, "template.versions.0.tag", *PAGING)
    yield row("GET", f"{versions}/initial", *with_version)
    changed = form("comment=x")
    told = "template.version.tag=initial"
    yield row("PUT", f"{versions}/initial", "message=version has been updated", told, body=changed)
    yield row("DELETE", f"{versions}/spare", "message=version has been deleted", "template.version.tag=spare")
    yield row("PUT", f"{versions}/initial/copy/copied", "message", "template.version.tag=copied")
    yield row("DELETE", of_all, "message=templates have been deleted")


TEMPLATES = [
    *_templates("/v3/{domain}/templates", "/v3/{other}/templates"),
    *_templates("/v4/templates", "/v4/templates"),  # the last of them takes all that are left
]
OTHERS = [
    row("GET", "/v3/ips", "items", "total_count"),
    row("GET", "/v3/ips/192.0.2.1", "message", status=404),
    row("GET", "/v3/domains/{domain}/ips", "items", "total_count"),
    row("POST", "/v3/domains/{domain}/ips", "message=success", body=form("ip=192.0.2.1")),
    row("DELETE", "/v3/domains/{domain}/ips/192.0.2.1", "message=success"),
    *[
        one
        for version in (1, 3)
        for one in (
            row("GET", f"/v{version}/ip_pools", "ip_pools", "message=success"),
            row("POST", f"/v{version}/ip_pools", "message=success", body=form("name=x")),
            row("GET", f"/v{version}/ip_pools/x", "message", status=404),
            row("PATCH", f"/v{version}/ip_pools/x", "message=success", body=form("name=x")),
            row("DELETE", f"/v{version}/ip_pools/x", "message=success"),
        )
    ],
    row("GET", "/v3/address/validate?address=a@x.org", "address", "is_valid", "parts.local_part", "did_you_mean"),
    *[
        row(
            method,
            "/v4/address/validate?address=a@x.org",
            *("address", "is_disposable_address", "is_role_address", "reason", "result", "risk"),
        )
        for method in ("GET", "POST")
    ],
    row("GET", "/v2/address/parse?addresses=a@x.org,x.org", "parsed.0=a@x.org", "unparseable.0=x.org"),
    *[
        row(method, path, "message=Not Found", status=404)
        for method, path in (
            ("GET", "/v5/accounts/subaccounts"),
            ("GET", "/v5/users"),
            ("GET", "/v1/keys"),
            ("GET", "/v1/alerts/events"),
            ("POST", "/v2/bounce-classification/metrics"),
            ("GET", "/v4/inbox/tests"),
            ("GET", "/v2/x509/{domain}"),
            ("GET", "/domains"),
            ("GET", "/v9/domains"),
        )
    ],
]
ROWS = [*SENDING, *STORED, *EVENTS, *STATS, *SUPPRESSIONS, *ROUTES, *DOMAINS, *WEBHOOKS, *TEMPLATES, *OTHERS]


class Place:
    """A daemon in which there is all that the rows are about."""

    def __init__(self, daemon: Inland) -> None:
        self.base = str(daemon.ready["http"])
        self.names = {"domain": DOMAIN, "other": OTHER, "base": self.base}
        self.session = requests.Session()
        self.session.auth = ("api", API_KEY)
        self.sending = json.loads(daemon.mtad("key", "add", "one", "--domain", DOMAIN, "--json").stdout)["key"]
        self._make()
        self._receive(daemon)

    def _make(self) -> None:
        for name in (OTHER, "spare.example"):
            self("POST", "/v3/domains", name=name)
        for tag in ("news", "spare"):
            text = {"from": f"ann@{DOMAIN}", "to": "accept@outcome.mtad.test", "text": "x", "o:tag": tag}
            self("POST", f"/v3/{DOMAIN}/messages", **text)
        for name in ("bounces", "unsubscribes", "complaints", "whitelists"):
            for address in ("kept@x.org", f"spare-{name}@x.org", "spare-allowlist@x.org"):
                self("POST", f"/v3/{DOMAIN}/{name}", address=address)
            self("POST", f"/v3/{OTHER}/{name}", address="x@x.org")
        for name in ("route", "spare_route"):
            made = self("POST", "/v3/routes", expression=f'match_recipient("{name}")', action="stop()", priority="5")
            self.names[name] = made["route"]["id"]
        self("POST", "/v3/routes", expression=f'match_recipient("box@{DOMAIN}")', action="store()")
        for name in ("delivered", "deliver", "unsubscribed"):
            self("POST", f"/v3/domains/{DOMAIN}/webhooks", id=name, url=f"{self.base}/hook")
        self("POST", f"/v3/domains/{DOMAIN}/webhooks", id="opened", url=f"{self.base}/gone")
        for login in ("kept", "spare1", "spare2"):
            self("POST", f"/v3/domains/{DOMAIN}/credentials", login=login, password="correct-horse-0")
        for selector in ("kept", "spare"):
            self("POST", "/v1/dkim/keys", signing_domain=DOMAIN, selector=selector, bits="1024")
        for where in (f"/v3/{DOMAIN}/templates", "/v4/templates"):
            for name in ("kept", "spare"):
                self("POST", where, name=name, template="Hi", tag="initial")
            self("POST", f"{where}/kept/versions", template="Ho", tag="spare")

    def _receive(self, daemon: Inland) -> None:
        head = b"From: ann@elsewhere.example\r\nSubject: Hi\r\nMime-Version: 1.0\r\nContent-Type: multipart/mixed; "
        parts = (
            b'boundary="b"\r\n\r\n--b\r\n\r\nText\r\n--b\r\nContent-Type: image/png; name=a.png\r\n\r\n1\r\n--b--\r\n'
        )
        for _ in range(2):
            daemon.receive(head + parts, "box")
        path = f"/v3/{DOMAIN}/events?event=stored"
        found = wait_until(lambda: (kept := self("GET", path)["items"]) and len(kept) == 2 and kept, what="stored")
        self.names["stored"], self.names["spare_stored"] = [one["storage"]["key"] for one in found]
        self.names["token"] = self("GET", path)["paging"]["next"].rpartition("/")[2].partition("?")[0]

    def __call__(self, method: str, path: str, **fields: str) -> Any:
        answer = self.session.request(method, self.base + path, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, one: Row, key: str = API_KEY) -> requests.Response:
        url, body = self.base + self.filled(one.path), one.body
        given: dict[str, Any] = {"auth": ("api", key), "headers": dict(one.headers), "allow_redirects": False}
        if isinstance(body, Form):
            given["data"] = [(name, self.filled(value)) for name, value in body.fields]
            if body.files:
                given["files"] = [(name, ("file", io.BytesIO(content))) for name, content in body.files]
        elif body is not None:
            given["json"] = body
        return self.session.request(one.method, url, timeout=30, **given)

    def filled(self, text: str) -> str:
        """Braces around other words stay, as templates have them."""
        return re.sub(r"(?<!\{)\{(\w+)\}", lambda found: self.names.get(found[1], found[0]), text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with NameServer(lambda server: None) as names:
        with Inland(tmp_path_factory.mktemp("daemon"), names, "api.rate_limits=false") as daemon:
            made = Place(daemon)
            with made.session:
                yield made


def found_at(answer: Any, path: str) -> Any:
    for part in path.split("."):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer


def told(answer: requests.Response) -> Any:
    if answer.headers["Content-Type"] == "application/json; charset=utf-8":
        return answer.json()
    return {"octets": answer.content}


@pytest.mark.parametrize("one", ROWS, ids=[f"{one.method} {one.path} {one.status}" for one in ROWS])
def test_a_call_answers_what_it_is_known_for(place: Place, one: Row) -> None:
    answer = place.ask(one)
    assert answer.status_code == one.status, answer.text
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Server"] == "mtad"
    found = told(answer)
    for wanted in one.wants:
        name, equals, value = wanted.partition("=")
        assert not equals or str(found_at(found, name)) == place.filled(value), name
        found_at(found, name)


@pytest.mark.parametrize("one", [one for one in ROWS if one.status in (200, 202)], ids=lambda one: one.path)
def test_a_sending_key_may_send_and_nothing_else(place: Place, one: Row) -> None:
    if one.sending:
        assert place.ask(one, place.sending).status_code == 200
        return
    answer = place.ask(one, place.sending)
    assert (answer.status_code, set(answer.json())) == (403, {"message"})


def test_nothing_is_told_without_a_key(place: Place) -> None:
    for one in (SENDING[0], EVENTS[0], DOMAINS[0]):
        answer = place.ask(one, "key-wrong")
        assert (answer.status_code, answer.json()) == (401, {"message": "Forbidden"})
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="MG API"'


def test_every_call_that_is_described_has_a_row(place: Place) -> None:
    described: Mapping[str, Any] = requests.get(f"{place.base}/openapi.json", timeout=10).json()["paths"]
    calls = {
        (method.upper(), path[3:]) for path, item in described.items() for method in item if not ELSEWHERE.match(path)
    }
    asked = [(one.method, place.filled(one.path).partition("?")[0]) for one in ROWS if one.status != 404]
    missing = {
        (method, path)
        for method, path in calls
        if not any(m == method and _pattern(path, place).fullmatch(asked_path) for m, asked_path in asked)
    }
    assert missing == _NEVER_THERE


def test_the_description_is_valid_openapi(place: Place) -> None:
    OpenAPIV31SpecValidator(requests.get(f"{place.base}/openapi.json", timeout=10).json()).validate()


# A daemon that captures has no addresses of its own, and pools of them are no business of the API: these say 404.
_NEVER_THERE = {("GET", "/ips/{ip}"), ("GET", "/ip_pools/{pool}")}


def _pattern(path: str, place: Place) -> "re.Pattern[str]":
    return re.compile(r"/v\d" + re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
