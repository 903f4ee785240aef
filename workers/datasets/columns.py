"""Columns of a dataset as Arrow arrays, without any change of a bit.

A number or boolean becomes a column of its type. A small array of numbers becomes a fixed-shape tensor, which Ray
Data and RLlib read as such. A large array, such as an image, becomes a column of its bytes in C order, since Parquet
would store each byte as an int32. A nest becomes a struct of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.utils.nests.array_nest import flatten, pack_leaves
from workers.datasets.schema import DatasetSchema

_LARGEST_TENSOR_BYTES = 512


class LeafColumn:
    """A column with one array in each row.

    Args:
        spec: The spec of the array; every dimension is known.

    Attributes:
        spec: The spec of the array.
        type: The Arrow type of the column.
        is_bytes: Whether the array is stored as bytes.
    """

    def __init__(self, spec: ArraySpec) -> None:
        self.spec = spec
        self._shape = tuple(int(size or 0) for size in spec.shape)
        self._size = math.prod(self._shape)
        self._num_bytes = self._size * spec.dtype.itemsize
        is_number = spec.dtype.kind in "iuf"
        is_tensor = bool(self._shape) and is_number and 0 < self._num_bytes <= _LARGEST_TENSOR_BYTES
        self.is_bytes = not is_tensor and not (self._shape == () and (is_number or spec.dtype == np.bool_))
        if not self.is_bytes:
            value = pa.from_numpy_dtype(self.spec.dtype)
            self.type = pa.fixed_shape_tensor(value, self._shape) if is_tensor else value
        else:
            # Parquet has no fixed width of 0.
            self.type = pa.binary(self._num_bytes) if self._num_bytes else pa.binary()

    def encode(self, rows: np.ndarray) -> pa.Array:
        """Returns rows ``[N, *shape]`` as an Arrow array, which shares their memory if possible."""
        num_rows = len(rows)
        values = np.ascontiguousarray(rows, self.spec.dtype).reshape(-1)
        if self.is_bytes and not self._num_bytes:
            return pa.array([b""] * num_rows, self.type)
        if self.is_bytes:
            return pa.FixedSizeBinaryArray.from_buffers(self.type, num_rows, [None, pa.py_buffer(values)])
        if self.spec.dtype.kind == "b":
            return pa.array(values)
        value_type = self.type.value_type if self._shape else self.type
        # Faster than pa.array, which looks for NaN first.
        flat = pa.Array.from_buffers(value_type, len(values), [None, pa.py_buffer(values)])
        if not self._shape:
            return flat
        return pa.ExtensionArray.from_storage(self.type, pa.FixedSizeListArray.from_arrays(flat, self._size))

    def decode(self, column: pa.Array) -> np.ndarray:
        """Returns the rows ``[N, *shape]`` of an Arrow array. They are read-only if they share its memory."""
        num_rows = len(column)
        if self.is_bytes and not self._num_bytes:
            values = np.zeros(0, self.spec.dtype)
        elif self.is_bytes:
            start = column.offset * self._num_bytes
            values = np.frombuffer(column.buffers()[1], self.spec.dtype, num_rows * self._size, start)
        else:
            flat = column.storage.flatten() if isinstance(column, pa.ExtensionArray) else column
            values = flat.to_numpy(zero_copy_only=False)
        return values.reshape(num_rows, *self._shape)


class NestColumn:
    """A column with a nest of arrays in each row: a struct, or one :class:`LeafColumn` if the nest is a single array.

    Args:
        nest: Nest of array specs with at least one leaf.

    Attributes:
        leaves: The column of each leaf, in the order of ``flatten``.
        type: The Arrow type of the column.
    """

    def __init__(self, nest: Any) -> None:
        self._nest = nest
        self.leaves = [LeafColumn(spec) for spec in flatten(nest)]
        self.type = self._assemble(nest, [(leaf.type, None) for leaf in self.leaves])[0]

    @property
    def is_struct(self) -> bool:
        """True if the column is a struct."""
        return isinstance(self._nest, dict | tuple | list)

    def encode(self, leaves: Sequence[np.ndarray]) -> pa.Array:
        """Returns leaves ``[N, *shape]``, which are in the order of ``flatten``, as one Arrow array."""
        arrays = [leaf.encode(rows) for leaf, rows in zip(self.leaves, leaves, strict=True)]
        return self._assemble(self._nest, [(array.type, array) for array in arrays])[1]

    def decode_leaves(self, column: pa.Array) -> list[np.ndarray]:
        """Returns the leaves ``[N, *shape]`` of an Arrow array, in the order of ``flatten``."""
        arrays = _leaf_arrays(self._nest, column)
        return [leaf.decode(array) for leaf, array in zip(self.leaves, arrays, strict=True)]

    def decode(self, column: pa.Array) -> Any:
        """Returns an Arrow array as a nest of arrays ``[N, *shape]``."""
        return pack_leaves(self._nest, self.decode_leaves(column))

    def _assemble(self, nest: Any, leaves: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        """Returns the Arrow type and array of a nest, given the type and array of each leaf; arrays may be None."""
        if not isinstance(nest, dict | tuple | list):
            return leaves[0]
        fields, arrays = [], []
        for name, child in _children(nest):
            num_leaves = len(flatten(child))
            if num_leaves:
                kind, array = self._assemble(child, leaves[:num_leaves])
                fields.append(pa.field(name, kind, nullable=False))
                arrays.append(array)
            leaves = leaves[num_leaves:]
        made = None if arrays[0] is None else pa.StructArray.from_arrays(arrays, fields=fields)
        return pa.struct(fields), made


class DatasetColumns:
    """All columns of a dataset.

    Args:
        schema: The dataset's schema.

    Attributes:
        by_name: The columns by their names in the files.
        arrow_schema: The Arrow schema of the files.
    """

    def __init__(self, schema: DatasetSchema) -> None:
        self.by_name = {name: NestColumn(nest) for name, nest in schema.columns.items()}
        fields = [pa.field(name, column.type, nullable=False) for name, column in self.by_name.items()]
        self.arrow_schema = pa.schema(fields)

    def encode(self, leaves: Mapping[str, Sequence[np.ndarray]]) -> pa.Table:
        """Returns a table, given the leaves ``[N, *shape]`` of each column."""
        arrays = [column.encode(leaves[name]) for name, column in self.by_name.items()]
        return pa.Table.from_arrays(arrays, schema=self.arrow_schema)

    def decode(self, table: pa.Table) -> dict[str, Any]:
        """Returns a table's columns as nests of arrays ``[N, *shape]``."""
        return {name: column.decode(joined(table.column(name))) for name, column in self.by_name.items()}


def joined(column: pa.ChunkedArray) -> pa.Array:
    """Returns a table's column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _children(nest: Any) -> list[tuple[str, Any]]:
    """Returns the names and children of a nest, in the order of ``flatten``."""
    if isinstance(nest, dict):
        return [(str(key), nest[key]) for key in sorted(nest)]
    names = getattr(nest, "_fields", [str(index) for index in range(len(nest))])
    return list(zip(names, nest, strict=True))


def _leaf_arrays(nest: Any, column: pa.Array) -> list[pa.Array]:
    if not isinstance(nest, dict | tuple | list):
        return [column]
    children = dict(zip([field.name for field in column.type], column.flatten(), strict=True))
    pairs = [(name, child) for name, child in _children(nest) if flatten(child)]
    return [array for name, child in pairs for array in _leaf_arrays(child, children[name])]
