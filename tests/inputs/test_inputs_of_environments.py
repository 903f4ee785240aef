"""Inputs of our own: environments with habits. README.md beside this file has the table."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import habit_envs as envs
import numpy as np
import pytest
from gymnasium.envs.registration import WrapperSpec

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper
from distpolicy.errors import ConfigError, DistPolicyError, EnvironmentCrashedError, SpecMismatchError
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import map_structure
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig, PolicyPair
from workers.collection.evaluator import Evaluator
from workers.environments.base import Environment
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.learning.learner import Learner
from workers.restart_budget import RestartBudgetConfig

S = gym.spaces
BYTES, SMALL, DIGIT = S.Box(0, 255, (2,), np.uint8), S.Box(-5, 5, (2,), np.int8), S.Discrete(5)
NONE = np.zeros(2, np.int64)


@pytest.fixture(autouse=True)
def numpy_errors_kept() -> Iterator[None]:
    with np.errstate():
        yield


def made(make: Any, mode: str = "sync", num_slots: int = 2) -> Environment:
    """Slots of environments that ``make`` makes."""
    return EnvironmentFactory("a", mode).with_callable(make)(num_slots)  # type: ignore[arg-type]


def stepped(make: Any, num_steps: int, mode: str = "sync", action: Any = NONE) -> tuple[Environment, list[TimeStep]]:
    """The slots after some steps, and copies of the time steps, the first one too."""
    slots = made(make, mode)
    try:
        steps = [map_structure(np.copy, slots.reset([3, 4]))]
        steps += [map_structure(np.copy, slots.step(action)) for _ in range(num_steps)]
    finally:
        slots.close()
    return slots, steps


def suite(make: Any, action: Any, num_steps: int = 1) -> TimeStep:
    env = GymnasiumWrapper(make())
    time_step = env.reset()
    for _ in range(num_steps):
        time_step = env.step(action)
    return time_step


@pytest.fixture
def registered() -> Iterator[None]:
    entry = {"entry_point": "habit_envs:Base", "vector_entry_point": "habit_envs:OneBufferVector"}
    gym.register("OneBuffer-v0", **entry)
    gym.register("Wrapped-v0", **entry, additional_wrappers=(WrapperSpec("AddsSeven", "habit_envs:AddsSeven", {}),))
    gym.register("Strays-v0", vector_entry_point="habit_envs:StraysVector")
    gym.register("OneMore-v0", vector_entry_point="habit_envs:OneMoreVector")
    yield
    for name in ("OneBuffer-v0", "Wrapped-v0", "Strays-v0", "OneMore-v0"):
        del gym.registry[name]


class _Twos:
    """A policy with its own array of actions."""

    is_thread_safe = True
    info_spec = ()

    def __init__(self) -> None:
        self._action = NONE.copy()

    def warm_up(self, num_slots: int) -> None: ...

    def get_initial_state(self, batch_size: int) -> Any:
        return ()

    def prepare_seeds(self, seeds: np.ndarray) -> np.ndarray:
        return seeds

    def action(self, time_step: TimeStep, state: Any, seed: Any) -> Any:
        return PolicyStep(self._action, (), ())


def collector_of(factory: EnvironmentFactory) -> Collector:
    """A collector of two slots and rollouts of four steps."""
    policy = _Twos()
    return Collector(CollectorConfig(0, 0, 2, 4, 0), factory, lambda *_: PolicyPair(policy, policy))


def crash_of(factory: EnvironmentFactory) -> EnvironmentCrashedError:
    """What the first rollout raises."""
    collector = collector_of(factory)
    try:
        with pytest.raises(EnvironmentCrashedError) as caught:
            collector.rollout()
    finally:
        collector.close()
    return caught.value


# Numbers without a dtype, and numbers that are cast.


@pytest.mark.parametrize(
    ("space", "value", "told"),
    [
        (SMALL, [1, 300], "int8 does not hold 300"),
        (S.Discrete(5, dtype=np.int8), 300, "int8 does not hold 300"),
        (BYTES, [1, -1], "uint8 does not hold -1"),
        (DIGIT, 1.5, "int64 does not hold 1.5"),
        (S.MultiDiscrete([5, 5]), [1.7, 2.0], "int64 does not hold 1.7"),
        (DIGIT, float("nan"), "int64 does not hold nan"),
    ],
)
@pytest.mark.parametrize("form", ["sync", "suite"])
def test_a_number_that_its_space_does_not_hold_is_told(space: gym.Space, value: Any, told: str, form: str) -> None:
    play = partial(suite, action=np.int64(0)) if form == "suite" else partial(stepped, num_steps=1)
    with pytest.raises(DistPolicyError, match=rf"returned observation as a .* as its observation_space says: {told}"):
        play(partial(envs.Observes, space, value))


def test_an_environment_in_a_process_of_its_own_tells_it_too() -> None:
    with pytest.raises(EnvironmentCrashedError, match="int8 does not hold 300"):
        stepped(partial(envs.Observes, SMALL, [1, 300]), 1, "async")


@pytest.mark.parametrize(
    ("space", "value"), [(BYTES, [1, 255]), (SMALL, (-5, 5)), (S.MultiBinary(2), [True, False]), (DIGIT, 3.0)]
)
def test_a_number_without_a_dtype_is_taken_if_its_space_holds_it(space: gym.Space, value: Any) -> None:
    make = partial(envs.Observes, space, value)
    observations = [stepped(make, 1)[1][1].observation[1], suite(make, np.int64(0)).observation]
    for observation in observations:
        assert observation.dtype == space.dtype
        np.testing.assert_array_equal(observation, value)


def test_suite_gym_does_not_cut_or_wrap_an_array_of_another_dtype() -> None:
    with pytest.raises(SpecMismatchError, match=r"uint8 does not hold 300\.0"):
        suite(partial(envs.Observes, BYTES, np.array([300.0, 0.0])), np.int64(0))
    whole = suite(partial(envs.Observes, BYTES, np.array([200.0, 0.0])), np.int64(0)).observation
    assert (whole.dtype, whole.tolist()) == (np.uint8, [200, 0])


# Integers that are not in their space: a network would see zeros.

BOTH = S.Dict({"goal": S.Discrete(3), "other": S.Box(-1, 1, (2,), np.float32)})
STRAYING: list[tuple[gym.Space, Any, Any, str]] = [
    (DIGIT, 0, 7, r"observation outside its bounds \[0, 4\]: 7"),
    (S.Discrete(3, start=5), 5, np.int64(4), r"observation outside its bounds \[5, 7\]: 4"),
    (S.MultiDiscrete([3, 9]), [2, 8], [2, 9], r"observation outside its bounds \[0, 8\]: 9"),
    (S.MultiBinary(2), [0, 1], [0, -1], r"observation outside its bounds \[0, 1\]: -1"),
    (S.Box(0, 300_000_000, (1,), np.int32), [0], [300_000_001], r"bounds \[0, 300000000\]: 300000001"),
    (BOTH, {"goal": 2, "other": np.zeros(2, np.float32)}, {"goal": 3, "other": np.ones(2, np.float32)}, "/goal out"),
]


@pytest.mark.parametrize(("space", "good", "bad", "told"), STRAYING)
def test_an_integer_outside_its_space_is_told_with_slot_and_step(
    space: gym.Space, good: Any, bad: Any, told: str
) -> None:
    make = partial(envs.Strays, space, good, bad)
    error = crash_of(EnvironmentFactory("a", "sync").with_callable(make))
    assert re.search(told, error.message)
    assert (error.slot, error.step) == (0, 2)
    with pytest.raises(SpecMismatchError, match=told):
        suite(make, np.int64(0), 3)


@pytest.mark.usefixtures("registered")
def test_so_is_one_of_a_process_and_of_a_vectorised_form() -> None:
    error = crash_of(EnvironmentFactory("a", "async").with_callable(partial(envs.Strays, DIGIT, 0, 7)))
    assert "returned observation outside its bounds [0, 4]: 7" in error.message
    assert (error.slot, error.step) == (0, 2)
    error = crash_of(EnvironmentFactory("Strays-v0"))
    assert error.message == "env Strays-v0 returned observation outside its bounds [0, 4]: 5"
    assert (error.slot, error.step) == (1, 2)


def test_an_integer_outside_its_space_from_reset_is_told() -> None:
    assert crash_of(EnvironmentFactory("a", "sync").with_callable(partial(envs.Observes, DIGIT, 5))).step == 0


def test_an_evaluation_tells_it_at_once() -> None:
    factory = EnvironmentFactory("a", "sync").with_callable(partial(envs.Strays, DIGIT, 0, 7))
    with pytest.raises(EnvironmentCrashedError, match=r"bounds \[0, 4\]: 7 \(in an evaluation\)") as caught:
        Evaluator(factory, _Twos(), num_envs=2).evaluate(4)
    assert (caught.value.slot, caught.value.step) == (0, 2)


def test_floats_may_be_outside_their_bounds() -> None:
    space, outside = envs.Base.observation_space, np.full(2, 9.0, np.float32)
    make = partial(envs.Strays, space, np.zeros(2, np.float32), outside)
    collector = collector_of(EnvironmentFactory("a", "sync").with_callable(make))
    assert collector.rollout()[0].observation.max() == 9.0
    collector.close()
    assert suite(make, np.int64(0), 3).observation.max() == 9.0


def test_a_failure_in_the_first_rollout_is_told_as_one() -> None:
    # What has not been collected yet is 0, which this space does not hold.
    strict = RestartBudgetConfig(max_restarts=0)
    factory = EnvironmentFactory("a", "sync", restarts=strict)
    error = crash_of(factory.with_callable(partial(envs.Strays, S.Discrete(3, start=5), 5)))
    assert error.message.endswith("raised OSError in step: simulator gone")


# Dtypes and shapes that few spaces have

BIG_ENDIAN = S.Box(-1, 1, (3,), np.dtype(">f4"))


def test_numbers_in_the_other_byte_order_are_the_same_numbers() -> None:
    native = S.Box(-1, 1, (3,), np.float32)
    for mode in ("sync", "async"):
        steps = [stepped(partial(envs.Samples, space), 2, mode)[1] for space in (BIG_ENDIAN, native)]
        for found, expected in zip(*steps, strict=True):
            assert found.observation.dtype == np.float32
            np.testing.assert_array_equal(found.observation, expected.observation)
    single = suite(partial(envs.Observes, BIG_ENDIAN, np.arange(3, dtype=">f4") / 4), np.int64(0)).observation
    assert (single.dtype, single.tolist()) == (np.float32, [0.0, 0.25, 0.5])


@pytest.mark.parametrize(
    ("spaces", "told"),
    [
        ({"observation": S.Box(-1, 1, (2,), np.longdouble)}, "has observation of dtype float128; training supports"),
        ({"action": S.Box(-1, 1, (2,), np.longdouble)}, "has action of dtype float128; training supports"),
        (
            {"action": S.Dict({"arm": S.Box(-1, 1, (0,), np.float32)})},
            r"has action/arm of shape \(0,\), without an ele",
        ),
        ({"action": S.Dict({})}, r"has an empty action_space, Dict\(\); training needs an array at least"),
    ],
)
def test_what_no_network_takes_is_told_before_training(spaces: dict[str, gym.Space], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        probe(EnvironmentFactory("a", "sync").with_callable(partial(envs.Samples, **spaces)))


# Actions


def test_an_environment_may_change_its_action() -> None:
    action = np.ones((2, 2), np.float32)
    stepped(envs.ChangesItsAction, 2, action=action)
    # What a policy returns may be read-only.
    action.flags.writeable = False
    slots, _ = stepped(envs.ChangesItsAction, 2, action=action)
    assert not slots.faults
    own = np.ones(2, np.float32)
    suite(envs.ChangesItsAction, own)
    np.testing.assert_array_equal(action, np.ones((2, 2)))
    np.testing.assert_array_equal(own, np.ones(2))


def test_an_environment_may_change_the_leaves_of_its_action() -> None:
    action = {"keys": np.ones((2, 2), np.int8), "gears": np.ones((2, 2), np.int64)}
    stepped(envs.ChangesNestedAction, 1, action=action)
    own = map_structure(lambda leaf: leaf[0].copy(), action)
    suite(envs.ChangesNestedAction, own)
    assert all((leaf == 1).all() for leaf in (*action.values(), *own.values()))


def test_environments_of_one_batch_have_one_action_space() -> None:
    envs.ActionsGrow.made = 0
    with pytest.raises(EnvironmentCrashedError, match=r"has the action_space Discrete\(3\), and the first env another"):
        made(envs.ActionsGrow)
    with pytest.raises(EnvironmentCrashedError, match=r"has the action_space Discrete"):
        stepped(envs.ActionsGrow, 1, "async")


# Rewards, flags, infos


@pytest.mark.parametrize("reward", [10**400, "1", None, [1.0, 2.0]])
def test_a_reward_that_is_not_a_number_is_told_with_its_slot(reward: Any) -> None:
    with pytest.raises(EnvironmentCrashedError, match=r"as reward; it must be a number.*\(env slot 0\)"):
        stepped(partial(envs.Pays, reward), 1)
    with pytest.raises(SpecMismatchError, match="as reward; it must be a number"):
        suite(partial(envs.Pays, reward), np.int64(0))


def test_a_step_that_terminates_and_truncates_is_a_termination() -> None:
    last = stepped(envs.EndsTwice, 5)[1][-1]
    assert last.step_type.tolist() == [StepType.LAST] * 2
    assert (last.discount.tolist(), last.reward.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    last = suite(envs.EndsTwice, np.int64(0), 5)
    assert (last.step_type, last.discount, last.reward) == (StepType.LAST, 0.0, 1.0)


def test_an_info_may_hold_what_is_not_a_number_under_any_name() -> None:
    slots, _ = stepped(envs.TellsOddly, 5)
    assert slots.ended_infos == {row: {"distance, left": 2.5, "is_success": 1.0} for row in range(2)}


# Arrays that are used again


def test_observations_in_one_array_are_kept_apart() -> None:
    _, steps = stepped(envs.OneBuffer, 2)
    assert [step.observation[:, 0].tolist() for step in steps] == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    env = GymnasiumWrapper(envs.OneBuffer())
    first = env.reset().observation
    env.step(np.int64(0))
    assert first.tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("registered")
def test_a_rollout_of_a_vectorised_form_with_one_array_is_right() -> None:
    collector = collector_of(EnvironmentFactory("OneBuffer-v0"))
    try:
        rollouts = [collector.rollout()[0].observation[0, :, 0].tolist() for _ in range(2)]
    finally:
        collector.close()
    assert rollouts == [[0.0, 1.0, 2.0, 3.0, 4.0], [4.0, 5.0, 6.0, 7.0, 8.0]]


@pytest.mark.usefixtures("registered")
def test_wrappers_that_an_environment_is_registered_with_are_kept() -> None:
    factory = EnvironmentFactory("Wrapped-v0")
    assert factory.describe().startswith("sync (auto: the env is registered with wrappers")
    slots = factory(2)
    assert slots.reset([0, 1]).observation.min() == 7.0
    slots.close()
    with pytest.raises(ConfigError, match=r"env Wrapped-v0 is registered with wrappers.*use --vectorization sync"):
        EnvironmentFactory("Wrapped-v0", "vector_entry_point")(2)


@pytest.mark.usefixtures("registered")
def test_a_vectorised_form_of_another_size_is_told() -> None:
    with pytest.raises(ConfigError, match=r"form of env OneMore-v0 has 5 environments, and was asked for 4; use --vec"):
        EnvironmentFactory("OneMore-v0")(4)


# The process, and whole updates


ODD_ERRORS = [
    envs.Panic("no\nmemory"),
    asyncio.CancelledError(),
    envs.TellsNothing(),
    EOFError("the simulator is gone"),
    OSError("x" * 10**6),
]


def as_told(error: BaseException, call: str) -> str:
    text = "" if isinstance(error, envs.TellsNothing) else " ".join(str(error).split())
    text = text if len(text) < 3000 else f"{text[:2000]}..."
    return f"raised {type(error).__name__} in {call}{text and f': {text}'}"


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_any_kind_costs_its_episode(error: BaseException, mode: str) -> None:
    slots, steps = stepped(partial(envs.Fails, "step", error), 3, mode)
    assert steps[-1].step_type.tolist() == [StepType.LAST] * 2
    assert [fault.error for fault in slots.faults] == [as_told(error, "step")] * 2


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_any_kind_in_a_constructor_is_told(error: BaseException) -> None:
    with pytest.raises(ConfigError, match=f"cannot be made with the arguments .*{type(error).__name__}: ") as caught:
        made(partial(envs.Fails, "constructor", error))
    assert len(str(caught.value)) < 2500


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_whatever_close_raises_is_left(mode: str) -> None:
    for make in (envs.LeavesInClose, *(partial(envs.Fails, "close", error) for error in ODD_ERRORS)):
        slots, _ = stepped(make, 1, mode)
        slots.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_signals_still_reach_the_command(mode: str) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    probe(EnvironmentFactory("a", "sync").with_callable(envs.TakesSignals))
    stepped(envs.TakesSignals, 1, mode)
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_environment_that_leaves_costs_its_episode() -> None:
    slots, steps = stepped(envs.Leaves, 3)
    assert steps[-1].step_type.tolist() == [StepType.LAST] * 2
    assert [fault.error for fault in slots.faults] == ["raised SystemExit in step: 3"] * 2


@pytest.mark.parametrize("make", [envs.Deep, envs.OldGenerator])
def test_an_agent_learns_from_it(make: Any) -> None:
    agent = PPOConfig(num_minibatches=1, num_epochs=1, normalize_observations=True, normalize_rewards=True)
    config = TrainConfig(collectors=1, envs_per_collector=2, rollout_steps=8, jit_compile=False, agent=agent)
    factory = EnvironmentFactory("a", "sync").with_callable(make)
    collector = Collector(CollectorConfig(0, 0, 2, 8, 0), factory, PolicyFactory(config))
    try:
        learner = Learner(AgentFactory(config, EnvironmentSpecs(collector.time_step_spec, collector.action_spec)))
        weights, _ = learner.update(0.0, collector.rollout(learner.weights())[0])
        rollout, report = collector.rollout(weights)
        metrics = learner.update(0.5, rollout)[1]
    finally:
        collector.close()
    assert report.episode_returns == [5.0] * 2 or report.episode_returns == [5.0] * 4
    assert np.isfinite(metrics["loss"])
    assert not report.faults


@pytest.mark.parametrize(
    "agent",
    [
        PPOConfig(num_minibatches=2, num_epochs=2, normalize_observations=True, normalize_rewards=True),
        PPOConfig(num_minibatches=1, num_epochs=1, entropy_weight=0.01),
        ReinforceConfig(entropy_weight=0.01),
        ImpalaConfig(normalize_observations=True, normalize_rewards=True),
        APPOConfig(num_minibatches=1, num_epochs=1),
    ],
    ids=["normalised", "plain", "reinforce", "impala", "appo"],
)
def test_an_action_without_a_choice_and_episodes_of_one_step_keep_learning_finite(agent: AgentConfig) -> None:
    config = TrainConfig(collectors=1, envs_per_collector=2, rollout_steps=8, jit_compile=False, agent=agent)
    factory = EnvironmentFactory("a", "sync").with_callable(envs.FixedJoint)
    collector = Collector(CollectorConfig(0, 0, 2, 8, 0), factory, PolicyFactory(config))
    learner = Learner(AgentFactory(config, EnvironmentSpecs(collector.time_step_spec, collector.action_spec)))
    weights = learner.weights()
    try:
        for update in range(3):
            weights, result = learner.update(update / 3, collector.rollout(weights)[0])
    finally:
        collector.close()
    assert np.isfinite(list(result.values())).all()
    assert all(np.isfinite(buffer).all() for buffer in weights.buffers.values())
