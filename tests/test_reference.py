"""The reference of the docs: every public name is in it. (mkdocs build checks that everything in it is there.)"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import distpolicy
import launch
import workers.datasets

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = {
    entry
    for page in (ROOT / "docs" / "reference").glob("*.md")
    for entry in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
}


def described() -> set[str]:
    """The names of the entries, and those that modules among them define."""
    names = {entry.rpartition(".")[2] for entry in ENTRIES}
    for entry in ENTRIES:
        file = ROOT / (entry.replace(".", "/") + ".py")
        if file.exists():
            names |= set(re.findall(r"^(?:class|def) (\w+)", file.read_text(), re.MULTILINE))
    return names


@pytest.mark.parametrize("package", [distpolicy, launch, workers.datasets], ids=lambda package: package.__name__)
def test_every_public_name_has_an_entry(package: ModuleType) -> None:
    assert set(package.__all__) <= described()


def test_every_conformance_suite_has_an_entry() -> None:
    files = (ROOT / "distpolicy" / "testing").glob("*.py")
    suites = {
        name for file in files for name in re.findall(r"^class (\w+Conformance)\b", file.read_text(), re.MULTILINE)
    }
    assert suites
    assert suites <= described()
