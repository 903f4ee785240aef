"""ShardFile: a Parquet file of a dataset while it is written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distpolicy.errors import DistPolicyError
from distpolicy.utils.atomic_files import file_sha256, put_in_place, scratch_path
from workers.datasets.columns import DatasetColumns
from workers.datasets.rows import Leaves

# Columns that a reader may select rows by.
_WITH_STATISTICS = ["eps_id", "slot", "step", "t"]


class ShardFile:
    """A shard that row groups are added to. It gets its final name when it is finished.

    Args:
        path: The path of the finished file.
        columns: The dataset's columns.
        compression: Parquet's name of the compression.

    Raises:
        DistPolicyError: If the file cannot be written.
    """

    def __init__(self, path: Path, columns: DatasetColumns, compression: str) -> None:
        self._path = path
        self._columns = columns
        self._sink: Any = None
        self._writer: Any = None
        level = {"compression_level": 1} if compression == "zstd" else {}
        try:
            self._sink = pa.OSFile(str(scratch_path(path)), "wb")
            self._writer = pq.ParquetWriter(
                self._sink,
                columns.arrow_schema,
                compression=compression,
                use_dictionary=False,
                write_statistics=_WITH_STATISTICS,
                **level,
            )
        except OSError as error:
            raise self._failed(error) from error

    def add(self, chunks: list[Leaves]) -> None:
        """Encodes and writes a row group.

        Args:
            chunks: The leaves ``[N, *shape]`` of each column, in parts that are joined in order.

        Raises:
            DistPolicyError: If it cannot be written. The unfinished file is removed.
        """
        whole = {
            name: [
                parts[0] if len(parts) == 1 else np.concatenate(parts)
                for parts in zip(*(chunk[name] for chunk in chunks), strict=True)
            ]
            for name in chunks[0]
        }
        try:
            table = self._columns.encode(whole)
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> tuple[int, str]:
        """Finishes the file and gives it its final name.

        Returns:
            Its size in bytes, and its SHA-256 in hexadecimal.

        Raises:
            DistPolicyError: If it cannot be written. The unfinished file is removed.
        """
        try:
            self._writer.close()
            self._sink.close()
            checksum = file_sha256(scratch_path(self._path))
            put_in_place(self._path)
            return self._path.stat().st_size, checksum
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Removes the unfinished file."""
        for opened in (self._writer, self._sink):
            # A writer that failed fails again when it writes the footer.
            with contextlib.suppress(OSError, ValueError):
                if opened is not None:
                    opened.close()
        with contextlib.suppress(OSError):
            scratch_path(self._path).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> DistPolicyError:
        self.discard()
        return DistPolicyError(
            f"cannot write {self._path}: {error.strerror or error}; free space or make the folder writable, then "
            "resume: shards that the manifest names are complete"
        )
