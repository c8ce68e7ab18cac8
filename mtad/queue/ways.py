"""Ways: the transport of the queue: by SMTP or to the captured inbox, and by HTTP what is addressed to a URL.

Room: queue. May import: mail, delivery.
"""

from mtad.delivery.mx import Route
from mtad.mail.address import is_url
from mtad.mail.reply import Deferred, Failed
from mtad.queue.work import Session, Transport


class Ways:
    """mail: for addresses. web: for URLs."""

    def __init__(self, mail: Transport, web: Transport) -> None:
        self._mail, self._web = mail, web
        self.fixed_key = mail.fixed_key

    def known(self, domain: str) -> Route | None:
        return self._web.known(domain) if is_url(domain) else self._mail.known(domain)

    async def route(self, domain: str) -> Route | Deferred | Failed:
        return await (self._web if is_url(domain) else self._mail).route(domain)

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> Session | Deferred | Failed:
        way = self._web if route.web else self._mail
        return await way.open(route, source, require_tls, skip_verification)
