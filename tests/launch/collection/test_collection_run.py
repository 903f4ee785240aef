"""CollectionRun, the Python API of collecting, on a Ray that the process has joined before."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from collect_runs import check_tidy, check_whole
from commands import environment

from distpolicy.errors import ConfigError
from launch.collection.observer import CollectionEnd, CollectionObserver, ObservedRun
from launch.collection.progress import CollectionProgress
from launch.collection.run import CollectionRun
from launch.config.collect import CollectConfig

CONFIG = CollectConfig(
    steps=2_000, collectors=2, num_envs=4, rollout_steps=16, rows_per_shard=200, vectorization="sync"
)
ENDLESS = dataclasses.replace(CONFIG, steps=100_000_000)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


class Recorder(CollectionObserver):
    """Keeps what a run tells.

    Args:
        then: Called at every progress with the run.
    """

    def __init__(self, then: Callable[[ObservedRun], None] = lambda run: None) -> None:
        self._then = then
        self.events: list[str] = []
        self.run: ObservedRun | None = None
        self.last: CollectionProgress | None = None
        self.end: CollectionEnd | None = None

    def on_start(self, run: ObservedRun) -> None:
        self.events.append("start")
        self.run = run

    def on_progress(self, progress: CollectionProgress) -> None:
        if self.last is None:
            self.events.append("progress")
        self.last = progress
        assert self.run is not None
        if self.run.manifest.num_rows:
            self._then(self.run)

    def on_interrupt(self) -> None:
        self.events.append("interrupt")

    def on_end(self, end: CollectionEnd) -> None:
        self.events.append("end")
        self.end = end


def check_unfinished(run: CollectionRun, folder: Path) -> None:
    manifest = check_whole(folder, run.manifest.num_rows)
    assert manifest == run.manifest
    assert manifest.num_rows > 0
    assert not manifest.finished
    check_tidy(folder)


def test_a_run_collects_tells_its_observers_prints_nothing_and_leaves_ray_and_signals_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    named: list[dict[str, str]] = []
    first = Recorder(lambda run: named.extend(ray.util.list_named_actors(all_namespaces=True)))
    second = Recorder()
    manifest = CollectionRun(CONFIG, tmp_path / "data", [first, second]).run()
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert ray.is_initialized()
    assert manifest == check_whole(tmp_path / "data", 2_000)
    assert manifest.finished
    check_tidy(tmp_path / "data")
    assert {actor["name"] for actor in named} == {"collector-0", "collector-1"}
    assert all(actor["namespace"].startswith("CartPole-v1-") for actor in named)
    for recorder in (first, second):
        assert recorder.events == ["start", "progress", "end"]
        assert recorder.run is not None
        assert recorder.run.description.inference == "numpy"
        assert recorder.last is not None
        assert (recorder.last.unit, recorder.last.num_done, recorder.last.num_asked) == ("steps", 2_000, 2_000)
        assert recorder.last.num_bytes == manifest.num_bytes
        assert recorder.end is not None
        assert recorder.end.manifest == manifest
        assert recorder.end.error is None
        assert sum(totals.num_rows for totals in recorder.end.totals) == 2_000


def test_an_iteration_that_is_left_early_has_all_that_was_collected_whole_and_resume_completes_it(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    with CollectionRun(ENDLESS, tmp_path / "data", [recorder]) as run:
        for progress in run:
            if progress.num_steps >= 500:
                break
    assert run.manifest.num_rows >= 500
    check_unfinished(run, tmp_path / "data")
    assert recorder.events == ["start", "progress", "end"]
    target = 4 * (max(run.manifest.next_steps()) + 100)
    config = dataclasses.replace(CONFIG, steps=target)
    assert CollectionRun(config, tmp_path / "data", resume=True).run().num_rows == target
    assert check_whole(tmp_path / "data", target).finished
    with pytest.raises(ConfigError, match="is complete"):
        CollectionRun(config, tmp_path / "data", resume=True)


def test_an_observer_may_stop_the_run(tmp_path: Path) -> None:
    recorder = Recorder(lambda run: run.stop())
    run = CollectionRun(ENDLESS, tmp_path / "data", [recorder])
    run.run()
    check_unfinished(run, tmp_path / "data")
    assert recorder.end is not None
    assert recorder.end.error is None


def interrupt(run: ObservedRun) -> None:
    raise KeyboardInterrupt


def interrupt_in_a_loop(run: CollectionRun) -> None:
    with run:
        for progress in run:
            if progress.num_steps >= 500:
                raise KeyboardInterrupt


def test_an_interrupt_leaves_all_that_was_collected_whole_whoever_it_meets(tmp_path: Path) -> None:
    recorder = Recorder(interrupt)
    run = CollectionRun(ENDLESS, tmp_path / "inside", [recorder])
    with pytest.raises(KeyboardInterrupt):
        run.run()
    check_unfinished(run, tmp_path / "inside")
    assert recorder.events == ["start", "progress", "interrupt", "end"]
    assert recorder.end is not None
    assert isinstance(recorder.end.error, KeyboardInterrupt)

    recorder = Recorder()
    run = CollectionRun(ENDLESS, tmp_path / "outside", [recorder])
    with pytest.raises(KeyboardInterrupt):
        interrupt_in_a_loop(run)
    check_unfinished(run, tmp_path / "outside")
    assert recorder.events == ["start", "progress", "interrupt", "end"]


def test_what_an_observer_raises_ends_the_run_and_all_are_told(tmp_path: Path) -> None:
    def fail(run: ObservedRun) -> None:
        raise OSError("no place for notes")

    failing, other = Recorder(fail), Recorder()
    with pytest.raises(OSError, match="no place for notes"):
        CollectionRun(ENDLESS, tmp_path / "data", [other, failing]).run()
    for recorder in (failing, other):
        assert recorder.end is not None
        assert isinstance(recorder.end.error, OSError)


def test_two_jobs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with CollectionRun(ENDLESS, folder) as run:
        for resume in (False, True):
            with pytest.raises(ConfigError, match="data is in use"):
                CollectionRun(ENDLESS, folder, resume=resume)
        next(iter(run))
        with pytest.raises(ConfigError, match="data is in use"):
            CollectionRun(ENDLESS, folder, resume=True)
    assert run.manifest.num_rows > 0


def test_bad_input_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a dataset"):
        CollectionRun(CONFIG, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="has room for 2"):
        CollectionRun(dataclasses.replace(CONFIG, collectors=4), tmp_path / "data")
    with pytest.raises(ConfigError, match="unknown env 'Nope-v0'"):
        CollectionRun(dataclasses.replace(CONFIG, env="Nope-v0"), tmp_path / "data")
    assert not (tmp_path / "data").exists()


SCRIPT = """
import gymnasium as gym
import numpy as np
from launch.collection.run import CollectionRun
from launch.config.collect import CollectConfig

class Counting(gym.Env):
    observation_space = gym.spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), 1.0, self.count == 5, False, {}

config = CollectConfig(episodes=8, collectors=1, num_envs=2, rollout_steps=8)
for _ in CollectionRun(config, "data", env=Counting):
    pass
"""


@pytest.mark.slow
def test_a_script_collects_in_an_environment_of_its_own_and_need_not_close_the_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    manifest = check_whole(tmp_path / "data", 8 * 5)
    assert manifest.finished
    assert manifest.env_id == "__main__:Counting"
    check_tidy(tmp_path / "data")
