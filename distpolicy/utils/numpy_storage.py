"""NumPy arrays that checkpoints hold, and a table of nests of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.specs.array_spec import ArraySpec


class NumpyState(tf.train.experimental.PythonState):
    """Has arrays as attributes, which ``tf.train.Checkpoint`` saves and restores.

    Restoring replaces all arrays by the saved ones, whether this object had them before or not.
    """

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_arrays", {})

    def __getattr__(self, name: str) -> Any:
        # An object that is being made has no arrays yet, and looking one up would recurse.
        arrays = {} if name == "_arrays" else self._arrays
        if name not in arrays:
            raise AttributeError(f"NumpyState has no array {name!r}")
        return arrays[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray | np.generic):
            if value.dtype.hasobject:
                raise ConfigError(f"{name} is an array of objects, which a checkpoint cannot hold")
            self._arrays[name] = value
        elif name.startswith("_"):
            super().__setattr__(name, value)
        else:
            raise NotImplementedError(f"NumpyState holds NumPy arrays only, but {name} is a {type(value).__name__}")

    def serialize(self) -> bytes:
        """Returns the arrays as a file of NumPy's."""
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **{f"/{name}": array for name, array in self._arrays.items()})
        return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        """Takes the arrays that :meth:`serialize` returned.

        Raises:
            CheckpointError: If the bytes hold something else.
        """
        try:
            with np.load(io.BytesIO(string_value), allow_pickle=False) as file:
                arrays = {name.removeprefix("/"): file[name] for name in file.files}
        except Exception as error:  # zipfile and NumPy raise many kinds of errors for damaged bytes
            raise CheckpointError(f"the checkpoint does not hold a NumpyState: {error}") from error
        self._arrays.clear()
        self._arrays.update(arrays)


class NumpyStorage(tf.Module):
    """A table of items, with an array for each leaf. ``tf.train.Checkpoint`` saves it.

    Args:
        data_spec: Nest of array specs of one item.
        capacity: Number of items.

    Raises:
        ValueError: If a leaf is not an array spec.
    """

    def __init__(self, data_spec: Any, capacity: int) -> None:
        super().__init__()
        self._flat_specs = tf.nest.flatten(data_spec)
        if not all(isinstance(spec, ArraySpec) for spec in self._flat_specs):
            raise ConfigError(f"data_spec must be a nest of array specs, not {data_spec!r}")
        # Hidden from tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_data_spec", data_spec)
        self._np_state = NumpyState()
        for index, spec in enumerate(self._flat_specs):
            # The system gives memory to what has been written.
            setattr(self._np_state, f"buffer{index}", np.zeros((capacity, *spec.shape), spec.dtype))

    def get(self, idx: Any) -> Any:
        """Returns items.

        Args:
            idx: Index of one item, or int array ``[N]`` for items ``[N, ...]``.
        """
        leaves = [getattr(self._np_state, f"buffer{index}")[idx] for index in range(len(self._flat_specs))]
        return tf.nest.pack_sequence_as(self._data_spec, leaves)

    def set(self, table_idx: Any, value: Any) -> None:
        """Writes items.

        Args:
            table_idx: Index of one item, or int array ``[N]``.
            value: Nest like ``data_spec``, of one item or of N items ``[N, ...]``.
        """
        tf.nest.assert_same_structure(value, self._data_spec)
        for index, leaf in enumerate(tf.nest.flatten(value)):
            getattr(self._np_state, f"buffer{index}")[table_idx] = leaf
