"""ConfigError: a value of the configuration is wrong, and what would be right. Never shows a secret."""

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

_SHOWN_LENGTH = 100  # characters of a wrong value that an error shows


class Value(Enum):
    """Stands in a ConfigError for a value that is not to be shown."""

    NONE = "there is no value to show"
    HIDDEN = "(hidden)"


class ConfigError(Exception):
    """key: "smtp.max_recipients", or "" when the whole file is meant. The text says what is wrong and what is right."""

    def __init__(self, key: str, value: object, right: str, file: str = "") -> None:
        self.key, self.value, self.right, self.file = key, value, right, file
        place = ": ".join(part for part in (file, key) if part)
        said = "" if value is Value.NONE else f" = {_shown(value)}"
        super().__init__(f"{place}{said}: {right}" if place else right)

    @property
    def problems(self) -> tuple["ConfigError", ...]:
        return (self,)


class ConfigErrors(ConfigError):
    """Several problems of one configuration; the text has one line for each. `key` and so on are the first one's."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        first = problems[0]
        super().__init__(first.key, first.value, first.right, first.file)
        self.args = ("\n".join(str(problem) for problem in problems),)
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[ConfigError, ...]:
        return self._problems


def raise_any(problems: Sequence[ConfigError]) -> None:
    """Raise what was found, if anything was."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigErrors(problems)


def _shown(value: object) -> str:
    """The value as the file would spell it, in one bounded line."""
    if value is Value.HIDDEN:
        return Value.HIDDEN.value
    text = _as_toml(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _as_toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case list() | tuple():
            return "[" + ", ".join(_as_toml(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{name} = {_as_toml(item)}" for name, item in value.items()) + "}"
        case _:
            return repr(value)
