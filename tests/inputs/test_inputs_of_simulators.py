"""Inputs of our own: what simulators do to their arguments, their process and their flags. README.md has the table."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import habit_envs as envs
import numpy as np
import pytest

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError, DistPolicyError, EnvironmentCrashedError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.specs import spec_from_space
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import flatten
from launch.config.train import TrainConfig
from launch.supervision.faults import FaultTable, environment_fault, note_fault
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.collection.evaluator import EvaluationResult, Evaluator
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner

S = gym.spaces
NONE = np.zeros(2, np.int64)
VECTOR_FORMS = ("EndsNever", "ChangesItsArgumentsVector", "LeavesItsReward", "ResetsWithNaN", "StaysEnded")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(gym.registry)
    for name in VECTOR_FORMS:
        gym.register(f"{name}-v0", vector_entry_point=f"habit_envs:{name}")
    gym.register("Changes-v0", "habit_envs:ChangesItsArguments")
    gym.register("Limited-v0", "habit_envs:Base", vector_entry_point="habit_envs:EndsNever", max_episode_steps=3)
    yield
    gym.registry.clear()
    gym.registry.update(before)
    socket.setdefaulttimeout(None)


def of(make: Any, mode: str = "sync", **settings: Any) -> EnvironmentFactory:
    return EnvironmentFactory("a", mode, **settings).with_callable(make)  # type: ignore[arg-type]


def played(factory: EnvironmentFactory, num_episodes: int = 4) -> EvaluationResult:
    """The result of a random policy, whose specs were read before."""
    specs = probe(factory, for_training=False)
    return Evaluator(factory, RandomPyPolicy(*specs, seed=1), num_envs=2).evaluate(num_episodes)


# Arguments


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_every_environment_gets_the_arguments_that_were_given(mode: str) -> None:
    given: dict[str, Any] = {"config": {"length": 3, "rewards": [1.0]}}
    for factory in (
        of(envs.ChangesItsArguments, mode, kwargs=given),
        EnvironmentFactory("Changes-v0", mode, kwargs=given),  # type: ignore[arg-type]
        of(partial(envs.ChangesItsArguments, **given), mode),
        of(partial(envs.ChangesItsArguments, given["config"]), mode),
    ):
        result = played(factory)
        assert (result.lengths, result.returns) == ([3] * 4, [6.0] * 4)
    assert given == {"config": {"length": 3, "rewards": [1.0]}}


def test_so_does_every_wrapper_and_every_vectorised_form() -> None:
    wrapper = {"name": "habit_envs:ChangesItsArgumentsToo", "kwargs": {"scales": [1.0]}}
    assert played(of(envs.Base, wrappers=(wrapper,))).returns == [15.0] * 4
    factory = EnvironmentFactory("ChangesItsArgumentsVector-v0", kwargs={"config": {"length": 3}})
    assert [played(factory).lengths for _ in range(2)] == [[3] * 4] * 2


# Vectorised forms


def test_the_limit_of_an_id_holds_though_its_vectorised_form_does_not_know_it() -> None:
    factory = EnvironmentFactory("Limited-v0")
    assert factory.describe().startswith("sync (auto: the env's vectorised form has no argument max_episode_steps")
    assert played(factory).lengths == [3] * 4
    with pytest.raises(
        ConfigError, match=r"Limited-v0 has a limit of 3 steps, and its vectorised form has no argument"
    ):
        EnvironmentFactory("Limited-v0", "vector_entry_point")(2)
    factory = EnvironmentFactory("Limited-v0", max_episode_steps=2)
    assert factory.describe().startswith("sync (auto: the env's vectorised form has no argument max_episode_steps")
    assert played(factory).lengths == [2] * 4
    with pytest.raises(ConfigError, match=r"Limited-v0 is asked for a limit of 2 steps, and its vectorised form has"):
        EnvironmentFactory("Limited-v0", "vector_entry_point", max_episode_steps=2)(2)


@pytest.mark.parametrize("name", ["LeavesItsReward-v0", "ResetsWithNaN-v0"])
def test_the_step_that_resets_has_no_reward(name: str) -> None:
    slots = EnvironmentFactory(name)(2)
    slots.reset([0, 1])
    steps = [slots.step(NONE) for _ in range(5)]
    assert [step.step_type[1] for step in steps] == [1, 1, 2, 0, 1]
    assert [step.reward[1] for step in steps] == [1.0, 1.0, 1.0, 0.0, 1.0]
    assert [step.discount[1] for step in steps] == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_an_episode_that_ends_in_the_step_that_begins_it_is_told() -> None:
    slots = EnvironmentFactory("StaysEnded-v0")(2)
    slots.reset([0, 1])
    for _ in range(3):
        slots.step(NONE)
    with pytest.raises(EnvironmentCrashedError, match=r"terminated or truncated in the step that resets it.*slot 0"):
        slots.step(NONE)


# Spaces


def test_spaces_that_come_with_the_first_reset_are_told() -> None:
    with pytest.raises(
        ConfigError, match=r"observation space is None, not a space of Gymnasium; an environment sets bo"
    ):
        probe(of(envs.SpacesLater))


def test_a_space_that_changes_with_an_episode_is_told() -> None:
    with pytest.raises(
        EnvironmentCrashedError, match=r"float32 \(3,\), not float32 \(2,\) as its observation_space sa"
    ):
        played(of(envs.OtherSpaceLater))


F, D, LEAST, MOST = np.finfo(np.float32).max, np.finfo(np.float64).max, -(2**63), 2**63 - 1
FAR: list[tuple[gym.Space, Any, gym.Space]] = [
    # As many environments write "no bound".
    (S.Box(-F, F, (2,)), np.array([F, -F], np.float32), S.Box(-F, F, (2,))),
    (S.Box(-D, D, (2,), np.float64), np.array([D, -D]), S.Box(-D, D, (2,), np.float64)),
    (S.Box(LEAST, MOST, (2,), np.int64), [LEAST, MOST], S.Box(LEAST, MOST, (2,), np.int64)),
    (S.Box(0, 2**64 - 1, (1,), np.uint64), np.array([2**64 - 1], np.uint64), S.Box(0, 2**64 - 1, (1,), np.uint64)),
    (S.Box(-128, 127, (2,), np.int8), [-128, 127], S.Box(-128, 127, (300,), np.int8)),
    (S.Discrete(3, start=2**62), 2**62 + 2, S.Discrete(3, start=2**62)),
    (S.Discrete(MOST), MOST - 1, S.Discrete(MOST)),
    (S.Discrete(2, start=254, dtype=np.uint8), np.uint8(255), S.MultiDiscrete([[2, 3], [4, 5]], dtype=np.uint8)),
]


@pytest.mark.parametrize(("observation", "value", "action"), FAR)
def test_the_ends_of_every_dtype_are_values_like_others(observation: gym.Space, value: Any, action: gym.Space) -> None:
    make = partial(envs.ChecksItsAction, observation, value, action)
    result = played(of(make))
    assert (result.returns, result.num_repeated) == ([5.0] * 4, 0)
    slots = of(make)(1)
    found = slots.reset([0]).observation[0]
    assert (found.dtype, found.tolist()) == (observation.dtype, np.asarray(value).tolist())
    slots.close()


def test_the_bounds_of_a_space_at_the_end_of_its_dtype_are_exact() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = spec_from_space(S.Discrete(6, start=250, dtype=np.uint8))
    assert (spec.minimum.item(), spec.maximum.item()) == (250, 255)


# Processes


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_environment_may_keep_its_action(mode: str) -> None:
    slots = of(envs.KeepsItsAction, mode)(2)
    slots.reset([0, 1])
    seen = [slots.step(np.full((2, 2), step / 4, np.float32)).observation[1, 0].item() for step in range(1, 4)]
    slots.close()
    assert seen == [0.0, 0.25, 0.5]


def test_a_timeout_of_all_sockets_does_not_reach_those_of_async() -> None:
    slots = of(envs.SetsTimeout, "async")(2)
    slots.reset([0, 1])
    steps = [slots.step(NONE) for _ in range(2)]
    slots.close()
    assert [step.step_type.tolist() for step in steps] == [[StepType.MID] * 2] * 2
    assert not slots.faults


def test_a_process_that_ends_after_its_answer_costs_nothing_of_that_step() -> None:
    slots = of(envs.EndsLater, "async")(2)
    slots.reset([0, 1])
    first = slots.step(NONE)
    assert (first.step_type.tolist(), first.reward.tolist()) == ([StepType.MID] * 2, [1.0, 1.0])
    assert not slots.faults
    second = slots.step(NONE)
    assert (second.step_type.tolist(), slots.cuts.tolist()) == ([StepType.LAST, StepType.MID], [True, False])
    assert [(fault.slot, fault.error) for fault in slots.faults] == [(0, "ended its process in step")]
    third = slots.step(NONE)
    slots.close()
    assert third.step_type.tolist() == [StepType.FIRST, StepType.MID]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_error_that_names_a_file_of_another_encoding_can_be_written(mode: str, tmp_path: Path) -> None:
    slots = of(envs.NamesAFile, mode)(1)
    slots.reset([0])
    slots.step(NONE[:1])
    (fault,) = slots.faults
    slots.close()
    assert fault.error == "raised OSError in step: cannot open map\\udcff"
    table = FaultTable(tmp_path / "faults.csv")
    table.add(environment_fault("x", fault), update=1, steps=8, train_s=0.5)
    assert "cannot open map\\udcff" in (tmp_path / "faults.csv").read_text()
    written = note_fault(tmp_path / "faults", "x", fault.error, fault.traceback)
    assert written is not None
    assert "cannot open map" in written.read_text()


# Learning


def learned(make: Any, num_updates: int = 1) -> dict[str, float]:
    """The metrics of the last update of a small PPO."""
    agent = PPOConfig(num_minibatches=1, num_epochs=1, value_units=(4,))
    config = TrainConfig(
        collectors=1,
        envs_per_collector=2,
        rollout_steps=6,
        jit_compile=False,
        agent=agent,
        network=NetworkConfig(actor_units=(4,)),
    )
    factory = of(make)
    probe(factory)
    collector = Collector(CollectorConfig(0, 0, 2, 6, 0), factory, PolicyFactory(config))
    learner = Learner(AgentFactory(config, EnvironmentSpecs(collector.time_step_spec, collector.action_spec)))
    weights = learner.weights()
    metrics: dict[str, float] = {}
    try:
        for _ in range(num_updates):
            rollout, report = collector.rollout(weights)
            assert not report.faults, report.faults
            weights, metrics = learner.update(0.0, rollout)
    finally:
        collector.close()
    assert all(np.isfinite(buffer).all() for buffer in weights.buffers.values())
    return metrics


def test_a_float64_that_float32_does_not_hold_is_told_with_its_leaf() -> None:
    space = S.Dict({"far": S.Box(-np.inf, np.inf, (2,), np.float64), "near": S.Box(-1, 1, (1,))})
    value = {"far": np.array([1.0, -1e300]), "near": np.zeros(1, np.float32)}
    with pytest.raises(
        DistPolicyError, match=r"observation/far has a number of the size 1e\+300, which float32 does no"
    ):
        learned(partial(envs.Observes, space, value))


INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
EVERY_OBSERVATION = S.Dict(
    {np.dtype(kind).name: S.Box(np.iinfo(kind).min, np.iinfo(kind).max, (2,), kind) for kind in INTEGERS}
    | {
        "bool": S.Box(0, 1, (2,), np.bool_),
        "half": S.Box(-1, 1, (2,), np.float16),
        "double": S.Box(-np.inf, np.inf, (2,), np.float64),
        "depth": S.Box(0, 65535, (4, 4, 1), np.uint16),
        "square": S.MultiDiscrete([[2, 3], [4, 5]]),
        "far": S.Discrete(3, start=2**40),
    }
)
EVERY_ACTION = S.Dict(
    {
        "small": S.Discrete(3, dtype=np.int8),
        "byte": S.Box(0, 255, (2,), np.uint8),
        "signed": S.Box(-128, 127, (2,), np.int8),
        "one": S.Box(-3, 3, (), np.int16),
        "far": S.Discrete(3, start=2**40),
        "half": S.Box(-1, 1, (2,), np.float16),
        "double": S.Box(-1, 1, (2,), np.float64),
        "square": S.MultiDiscrete([[2, 3], [4, 5]], dtype=np.uint8),
    }
)


class _ChecksEvery(envs.Samples):
    """Observes samples of its space, and takes no action that its space does not hold."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert self.action_space.contains(action), action
        return super().step(action)


def test_a_random_policy_plays_with_every_dtype() -> None:
    result = played(of(partial(_ChecksEvery, EVERY_OBSERVATION, EVERY_ACTION)))
    assert (result.returns, result.num_repeated) == ([5.0] * 4, 0)
    dtypes = {leaf.dtype.name for leaf in flatten(spec_from_space(EVERY_OBSERVATION))}
    assert dtypes >= {np.dtype(kind).name for kind in INTEGERS}


@pytest.mark.slow
def test_an_agent_learns_with_every_dtype() -> None:
    assert np.isfinite(learned(partial(_ChecksEvery, EVERY_OBSERVATION, EVERY_ACTION), 2)["loss"])
