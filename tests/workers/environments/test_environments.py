from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_envs import (
    NO_RESET_MODE,
    NO_SUCH_MODULE,
    NOT_INSTALLED,
    SAME_STEP,
    SPACES,
    STREAM,
)
from toy_policies import empty_weights, kept, rollout_bytes, scripted_collector

from distpolicy.errors import ConfigError
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import StepType
from workers.environments.batched import VectorEnvironment
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.environments.sync import SyncEnvironment


@pytest.mark.parametrize(("env_id", "mode"), [("CartPole-v1", "vector_entry_point"), ("Pendulum-v1", "sync")])
def test_auto_takes_the_envs_own_vectorised_form_if_there_is_one(env_id: str, mode: str) -> None:
    factory = EnvironmentFactory(env_id)
    assert factory.resolved_vectorization() == mode
    environment = factory(2)
    assert type(environment) is (SyncEnvironment if mode == "sync" else VectorEnvironment)
    environment.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_named_vectorization_is_taken_instead_of_auto(mode: Any) -> None:
    assert EnvironmentFactory("CartPole-v1", mode).resolved_vectorization() == mode


def test_async_slots_return_the_data_of_sync_slots() -> None:
    found = {}
    for mode in ("sync", "async"):
        factory = EnvironmentFactory("Pendulum-v1", mode)  # type: ignore[arg-type]
        collector = scripted_collector(factory, num_slots=2, num_steps=205)
        found[mode] = kept(collector.rollout(empty_weights())[0])
        collector.close()
    assert (found["async"].step_type == StepType.LAST).sum() == 2
    assert (found["async"].discount == 1).all()
    assert rollout_bytes(found["async"]) == rollout_bytes(found["sync"])


def test_own_vectorised_form_streams_first_mid_last_first() -> None:
    collector = scripted_collector(EnvironmentFactory("CartPole-v1"), num_slots=3, num_steps=60)
    rollout, report = collector.rollout(empty_weights())
    kinds = rollout.step_type
    assert (kinds[:, 0] == StepType.FIRST).all()
    before, after = kinds[:, :-1], kinds[:, 1:]
    assert (before == StepType.LAST).sum() > 2
    np.testing.assert_array_equal(after == StepType.FIRST, before == StepType.LAST)
    np.testing.assert_array_equal(rollout.reward, before != StepType.LAST)
    np.testing.assert_array_equal(rollout.discount, after != StepType.LAST)
    assert report.num_env_steps == rollout.reward.sum()


def test_slots_of_an_own_vectorised_form_begin_differently_and_by_the_seed() -> None:
    def first_observation(seed: int) -> np.ndarray:
        collector = scripted_collector(EnvironmentFactory("CartPole-v1"), num_slots=3, num_steps=1, seed=seed)
        return np.array(collector.rollout(empty_weights())[0].observation[:, 0])

    assert len(np.unique(first_observation(0), axis=0)) == 3
    np.testing.assert_array_equal(first_observation(0), first_observation(0))
    assert (first_observation(0) != first_observation(1)).any()


def test_kwargs_reach_the_env() -> None:
    factory = EnvironmentFactory(STREAM, kwargs={"terminate_after": 1, "truncate_after": 1})
    rollout, _ = scripted_collector(factory, num_slots=1, num_steps=40).rollout(empty_weights())
    lengths = np.diff(np.flatnonzero(rollout.step_type[0] == StepType.FIRST)) - 1
    assert lengths.max() <= 3


def test_an_episode_limit_given_as_kwarg_truncates() -> None:
    factory = EnvironmentFactory("Pendulum-v1", kwargs={"max_episode_steps": 4})
    rollout, report = scripted_collector(factory, num_slots=1, num_steps=8).rollout(empty_weights())
    assert report.episode_lengths == [4]
    assert (rollout.discount == 1).all()


@pytest.mark.parametrize(
    ("env_id", "mode"),
    [
        ("CartPole-v1", "vector_entry_point"),
        ("CartPole-v1", "sync"),
        ("CartPole-v1", "async"),
        ("evaluation_envs:Endless", "auto"),
    ],
)
def test_a_limit_of_steps_truncates_in_every_form(env_id: str, mode: Any) -> None:
    factory = EnvironmentFactory(env_id, mode, max_episode_steps=4)
    collector = scripted_collector(factory, num_slots=2, num_steps=10)
    rollout, report = collector.rollout(empty_weights())
    collector.close()
    assert report.episode_lengths == [4] * 4
    assert (rollout.discount == 1).all()


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_a_limit_of_steps_does_not_raise_the_envs_own(mode: Any) -> None:
    factory = EnvironmentFactory("CartPole-v1", mode, {"max_episode_steps": 3}, max_episode_steps=1_000)
    _, report = scripted_collector(factory, num_slots=1, num_steps=12).rollout(empty_weights())
    assert report.episode_lengths == [3] * 3


def test_an_env_id_may_name_the_module_that_registers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_that_registers.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('RegisteredOnImport-v0', 'gymnasium.envs.classic_control.pendulum:PendulumEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    time_step_spec, _ = probe(EnvironmentFactory("module_that_registers:RegisteredOnImport-v0"))
    assert time_step_spec.observation.shape == (3,)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (EnvironmentFactory("NoSuchEnv-v0"), r"unknown env 'NoSuchEnv-v0': .*doesn't exist"),
        (EnvironmentFactory("CartPole-v77"), r"unknown env 'CartPole-v77': .*version"),
        (EnvironmentFactory("not an id!"), r"unknown env 'not an id!'"),
        (EnvironmentFactory("no_such_module:Env-v0"), r"no_such_module"),
        (EnvironmentFactory("module_nobody_has:make_env"), r"module_nobody_has"),
        (
            EnvironmentFactory("toy_envs:NoSuchFactory"),
            r"unknown env 'toy_envs:NoSuchFactory': toy_envs has no NoSuchFactory, and registers no",
        ),
        (EnvironmentFactory("toy_envs:no_env"), r"expected a gymnasium.Env from what the env names, got a str: '"),
        (EnvironmentFactory("CartPole"), r"unknown env 'CartPole': .*; did you mean CartPole-v1\?$"),
        (EnvironmentFactory("Pendulm-v1"), r"unknown env 'Pendulm-v1'.*Pendulum"),
        (
            EnvironmentFactory("CartPole-v1", wrappers=('gymnasium.wrappers.TimeLimit{"max": 3}',)),
            r"^wrapper gymnasium.wrappers.TimeLimit cannot be made with the arguments \{'max': 3\}: TypeError: .*max",
        ),
        (EnvironmentFactory(NOT_INSTALLED), r"needs a package that is not installed: .*pip install box3d"),
        (EnvironmentFactory(NO_SUCH_MODULE), r"package_that_nobody_installed"),
        (EnvironmentFactory("Pendulum-v1", "vector_entry_point"), r"no vectorised form; use --vectorization sync"),
        (EnvironmentFactory("Pendulum-v1", kwargs={"gravity": 9.8}), r"does not take the arguments.*gravity"),
        (EnvironmentFactory("CartPole-v1", kwargs={"gravity": 9.8}), r"does not take the arguments.*gravity"),
        (EnvironmentFactory("Pendulum-v1", kwargs={"num_envs": 3}), r"does not take the arguments.*num_envs"),
        (EnvironmentFactory("FrozenLake-v1", kwargs={"map_name": "9x9"}), r"FrozenLake-v1.*9x9"),
        (EnvironmentFactory(SAME_STEP), r"resets by .*SAME_STEP.*; only AutoresetMode.NEXT_STEP"),
    ],
    ids=lambda value: value.env_id if isinstance(value, EnvironmentFactory) else "",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # half-made CartPoleVectorEnv
def test_an_env_that_cannot_be_made_is_refused_with_what_to_change(factory: EnvironmentFactory, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        probe(factory)
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:.*missing AutoresetMode metadata")
def test_an_env_that_does_not_say_how_it_resets_is_refused() -> None:
    with pytest.raises(ConfigError, match="resets by None"):
        probe(EnvironmentFactory(NO_RESET_MODE))


@pytest.mark.parametrize("arguments", [{"observation": "text"}, {"action": "text"}])
def test_spaces_without_specs_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=rf"env {SPACES}.*({'|'.join(arguments)})"):
        probe(EnvironmentFactory(SPACES, kwargs=arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "bools"}, "action of dtype bool; declare it as MultiBinary"),
        ({"action": "counter"}, "with 2,147,483,648 integer values; training supports up to 10,000: narrow its bounds"),
        ({"observation": "empty"}, "has an empty observation_space"),
    ],
)
def test_what_no_network_takes_is_refused_in_training_alone(arguments: dict[str, str], message: str) -> None:
    factory = EnvironmentFactory(SPACES, kwargs=arguments)
    with pytest.raises(ConfigError, match=message):
        probe(factory)
    probe(factory, for_training=False)


@pytest.mark.parametrize("action", ["discrete", "box"])
def test_probe_tells_the_specs_of_a_supported_env(action: str) -> None:
    time_step_spec, action_spec = probe(EnvironmentFactory(SPACES, kwargs={"action": action}))
    assert time_step_spec.observation == BoundedArraySpec((2,), np.float32, -1.0, 1.0)
    if action == "discrete":
        assert action_spec == BoundedArraySpec((), np.int64, 0, 2)
    else:
        assert action_spec == BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def test_environment_tells_its_name_and_number_of_slots_and_closes_twice() -> None:
    environment = EnvironmentFactory(STREAM)(3)
    assert (environment.name, environment.num_slots) == (STREAM, 3)
    environment.close()
    environment.close()
