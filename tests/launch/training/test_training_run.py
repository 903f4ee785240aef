"""TrainingRun from Python: within one Ray that the tests start, and in scripts that start their own."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import ray
from commands import environment, no_process_left, read_metrics

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import CheckpointError, ConfigError, DistPolicyError
from distpolicy.networks.network_config import NetworkConfig
from launch import RunEnd, TrainConfig, TrainingObserver, TrainingRun, UpdateResult
from launch.config.train import load_train_config
from launch.training.checkpoint_store import CheckpointStore
from launch.training.observer import Observers
from launch.training.totals import TrainingTotals

__all__ = ["no_process_left"]

ROOT = Path(__file__).resolve().parents[3]
STEPS_PER_UPDATE = 32
CONFIG = TrainConfig(
    collectors=1,
    envs_per_collector=4,
    rollout_steps=8,
    total_steps=10_000,
    vectorization="sync",
    jit_compile=False,
    eval_episodes=0,
    network=NetworkConfig(actor_units=(8,)),
    agent=PPOConfig(value_units=(8,), num_epochs=1, num_minibatches=2),
)


class CountingEnv(gym.Env):
    """Ends after some steps, each of which gives 1. Only this module has it, and workers cannot import that."""

    observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int = 5) -> None:
        self.length, self.count = length, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.full(2, self.count / self.length, np.float32), 1.0, self.count == self.length, False, {}


class Recorder(TrainingObserver):
    """Notes the names of events, and does something of its own after each update."""

    def __init__(self, then: Callable[[Recorder, UpdateResult], None] = lambda recorder, result: None) -> None:
        self.events: list[str] = []
        self.then = then
        self.run: Any = None
        self.checkpoints: list[tuple[str, int]] = []
        self.end: RunEnd | None = None

    def on_start(self, run: Any) -> None:
        self.run = run
        self.events.append("start")

    def on_update(self, result: UpdateResult) -> None:
        self.events.append("update")
        self.then(self, result)

    def on_checkpoint(self, path: Path, totals: TrainingTotals) -> None:
        self.checkpoints.append((path.name, totals.updates))

    def on_trained(self, totals: TrainingTotals) -> None:
        self.events.append("trained")

    def on_evaluation(self, result: Any, totals: TrainingTotals) -> None:
        self.events.append("evaluation")

    def on_interrupt(self) -> None:
        self.events.append("interrupt")

    def on_end(self, end: RunEnd) -> None:
        self.events.append("end")
        self.end = end


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    assert ray.is_initialized(), "runs leave a Ray that they have not started"
    ray.shutdown()


def steps(num_updates: int) -> TrainConfig:
    return dataclasses.replace(CONFIG, total_steps=num_updates * STEPS_PER_UPDATE)


def act(run: TrainingRun) -> int:
    from distpolicy.trajectories import time_step

    return int(run.policy.action(time_step.restart(np.zeros(2, np.float32))).action)


def test_a_run_is_iterated_left_and_gone_on_with_and_has_a_policy_at_any_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recorder, other = Recorder(), Recorder()
    config = dataclasses.replace(steps(6), env_kwargs={"length": 5}, eval_episodes=3)
    with TrainingRun(config, [recorder, other], tmp_path / "run", env=CountingEnv) as run:
        assert run.describe().startswith(f"{__name__}:CountingEnv: 1 collector x 4 envs, sync")
        updates = []
        for result in run:
            updates.append(result.totals.updates)
            if len(updates) == 2:
                break
        assert run.evaluate(2).returns == [5.0, 5.0]
        assert act(run) in (0, 1)
        assert not run.directory.policy.exists()
        updates += [result.totals.updates for result in run]
        assert updates == list(range(1, run.totals.updates + 1))
        assert list(run) == []
        assert run.run() == run.totals, "a run that is over stays so"
        assert len(run.evaluate(3).returns) == 3
    run.close()
    assert act(run) in (0, 1)
    assert run.policy is run.policy
    with pytest.raises(DistPolicyError, match="the run is closed"):
        run.evaluate(1)

    assert recorder.events == other.events
    num = len(updates)
    events = [
        "start",
        *["update"] * 2,
        "evaluation",
        *["update"] * (num - 2),
        "trained",
        "evaluation",
        "evaluation",
        "end",
    ]
    assert recorder.events == events
    assert recorder.checkpoints == [(f"{num:08d}", num)]
    assert recorder.end is not None
    assert recorder.end.error is None
    assert [result.policy for result in recorder.end.evaluations] == ["greedy", "stochastic"]
    assert [result.lengths for result in recorder.end.evaluations] == [[5, 5, 5]] * 2
    assert {"driver", "learner", "collector 0"} == recorder.end.peak_memory_bytes.keys()

    folder = run.directory
    assert load_train_config(folder.config_file) == dataclasses.replace(config, env=f"{__name__}:CountingEnv")
    assert len(read_metrics(folder.path)) == num
    assert folder.report_file.is_file()
    assert list(folder.path.glob("events.out.tfevents.*"))
    output = capfd.readouterr()
    assert "env steps" not in output.out + output.err


@pytest.mark.slow
def test_an_observer_stops_a_run_and_python_resumes_it(tmp_path: Path) -> None:
    stopper = Recorder(lambda recorder, result: recorder.run.stop() if result.totals.updates == 3 else None)
    with TrainingRun(CONFIG, [stopper], tmp_path / "run") as run:
        totals = run.run()
    # One update was under way.
    assert totals.updates == 4
    assert totals.env_steps < CONFIG.total_steps
    assert stopper.events[-2:] == ["trained", "end"]
    assert (run.directory.policy / "saved_model.pb").is_file()
    found = CheckpointStore(run.directory.checkpoints, keep=3).load_latest()
    assert found is not None
    assert found.totals == totals

    again = Recorder(lambda recorder, result: recorder.run.stop())
    with TrainingRun(resume=run.directory.path, observers=[again]) as resumed:
        assert resumed.config == CONFIG
        assert resumed.totals == totals
        assert resumed.generation == 1
        assert next(resumed).totals.updates == 5
        resumed.close()
    assert [int(row["update"]) for row in read_metrics(run.directory.path)] == list(
        range(1, resumed.totals.updates + 1)
    )


@pytest.mark.slow
def test_a_run_that_is_closed_before_its_end_is_stopped_there(tmp_path: Path) -> None:
    recorder = Recorder()
    with TrainingRun(
        dataclasses.replace(CONFIG, eval_episodes=5), [recorder], tmp_path / "run", env=CountingEnv
    ) as run:
        for _ in run:
            break
    assert recorder.events[-2:] == ["trained", "end"], "there is no final evaluation"
    assert recorder.checkpoints[-1][1] == run.totals.updates == 2
    assert act(run) in (0, 1)


def test_an_error_of_an_observer_ends_the_run_and_all_are_told(tmp_path: Path) -> None:
    def fail(recorder: Recorder, result: UpdateResult) -> None:
        if result.totals.updates == 2:
            raise ZeroDivisionError("mine")

    failing, other = Recorder(fail), Recorder()
    with TrainingRun(CONFIG, [failing, other], tmp_path / "run") as run:
        with pytest.raises(ZeroDivisionError, match="mine"):
            run.run()
        with pytest.raises(DistPolicyError, match="ended by ZeroDivisionError: mine"):
            run.run()
    for recorder in (failing, other):
        assert recorder.events[-1] == "end"
        assert recorder.end is not None
        assert isinstance(recorder.end.error, ZeroDivisionError)
    assert len(read_metrics(run.directory.path)) == 2, "files are written before others are told"
    assert run.directory.report_file.is_file()
    with pytest.raises(CheckpointError, match="has no policy"):
        _ = run.policy


@pytest.mark.parametrize("place", [pytest.param("observer", marks=pytest.mark.slow), "loop"])
def test_an_interrupt_leaves_a_checkpoint(place: str, tmp_path: Path) -> None:
    def interrupt(recorder: Recorder, result: UpdateResult) -> None:
        if place == "observer" and result.totals.updates == 2:
            raise KeyboardInterrupt

    recorder = Recorder(interrupt)
    run = TrainingRun(CONFIG, [recorder], tmp_path / "run")

    def train() -> None:
        with run:
            for result in run:
                if result.totals.updates == 2:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    # What was under way may still be learned in between.
    assert recorder.events.count("interrupt") == 1
    assert recorder.events[-1] == "end"
    found = CheckpointStore(run.directory.checkpoints, keep=3).load_latest()
    assert found is not None
    assert recorder.end is not None
    assert recorder.end.newest_checkpoint == found.totals == run.totals
    assert found.totals.updates == len(read_metrics(run.directory.path)) >= 2
    for name in ("policy", "collect_policy"):
        assert (run.directory.path / name / "saved_model.pb").is_file()


def test_a_run_that_is_not_used_starts_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    with TrainingRun(CONFIG, [recorder], tmp_path / "run"):
        pass
    assert not recorder.events
    assert not (tmp_path / "run").exists()


def test_two_runs_cannot_have_one_folder_at_once(tmp_path: Path) -> None:
    with TrainingRun(CONFIG, run_dir=tmp_path / "run"):
        with pytest.raises(ConfigError, match="run is in use: another run writes into it"):
            TrainingRun(CONFIG, run_dir=tmp_path / "run")
        TrainingRun(CONFIG, run_dir=tmp_path / "other").close()
    TrainingRun(CONFIG, run_dir=tmp_path / "run").close()


def test_bad_arguments_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    with pytest.raises(ConfigError, match="exists: choose another"):
        TrainingRun(CONFIG, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="exclude each other"):
        TrainingRun(CONFIG, run_dir=tmp_path / "other", resume=tmp_path / "run")
    with pytest.raises(ConfigError, match="no config"):
        TrainingRun(resume=tmp_path / "run")
    with pytest.raises(ConfigError, match="env must be a class or function"):
        TrainingRun(CONFIG, env="CartPole-v1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="does not take the arguments"):
        TrainingRun(dataclasses.replace(CONFIG, env_kwargs={"height": 1}), env=CountingEnv)


def test_observers_are_told_in_order_and_of_the_end_whoever_raises() -> None:
    told = []

    class Named(TrainingObserver):
        def __init__(self, name: str, metrics: tuple[str, ...], fails: bool = False) -> None:
            self.name, self.metrics, self.fails = name, metrics, fails

        def measure(self, result: UpdateResult) -> dict[str, float]:
            return dict.fromkeys(self.metrics, 1.0)

        def on_end(self, end: RunEnd) -> None:
            told.append(self.name)
            if self.fails:
                raise ValueError(self.name)

    observers = Observers([Named("a", ("x", "y"), fails=True), Named("b", ("y", "z"), fails=True), Named("c", ())])
    assert observers.metrics == ("x", "y", "z")
    assert observers.measure(UpdateResult(TrainingTotals(), {}, 0.0, [])) == {"x": 1.0, "y": 1.0, "z": 1.0}
    observers.on_end(RunEnd(TrainingTotals()))
    assert told == [], "they were not told of a start"
    observers.on_start(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a"):
        observers.on_end(RunEnd(TrainingTotals()))
    assert told == ["a", "b", "c"]


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    variables = environment(PYTHONPATH=str(ROOT))
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=variables)


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_script_trains_in_an_env_of_its_own_and_acts_by_the_policy(tmp_path: Path) -> None:
    done = python(str(ROOT / "examples" / "train_in_python.py"), "3000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *progress, evaluated, acted = done.stdout.splitlines()
    assert progress
    assert all(re.fullmatch(r"[\d,]+ env steps, return -?[\d.]+", line) for line in progress), done.stdout
    assert evaluated.startswith("mean return of 20 episodes: ")
    found = re.fullmatch(r"the policy took \d+ steps; the run is in (runs/Corridor-\S+)", acted)
    assert found, done.stdout
    assert load_train_config(tmp_path / found[1] / "config.yaml").env == "__main__:Corridor"


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_an_observer_of_a_dozen_lines_stops_early_and_adds_a_metric(tmp_path: Path) -> None:
    done = python(str(ROOT / "examples" / "early_stopping.py"), "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert done.stdout.endswith(f"env steps: runs/{run.name}\n")
    values = [int(row["updates_without_progress"]) for row in read_metrics(run)]
    assert values[-2] == 2 or values[-1] == 2
    assert max(values[:-2], default=0) < 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_thread_may_train_and_a_script_need_not_close(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import threading\n"
        "from launch import TrainConfig, TrainingRun\n"
        "config = TrainConfig(env='CartPole-v1', collectors=1, envs_per_collector=4, jit_compile=False)\n"
        "def train():\n"
        "    with TrainingRun(config, run_dir='first') as run:\n"
        "        print(next(run).totals.updates)\n"
        "thread = threading.Thread(target=train)\n"
        "thread.start()\n"
        "thread.join()\n"
        "run = TrainingRun(config, run_dir='second')\n"
        "print(next(run).totals.updates)\n"
    )
    done = python("script.py", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n1\n", "")
    for name in ("first", "second"):
        assert (tmp_path / name / "policy" / "saved_model.pb").is_file()
        assert (tmp_path / name / "report.html").is_file()
