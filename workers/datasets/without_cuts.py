"""shards_without_cuts: the shards of a dataset for readers that cannot leave out rows themselves."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distpolicy.errors import CheckpointError, DistPolicyError
from distpolicy.utils.atomic_files import put_in_place, scratch_path
from workers.datasets.manifest import DatasetManifest
from workers.datasets.shard_journal import ShardRecord

# Readers of folders skip names that begin with an underscore.
COPIES = "_without_cuts"


def shards_without_cuts(folder: str | Path, manifest: DatasetManifest) -> list[str]:
    """Returns the paths of files with all rows that are transitions of the environment.

    Where a fault cut an episode, the row is not a transition: its reward is 0, whatever the environment would have
    paid. A shard with such rows is copied without them, once, into a sub-folder of the dataset. Other shards are named
    as they are.

    Args:
        folder: The dataset's folder.
        manifest: Its manifest.

    Raises:
        CheckpointError: If a shard is missing or damaged; names the file.
        DistPolicyError: If a copy cannot be written; names the file.
    """
    root = Path(folder).resolve()
    return [str(path) for shard in manifest.shards if (path := _whole_or_copy(root, shard)) is not None]


def _whole_or_copy(root: Path, shard: ShardRecord) -> Path | None:
    """Returns the shard's path, its copy's path, or None if no row is left."""
    path = root / shard.file
    try:
        is_cut = pq.read_table(path, columns=["cut"])["cut"]
        num_cuts = pc.sum(is_cut).as_py() or 0
        if not num_cuts:
            return path
        if num_cuts == len(is_cut):
            return None
        # A collector that is replaced may give its file's name to other rows, so the content is part of the name.
        copy = root / COPIES / f"{path.stem}-{shard.sha256[:16]}.parquet"
        if not copy.exists():
            _write_copy(pq.ParquetFile(path), copy)
        return copy
    except (pa.ArrowException, FileNotFoundError) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}; find damaged shards with verify") from error


def _write_copy(shard: pq.ParquetFile, copy: Path) -> None:
    try:
        copy.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(scratch_path(copy), shard.schema_arrow, compression="zstd") as writer:
            for index in range(shard.num_row_groups):
                table = shard.read_row_group(index)
                writer.write_table(table.filter(pc.invert(table["cut"])))
        put_in_place(copy)
    except OSError as error:
        scratch_path(copy).unlink(missing_ok=True)
        raise DistPolicyError(
            f"cannot write {copy}, the rows of a shard without those that a fault cut: {error.strerror or error}; make "
            "the dataset's folder writable"
        ) from error
