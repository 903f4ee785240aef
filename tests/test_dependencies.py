"""Whatever the packages import is declared in pyproject.toml, and not merely brought along by something else."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OWN = ("distpolicy", "workers", "launch")
# The suites are for tests, which have it.
FOR_TESTS = {"distpolicy/testing": "pytest"}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The packages that a file imports, and whether it does so as soon as it is imported itself."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lazy = {id(node) for function in functions for node in ast.walk(function)}
    for test in (node for node in ast.walk(tree) if isinstance(node, ast.If)):
        if ast.unparse(test.test).endswith("TYPE_CHECKING"):
            lazy |= {id(node) for node in ast.walk(test)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            yield name.split(".")[0], id(node) not in lazy


def names_of(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    always = names_of(project["dependencies"])
    with_extras = always.union(*(names_of(extra) for extra in project["optional-dependencies"].values()))
    distributions = metadata.packages_distributions()
    missing = set()
    for path in (file for package in OWN for file in sorted((ROOT / package).rglob("*.py"))):
        where = path.relative_to(ROOT).as_posix()
        for name, at_once in imports(path):
            if name in sys.stdlib_module_names or name in OWN:
                continue
            if any(where.startswith(prefix) and name == allowed for prefix, allowed in FOR_TESTS.items()):
                continue
            providers = {canonicalize_name(item) for item in distributions.get(name, [name])}
            if not providers & (always if at_once else with_extras):
                missing.add(f"{where} imports {name}")
    assert not missing
