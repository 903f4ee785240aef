"""`--videos` films episodes of the trained policy, as files and for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import QUICK, distpolicy


@pytest.mark.slow
def test_the_best_and_the_worst_episode_are_filmed(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = (*QUICK, "--serial", "--total-steps", "200", "--eval-episodes", "0", "--run-dir", "run")
    done = distpolicy("train", *options, "--videos", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "videos: run/videos" in done.stdout, done.stderr
    assert len(list((tmp_path / "run" / "videos").glob("*.mp4"))) == 2
    read = EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    for tag in ("videos/best", "videos/worst"):
        (image,) = read.Images(tag)
        assert image.encoded_image_string.startswith(b"GIF89a")
        assert 0 < image.width <= 300
    assert read.Scalars("time/fps")
