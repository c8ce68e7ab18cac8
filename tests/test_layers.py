"""The import rule: which room may import which. Every import in mtad/ is read and compared with MAY_IMPORT."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mtad"

FOR_ALL = {"clock", "config", "log"}
# They put the rooms together; no room may know them.
COMPOSERS = {"rules", "front", "inward", "ground", "outward", "house", "pages", "daemon", "dev", "cli", "__main__"}
MAY_IMPORT = {
    "mail": "",
    "message": "mail",
    "storage": "mail",
    "delivery": "mail message",
    "feedback": "mail message storage",
    "webhooks": "mail message storage delivery",
    "tracking": "mail storage feedback",
    "queue": "mail message storage feedback delivery",
    "lists": "mail message storage feedback delivery queue",
    "inbound": "mail message storage feedback queue lists",
    "smtp": "mail message storage queue inbound",
    "api": "mail message storage queue inbound webhooks",
    "capture": "mail message storage delivery",
    "clock": "",
    "log": "",
    "config": "",
}
IMPORTED_BY = {
    "rules": {"outward", "house", "daemon"},
    "front": {"house"},
    "inward": {"ground", "outward", "house"},
    "ground": {"outward", "house"},
    "outward": {"house"},
    "house": {"pages", "daemon"},
    "pages": {"daemon"},
    "daemon": {"__main__", "cli", "dev"},
    "dev": {"__main__", "cli"},
    "cli": {"__main__"},
    "__main__": set(),
}

# What a pure module has no use for: waiting, time, chance, the network, the log.
IMPURE = {"asyncio", "random", "secrets", "socket", "threading", "mtad.clock", "mtad.log"}
# Modules that work with times are welcome; what asks for the present time is not.
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"}
TODAY = {"now", "utcnow", "today"}


@dataclass(frozen=True)
class Import:
    """One module that a file names, as "mtad.queue.runner", and the line it does so in."""

    file: Path
    line: int
    module: str


def imports(package: Path) -> Iterator[Import]:
    for file in sorted(package.rglob("*.py")):
        home = [package.name, *file.relative_to(package).parent.parts]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            for module in _modules(node, home):
                yield Import(file, node.lineno, module)


def _modules(node: ast.AST, home: list[str]) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = home[: len(home) + 1 - node.level] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            # "from mtad import queue" names a room only in what it imports.
            return [f"{start}.{alias.name}" for alias in node.names] if start == home[0] else [start]
        case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"), args=[ast.Constant(), *_]):
            return [str(node.args[0].value)]
    return []


def broken_rules(package: Path) -> list[str]:
    """One line for each import that may not be: "mtad/mail/x.py:3: mail may import …, not mtad.queue"."""
    broken = []
    for one in imports(package):
        parts = one.module.split(".")
        if parts[0] != package.name or len(parts) < 2:
            continue
        why = refusal(room_of(one.file, package), parts[1])
        if why:
            broken.append(f"{one.file.relative_to(package.parent)}:{one.line}: {why}, not {one.module}")
    return broken


def room_of(file: Path, package: Path) -> str:
    return file.relative_to(package).parts[0].removesuffix(".py")


def refusal(room: str, other: str) -> str:
    """Why `room` may not import `other`, or "" when it may."""
    if room == other or other.startswith("__version__"):
        return ""
    if other in COMPOSERS:
        allowed = IMPORTED_BY[other]
        return "" if room in allowed else f"only {', '.join(sorted(allowed)) or 'nobody'} may import {other}"
    if room in COMPOSERS:
        return ""
    if room == "__init__":
        return "mtad/__init__.py imports nothing of mtad"
    if room not in MAY_IMPORT:
        return f"{room} is no room of MAY_IMPORT yet: give it a line there"
    if room in FOR_ALL:
        return f"{room} may import nothing of mtad"
    allowed = set(MAY_IMPORT[room].split()) | FOR_ALL
    return "" if other in allowed else f"{room} may import {' '.join([*MAY_IMPORT[room].split(), *sorted(FOR_ALL)])}"


def impure(package: Path) -> list[str]:
    """One line for each module whose docstring says "Pure." or "Pure: …" and that is not."""
    pure = {file for file in package.rglob("*.py") if says_pure(file)}
    found = [
        f"{one.file.relative_to(package.parent)}:{one.line}: a pure module does not import {one.module}"
        for one in imports(package)
        if one.file in pure and (one.module in IMPURE or one.module.partition(".")[0] in IMPURE)
    ]
    for file in sorted(pure):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            why = _impurity(node)
            if why:
                found.append(f"{file.relative_to(package.parent)}:{getattr(node, 'lineno', 0)}: a pure module {why}")
    return found


def _impurity(node: ast.AST) -> str:
    match node:
        case ast.AsyncFunctionDef() | ast.Await():
            return "does not wait"
        case ast.ImportFrom(module="time") if CLOCKS & {alias.name for alias in node.names}:
            return "is told the time"
        case ast.Attribute(value=ast.Name(id="time"), attr=asked) if asked in CLOCKS:
            return "is told the time"
        case ast.Attribute(value=ast.Name(id="datetime" | "date") | ast.Attribute(), attr=asked) if asked in TODAY:
            return "is told the time"
    return ""


def says_pure(file: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.search(r"\bPure[.:]", docstring) is not None


def test_a_pure_module_may_work_with_a_time_it_is_given(house):
    assert impure(house({"mail/x.py": '"""Pure."""\nimport time\ndef f(at): return time.gmtime(at)'})) == []


def test_no_room_imports_what_it_may_not():
    assert broken_rules(PACKAGE) == []


def test_every_folder_is_a_room_with_a_line_in_the_rule():
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert folders - COMPOSERS <= set(MAY_IMPORT)


def test_what_calls_itself_pure_is_pure():
    assert impure(PACKAGE) == []


def test_the_rule_has_no_circle():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        ready = [room for room, may in MAY_IMPORT.items() if room not in order and set(may.split()) <= set(order)]
        assert ready, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += ready


@pytest.fixture
def house(tmp_path):
    """house({"mail/x.py": "import mtad.queue"}) -> a package of that name with those files."""

    def build(files: dict[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / "mtad" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "mtad"

    return build


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mail/x.py", "import mtad.queue.runner", "mail may import clock config log, not mtad.queue.runner"),
        ("mail/x.py", "from mtad.queue import runner", "mail may import clock config log, not mtad.queue"),
        ("mail/x.py", "from mtad import queue", "not mtad.queue"),
        ("mail/x.py", "from .. import queue", "not mtad.queue"),
        ("mail/x.py", "from ..queue.runner import Runner", "not mtad.queue.runner"),
        ("mail/x.py", "def f():\n    import mtad.queue", "mtad/mail/x.py:2: "),
        ("mail/x.py", "import importlib\nimportlib.import_module('mtad.queue')", "mtad/mail/x.py:2: "),
        ("queue/x.py", "import mtad.daemon", "only __main__, cli, dev may import daemon"),
        ("smtp/x.py", "import mtad.delivery", "smtp may import mail message storage queue inbound clock config log"),
        ("config/x.py", "import mtad.mail", "config may import nothing of mtad"),
        ("clock.py", "import mtad.log", "clock may import nothing of mtad"),
        ("cellar/x.py", "import mtad.mail", "cellar is no room of MAY_IMPORT yet"),
        ("daemon.py", "import mtad.cli", "only __main__ may import cli"),
    ],
)
def test_a_forbidden_import_is_told_with_file_line_and_rule(house, name, text, said):
    (line,) = broken_rules(house({name: text}))
    assert said in line
    assert line.startswith(f"mtad/{name}:")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("queue/x.py", "from mtad.delivery import mx\nfrom mtad.config import Config\nimport mtad.log"),
        ("queue/x.py", "from . import throttle\nfrom .throttle import Pace"),
        ("queue/x.py", "import asyncio\nimport queue\nfrom mtad import __version__"),
        ("daemon.py", "import mtad.smtp.server\nimport mtad.storage"),
        ("dev.py", "import mtad.daemon\nimport mtad.capture"),
        ("cli/x.py", "import mtad.daemon\nimport mtad.dev\nimport mtad.queue"),
    ],
)
def test_an_allowed_import_is_none_of_our_business(house, name, text):
    assert broken_rules(house({name: text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "from time import monotonic",
        "import time; at = time.time()",
        "import datetime; at = datetime.datetime.now()",
        "from random import choice",
        "import mtad.log",
        "async def f(): ...",
    ],
)
def test_a_module_that_only_calls_itself_pure_is_found_out(house, text):
    assert len(impure(house({"mail/x.py": f'"""Words.\n\nRoom: mail. Pure.\n"""\n{text}'}))) == 1
    assert impure(house({"mail/x.py": f'"""Words.\n\nRoom: mail.\n"""\n{text}'})) == []
