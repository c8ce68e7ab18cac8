"""Advice: what a configuration may say, and whoever wrote it should know."""

from collections.abc import Iterator

from mtad.config.sections import Config


def advice(config: Config) -> Iterator[tuple[str, str]]:
    """(key, why), one line each, for check-config and the log at the start."""
    if config.smtp.mx and not config.inbound.postmaster:
        yield (
            "inbound.postmaster",
            "is not set: mail for postmaster@ and abuse@ that no route takes is refused, and every host that takes mail"
            " has to take the first (RFC 5321 section 4.5.1)",
        )
