"""Inputs of our own: habits of other packages' environments and wrappers. README.md beside this file has the table."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import gymnasium as gym
import habit_envs as envs
import numpy as np
import pytest

from distpolicy.environments.gymnasium_wrapper import GymnasiumWrapper
from distpolicy.errors import ConfigError
from distpolicy.policies.random_py_policy import RandomPyPolicy
from workers.collection.evaluator import EvaluationResult, Evaluator
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe

S = gym.spaces
WRAPPERS = "gymnasium.wrappers."


def played(factory: EnvironmentFactory, num_episodes: int = 3) -> EvaluationResult:
    """The result of a random policy, whose specs were read before."""
    specs = probe(factory, for_training=False)
    return Evaluator(factory, RandomPyPolicy(*specs, seed=1), num_envs=2).evaluate(num_episodes)


def of(make: Any) -> EnvironmentFactory:
    return EnvironmentFactory("a", "sync").with_callable(make)


def told(factory: EnvironmentFactory) -> str:
    """What is told before anything is started."""
    with pytest.raises(ConfigError) as caught:
        probe(factory)
    return str(caught.value)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(gym.registry)
    for mode in gym.vector.AutoresetMode:
        name = f"Resets{mode.name.title().replace('_', '')}"
        gym.register(f"{name}-v0", "habit_envs:Base", vector_entry_point=f"habit_envs:{name}")
    gym.register("Alone-v0", vector_entry_point="habit_envs:ResetsDisabled")
    gym.register("shop/Spaced-v1", "habit_envs:Base")
    gym.register("shop/Spaced-v3", "habit_envs:Base")
    yield
    gym.registry.clear()
    gym.registry.update(before)


# Ids and arguments


@pytest.mark.parametrize("name", ["shop/Spaced-v1", "habit_envs:shop/Spaced-v3", "habit_envs:Base"])
def test_an_id_may_have_a_namespace_and_a_module(name: str) -> None:
    assert played(EnvironmentFactory(name)).returns == [5.0] * 3


@pytest.mark.parametrize(
    ("name", "hint"), [("shop/Spaced", "shop/Spaced-v3"), ("CartPole", "CartPole-v1"), ("habit_envs:CartPole", "v1?")]
)
def test_an_id_without_its_version_is_told_with_the_newest(name: str, hint: str) -> None:
    assert "unknown env" in (text := told(EnvironmentFactory(name)))
    assert "did you mean" in text
    assert hint in text


def test_an_argument_that_is_missing_is_told_with_the_option_for_it() -> None:
    text = told(of(envs.NeedsArguments))
    assert "missing 1 required positional argument: 'size'; give them by --env-kwargs NAME=VALUE" in text


def test_a_partial_has_the_name_of_what_it_calls() -> None:
    assert of(partial(partial(envs.NeedsArguments), size=3)).env_id == "habit_envs:NeedsArguments"


# Wrappers


@pytest.mark.parametrize(
    "wrapper",
    [
        'FrameStackObservation{"stack_size": 4}',
        'TimeAwareObservation{"flatten": false}',
        'DelayObservation{"delay": 2}',
        'StickyAction{"repeat_action_probability": 0.5}',
        'TimeLimit{"max_episode_steps": 3}',
        "FlattenObservation",
        "NormalizeObservation",
        "RecordEpisodeStatistics",
        "Autoreset",
        "PassiveEnvChecker",
        "MaxAndSkipObservation",
    ],
)
def test_gymnasiums_wrappers_are_taken(wrapper: str) -> None:
    result = played(EnvironmentFactory("CartPole-v1", wrappers=(WRAPPERS + wrapper,)))
    assert result.num_repeated == 0
    assert len(result.returns) == 3


@pytest.mark.parametrize(
    ("wrapper", "reason"),
    [
        ("TransformReward", r"TypeError: TransformReward.__init__() missing 1 required positional argument: 'func'"),
        ("AddRenderObservation", "AssertionError: assert env.render_mode is not None"),
        ('RescaleObservation{"min_obs": 0, "max_obs": 1}', "AssertionError: assert"),
    ],
)
def test_a_wrapper_that_cannot_be_made_is_named_with_its_reason(wrapper: str, reason: str) -> None:
    text = told(EnvironmentFactory("CartPole-v1", wrappers=(WRAPPERS + wrapper,)))
    assert text.startswith(f"wrapper {WRAPPERS}{wrapper.partition('{')[0]} cannot be made with the arguments {{")
    assert reason in text


# Vectorised forms


@pytest.mark.parametrize("name", ["ResetsSameStep-v0", "ResetsDisabled-v0"])
def test_a_vectorised_form_that_resets_in_another_way_is_left_for_single_environments(name: str) -> None:
    factory = EnvironmentFactory(name)
    assert factory.describe().startswith("sync (auto: the env's vectorised form does not reset in the step after")
    assert played(factory).returns == [5.0] * 3
    assert "only AutoresetMode.NEXT_STEP is supported" in told(EnvironmentFactory(name, "vector_entry_point"))


def test_one_that_resets_in_the_next_step_is_taken_and_one_without_another_form_is_told() -> None:
    assert EnvironmentFactory("ResetsNextStep-v0").resolved_vectorization() == "vector_entry_point"
    assert "or use --vectorization sync" in told(EnvironmentFactory("Alone-v0"))


# Observations, rewards, infos


@pytest.mark.parametrize("make", [envs.Views, envs.ReadsLikeAnArray, envs.OtherOrder, envs.NamedPair, envs.Strict])
def test_observations_of_any_make_are_taken(make: Any) -> None:
    result = played(of(make))
    assert (result.returns, result.num_repeated) == ([5.0] * 3, 0)


def test_views_of_one_buffer_are_copied() -> None:
    slots = of(envs.Views)(1)
    slots.reset([0])
    for number in range(1, 4):
        seen = slots.step(np.zeros(1, np.int64)).observation
        assert seen["last"][0].tolist() == [number + 9, number + 6, number + 3]
        assert (seen["image"][0] == number).all()
    slots.close()


@pytest.mark.parametrize(
    "reward",
    [np.array(1.5), np.float64(1.5), np.array([[1.5]]), np.float16(1.5), Fraction(3, 2), Decimal("1.5")],
    ids=lambda reward: type(reward).__name__,
)
def test_a_number_of_any_type_is_a_reward(reward: Any) -> None:
    assert played(of(partial(envs.Pays, reward))).returns == [7.5] * 3
    env = GymnasiumWrapper(envs.Pays(reward))
    env.reset()
    step = env.step(np.int64(0))
    assert (step.reward, step.reward.dtype) == (1.5, np.float32)


def test_a_reward_that_float32_does_not_hold_is_infinite_without_a_warning() -> None:
    env = GymnasiumWrapper(envs.Pays(1e39))
    env.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert env.step(np.int64(0)).reward == np.inf


def test_infos_whose_keys_change_and_that_are_none_are_taken() -> None:
    assert played(of(envs.TellsNow)).info_means == {"step 5": 5.0, "one": 2.5, "count": 4.0, "won": 1.0}
    assert played(of(envs.TellsNone)).info_means == {}


def test_an_environment_that_seeds_the_global_generators_changes_nothing_of_ours() -> None:
    def drawn(make: Any) -> list[Any]:
        slots = of(make)(2)
        policy = RandomPyPolicy(*probe(of(make)), seed=3)
        step = slots.reset([0, 1])
        actions = []
        for _ in range(20):
            actions.append(policy.action(step).action.tolist())
            step = slots.step(np.array(actions[-1]))
        slots.close()
        return actions

    assert drawn(envs.SeedsGlobals) == drawn(envs.Base)


# Spaces


@pytest.mark.parametrize(
    "space",
    [
        S.Text(5),
        S.Sequence(S.Discrete(3)),
        S.Graph(S.Box(-1, 1, (2,)), S.Discrete(3)),
        S.OneOf((S.Discrete(2), S.Box(-1, 1, (2,)))),
    ],
    ids=lambda space: type(space).__name__,
)
def test_a_space_without_arrays_of_one_shape_is_told_with_a_way_out(space: gym.Space) -> None:
    name = type(space).__name__
    for role in ("observation", "action"):
        text = told(of(partial(envs.Samples, **{role: space})))
        assert f"{role} space {name} is not supported; use Box" in text
    text = told(of(partial(envs.Samples, S.Dict({"image": S.Box(-1, 1, (2,)), "mission": space}))))
    assert text.endswith("or leave mission out by the wrapper gymnasium.wrappers.FilterObservation")


def test_the_way_out_leads_out() -> None:
    space = S.Dict({"image": S.Box(-1, 1, (2,)), "mission": S.Text(5)})
    wrapper = f'{WRAPPERS}FilterObservation{{"filter_keys": ["image"]}}'
    factory = EnvironmentFactory("a", "sync", wrappers=(wrapper,)).with_callable(partial(envs.Samples, space))
    assert played(factory).returns == [5.0] * 3


def test_an_empty_observation_is_played_and_an_empty_action_is_told() -> None:
    assert played(of(partial(envs.Observes, S.Dict({}), {}))).returns == [5.0] * 3
    with pytest.raises(ConfigError, match=r"has an empty action_space, Tuple\(\)"):
        probe(of(partial(envs.Samples, action=S.Tuple(()))), for_training=False)


SPACES: list[tuple[gym.Space, Any, gym.Space]] = [
    (S.Discrete(5, start=5), 9, S.Discrete(3, start=7)),
    (S.MultiDiscrete([3, 4], start=[5, -2]), [7, 1], S.MultiDiscrete([2, 3], start=[-1, 10])),
    (S.Box(-np.inf, np.inf, (2,), np.int64), [-3, 10**12], S.Box(-2, 3, (2,), np.int32)),
    (
        S.Box(np.array([-np.inf, 0], np.float64), np.array([np.inf, 1])),
        [1e30, 0.5],
        S.Box(np.array([-np.inf, 0, -1, -np.inf], np.float32), np.array([np.inf, np.inf, 1, 3], np.float32)),
    ),
    (S.Box(-1, 1, ()), 0.5, S.Box(-1, 1, (), np.float64)),
]


@pytest.mark.parametrize(("observation", "value", "action"), SPACES)
def test_every_action_is_in_a_space_that_begins_or_ends_anywhere(
    observation: gym.Space, value: Any, action: gym.Space
) -> None:
    result = played(of(partial(envs.ChecksItsAction, observation, value, action)))
    assert (result.returns, result.num_repeated) == ([5.0] * 3, 0)
