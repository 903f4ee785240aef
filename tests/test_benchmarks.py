"""Benchmarks: each command of the docs finds what it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = "\n".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
SCRIPTS = sorted(set(re.findall(r"python (benchmarks/\w+\.py)", PAGES)))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_tells_its_options(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / script), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout
