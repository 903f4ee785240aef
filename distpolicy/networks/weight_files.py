"""Files of weights: NumPy arrays named by the paths of variables. Nothing in them is a pickle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.utils.atomic_files import write_file
from distpolicy.utils.files.bounded_files import read_bytes

_PREFIX = "weights/"


def write_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by their paths. The file is written whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{f"{_PREFIX}{name}": array for name, array in arrays.items()})
    write_file(path, buffer.getvalue())


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays that :func:`write_weights` wrote.

    Raises:
        ConfigError: If there is no such file or it holds something else.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path, path.stat().st_size)), allow_pickle=False) as file:
            arrays = {name.removeprefix(_PREFIX): file[name] for name in file.files if name.startswith(_PREFIX)}
            if len(arrays) != len(file.files):
                raise ValueError("it has other arrays")
            return arrays
    except Exception as error:  # zipfile and NumPy raise many kinds of errors for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{path} holds no weights; give a file that save_weights wrote: {reason}") from error
