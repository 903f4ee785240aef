"""Reports of real runs of several kinds: what is on the page of each, and that no script fails in a browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from driver_runs import CONFIG, kill
from scripted_datasets import cartpole_random, write

from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.dqn.config import DQNConfig
from launch import TrainConfig, TrainingObserver, TrainingRun
from launch.reports.groups import grouped
from launch.reports.page_writer import page_text
from launch.reports.run_data import read_run
from launch.training.totals import UpdateResult

pytestmark = pytest.mark.slow

EVALUATED = dataclasses.replace(CONFIG, total_steps=64 * 12, eval_every=4, eval_episodes=2, checkpoint_every=4)


def page_of(*paths: Path) -> str:
    return page_text(grouped([read_run(path) for path in paths]))


def charts_of(text: str) -> Mapping[str, Any]:
    found = re.search(r"<script type='application/json' id=data>(.*?)</script>", text, re.DOTALL)
    assert found is not None
    return {chart["title"]: chart for chart in json.loads(found[1])["charts"]}


def serial(config: TrainConfig, folder: Path) -> Path:
    with TrainingRun(config, run_dir=folder, serial=True, reports=False) as run:
        run.run()
    return folder


def test_an_off_policy_run_has_its_replay_and_its_exploration(tmp_path: Path) -> None:
    agent = DQNConfig(replay_capacity=400, batch_size=8, updates_per_call=4, samples_per_insert=1.0, learning_starts=64)
    charts = charts_of(page_of(serial(dataclasses.replace(EVALUATED, agent=agent), tmp_path / "run")))
    assert {"Return", "Loss", "Replay size", "Probability of a random action", "Where the time goes"} <= charts.keys()
    assert len(charts["Return"]["tables"]["points"]["y"]) >= 3, "evaluations on the way and at the end"


def test_an_offline_run_counts_gradient_steps_and_has_no_speed_of_environments(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", "CartPole-v1", cartpole_random, num_steps=60)
    agent = BehavioralCloningConfig(batch_size=32, updates_per_call=20)
    config = dataclasses.replace(EVALUATED, agent=agent, dataset=(dataset,), total_steps=200)
    text = page_of(serial(config, tmp_path / "run"))
    charts = charts_of(text)
    assert {"Return", "Loss", "Gradient steps a second", "Where the time goes"} <= charts.keys()
    assert len(charts["Gradient steps a second"]["tables"]["main"]["name"]) == 10, "no environments alone"
    assert set(charts["Where the time goes"]["tables"]["stretches"]["worker"]) == {"learner"}
    assert "<div class=name>Gradient steps</div><div class=value>200</div>" in text


def test_a_run_that_ended_early_and_goes_on_has_a_mark_and_each_second_once(tmp_path: Path) -> None:
    with TrainingRun(EVALUATED, run_dir=tmp_path / "run", serial=True, reports=False) as run:
        for _ in itertools.islice(run, 5):
            pass
    with TrainingRun(resume=tmp_path / "run", serial=True, reports=False) as run:
        run.run()
    text = page_of(tmp_path / "run")
    charts = charts_of(text)
    assert charts["Return"]["tables"]["marks"]["what"] == ["resumed"]
    steps = charts["Loss"]["tables"]["faint"]["steps"]
    assert steps == sorted(set(steps))
    stretches = charts["Where the time goes"]["tables"]["stretches"]
    ends = [
        (begin, end)
        for worker, begin, end in zip(stretches["worker"], stretches["begin"], stretches["end"], strict=True)
        if worker == "learner"
    ]
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(sorted(set(ends))))
    assert "resumed 1 time" in text
    assert "<td>the run</td>" in text


class Killer(TrainingObserver):
    """Kills a collector."""

    def __init__(self) -> None:
        self.run: TrainingRun | None = None

    def on_update(self, result: UpdateResult) -> None:
        assert self.run is not None
        if result.totals.updates == 10:
            kill(self.run._trainer.handles[0].actor)


@pytest.mark.usefixtures("local_ray")
def test_an_asynchronous_run_that_loses_a_collector_has_lags_and_the_fault(tmp_path: Path) -> None:
    agent = APPOConfig(value_units=(8,), num_epochs=1, num_minibatches=1)
    config = dataclasses.replace(EVALUATED, agent=agent, max_policy_lag=2, rollout_order="arrival", total_steps=6_400)
    killer = Killer()
    with TrainingRun(config, [killer], tmp_path / "run", reports=False) as run:
        killer.run = run
        run.run()
    text = page_of(tmp_path / "run")
    charts = charts_of(text)
    lags = charts["Policy lag of the rows learned from"]["tables"]["bars"]
    assert lags["label"] == ["0", "1", "2"]
    assert sum(lags["share"]) == pytest.approx(1.0, abs=1e-4)
    assert sum(lags["value"]) == pytest.approx(charts["Return"]["tables"]["main"]["steps"][-1], rel=0.2)
    (mark,) = charts["Return"]["tables"]["marks"]["what"]
    assert mark.startswith("collector 0 (env slots 0-3): its process was killed")
    assert "<h2>Faults and restarts</h2>" in text
    assert {"Mean policy lag", "Rollouts in flight", "From new weights to acting by them"} <= charts.keys()
