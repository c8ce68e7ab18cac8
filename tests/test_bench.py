"""The benchmarks' commands that the docs name still run; what they measure is nobody's test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import require_peer

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "batch": "--people 20 --rounds 1",
    "clicks": "--seconds 0.2 --recipients 100",
    "clicks_beside_mail": "--seconds 0.5 --rate 50 --mail 20",
    "compose": "",
    "api": "--seconds 1 --connections 2",
    "inbound": "--messages 40 --outbound 10",
    "queued": "--drain 100 400",
    "webhooks": "--posts 50",
    "webhooks_beside_mail": "--rate 50 --seconds 0.5",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    if name in ("queued", "webhooks_beside_mail"):
        require_peer("smtp-sink", "postfix")
    command = [sys.executable, str(ROOT / "bench" / f"{name}.py"), *SHORT[name].split()]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "BENCH_TMP": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()
