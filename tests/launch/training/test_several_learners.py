"""Runs with several learners: what their config and their placement have to be."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray

from distpolicy.agents.agent_config import agent_kinds
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from launch.cli import run
from launch.cluster.placement import Node, plan, training_actors
from launch.config.train import TrainConfig

FOUR = TrainConfig(collectors=4, learners=2)
# tests/distpolicy/agents/test_replicas.py has what these learn; all others are refused.
LEARN_TOGETHER = ("appo", "impala", "ppo")


@pytest.mark.parametrize("learners", [0, -1, 3, 8])
def test_learners_that_do_not_divide_the_collectors_are_refused(learners: int) -> None:
    with pytest.raises(ConfigError, match=f"learners must be .* divide collectors 4, but is {learners}"):
        TrainConfig(collectors=4, learners=learners)


def test_minibatches_have_to_divide_the_part_of_each_learner() -> None:
    ppo = PPOConfig(num_minibatches=4)
    assert TrainConfig(collectors=2, envs_per_collector=2, rollout_steps=3, learners=1, agent=ppo).learners == 1
    with pytest.raises(ConfigError, match=r"each learner's part of 6 steps .* / learners 2"):
        TrainConfig(collectors=2, envs_per_collector=2, rollout_steps=3, learners=2, agent=ppo)
    lstm = NetworkConfig(recurrent="lstm")
    with pytest.raises(ConfigError, match="each learner's part of 2 sequences"):
        TrainConfig(collectors=2, envs_per_collector=2, rollout_steps=6, learners=2, agent=ppo, network=lstm)


def test_an_inference_server_shares_the_learners_node_and_gpu() -> None:
    config = TrainConfig(inference="server", server_gpus=0.25)
    learner, server, collectors = training_actors(config, {"CPU": 4.0, "GPU": 1.0, "learner": 1.0, "collector": 2.0})
    assert (learner.resources, server.resources) == ({"GPU": 0.75, "learner": 0.999}, {"GPU": 0.25, "learner": 0.001})
    node = Node("a", {}, {"CPU": 2.0, "GPU": 1.0, "learner": 1.0})
    others = Node("b", {}, {"CPU": 2.0, "collector": 2.0})
    places = plan([learner, server, collectors], [others, node]).places
    assert (places["learner"], places["inference server"], places["collector"]) == ({"a": 1}, {"a": 1}, {"b": 2})
    alone = training_actors(TrainConfig(inference="server"), {"CPU": 4.0})
    assert [group.resources for group in alone] == [{}, {}, {"CPU": 1.0}]


def test_each_learner_asks_for_a_gpu_where_there_are_enough() -> None:
    nodes = [Node("a", {}, {"CPU": 8.0, "GPU": 1.0}), Node("b", {}, {"CPU": 8.0, "GPU": 1.0})]
    learners, collectors = training_actors(FOUR, {"CPU": 16.0, "GPU": 2.0})
    assert (learners.count, learners.resources, learners.note) == (2, {"GPU": 1.0}, "")
    assert plan([learners, collectors], nodes).places["learner"] == {"a": 1, "b": 1}


@pytest.mark.parametrize("gpus", [0.0, 0.5, 1.0])
def test_learners_stay_on_cpus_where_there_is_not_a_gpu_for_each(gpus: float) -> None:
    learners, _ = training_actors(FOUR, {"CPU": 16.0, "GPU": gpus, "learner": 2.0})
    assert learners.resources == {"learner": 1.0}
    assert f"{gpus:g} GPUs are not one for each of 2 learners: they learn on CPUs" in learners.note


@pytest.mark.parametrize("kind", LEARN_TOGETHER)
def test_agents_that_add_up_gradients_learn_together(kind: str) -> None:
    assert TrainConfig(agent=agent_kinds()[kind](), collectors=2, learners=2).learners == 2


@pytest.mark.parametrize("kind", sorted(set(agent_kinds()) - set(LEARN_TOGETHER)))
def test_every_other_agent_is_refused_in_one_line_before_ray_starts(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent = "module:function" if kind == "custom" else kind
    with pytest.raises(ConfigError) as caught:
        run(["train", "--agent", agent, "--learners", "2", "--collectors", "2"], 0.0)
    told = str(caught.value)
    assert "\n" not in told
    assert f"learners above 1 is not for {agent}" in told
    assert told.endswith(("set it to 1", "set learners to 1"))
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())
