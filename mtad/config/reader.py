"""Reader: TOML text and `--set` overrides -> Config, or every problem found, each with file, key and what is right."""

import difflib
import tomllib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from mtad.config.error import ConfigError, Value, raise_any
from mtad.config.sections import Config, Hint, Section, hints, shown

_OVERRIDE = "--set"  # stands where an error would name the file


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read the file, then let `overrides` ("section.key=value") have the last word. Raises ConfigError."""
    file = str(path)
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise ConfigError("", Value.NONE, f"cannot be read: {error.strerror or error}", file) from None
    except UnicodeDecodeError as error:
        raise ConfigError("", Value.NONE, f"must be UTF-8 text; octet {error.start + 1} is not", file) from None
    return parse(text, file, overrides)


def parse(text: str, file: str = "", overrides: Sequence[str] = ()) -> Config:
    """The text of a file -> Config. Relative paths in it are seen from the file's folder, those of overrides from here.

    Raises ConfigError; ConfigErrors when there are several problems.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", Value.NONE, f"must be TOML: {error}", file) from None
    problems: list[ConfigError] = []
    values: dict[str, dict[str, object]] = {"": {}, **{name: {} for name in _sections()}}
    for one in (*_given(tables, file, problems), *_overridden(overrides, problems)):
        try:
            values[one.section][one.key] = one.read()
        except ConfigError as problem:
            problems.append(problem)
    made = {name: _make(section, values[name], file, problems) for name, section in _sections().items()}
    raise_any(problems)
    return Config(**made, **values[""])  # type: ignore[arg-type]


def known_keys() -> tuple[str, ...]:
    """Every key there is: "smtp.mx", …, "shaping_file"."""
    inner = [f"{name}.{key}" for name, section in _sections().items() for key in hints(section)]
    return (*inner, *_top())


@dataclass(frozen=True, slots=True)
class _Given:
    """One value somebody wrote. section "": a key at the top of the file. file: where, for the error."""

    section: str
    key: str
    value: object = field(repr=False)  # it may be a secret
    hint: Hint
    file: str

    def read(self) -> object:
        try:
            value = _read(self.hint.type, self.value)
            for check in self.hint.checks:
                check(value)
        except ValueError as wrong:
            name = f"{self.section}.{self.key}" if self.section else self.key
            raise ConfigError(name, shown(self.hint, self.value), str(wrong), self.file) from None
        if isinstance(value, Path) and self.file not in ("", _OVERRIDE):
            return Path(self.file).absolute().parent / value
        return value


def _sections() -> dict[str, type[Section]]:
    return {name: hint.type for name, hint in hints(Config).items() if _is_section(hint)}


def _top() -> dict[str, Hint]:
    return {name: hint for name, hint in hints(Config).items() if not _is_section(hint)}


def _is_section(hint: Hint) -> bool:
    return isinstance(hint.type, type) and issubclass(hint.type, Section)


def _given(tables: dict[str, Any], file: str, problems: list[ConfigError]) -> Iterator[_Given]:
    sections, top = _sections(), _top()
    for name, value in tables.items():
        if name in top:
            yield _Given("", name, value, top[name], file)
        elif name not in sections:
            problems.append(_unknown(name, file))
        elif not isinstance(value, dict):
            problems.append(ConfigError(name, Value.NONE, f"is a section: write [{name}] and its keys below", file))
        else:
            known = hints(sections[name])
            for key, inner in value.items():
                if key in known:
                    yield _Given(name, key, inner, known[key], file)
                else:
                    problems.append(_unknown(f"{name}.{key}", file))


def _overridden(overrides: Sequence[str], problems: list[ConfigError]) -> Iterator[_Given]:
    for override in overrides:
        name, equals, text = override.partition("=")
        section, _, key = name.strip().rpartition(".")
        known = hints(_sections()[section]) if section in _sections() else {} if section else _top()
        if not equals or name.strip() in _sections():
            right = "must be section.key=value, as delivery.dkim=false"
            problems.append(ConfigError(name.strip() if equals else "", Value.NONE, right, _OVERRIDE))
        elif key not in known:
            problems.append(_unknown(name.strip(), _OVERRIDE))
        else:
            yield _Given(section, key, _override_value(text.strip(), known[key]), known[key], _OVERRIDE)


def _override_value(text: str, hint: Hint) -> object:
    """TOML if it is TOML, else the text itself; where text is wanted, 123 and true are text too."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value: object = tables["value"]
    wants_text = hint.type in (str, Path) or Path in get_args(hint.type)
    return text if len(tables) > 1 or (wants_text and not isinstance(value, str)) else value


def _unknown(name: str, file: str) -> ConfigError:
    """The value is not shown: it may be a password under a misspelt name."""
    section, _, key = name.rpartition(".")
    names = known_keys()
    elsewhere = [known for known in names if known.rpartition(".")[2] == key]
    beside = [known for known in names if known.rpartition(".")[0] == section]
    near = (
        difflib.get_close_matches(name, [*beside, *(() if section else _sections())], n=1, cutoff=0.8)
        or elsewhere
        or difflib.get_close_matches(name, [*names, *_sections()], n=1, cutoff=0.6)
    )
    meant = ", ".join(near) or "one of " + ", ".join(beside if section in _sections() else [*_sections(), *_top()])
    return ConfigError(name, Value.NONE, f"unknown key; did you mean {meant}?", file)


def _make(section: type[Section], values: dict[str, object], file: str, problems: list[ConfigError]) -> Section | None:
    """The section, or None and its problems noted. A section with a wrong value is not asked for contradictions."""
    if any(problem.key.startswith(f"{section.NAME}.") for problem in problems):
        return None
    try:
        return section(**values)
    except ConfigError as found:
        for problem in found.problems:
            problems.append(ConfigError(problem.key, problem.value, problem.right, file))
        return None


def _read(wanted: Any, value: object) -> object:
    """The value as `wanted` has it. ValueError says what would be right."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):  # only "Path | None" is written so: "" is none
        (bare,) = (one for one in get_args(wanted) if one is not type(None))
        return None if value == "" else _read(bare, value)
    if origin is tuple:
        return _read_list(get_args(wanted)[0], value)
    if origin is dict:
        return _read_table(get_args(wanted)[1], value)
    return _read_plain(wanted, value)


def _read_plain(wanted: Any, value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and is_number and isinstance(value, int):
        return value
    if wanted is float and is_number:
        return _as_float(value)
    if wanted is str and isinstance(value, str):
        return value
    if wanted is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise ValueError(f"must be {_WORDS[wanted]}")


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large a number") from None


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
}


def _read_list(wanted: Any, value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError(f"must be a list in brackets, each item {_WORDS[wanted]}")
    read = []
    for number, item in enumerate(value, 1):
        try:
            read.append(_read(wanted, item))
        except ValueError as wrong:
            raise ValueError(f"item {number}: {wrong}") from None
    return tuple(read)


def _read_table(wanted: Any, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError('must be a table, as { name = ["192.0.2.25"] }')
    read = {}
    for name, item in value.items():
        try:
            read[name] = _read(wanted, item)
        except ValueError as wrong:
            raise ValueError(f'"{name}": {wrong}') from None
    return read
