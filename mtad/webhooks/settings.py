"""Settings: what an operator may choose about webhooks.

Room: webhooks. Pure. Seconds and octets, as the names say.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """waits_s: before the second attempt, the third, and so on; when they are used up the post is given up. scale:
    all of them times this. A host is slow when it did not answer, or took longer than slow_s; slow hosts together
    get half of at_once.
    """

    at_once: int = 100
    at_once_each: int = 4  # of one webhook
    at_once_host: int = 10  # of all webhooks at one host and port
    at_once_slow: int = 2  # at a slow host
    slow_s: float = 5.0
    connect_s: float = 10.0  # name, connection and TLS
    total_s: float = 30.0  # the whole exchange
    body_s: float = 2.0  # for the body of the answer, which nobody reads
    waits_s: tuple[float, ...] = (600.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
    scale: float = 1.0
    window: int = 128  # posts of one webhook in memory
    memory_octets: int = 16_777_216  # of all posts in memory
    keep_s: float = 604_800.0  # how long posts and their attempts can be looked at and made again
    allow_private: bool = False  # receivers at loopback and private addresses
