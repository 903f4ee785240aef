from __future__ import annotations

from pathlib import Path

import pytest

from workers import available_memory

MIB = 2**20


@pytest.mark.parametrize(("limit", "expected"), [("max", None), (str(300 * MIB), 200 * MIB), (str(50 * MIB), 0)])
def test_the_limit_of_the_control_group_counts(
    limit: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{100 * MIB}\n")
    monkeypatch.setattr(available_memory, "_CGROUP", tmp_path)
    available = available_memory.available_memory_bytes()
    assert available > 200 * MIB if expected is None else available == expected
