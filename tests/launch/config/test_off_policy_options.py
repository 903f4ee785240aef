"""An agent with discrete actions is trained by the same command as PPO: all options but its own are the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from distpolicy.agents.behavioral_cloning.config import BehavioralCloningConfig
from distpolicy.agents.cql.config import CQLConfig
from distpolicy.agents.iql.config import IqlConfig
from distpolicy.errors import ConfigError
from distpolicy.networks.network_config import NetworkConfig
from launch.commands.train import parse_train
from launch.config.codec import to_dict
from launch.config.flat_settings import flat
from launch.config.train import TrainConfig

# Another value than the default's for each setting that is not the agent's own.
OPTIONS: dict[str, tuple[str, ...] | bool] = {
    "env": ("Acrobot-v1",),
    "env_kwargs": ("render_mode", "rgb_array"),
    "wrappers": ("gymnasium.wrappers.ClipReward",),
    "vectorization": ("sync",),
    "atari.frame_skip": ("3",),
    "atari.screen_size": ("42",),
    "atari.frame_stack": ("2",),
    "atari.noop_max": ("7",),
    "atari.episodic_life": True,
    "atari.clip_rewards": True,
    "atari.channels_last": False,
    "collectors": ("4",),
    "min_collectors": ("3",),
    "envs_per_collector": ("10",),
    "rollout_steps": ("24",),
    "total_steps": ("5e4",),
    "target_return": ("-90",),
    "seed": ("7",),
    "max_policy_lag": ("2",),
    "rollout_order": ("arrival",),
    "on_stale": ("drop",),
    "inference": ("server",),
    "server_window_ms": ("3",),
    "server_gpus": ("0.5",),
    "checkpoint_every": ("20",),
    "keep_checkpoints": ("2",),
    "eval_episodes": ("9",),
    "eval_every": ("30",),
    "eval_envs": ("5",),
    "eval_max_episode_steps": ("600",),
    "info_metrics": ("speed",),
    "jit_compile": False,
    "mixed_precision": True,
    "compile_cache": False,
    "step_timeout_s": ("30",),
    "timeout_s": ("300",),
    "address": ("auto",),
    "network.actor_units": ("48", "24"),
    "network.recurrent_units": ("16",),
    "network.encoder_units": ("40",),
    "network.conv_layers": ("8", "3", "1"),
    "network.activation": ("elu",),
}
# What docs/off_policy.md says not to be the same.
NOT_THE_SAME = {"learners", "network.recurrent", "network.continuous"}
FOR_OFFLINE = {"dataset"}
# For agents of discrete actions: not for td3 and ddpg.
MASK = {"action_mask": ("allowed",)}


def option(name: str, values: tuple[str, ...] | bool) -> tuple[str, ...]:
    name = name.replace("_", "-")
    if not isinstance(values, bool):
        return (f"--{name}", *values)
    group, point, flag = name.rpartition(".")
    return (f"--{name}" if values else f"--{group}{point}no-{flag}",)


def parsed(agent: str, *more: str) -> TrainConfig:
    given = itertools.chain(*itertools.starmap(option, OPTIONS.items()))
    return parse_train(["--agent", agent, *given, *more]).config


def common(config: TrainConfig) -> dict[str, object]:
    """Returns the settings that are not the agent's own."""
    found = flat(to_dict(config))
    return {name: value for name, value in found.items() if not name.startswith((config.agent.kind, "agent"))}


@pytest.mark.parametrize("agent", ["dqn", "c51", "r2d2", "sac"])
def test_all_options_but_the_agents_own_are_those_of_ppo(agent: str) -> None:
    mask = option("action_mask", MASK["action_mask"])
    expected, defaults = common(parsed("ppo", *mask)), common(TrainConfig())
    assert set(OPTIONS | MASK) == set(defaults) - NOT_THE_SAME - FOR_OFFLINE
    assert not [name for name in OPTIONS | MASK if expected[name] == defaults[name]]
    config = parsed(agent, *mask)
    assert config.agent.kind == agent
    found = common(config)
    for name in set(defaults) - NOT_THE_SAME:
        assert found[name] == expected[name], name


@pytest.mark.parametrize("agent", ["dqn", "c51", "r2d2", "sac", "td3", "ddpg"])
def test_several_learners_are_refused(agent: str) -> None:
    parse_train(["--learners", "2"])
    with pytest.raises(ConfigError, match=f"learners above 1 is not for {agent}.*set learners to 1"):
        parsed(agent, "--learners", "2")


@pytest.mark.parametrize("agent", ["dqn", "c51", "sac", "td3", "ddpg"])
def test_a_recurrent_network_is_refused_where_single_steps_are_learned_from(agent: str) -> None:
    parse_train(["--network.recurrent", "gru"])
    parsed("r2d2", "--network.recurrent", "gru")
    with pytest.raises(ConfigError, match=rf"network\.recurrent is not for {agent}"):
        parsed(agent, "--network.recurrent", "gru")
    with pytest.raises(ConfigError, match="r2d2 needs a recurrent network"):
        parsed("r2d2", "--network.recurrent", "none")


@pytest.mark.parametrize("agent", ["dqn", "c51", "r2d2", "sac", "td3", "ddpg"])
def test_a_distribution_of_actions_that_no_policy_draws_by_is_refused(agent: str) -> None:
    continuous = ("--network.continuous", "tanh_normal")
    parse_train(continuous)
    recurrent = ("--network.recurrent", "lstm") if agent == "r2d2" else ()
    parsed(agent, *recurrent, "--network.continuous", "clipped_normal")
    with pytest.raises(ConfigError, match=rf"network\.continuous is not for {agent}, .*leave it at clipped_normal"):
        parsed(agent, *recurrent, *continuous)


def test_an_offline_agent_refuses_a_distribution_that_it_does_not_draw_by() -> None:
    tanh = NetworkConfig(continuous="tanh_normal")
    for config in (BehavioralCloningConfig(), IqlConfig()):
        TrainConfig(agent=config, network=tanh)
    with pytest.raises(ConfigError, match=r"network\.continuous is not for cql"):
        TrainConfig(agent=CQLConfig(), network=tanh)


@pytest.mark.parametrize("agent", ["td3", "ddpg"])
def test_action_masks_are_refused_for_actions_of_floats(agent: str) -> None:
    with pytest.raises(ConfigError, match=f"action_mask is not for {agent}"):
        parsed(agent, *option("action_mask", MASK["action_mask"]))


def test_the_page_says_what_is_refused() -> None:
    page = (Path(__file__).parents[3] / "docs" / "off_policy.md").read_text()
    for name in (*NOT_THE_SAME, *MASK):
        assert f"`--{name.replace('_', '-')}`" in page
