"""XLA's compiled programs, kept from one run to the next.

Compiling an update takes seconds; reading it back takes tenths. The cache is below the user's cache folder, readable
by the user alone, since it holds machine code.
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
    """Has XLA keep what it compiles in this process, and use what is there. To be called before the first compilation.

    Programs for other CPUs or of other TensorFlow versions are kept apart; of an entry of the same key TensorFlow
    checks that it is of the same program. Entries that were never sealed, or are not as they were then, are removed,
    and so are the oldest above ``MAX_ENTRIES``. A cache that the user has set by ``TF_XLA_FLAGS`` stays; one that
    cannot be written is done without.
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
    """Notes the digest of each new entry, once what it holds has run.

    TensorFlow refuses a truncated entry with an error, each time anew, and runs one with a flipped bit.
    """
    for entry in cache_folder().glob("*.pb"):
        if not _seal(entry).exists():
            # Without a seal the entry is compiled again, which is all that a full disk costs.
            with contextlib.suppress(OSError):
                _seal(entry).write_text(_digest(entry))


def _seal(entry: Path) -> Path:
    return entry.with_suffix(".sha256")


def _digest(entry: Path) -> str:
    return hashlib.sha256(entry.read_bytes()).hexdigest()


def cache_folder() -> Path:
    """The cache's folder for this CPU and this TensorFlow."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "distpolicy" / f"xla-{version('tensorflow')}-{_cpu()}"


def _cpu() -> str:
    """A name for the kind of CPU: machine code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))} or lines)
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
