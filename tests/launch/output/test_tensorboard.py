"""Event files are written without PyTorch, and TensorBoard's own reader reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from launch.output.tensorboard import TensorBoardWriter

ROOT = Path(__file__).resolve().parents[3]


def test_pytorch_is_not_imported_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('PyTorch was imported')")
    code = (
        "import sys, pathlib\n"
        "import launch.cli, launch.training.run, launch.collection.run\n"
        "from launch.output.tensorboard import TensorBoardWriter\n"
        "writer = TensorBoardWriter(pathlib.Path(sys.argv[1]), purge_step=3)\n"
        "writer.add({'a': 1.5}, step=4)\n"
        "writer.close()\n"
        "assert 'torch' not in sys.modules\n"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    events = tmp_path / "events"
    events.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(events)], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_package_can_still_be_imported_whole(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.add({"a": 1.5}, step=4)
    writer.close()
    from tensorboardX import SummaryWriter
    from tensorboardX.record_writer import masked_crc32c

    from launch.output.tensorboard import _masked_crc32c

    assert SummaryWriter.__name__ == "SummaryWriter"
    for data in (b"", b"abc", bytes(range(256))):
        assert int.from_bytes(_masked_crc32c(data), "little") == masked_crc32c(data)
