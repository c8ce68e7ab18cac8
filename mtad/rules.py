"""Rules: the policies that a running daemon reads anew, from their files or from those that come with mtad.

No room knows it.
"""

from importlib import resources
from pathlib import Path

from mtad.config import Config, ConfigError
from mtad.feedback.classify import Classifier, load_rules
from mtad.queue.schedule import RetryPlan
from mtad.queue.shaping import Shaping, load_shaping


def rules(config: Config) -> tuple[Shaping, Classifier, RetryPlan]:
    """Raises ConfigError."""
    queue = config.queue
    return (
        load_shaping(*text_of(config.shaping_file, "shaping.toml", "shaping_file")),
        Classifier(load_rules(*text_of(config.bounces_file, "bounces.toml", "bounces_file"))),
        RetryPlan(queue.retry_waits_s, queue.retry_jitter, queue.give_up_after_s),
    )


def text_of(path: Path | None, default: str, key: str) -> tuple[str, str]:
    """The text and its name for people; path None: the file `default` of ours. key: of the configuration. Raises
    ConfigError.
    """
    if path is None:
        return resources.files("mtad").joinpath("defaults", default).read_text("utf-8"), default
    try:
        return path.read_text("utf-8"), str(path)
    except (OSError, UnicodeError) as error:
        raise ConfigError(key, str(path), f"cannot be read: {error}") from None
