"""What every test may use."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests import peers

# How long an example takes says nothing on a machine that runs other things too.
settings.register_profile("mtad", deadline=None, print_blob=True)
settings.load_profile("mtad")


@pytest.fixture
def require_peer() -> Callable[..., Path]:
    """require_peer("postfix") -> its path; skips the test, or fails it under MTAD_REQUIRE_PEERS=1."""
    return peers.require_peer
