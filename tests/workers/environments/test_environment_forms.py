"""Which form of an environment is stepped, with which wrappers; and the forms of optional packages."""

from __future__ import annotations

import dataclasses
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environment_streams import FIRST, LAST, assert_is_stream, stream
from toy_envs import NEW_SAME_STEP, SAME_STEP, STREAM

from distpolicy.errors import ConfigError
from workers.environments.atari import AtariConfig
from workers.environments.batched import VectorEnvironment
from workers.environments.envpool import EnvPoolEnvironment
from workers.environments.factory import EnvironmentFactory
from workers.environments.single import WrapperConfig
from workers.environments.sync import SyncEnvironment

FLATTEN = "gymnasium.wrappers.FlattenObservation"


def needs(package: str) -> Any:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.mark.parametrize(
    ("factory", "mode", "why"),
    [
        (EnvironmentFactory("CartPole-v1"), "vector_entry_point", "own vectorised form is the fastest"),
        (EnvironmentFactory("CartPole-v1", wrappers=(FLATTEN,)), "sync", "wrappers are for single environments"),
        (EnvironmentFactory("Pendulum-v1"), "sync", "no vectorised form"),
        (EnvironmentFactory("toy_envs:StreamEnv"), "sync", "no vectorised form; async gives each slot a process"),
        (EnvironmentFactory(SAME_STEP), "vector_entry_point", "no other form"),
        (EnvironmentFactory("CartPole-v1", "async"), "async", "as asked for"),
        (
            EnvironmentFactory("CartPole-v1", wrappers=("gymnasium.wrappers.vector.RecordEpisodeStatistics",)),
            "vector_entry_point",
            "own vectorised form is the fastest",
        ),
    ],
)
def test_the_form_is_told_with_its_reason(factory: EnvironmentFactory, mode: str, why: str) -> None:
    assert factory.resolved_vectorization() == mode
    assert factory.describe().startswith(f"{mode} (")
    assert why in factory.describe()


def test_a_factory_of_a_module_makes_envs_with_its_arguments() -> None:
    slots = EnvironmentFactory("toy_envs:StreamEnv", kwargs={"terminate_after": 1, "truncate_after": 1})(1)
    assert (type(slots), slots.name) == (SyncEnvironment, "toy_envs:StreamEnv")
    found = stream(slots, 6, [0])
    assert_is_stream(found)
    assert found.step_type[:, 0].tolist() == [FIRST, LAST] * 3


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_env_registered_in_this_process_only_is_known_to_slot_processes(mode: Any) -> None:
    found = stream(EnvironmentFactory(STREAM, mode)(2), 12, [0, 1])
    assert_is_stream(found)


def test_wrappers_go_around_each_env_from_the_inside_out() -> None:
    wrappers = (
        'gymnasium.wrappers.RescaleObservation{"min_obs": 0, "max_obs": 1}',
        WrapperConfig("gymnasium.wrappers:TimeAwareObservation", {"normalize_time": False}),
        {"name": "gymnasium.wrappers.TimeLimit", "kwargs": {"max_episode_steps": 3}},
    )
    slots = EnvironmentFactory("Pendulum-v1", wrappers=wrappers)(2)
    found = stream(slots, 8, [0, 1])
    assert found.observation.shape == (8, 2, 4)
    assert found.observation[:4, 0, 3].tolist() == [0, 1, 2, 3]
    assert (found.step_type[3] == LAST).all()
    assert (found.discount == 1).all()


def test_vector_wrappers_go_around_the_vectorised_form() -> None:
    clip = 'gymnasium.wrappers.vector.ClipReward{"min_reward": 0, "max_reward": 0.25}'
    found = stream(EnvironmentFactory("CartPole-v1", wrappers=(clip,))(2), 5, [0, 1])
    assert found.reward.max() == 0.25


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (EnvironmentFactory("CartPole-v1", wrappers=("no.such.Wrapper",)), "unknown wrapper 'no.such.Wrapper'"),
        (EnvironmentFactory("CartPole-v1", wrappers=("Wrapper",)), "unknown wrapper 'Wrapper'"),
        (EnvironmentFactory("CartPole-v1", wrappers=("gymnasium.wrappers.NoSuch",)), "unknown wrapper"),
        (EnvironmentFactory("CartPole-v1", wrappers=("gymnasium.__version__",)), "is not a class"),
        (EnvironmentFactory("CartPole-v1", "vector_entry_point", wrappers=(FLATTEN,)), "use --vectorization sync"),
        (
            EnvironmentFactory("CartPole-v1", "sync", wrappers=("gymnasium.wrappers.vector.ClipReward",)),
            "is for vectorised environments; use --vectorization vector_entry_point",
        ),
        (
            EnvironmentFactory("CartPole-v1", wrappers=(".x.Y",)),
            r"wrapper .x.Y: '.x' is not the name of a .*: write x:Y$",
        ),
        (EnvironmentFactory("CartPole-v1", wrappers=("./x.py:Y",)), "wrapper ./x.py:Y: './x.py' is not .*: write x:Y$"),
        (
            EnvironmentFactory("CartPole-v1", wrappers=("raising_module.Y",)),
            "wrapper raising_module.Y: the module raising_module cannot be imported: OSError: no licence$",
        ),
    ],
)
def test_a_wrapper_that_cannot_be_is_refused(factory: EnvironmentFactory, message: str, raising_module: None) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        factory(1)
    assert "\n" not in str(caught.value)


@pytest.fixture
def raising_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that raises when it is imported."""
    (tmp_path / "raising_module.py").write_text("raise OSError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        (
            "./toy_envs.py:StreamEnv",
            "env ./toy_envs.py:StreamEnv: './toy_envs.py' is not .*: write toy_envs:StreamEnv$",
        ),
        (".toy_envs:StreamEnv", "'.toy_envs' is not the name of a module: write toy_envs:StreamEnv$"),
        ("toy_envs.py:StreamEnv", "'toy_envs.py' is not the name of a module: write toy_envs:StreamEnv$"),
        ("a/b.py:C", "'a/b.py' is not the name of a module: write b:C, and run the command in the folder of b.py$"),
        ("..:C", "'..' is not the name of a module: write module:C$"),
        (
            "raising_module:C",
            "env raising_module:C: the module raising_module cannot be imported: OSError: no licence$",
        ),
        ("toy_envs:no_such_id-v0", "toy_envs has no no_such_id-v0"),
    ],
)
def test_an_env_whose_module_cannot_be_imported_is_told_in_one_line(
    env_id: str, message: str, raising_module: None
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        EnvironmentFactory(env_id)(1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry_point", ["raising_module:Vector", "no_such_module:Vector", "toy_envs:NoSuchVector"])
def test_a_vectorised_form_that_cannot_be_imported_is_told_and_the_other_one_is_there(
    entry_point: str, raising_module: None
) -> None:
    name = "distpolicy-tests/HalfThere-v0"
    gym.register(name, "toy_envs:StreamEnv", vector_entry_point=entry_point)
    try:
        with pytest.raises(
            ConfigError, match=f"env {name} has a vectorised form, {entry_point}, that cannot"
        ) as caught:
            EnvironmentFactory(name).describe()
        assert "\n" not in str(caught.value)
        EnvironmentFactory(name, "sync")(1).close()
    finally:
        del gym.registry[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"a": 1, "a": 2}', "wrapper a.B: the arguments: the key 'a' occurs twice; leave one out"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' occurs twice"),
        ('{"a": ' + 100_000 * "[", "wrapper a.B: the arguments: it is nested more than 100 deep"),
        ('{"a": ' + 101 * "[" + 101 * "]" + "}", "it is nested more than 100 deep"),
        ('{"a": 1e999}', "1e999 is too large for a number"),
        ('{"a": ' + 5000 * "1" + "}", "wrapper a.B: the arguments: Exceeds the limit"),
        ('{"a": 1', "wrapper a.B: the arguments are not a JSON object"),
    ],
)
def test_arguments_of_a_wrapper_that_cannot_be_are_told_in_one_line(arguments: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        EnvironmentFactory("CartPole-v1", wrappers=(f"a.B{arguments}",))
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vectorization", ["sync", "async", "vector_entry_point"])
@pytest.mark.parametrize("seconds", [1e7, 1e12, float("inf")])
def test_a_step_may_take_as_long_as_it_likes(vectorization: Any, seconds: float) -> None:
    slots = EnvironmentFactory("CartPole-v1", vectorization, step_timeout_s=seconds)(2)
    try:
        slots.reset([0, 1])
        slots.step(np.zeros(2, np.int64))
    finally:
        slots.close()


@pytest.mark.parametrize("wrapper", ["a.B{", 7, {"kwargs": {}}, {"name": "a.B", "other": 1}])
def test_a_wrapper_that_cannot_be_read_is_refused(wrapper: Any) -> None:
    with pytest.raises(ConfigError, match="wrapper"):
        EnvironmentFactory("CartPole-v1", wrappers=(wrapper,))


@pytest.mark.parametrize("settings", [{"step_timeout_s": 0.0}, {"num_threads": 0}])
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        EnvironmentFactory("CartPole-v1", **settings)


def test_a_factory_is_small_and_survives_pickling() -> None:
    factory = EnvironmentFactory("CartPole-v1", wrappers=(FLATTEN,), kwargs={"sutton_barto_reward": True})
    data = pickle.dumps(factory)
    assert pickle.loads(data) == factory
    assert len(data) < 1000


def test_a_form_that_resets_within_the_step_is_made_to_reset_in_the_next() -> None:
    """Its slots begin their next episode before the stream can show FIRST: nothing done afterwards would be right."""
    slots = EnvironmentFactory(NEW_SAME_STEP)(2)
    assert isinstance(slots, VectorEnvironment)
    found = stream(slots, 12, [0, 1])
    assert_is_stream(found)
    # Observations count the steps of the episode: every one is there, the first and the last included.
    assert found.observation[:8, 0, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_slots_of_one_kind_share_no_data_with_the_number_of_slots() -> None:
    two = stream(EnvironmentFactory("Acrobot-v1", "sync")(2), 20, [7, 8], np.zeros(2, np.int64))
    for row, seed in enumerate([7, 8]):
        one = stream(EnvironmentFactory("Acrobot-v1", "sync")(1), 20, [seed], np.zeros(1, np.int64))
        np.testing.assert_array_equal(one.observation[:, 0], two.observation[:, row])


def test_make_single_gives_an_env_to_render(tmp_path: Path) -> None:
    env = EnvironmentFactory("toy_envs:StreamEnv", wrappers=(FLATTEN,)).make_single()
    assert isinstance(env, gym.wrappers.FlattenObservation)


PONG = "ALE/Pong-v5"
PONG_FORMS = ["sync", "async", "vector_entry_point", pytest.param("envpool", marks=needs("envpool"))]


@needs("ale_py")
@needs("cv2")
@pytest.mark.parametrize("mode", PONG_FORMS)
def test_atari_frames_are_prepared_alike_in_every_form(mode: Any) -> None:
    slots = EnvironmentFactory(PONG, mode)(2)
    spec = slots.time_step_spec.observation
    assert (spec.shape, spec.dtype, spec.maximum.max()) == ((84, 84, 4), np.uint8, 255)
    assert (slots.action_spec.minimum, slots.action_spec.maximum) == (0, 5)
    found = stream(slots, 40, [0, 1], np.zeros(2, np.int64))
    assert_is_stream(found)
    assert found.observation.dtype == np.uint8
    # The newest frame is the last, and moves on by one place a step.
    np.testing.assert_array_equal(found.observation[30, ..., 3], found.observation[31, ..., 2])
    assert found.observation[35:].std() > 1


@needs("ale_py")
def test_atari_takes_its_own_vectorised_form_with_a_seed_for_each_slot() -> None:
    factory = EnvironmentFactory(PONG)
    assert factory.resolved_vectorization() == "vector_entry_point"
    assert factory.with_seed_for_each_slot() == factory
    action = np.zeros(2, np.int64)
    two, swapped = (stream(factory(2), 12, seeds, action).observation for seeds in ([7, 8], [8, 7]))
    np.testing.assert_array_equal(two, swapped[:, ::-1])
    assert (two[:, 0] != two[:, 1]).any()


@needs("ale_py")
@needs("cv2")
def test_atari_settings_are_heeded() -> None:
    config = AtariConfig(screen_size=32, frame_stack=2, channels_last=False)
    for mode in ("sync", "vector_entry_point"):
        slots = EnvironmentFactory(PONG, mode, atari=config)(1)  # type: ignore[arg-type]
        assert slots.time_step_spec.observation.shape == (2, 32, 32)
        slots.close()
    raw = EnvironmentFactory(PONG, atari=None)
    assert raw.resolved_vectorization() == "sync"
    slots = raw(1)
    assert slots.time_step_spec.observation.shape == (210, 160, 3)
    slots.close()
    with pytest.raises(ConfigError, match="always preprocesses frames"):
        dataclasses.replace(raw, vectorization="vector_entry_point")(1)


@pytest.mark.parametrize("settings", [{"frame_skip": 0}, {"screen_size": 0}, {"frame_stack": 0}, {"noop_max": -1}])
def test_atari_settings_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        AtariConfig(**settings)  # type: ignore[arg-type]


def test_atari_settings_are_refused_for_another_environment() -> None:
    assert EnvironmentFactory("CartPole-v1", atari=AtariConfig()).env_id == "CartPole-v1"
    with pytest.raises(ConfigError, match=r"not for env CartPole-v1: leave it out"):
        EnvironmentFactory("CartPole-v1", atari=AtariConfig(screen_size=64))


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is not None, reason="ale_py is installed")
def test_atari_without_its_package_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'distpolicy\[atari\]'"):
        EnvironmentFactory(PONG)(1)


@needs("mujoco")
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_mujoco_envs_are_stepped(mode: Any) -> None:
    slots = EnvironmentFactory("HalfCheetah-v5", mode, {"max_episode_steps": 6})(2)
    assert slots.time_step_spec.observation.dtype == np.float64
    found = stream(slots, 10, [0, 1])
    assert_is_stream(found)
    assert (found.step_type[6] == LAST).all()


@needs("Box2D")
@needs("pygame")
def test_box2d_envs_are_stepped() -> None:
    found = stream(EnvironmentFactory("LunarLander-v3")(2), 150, [0, 1], np.zeros(2, np.int64))
    assert_is_stream(found)
    assert (found.step_type == LAST).any()


@needs("envpool")
def test_envpool_is_a_stream_with_a_seed_for_each_slot() -> None:
    factory = EnvironmentFactory("CartPole-v1", "envpool", num_threads=2)
    slots = factory(3)
    assert isinstance(slots, EnvPoolEnvironment)
    ones = np.ones(3, np.int64)
    found = stream(slots, 60, [5, 6, 7], ones)
    assert_is_stream(found)
    assert (found.step_type == LAST).sum() > 10
    ended = found.step_type == LAST
    assert (found.discount[ended] == 0).all()
    assert (found.reward[found.step_type != FIRST] == 1).all()
    again = stream(factory(2), 60, [6, 5], ones[:2])
    np.testing.assert_array_equal(again.observation, found.observation[:, [1, 0]])


@needs("envpool")
def test_envpool_truncates_with_discount_one() -> None:
    for factory in (
        EnvironmentFactory("Pendulum-v1", "envpool", {"max_episode_steps": 5}),
        EnvironmentFactory("Pendulum-v1", "envpool", max_episode_steps=5),
        EnvironmentFactory("Pendulum-v1", "envpool", {"max_episode_steps": 5}, max_episode_steps=1_000),
    ):
        check_truncated_after_five(factory)


def check_truncated_after_five(factory: EnvironmentFactory) -> None:
    found = stream(factory(2), 14, [1, 2])
    assert_is_stream(found)
    assert (found.step_type[5] == LAST).all()
    assert (found.discount == 1).all()


@needs("envpool")
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (EnvironmentFactory("NoSuchEnv-v0", "envpool"), "EnvPool has no env 'NoSuchEnv-v0'"),
        (EnvironmentFactory("CartPole-v1", "envpool", {"gravity": 1}), "does not take the arguments.*gravity"),
        (EnvironmentFactory("CartPole-v1", "envpool", wrappers=(FLATTEN,)), "EnvPool takes no wrappers"),
    ],
)
def test_an_envpool_that_cannot_be_made_is_refused(factory: EnvironmentFactory, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        factory(1)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("envpool") is not None, reason="envpool is installed")
def test_envpool_that_is_not_installed_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'distpolicy\[envpool\]'"):
        EnvironmentFactory("CartPole-v1", "envpool")(1)


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:system", "subprocess:run", "gymnasium:make_vec.__class__"])
def test_a_name_that_cannot_make_an_environment_is_refused_before_it_is_called(name: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    kwargs = {"args": ["touch", str(trap)]}
    with pytest.raises(ConfigError, match=f"env {name} is "):
        EnvironmentFactory(name, kwargs=kwargs)(1)
    assert not trap.exists()


def test_a_wrapper_that_is_not_one_is_refused_before_it_is_called() -> None:
    with pytest.raises(ConfigError, match=r"wrapper 'subprocess\.Popen' is not a subclass of gymnasium\.Env"):
        EnvironmentFactory("CartPole-v1", "sync", wrappers=("subprocess.Popen",))(1)
