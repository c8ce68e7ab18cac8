"""Ways: the transport of the queue: by SMTP or to the captured inbox, by HTTP what is addressed to a URL, and into
copies for its members what is posted to a mailing list.

Room: queue. May import: mail, delivery.
"""

from mtad.delivery.mx import Route
from mtad.mail.address import is_list, is_url
from mtad.mail.reply import Deferred, Failed
from mtad.queue.work import Session, Transport


class Ways:
    """mail: for addresses. web: for URLs. lists: for posts to mailing lists."""

    def __init__(self, mail: Transport, web: Transport, lists: Transport) -> None:
        self._mail, self._web, self._lists = mail, web, lists
        self.fixed_key = mail.fixed_key

    def _of(self, domain: str) -> Transport:
        return self._web if is_url(domain) else self._lists if is_list(domain) else self._mail

    def known(self, domain: str) -> Route | None:
        return self._of(domain).known(domain)

    async def route(self, domain: str) -> Route | Deferred | Failed:
        return await self._of(domain).route(domain)

    async def open(
        self, route: Route, source: str, require_tls: bool, skip_verification: bool = False
    ) -> Session | Deferred | Failed:
        way = self._web if route.web else self._lists if route.site else self._mail
        return await way.open(route, source, require_tls, skip_verification)
