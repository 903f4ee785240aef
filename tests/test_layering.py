"""Imports go one way: launch, workers, distpolicy. And what has to start fast loads no TensorFlow."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, anywhere in it; ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    return tuple(_imported_modules(path))


def _imported_modules(path: Path) -> Iterator[str]:
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
        "launch.training.trainer, launch.training.run, launch.tuning.run, launch.cli",
        "launch.collection.run, workers.datasets.views",
        "launch.cluster.submit, launch.cluster.doctor, launch.cluster.doctor_checks, launch.cluster.dry_run",
        "distpolicy.weights, distpolicy.trajectories, distpolicy.specs",
        "workers.serving.replica, workers.serving.http_app, workers.serving.grpc_server, workers.serving.pages",
    ],
)
def test_what_a_driver_imports_leaves_tensorflow_out(modules: str) -> None:
    code = f"import sys\nimport {modules}\nprint(sorted(set(sys.modules) & {{'tensorflow', 'keras', 'ray.rllib'}}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


PACKAGES = ("distpolicy", "workers", "launch")


def own_imports() -> dict[str, set[str]]:
    """Which of the project's modules each module imports, lazily or not."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    found = {}
    for name, path in modules.items():
        names = set(imported_modules(path)) & set(modules)
        # "from a.b import c" names a.b as well: it is meant only where c is not a module of its own.
        found[name] = {item for item in names if not any(other.startswith(f"{item}.") for other in names)} - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def folder_of_module(module: str) -> str:
    return ".".join((ROOT / module.replace(".", "/")).relative_to(ROOT).parts[: None if is_package(module) else -1])


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir()


def folder_imports(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which folders each folder's files import from; a folder and one inside it count as one place.

    Names that a package offers lazily or re-exports in its ``__init__`` say nothing about layers.
    """
    graph: dict[str, set[str]] = {}
    for module, others in imports.items():
        if is_package(module):
            continue
        here = folder_of_module(module)
        for other in others:
            there = folder_of_module(other)
            nested = f"{here}.".startswith(f"{there}.") or f"{there}.".startswith(f"{here}.")
            if not nested:
                graph.setdefault(here, set()).add(there)
    return graph


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_two_modules_import_each_other() -> None:
    assert circles(own_imports()) == []


def test_no_two_folders_import_each_other() -> None:
    assert circles(folder_imports(own_imports())) == []


# From the top down: a folder imports from those after it.
ORDER = {
    "launch": (
        "launch",
        "completion",
        "commands",
        "tuning",
        "training",
        "collection",
        "serving",
        "cluster",
        "reports",
        "output",
        "supervision",
        "config",
    ),
    "workers": ("workers", "serving", "inference", "learning", "experience", "datasets", "collection", "environments"),
}


@pytest.mark.parametrize("package", ORDER)
def test_arrows_between_folders_go_down(package: str) -> None:
    order = ORDER[package]
    upward = [
        f"{here} imports from {there}"
        for here, others in folder_imports(own_imports()).items()
        for there in others
        if here.startswith(f"{package}.") and there.startswith(f"{package}.")
        if order.index(here.split(".")[1]) > order.index(there.split(".")[1])
    ]
    assert upward == []


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_has_its_place_in_the_order(package: str) -> None:
    folders = {path.parent.name for path in (ROOT / package).glob("*/*.py")}
    assert folders <= set(ORDER[package])
