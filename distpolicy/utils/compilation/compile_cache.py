"""A cache of XLA's compiled programs that is kept from one run to the next.

Compiling an update takes seconds; loading it from the cache takes tenths of a second. The cache lies in the user's
cache folder. Only the user has access, since it holds machine code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

MAX_ENTRIES = 50


def use_compile_cache() -> None:
    """Lets XLA read compiled programs from the cache and add new ones. Call it before the first compilation.

    Each CPU type and TensorFlow version has a cache of its own. TensorFlow checks that an entry belongs to the same
    program. Entries that were not sealed, or have changed since then, are removed, and so are the oldest ones above
    ``MAX_ENTRIES``. A cache that the user has set by ``TF_XLA_FLAGS`` takes precedence. If the folder cannot be
    written, no cache is used.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "tf_xla_persistent_cache_directory" in flags:
        return
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = sorted(folder.glob("*.pb"), key=lambda item: item.stat().st_mtime)
        for place, entry in enumerate(entries):
            seal = _seal(entry)
            too_old = place < len(entries) - MAX_ENTRIES
            if too_old or not seal.is_file() or seal.read_text() != _digest(entry):
                entry.unlink(missing_ok=True)
                seal.unlink(missing_ok=True)
    except OSError:
        return
    os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={folder}".strip()


def seal_compile_cache() -> None:
    """Stores the digest of each new entry. Call it after the compiled programs have run.

    The digests reveal damaged entries. TensorFlow itself fails on a truncated entry in every run, and executes an entry
    with a flipped bit.
    """
    for entry in cache_folder().glob("*.pb"):
        if not _seal(entry).exists():
            # On a full disk the entry stays without a seal and is just compiled again.
            with contextlib.suppress(OSError):
                _seal(entry).write_text(_digest(entry))


def _seal(entry: Path) -> Path:
    return entry.with_suffix(".sha256")


def _digest(entry: Path) -> str:
    return hashlib.sha256(entry.read_bytes()).hexdigest()


def cache_folder() -> Path:
    """Returns the cache folder for this CPU and TensorFlow version."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "distpolicy" / f"xla-{version('tensorflow')}-{_cpu()}"


def _cpu() -> str:
    """Returns a name for this CPU type, since machine code for one type may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))} or lines)
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
