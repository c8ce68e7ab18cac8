"""Config: the file in conf/ -> frozen dataclasses, one per room. Parsed once; unknown keys are refused.

May be imported by every room; each is handed its own section only. `load` reads a file, `parse` its text; both take
the `--set section.key=value` overrides of the command line. A wrong value is a ConfigError that names file, key and
what would be right.
"""

from mtad.config.change import changed, in_force, restart_needed
from mtad.config.checks import IPNetwork, parse_listen, parse_networks
from mtad.config.error import ConfigError, ConfigErrors, Value
from mtad.config.reader import known_keys, load, parse
from mtad.config.sections import (
    ApiConfig,
    BounceConfig,
    Config,
    DeliveryConfig,
    DnsConfig,
    HttpConfig,
    InboundConfig,
    QueueConfig,
    ServerConfig,
    SmtpConfig,
    StoreConfig,
    TrackingConfig,
    WebhookConfig,
)

__all__ = [
    "ApiConfig",
    "BounceConfig",
    "Config",
    "ConfigError",
    "ConfigErrors",
    "DeliveryConfig",
    "DnsConfig",
    "HttpConfig",
    "IPNetwork",
    "InboundConfig",
    "QueueConfig",
    "ServerConfig",
    "SmtpConfig",
    "StoreConfig",
    "TrackingConfig",
    "Value",
    "WebhookConfig",
    "changed",
    "in_force",
    "known_keys",
    "load",
    "parse",
    "parse_listen",
    "parse_networks",
    "restart_needed",
]
