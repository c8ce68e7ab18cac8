"""Real programs that some tests talk to: Postfix, swaks, systemd-analyze.

On a developer's machine such a program may be missing: the test is skipped, and says what to install. Where
MTAD_REQUIRE_PEERS=1 is set, as in continuous integration, it fails instead: there nothing may be left out in silence.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# Servers stand in sbin, which is not on every user's path.
_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def peers_required() -> bool:
    return os.environ.get("MTAD_REQUIRE_PEERS") == "1"


def require_peer(program: str, package: str = "") -> Path:
    """Where `program` is. Without it the test is skipped, or fails under MTAD_REQUIRE_PEERS=1.

    package: the Debian package it is in, when that is not its own name.
    """
    found = shutil.which(program, path=_SEARCHED)
    if not found:
        missing_peer(f"{program} is not installed: apt-get install {package or program}")
    return Path(found)


def missing_peer(why: str) -> NoReturn:
    """Skip the test, or fail it under MTAD_REQUIRE_PEERS=1, for a reason `require_peer` does not know."""
    if peers_required():
        pytest.fail(f"MTAD_REQUIRE_PEERS=1, but {why}", pytrace=False)
    pytest.skip(f"NOT TESTED: {why}")
