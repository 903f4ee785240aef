"""A cache of XLA's compiled programs that is kept from one run to the next.

Compiling an update takes seconds; loading it from the cache takes tenths of a second. The cache lies in the user's
cache folder. Only the user has access, since it holds machine code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import warnings
from importlib.metadata import version
from pathlib import Path

from distpolicy.errors import DistPolicyWarning
from distpolicy.utils.files.private_paths import why_others_may_change

MAX_ENTRIES = 50


def use_compile_cache() -> None:
    """Lets XLA read compiled programs from the cache and add new ones. Call it before the first compilation.

    Each CPU type and TensorFlow version has a cache of its own. TensorFlow checks that an entry belongs to the same
    program. Entries that were not sealed, or have changed since then, are removed, and so are the oldest ones above
    ``MAX_ENTRIES``. A cache that the user has set by ``TF_XLA_FLAGS`` takes precedence. If the folder cannot be
    written, or others may change it, no cache is used, and a warning says so.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "tf_xla_persistent_cache_directory" in flags:
        return
    folder = cache_folder()
    try:
        if warn_if_others_may_change_it():
            return
        user_cache_folder().mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, exist_ok=True)
        _remove_useless_entries(folder)
    except OSError as error:
        warnings.warn(f"no compile cache: {folder}: {error.strerror}", DistPolicyWarning, stacklevel=2)
        return
    os.environ["TF_XLA_FLAGS"] = f"{flags} {_flag(folder)}".strip()


def warn_if_others_may_change_it() -> bool:
    """Warns if other users may change the cache of this machine. Since it holds machine code, it is not used then.

    Returns:
        Whether they may.

    Raises:
        OSError: If the folder cannot be looked at.
    """
    folder, base = cache_folder(), user_cache_folder()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    reason = why_others_may_change(there, base if there.is_relative_to(base) else None)
    if reason is not None:
        warnings.warn(f"no compile cache: {reason}", DistPolicyWarning, stacklevel=2)
    return reason is not None


def seal_compile_cache() -> None:
    """Stores the digest of each new entry. Call it after the compiled programs have run.

    The digests reveal damaged entries. TensorFlow itself fails on a truncated entry in every run, and executes an entry
    with a flipped bit.
    """
    folder = cache_folder()
    if _flag(folder) not in os.environ.get("TF_XLA_FLAGS", "").split():
        return
    for entry in folder.glob("*.pb"):
        if not _seal(entry).exists():
            # On a full disk the entry stays without a seal and is just compiled again.
            with contextlib.suppress(OSError):
                _seal(entry).write_text(_digest(entry))


def _remove_useless_entries(folder: Path) -> None:
    entries = sorted(folder.glob("*.pb"), key=lambda item: item.lstat().st_mtime)
    for place, entry in enumerate(entries):
        seal = _seal(entry)
        too_old = place < len(entries) - MAX_ENTRIES
        # Others' files are of a time when they could still write to the folder.
        is_own = entry.lstat().st_uid == os.getuid() and not entry.is_symlink()
        if too_old or not is_own or not seal.is_file() or seal.read_text() != _digest(entry):
            entry.unlink(missing_ok=True)
            seal.unlink(missing_ok=True)


def _flag(folder: Path) -> str:
    return f"--tf_xla_persistent_cache_directory={folder}"


def _seal(entry: Path) -> Path:
    return entry.with_suffix(".sha256")


def _digest(entry: Path) -> str:
    return hashlib.sha256(entry.read_bytes()).hexdigest()


def cache_folder() -> Path:
    """Returns the cache folder for this CPU and TensorFlow version."""
    return user_cache_folder() / "distpolicy" / f"xla-{version('tensorflow')}-{_cpu()}"


def user_cache_folder() -> Path:
    """Returns the folder for all caches of the user."""
    return Path(os.path.abspath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"))


def _cpu() -> str:
    """Returns a name for this CPU type, since machine code for one type may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))} or lines)
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
