"""The names of the files that lie beside a dataset's shards."""

from __future__ import annotations

from pathlib import Path

CONFIG_FILE, MANIFEST_FILE = "config.yaml", "manifest.json"


def file_beside_shards(folder: str | Path, name: str) -> Path:
    """Returns the path of a file that lies beside the shards of a dataset.

    Its name begins with an underscore, since readers of whole folders, such as pandas and pyarrow, skip such files.
    Earlier versions wrote the bare name; that file is returned if there is only that one.

    Args:
        folder: The dataset's folder.
        name: The bare name, such as ``manifest.json``.
    """
    now, earlier = Path(folder) / f"_{name}", Path(folder) / name
    return earlier if earlier.exists() and not now.exists() else now


def faults_folder(folder: str | Path) -> Path:
    """Returns the folder for the stacks and tracebacks of failures.

    Args:
        folder: The dataset's folder.
    """
    return Path(folder) / "_faults"
