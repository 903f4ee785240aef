"""Imports go one way: launch, workers, distpolicy. And what has to start fast loads no TensorFlow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(ROOT).with_suffix("").parts[: -node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def offenders(folder: str, forbidden: tuple[str, ...]) -> list[str]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"no modules in {folder}"
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported_modules(path)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]


def test_imports_are_found_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "package" / "inner").mkdir(parents=True)
    module = tmp_path / "package" / "inner" / "module.py"
    module.write_text("import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    from ray import rllib\n")
    found = set(imported_modules(module))
    assert {"a.b", "package.inner.c", "package.d", "package.d.e", "ray", "ray.rllib"} <= found
    assert offenders("package", ("ray.rllib",)) == ["package/inner/module.py imports ray.rllib"]


def test_distpolicy_imports_neither_ray_nor_the_layers_above() -> None:
    assert offenders("distpolicy", ("ray", "workers", "launch")) == []


def test_workers_do_not_import_launch() -> None:
    assert offenders("workers", ("launch",)) == []


@pytest.mark.parametrize("folder", ["distpolicy", "workers", "launch"])
def test_nothing_imports_rllib(folder: str) -> None:
    assert offenders(folder, ("ray.rllib",)) == []


@pytest.mark.parametrize(
    "modules",
    [
        "launch.driver, launch.train, launch.cli",
        "launch.collect, workers.dataset_views",
        "launch.submit, launch.doctor, launch.cluster_checks, launch.dry_run",
        "distpolicy.weights, distpolicy.trajectories, distpolicy.specs",
    ],
)
def test_what_a_driver_imports_leaves_tensorflow_out(modules: str) -> None:
    code = f"import sys\nimport {modules}\nprint(sorted(set(sys.modules) & {{'tensorflow', 'keras', 'ray.rllib'}}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
