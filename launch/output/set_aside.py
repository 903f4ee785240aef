"""set_aside: a copy of a file that somebody has changed, before it is written anew."""

from __future__ import annotations

import itertools
from pathlib import Path

from distpolicy.utils.atomic_files import write_file


def set_aside(path: Path) -> Path:
    """Copies a file to ``NAME.old.csv`` beside it, or to ``NAME.old-2.csv`` if there is one, and returns the copy.

    Raises:
        OSError: If the file cannot be read.
        DistPolicyError: If the copy cannot be written.
    """
    copy = path.with_name(f"{path.stem}.old{path.suffix}")
    for number in itertools.count(2):
        if not copy.exists():
            break
        copy = path.with_name(f"{path.stem}.old-{number}{path.suffix}")
    write_file(copy, path.read_bytes())
    return copy
