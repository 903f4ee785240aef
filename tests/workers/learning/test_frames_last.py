"""Images whose frames are the last dimension: memory holds frame after frame, and the compiled update sorts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distpolicy.agents.agent_config import LearnerOptions
from distpolicy.agents.agent_training import train_steps_with, zero_rollout_for
from distpolicy.agents.dqn.config import DQNConfig
from distpolicy.agents.experience_config import Replay
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import time_step_spec
from distpolicy.trajectories.transitions import Transition
from distpolicy.utils.nests.array_nest import map_structure
from workers.experience.factory import make_experience

SIZE, NUM_STEPS = 6, 20
SETTINGS = Replay(capacity=80, batch_size=8, num_updates=3, samples_per_insert=8.0, min_size=0, discount=0.9)


def make_agent() -> TFAgent:
    observation = BoundedArraySpec((SIZE, SIZE, 4), np.uint8, 0, 255)
    specs = EnvironmentSpecs(time_step_spec(observation), BoundedArraySpec((), np.int64, 0, 2))
    agent = DQNConfig().make_agent(specs, NetworkConfig(actor_units=(4,)), LearnerOptions(seed=3, jit_compile=False))
    agent.initialize()
    return agent


def rollout_of(agent: TFAgent, rng: np.random.Generator, is_stacked: bool) -> Rollout:
    frames = rng.integers(0, 256, (2, NUM_STEPS + 4, SIZE, SIZE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(frames, 4, axis=1)
    images = windows if is_stacked else rng.integers(0, 256, windows.shape, np.uint8)
    empty = zero_rollout_for(agent, 2, NUM_STEPS)
    return empty._replace(
        observation=np.ascontiguousarray(images),
        step_type=np.ones_like(empty.step_type),
        action=rng.integers(0, 3, empty.action.shape),
        reward=rng.standard_normal(empty.reward.shape, np.float32),
        discount=np.ones_like(empty.discount),
    )


def variables_of(agent: TFAgent) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


@pytest.mark.parametrize("is_stacked", [True, False])
def test_their_order_in_memory_changes_nothing_but_speed(is_stacked: bool) -> None:
    agent, other = make_agent(), make_agent()
    experience, rng = make_experience(SETTINGS), np.random.default_rng(0)

    def train(one: TFAgent, sample: Any, batch: Any) -> float:
        return float(train_steps_with(one, batch, sample.weights, {"progress": np.zeros(3, np.float32)}).loss)

    # As a learner does before the first rollout comes.
    zeros = experience.zero_sample(rollout_of(agent, rng, is_stacked))
    for one, batch in ((agent, zeros.experience), (other, map_structure(np.ascontiguousarray, zeros.experience))):
        train(one, zeros, batch)
    for update in range(3):
        experience.insert([rollout_of(agent, rng, is_stacked)])
        for sample in experience.due(0.0, (update,)):
            assert isinstance(sample.experience, Transition)
            image = sample.experience.next_time_step.observation
            assert image.shape == (3, 8, SIZE, SIZE, 4)
            assert np.moveaxis(image, -1, 2).flags.c_contiguous
            losses = [
                train(agent, sample, sample.experience),
                train(other, sample, map_structure(np.ascontiguousarray, sample.experience)),
            ]
            assert losses[0] == losses[1] > 0
    for path, value in variables_of(other).items():
        np.testing.assert_array_equal(variables_of(agent)[path], value, err_msg=path)
    assert agent.tracing_count == other.tracing_count == 1
