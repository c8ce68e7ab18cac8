"""What pyproject.toml and MANIFEST.in say of the project holds for its files."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROUGHT_ALONG = {"yarl": "aiohttp"}  # part of the other's interface


def imported():
    for file in (ROOT / "mtad").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Import():
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                case ast.ImportFrom(level=0, module=str(module)):
                    yield module.partition(".")[0]


def test_every_library_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=~! ;\[]", one)[0].lower().replace("_", "-") for one in project["dependencies"]}
    homes = packages_distributions()
    used = set(imported()) - set(sys.stdlib_module_names) - {"mtad"}
    names = {BROUGHT_ALONG.get(module) or homes[module][0].lower().replace("_", "-") for module in used}
    assert names <= declared


def test_the_archive_of_the_sources_has_every_folder():
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    grafted = set(re.findall(r"^graft (\S+)$", manifest, re.MULTILINE))
    assert grafted == {"bench", "conf", "docs", "mtad", "systemd", "tests"}
    assert all((ROOT / folder).is_dir() for folder in grafted)
    for name in ("CHANGELOG.rst", "LICENSE", "Makefile", "README.rst", ".ci/run"):
        assert name in manifest
        assert (ROOT / name).is_file()


def test_the_defaults_that_are_installed_are_the_files_of_conf():
    for file in (ROOT / "mtad" / "defaults").iterdir():
        assert file.read_bytes() == (ROOT / "conf" / file.name).read_bytes()
