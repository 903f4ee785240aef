"""Looks for a name in a module's source, so that a wrong one is told without running the module."""

from __future__ import annotations

import ast
import contextlib
import pkgutil
import sys
import tokenize
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from distpolicy.utils.suggestions import most_similar, suggestion

# A module that uses one of these may have names that its source does not spell out.
_HIDING = {"__getattr__", "globals", "vars", "setattr", "exec"}


def why_no_module_name(module: str, name: str) -> str | None:
    """Returns why a text cannot be a module's name, such as the path of a file, and what to write; None if it can be.

    Args:
        module: The text.
        name: The name that is looked for in the module.
    """
    path = Path(module)
    if not (module.startswith(".") or path.suffix == ".py" or path.name != module):
        return None
    stem = path.name.removesuffix(".py").strip(".") or "module"
    where = "" if path.parent == Path() else f", and run the command in the folder of {stem}.py"
    return f"{module!r} is not the name of a module: write {stem}:{name}{where}"


def missing_module(module: str, folder: str) -> str:
    """Returns what is wrong if there is no module of a name, and what to do.

    Args:
        module: The name.
        folder: Where it was looked for, beside the installed modules.
    """
    return (
        f"there is no module {module}, neither installed nor in {folder}: run the command in the folder that has it; "
        "on a cluster, give that folder by submit --working-dir"
    )


def why_not_there(module: str, name: str, folder: str) -> str | None:
    """Returns why a module cannot have a name; None if it has it, or may have it.

    Nothing is imported, not even the packages that the module lies in: that may take seconds, as TensorFlow does.

    Args:
        module: The module, such as ``package.module``.
        name: The name.
        folder: Where to look for the module if it is not installed.
    """
    found: ModuleSpec | None = None
    path: list[str] | None = None
    whole = ""
    for part in module.split("."):
        whole = f"{whole}.{part}" if whole else part
        found = _found(whole, path, folder) if path is None or path else None
        if found is None:
            return missing_module(whole, folder)
        path = list(found.submodule_search_locations or [])
    assert found is not None
    source = Path(found.origin or "")
    return _why_not_in(source, module, name) if found.has_location and source.suffix == ".py" else None


def _found(module: str, path: list[str] | None, folder: str) -> ModuleSpec | None:
    """Returns where a module is, given the path of its package; None for an installed module or one in the folder."""
    for finder in sys.meta_path:
        # A namespace asks for the packages around it, which are not imported.
        with contextlib.suppress(KeyError):
            found = finder.find_spec(module, path)
            if found is not None:
                return found
    portions: list[str] = []
    for entry in [folder] if path is None else path:
        importer: Any = pkgutil.get_importer(entry)
        found = None if importer is None else importer.find_spec(module)
        if found is not None and found.loader is not None:
            return found
        if found is not None:
            portions += found.submodule_search_locations
    if not portions:
        return None
    namespace = ModuleSpec(module, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _why_not_in(source: Path, module: str, name: str) -> str | None:
    try:
        with tokenize.open(source) as file:
            tree = ast.parse(file.read())
    except SyntaxError as error:
        where = f" in line {error.lineno}" if error.lineno else ""
        return f"{source} is not valid Python{where}: {error.msg}"
    except (OSError, ValueError):
        return None
    nodes = list(ast.walk(tree))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    bound = set(_bound(tree)).union(*(node.names for node in nodes if isinstance(node, ast.Global)))
    if name in bound or "*" in bound or _HIDING & (used | bound):
        return None
    made = [item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.ClassDef)]
    near = most_similar(name, made) or next((text for text in reversed(made) if not text.startswith("_")), None)
    return f"{module} has no {name}{suggestion(None if near is None else f'{module}:{near}')}"


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yields the names that a module's own statements bind, those in conditions and loops too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        yield from _bound(node)
