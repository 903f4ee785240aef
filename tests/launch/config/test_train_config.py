from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.reinforce.config import ReinforceConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from launch.cli import run
from launch.commands.train import parse_train
from launch.config.codec import dump, from_dict, to_dict
from launch.config.presets import load_preset, preset_for, preset_names
from launch.config.train import TrainConfig, load_train_config
from workers.environments.atari import AtariConfig

PRESETS = (
    "acrobot-dqn",
    "acrobot-ppo",
    "appo",
    "bc",
    "bipedalwalker-ppo",
    "c51",
    "cartpole-appo",
    "cartpole-dqn",
    "cartpole-impala",
    "cartpole-ppo",
    "cartpole-reinforce",
    "cql",
    "ddpg",
    "dqn",
    "halfcheetah-ppo",
    "halfcheetah-sac",
    "hopper-ppo",
    "impala",
    "iql",
    "lunarlander-appo",
    "lunarlander-dqn",
    "lunarlander-ppo",
    "lunarlandercontinuous-sac",
    "lunarlandercontinuous-td3",
    "marwil",
    "mountaincar-dqn",
    "mountaincar-ppo",
    "mountaincarcontinuous-ppo",
    "mountaincarcontinuous-sac",
    "mountaincarcontinuous-td3",
    "pendulum-ppo",
    "pendulum-sac",
    "pendulum-td3",
    "pong-appo",
    "pong-ppo",
    "ppo",
    "r2d2",
    "reinforce",
    "repeat-previous-far-lstm",
    "repeat-previous-far-r2d2",
    "repeat-previous-lstm",
    "repeat-previous-r2d2",
    "sac",
    "stateless-cartpole-gru",
    "stateless-cartpole-lstm",
    "stateless-cartpole-lstm-appo",
    "stateless-cartpole-lstm-impala",
    "stateless-pendulum-lstm",
    "td3",
)

CUSTOM = TrainConfig(
    env="Pendulum-v1",
    env_kwargs={"g": 9.81, "name": "yes", "flag": True, "number": 3},
    vectorization="async",
    collectors=3,
    target_return=-200.0,
    address="auto",
    atari=AtariConfig(screen_size=42, clip_rewards=True),
    network=NetworkConfig(actor_units=(32, 16, 8), activation="relu", continuous="tanh_normal"),
    agent=PPOConfig(
        value_units=(), learning_rate=1e-7, num_minibatches=6, normalize_rewards=True, learning_rate_schedule="constant"
    ),
)


def reread(config: TrainConfig, folder: Path) -> TrainConfig:
    path = folder / "config.yaml"
    path.write_text(dump(config))
    return load_train_config(path)


def test_the_presets_are_those_that_are_documented() -> None:
    assert preset_names() == list(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    assert preset != TrainConfig()
    assert reread(preset, tmp_path) == preset


@pytest.mark.parametrize("config", [CUSTOM, TrainConfig()], ids=["custom", "default"])
def test_a_config_survives_being_written_and_read(config: TrainConfig, tmp_path: Path) -> None:
    again = reread(config, tmp_path)
    assert again == config
    assert type(again.network.actor_units) is tuple


def test_the_written_config_holds_every_setting(tmp_path: Path) -> None:
    values = yaml.safe_load(dump(CUSTOM))
    assert list(values) == [item.name for item in dataclasses.fields(TrainConfig)]
    assert list(values["agent"]) == ["kind", *(item.name for item in dataclasses.fields(PPOConfig))]
    assert list(values["atari"]) == [item.name for item in dataclasses.fields(AtariConfig)]
    assert list(values["network"]) == [item.name for item in dataclasses.fields(NetworkConfig)]


@settings(max_examples=15)
@given(
    rate=st.floats(min_value=1e-300, max_value=1e300),
    target=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    kwargs=st.dictionaries(st.text(), st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()),
    seed=st.integers(0, 2**64),
)
def test_any_number_and_text_survives_being_written_and_read(
    rate: float, target: float | None, kwargs: dict[str, Any], seed: int
) -> None:
    config = TrainConfig(env_kwargs=kwargs, target_return=target, seed=seed, agent=PPOConfig(learning_rate=rate))
    values = yaml.safe_load(dump(config))
    assert from_dict(TrainConfig, values, "text") == config


@pytest.mark.parametrize("agent", ["ppo", "reinforce"])
@pytest.mark.parametrize("env", [None, "CartPole-v1", "Taxi-v3"])
def test_every_env_has_a_preset_to_begin_from(env: str | None, agent: str) -> None:
    name = preset_for(env, agent)
    assert name == (agent if env == "Taxi-v3" else f"cartpole-{agent}")
    assert load_preset(name).agent.kind == agent


@pytest.mark.parametrize(
    "env",
    [
        "Acrobot-v1",
        "MountainCar-v0",
        "LunarLander-v3",
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "BipedalWalker-v3",
        "HalfCheetah-v5",
        "Hopper-v5",
        "ALE/Pong-v5",
    ],
)
def test_an_env_that_people_try_first_begins_from_a_preset_of_its_own(env: str) -> None:
    config = parse_train(["--env", env, "--seed", "3"]).config
    assert config == dataclasses.replace(load_preset(preset_for(env, "ppo") or ""), seed=3)
    assert config.env == env
    assert config != dataclasses.replace(load_preset("ppo"), env=env, seed=3)


def test_a_preset_is_for_one_version_of_its_env() -> None:
    assert preset_for("LunarLander-v3", "ppo") == "lunarlander-ppo"
    assert preset_for("LunarLander-v2", "ppo") == "ppo"
    assert preset_for("LunarLander-v3", "reinforce") == "reinforce"
    assert preset_for("my.module:LunarLander-v3", "ppo") == "ppo"
    assert preset_for("any", "ppo") == "ppo"


def test_an_agent_of_ones_own_begins_from_the_defaults() -> None:
    assert preset_for("CartPole-v1", "custom") is None
    config = parse_train(["--agent", "my.module:make", "--custom.kwargs", "rate", "0.5", "--seed", "3"]).config
    assert config == TrainConfig(seed=3, agent=CustomAgentConfig("my.module:make", {"rate": 0.5}))


def test_options_of_an_agent_begin_with_its_name() -> None:
    agent = parse_train(["--agent", "reinforce", "--reinforce.learning-rate", "0.5"]).config.agent
    assert agent == dataclasses.replace(load_preset("cartpole-reinforce").agent, learning_rate=0.5)
    assert parse_train(["--ppo.discount", "0.5"]).config.agent.reward_discount == 0.5
    with pytest.raises(ConfigError, match=r"--ppo\.discount"):
        parse_train(["--agent", "reinforce", "--ppo.discount", "0.5"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sarsa", "unknown agent 'sarsa'; there are appo, .*, ppo, .*, or give module:function"),
        (":make", "custom.factory must be module:function, but is ':make'"),
    ],
)
def test_an_agent_that_there_is_not_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_train(["--agent", name])


def test_a_config_says_which_agent_it_is_of() -> None:
    config = TrainConfig(agent=ReinforceConfig(discount=0.5))
    values = to_dict(config)
    assert values["agent"]["kind"] == "reinforce"
    assert from_dict(TrainConfig, values, "here") == config
    with pytest.raises(ConfigError, match=r"^here: agent: the key 'kind' is missing"):
        from_dict(TrainConfig, {"agent": {"discount": 0.5}}, "here")


@pytest.mark.parametrize("values", [{"slots": 32}, {"ppo": {"discount": 0.9}, "env": "CartPole-v1"}])
def test_a_run_of_the_last_version_is_told_by_its_name(values: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"config\.yaml was written by distpolicy before its settings got their"):
        load_train_config(path)


@pytest.mark.parametrize("command", ["train", "tune", "collect", "evaluate", "doctor", "submit"])
def test_help_fits_on_two_screens_and_names_the_way_to_all_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run([command, "--help"], 0.0)
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"distpolicy {command} --help-all lists all options." in text
    assert len(text.splitlines()) <= 66
    assert max(map(len, text.splitlines())) <= 100
    assert "MISSING" not in text


def test_the_short_help_shows_the_settings_of_the_agent(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["train", "--agent", "reinforce", "--help"], 0.0)
    text = capsys.readouterr().out
    assert "--reinforce.learning-rate X" in text
    assert "(default: 0.01)" in text
    assert "--ppo" not in text


def test_help_all_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["train", "--help-all"], 0.0)
    text = capsys.readouterr().out
    for name in ("--network.conv-layers", "--ppo.gae-lambda", "--keep-checkpoints", "--timeout-s"):
        assert name in text


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown preset 'dreamer'; there are .*cartpole-ppo, .*lunarlander-ppo, .*ppo, .*reinforce"
    ):
        load_preset("dreamer")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colectors": 2}, r"^here: unknown key 'colectors'; known are .*collectors"),
        ({"agent": {"kind": "ppo", "gamma": 0.9}}, r"^here: agent: unknown key 'gamma'; known are .*discount"),
        ({1: 2}, r"^here: unknown key 1"),
        ({"collectors": "2"}, r"^here: collectors: expected int, got '2'"),
        ({"collectors": 2.5}, r"^here: collectors: expected int, got 2.5"),
        ({"collectors": True}, r"^here: collectors: expected int, got True"),
        ({"collectors": None}, r"^here: collectors: expected int, got None"),
        ({"jit_compile": 1}, r"^here: jit_compile: expected bool, got 1"),
        ({"env": 1}, r"^here: env: expected str, got 1"),
        ({"timeout_s": "long"}, r"^here: timeout_s: expected float, got 'long'"),
        ({"timeout_s": True}, r"^here: timeout_s: expected float, got True"),
        ({"target_return": "475"}, r"^here: target_return: expected float, got '475'"),
        ({"env_kwargs": [1]}, r"^here: env_kwargs: expected .*, got \[1\]"),
        ({"vectorization": "threads"}, r"^here: vectorization: 'threads' is not one of auto, sync, async"),
        ({"network": {"activation": "sigmoid"}}, r"^here: network: activation: 'sigmoid' is not one of tanh"),
        ({"network": {"actor_units": 64}}, r"^here: network: actor_units: expected .*, got 64"),
        ({"network": {"actor_units": [64, "64"]}}, r"^here: network: actor_units: expected int, got '64'"),
        ({"network": None}, r"^here: network: expected keys and values, got None"),
        ({"agent": [1]}, r"^here: agent: expected keys and values, got \[1\]"),
        (None, r"^here: expected keys and values, got None"),
        ("text", r"^here: expected keys and values, got 'text'"),
    ],
    ids=str,
)
def test_a_key_or_type_that_does_not_fit_is_refused_by_its_place(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(TrainConfig, values, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"collectors": 0}, "collectors must be 1 or more, but is 0"),
        ({"min_collectors": 0}, "min_collectors must be from 1 to collectors 2, but is 0"),
        ({"min_collectors": 3}, "min_collectors must be from 1 to collectors 2, but is 3"),
        ({"envs_per_collector": -1}, "envs_per_collector must be 1 or more"),
        ({"rollout_steps": 0}, "rollout_steps must be 1 or more"),
        ({"total_steps": 0}, "total_steps must be 1 or more"),
        ({"checkpoint_every": 0}, "checkpoint_every must be 1 or more"),
        ({"keep_checkpoints": 0}, "keep_checkpoints must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"eval_episodes": -1}, "eval_episodes must be 0 or more"),
        ({"max_policy_lag": -1}, "max_policy_lag must be 0 or more"),
        ({"max_policy_lag": 3}, "max_policy_lag must be at most 2 with the agent ppo"),
        ({"max_policy_lag": 101, "agent": {"kind": "appo"}}, "max_policy_lag must be at most 100, but is 101"),
        ({"on_stale": "drop"}, "on_stale is for rollout_order arrival: set that, or leave on_stale at wait"),
        ({"server_gpus": 0.5}, "server_gpus is for inference server: set that, or leave server_gpus at 0"),
        ({"server_window_ms": 5.0}, "server_window_ms is for inference server: set that, or leave .* at 2"),
        ({"server_gpus": -1.0, "inference": "server"}, "server_gpus must be a number of 0 or more, but is -1"),
        ({"server_window_ms": math.nan, "inference": "server"}, "server_window_ms must be a number of 0 or more"),
        ({"server_window_ms": math.inf, "inference": "server"}, "server_window_ms must be a number of 0 or more"),
        (
            {"max_policy_lag": 1, "agent": {"kind": "reinforce"}},
            "max_policy_lag must be at most 0 with the agent reinf",
        ),
        (
            {"mixed_precision": True, "agent": {"kind": "reinforce"}},
            "mixed_precision is not for reinforce, whose networks compute in float32: leave it out",
        ),
        ({"timeout_s": 0}, "timeout_s must be above 0"),
        ({"timeout_s": math.nan}, "timeout_s must be above 0"),
        ({"network": {"actor_units": [64, 0]}}, r"network.actor_units must be widths of 1 or more"),
        ({"agent": {"kind": "ppo", "value_units": [-1]}}, r"ppo.value_units must be widths of 1 or more"),
        ({"agent": {"kind": "ppo", "learning_rate": 0.0}}, "ppo.learning_rate must be above 0"),
        ({"agent": {"kind": "ppo", "learning_rate": math.nan}}, "ppo.learning_rate must be above 0"),
        ({"agent": {"kind": "ppo", "clip_range": -0.2}}, "ppo.clip_range must be above 0"),
        ({"agent": {"kind": "ppo", "num_epochs": 0}}, "ppo.num_epochs must be above 0"),
        ({"agent": {"kind": "ppo", "num_minibatches": 0}}, "ppo.num_minibatches must be above 0"),
        ({"agent": {"kind": "ppo", "discount": 1.01}}, r"ppo.discount must be in \[0, 1\]"),
        ({"agent": {"kind": "ppo", "gae_lambda": -0.1}}, r"ppo.gae_lambda must be in \[0, 1\]"),
        ({"agent": {"kind": "ppo", "entropy_weight": -1.0}}, "ppo.entropy_weight must be 0 or more"),
        ({"agent": {"kind": "ppo", "value_loss_weight": math.nan}}, "ppo.value_loss_weight must be 0 or more"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(TrainConfig, values, "here")


def test_minibatches_that_do_not_divide_the_batch_are_refused_with_its_size() -> None:
    sizes = r"\(collectors 2 x envs_per_collector 4 x rollout_steps 6\)"
    message = rf"num_minibatches 7 does not divide the batch of 48 steps {sizes}"
    with pytest.raises(ConfigError, match=message):
        TrainConfig(collectors=2, envs_per_collector=4, rollout_steps=6, agent=PPOConfig(num_minibatches=7))
    assert (
        TrainConfig(collectors=2, envs_per_collector=4, rollout_steps=6, agent=PPOConfig(num_minibatches=6)).batch_size
        == 48
    )


@pytest.mark.parametrize("options", [["--collectors", "2:6"], ["--collectors=2:6"]])
def test_a_range_of_collectors_is_the_least_and_the_most(options: list[str]) -> None:
    config = parse_train([*options, "--envs-per-collector", "8"]).config
    assert (config.min_collectors, config.least_collectors, config.collectors) == (2, 2, 6)
    assert config.batch_size == 6 * 8 * config.rollout_steps
    assert parse_train(["--collectors", "3"]).config.least_collectors == 3


@pytest.mark.parametrize("text", ["2:", ":2", "2:x", "4:2", "1:2:3"])
def test_what_is_no_range_of_collectors_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="collectors"):
        parse_train(["--collectors", text])


def test_values_go_over_a_base_and_what_they_leave_out_stays() -> None:
    values = {"envs_per_collector": 6, "agent": {"discount": 0.5}, "network": {"actor_units": [4]}}
    found = from_dict(TrainConfig, values, "here", CUSTOM)
    expected = dataclasses.replace(
        CUSTOM,
        envs_per_collector=6,
        agent=dataclasses.replace(CUSTOM.agent, discount=0.5),
        network=dataclasses.replace(CUSTOM.network, actor_units=(4,)),
    )
    assert found == expected
    assert found.agent.learning_rate == 1e-7


def test_without_a_base_what_is_left_out_is_the_default() -> None:
    found = from_dict(TrainConfig, {"envs_per_collector": 64, "agent": {"kind": "ppo", "discount": 0.5}}, "here")
    assert found == TrainConfig(envs_per_collector=64, agent=PPOConfig(discount=0.5))


def test_an_integer_is_taken_for_a_float_and_becomes_one() -> None:
    found = from_dict(TrainConfig, {"target_return": 475, "timeout_s": 60}, "here")
    assert type(found.target_return) is float
    assert (found.target_return, found.timeout_s) == (475.0, 60.0)


def test_a_limit_can_be_set_back_to_none() -> None:
    assert from_dict(TrainConfig, {"target_return": None}, "here", CUSTOM).target_return is None


@pytest.mark.parametrize(
    "content",
    [
        b"envs_per_collector: [",
        b"a: b: c",
        b"\t- x",
        b"",
        b"- 1\n- 2\n",
        b"\xff\xfe\x00",
        b"env: caf\xe9\n",
        b"envs_per_collector: \x00",
    ],
)
def test_a_file_that_is_no_config_is_refused_by_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as refusal:
        load_train_config(path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.yaml"):
        load_train_config(tmp_path / "missing.yaml")


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(f"env: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(ConfigError, match=r"evil\.yaml"):
        load_train_config(path)
    assert not (tmp_path / "made").exists()


def test_config_module_needs_neither_tensorflow_nor_ray() -> None:
    import subprocess
    import sys

    script = "import sys, launch.config.train; print(sorted({'tensorflow', 'ray'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("seconds", [1e7, 1e12, math.inf])
def test_a_time_limit_that_no_clock_takes_is_cut_to_the_longest_one(seconds: float) -> None:
    config = TrainConfig(timeout_s=seconds, step_timeout_s=seconds)
    assert config.timeout_s == config.environment_factory.step_timeout_s == 2e6
