"""Settings of the public endpoints.

Room: tracking. Pure.
"""

from dataclasses import dataclass
from pathlib import Path

from mtad.config import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """unsubscribe_on_get: to follow an unsubscribe link is enough; False: a page asks first.

    requests_per_s, burst: from one address (of IPv6: one /64). proxies: their X-Forwarded-For is believed. geoip_file:
    a MaxMind database of cities or countries. clients_file: None is the one that comes with mtad.
    """

    unsubscribe_on_get: bool = True
    requests_per_s: float = 200.0
    burst: int = 2000
    proxies: tuple[IPNetwork, ...] = ()
    geoip_file: Path | None = None
    clients_file: Path | None = None
