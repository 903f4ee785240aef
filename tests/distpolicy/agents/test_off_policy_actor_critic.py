"""What SAC, TD3 and DDPG have in common: their settings, shared encoders, and TF-Agents' arguments."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from off_policy_reference import random_transitions

from distpolicy.agents.agent_config import AgentConfig, LearnerOptions, RunShape
from distpolicy.agents.ddpg.config import DDPGConfig
from distpolicy.agents.mixed_precision import in_bfloat16, layers_in_bfloat16
from distpolicy.agents.sac.config import SACConfig
from distpolicy.agents.td3.config import TD3Config
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.agents.twin_critic_network import TwinCriticNetwork
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.time_step import time_step_spec

OBSERVATION = ArraySpec((3,), np.float32)
ACTION = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [3.0, 0.5])
NETWORKS = NetworkConfig(actor_units=(6,), encoder_units=(5,))
CONFIGS = [kind(critic_units=(7,)) for kind in (SACConfig, TD3Config, DDPGConfig)]
SHAPE = RunShape(1, 2, 8, 1, 0, recurrent=False)


def make(config: AgentConfig, action: Any = ACTION, networks: NetworkConfig = NETWORKS, **options: Any) -> TFAgent:
    specs = EnvironmentSpecs(time_step_spec(OBSERVATION), action)
    return config.make_agent(specs, networks, LearnerOptions(seed=1, jit_compile=False, **options))


def train(agent: TFAgent) -> Any:
    batch = random_transitions(ACTION, 3, (32,))
    noise = np.random.default_rng(0).standard_normal((32, *getattr(agent.noise_spec, "shape", ())), np.float32)
    return agent.train(batch, **({"noise": noise} if "noise" in agent.train_arguments else {})).extra


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_the_actor_and_the_critics_share_an_encoder_that_the_critics_train(config: AgentConfig) -> None:
    agent = make(config)
    values = {item.path: item.variable for item in agent.named_variables()}

    def num_trained(optimizer: str) -> int:
        return sum(tf.size(value) for path, value in values.items() if path.startswith(f"{optimizer}/first_moments"))

    # One layer of 5 for the encoder; the actor has one of 6 and its outputs.
    num_outputs = 4 if config.kind == "sac" else 2
    assert num_trained("actor_optimizer") == 5 * 6 + 6 + 6 * num_outputs + num_outputs
    num_critics = 1 if config.kind == "ddpg" else 2
    own = num_critics * (7 * 7 + 7 + 7 + 1)
    assert num_trained("critic_optimizer") == 3 * 5 + 5 + own
    encoders = {path: value for path, value in values.items() if value.shape == (3, 5) and "moment" not in path}
    (encoder,) = {id(value) for path, value in encoders.items() if "target" not in path}
    assert encoder in {id(variable) for variable in agent.collect_policy.variables()}
    before = {path: value.numpy() for path, value in encoders.items()}
    train(agent)
    moved = [path for path, value in before.items() if not np.array_equal(value, values[path].numpy())]
    assert moved


@pytest.mark.parametrize("encoder_units", [(5,), ()], ids=["encoder", "no encoder"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_mixed_precision_is_near_and_leaves_policies_in_float32(
    config: AgentConfig, encoder_units: tuple[int, ...]
) -> None:
    networks = dataclasses.replace(NETWORKS, encoder_units=encoder_units)
    exact, mixed = make(config, networks=networks), make(config, networks=networks, mixed_precision=True)
    figures = [train(agent) for agent in (exact, mixed)]
    # The values of the data's actions: no actor has a part in them.
    assert figures[0]["q_mean"] != figures[1]["q_mean"]
    for name in ("critic_loss", "q_mean"):
        np.testing.assert_allclose(figures[1][name], figures[0][name], rtol=0.05, atol=0.02, err_msg=name)
    assert figures[1]["q_mean"].dtype == figures[1]["priorities"].dtype == tf.float32
    assert [(item.path, item.variable.dtype) for item in mixed.named_variables()] == [
        (item.path, item.variable.dtype) for item in exact.named_variables()
    ]
    mixed.policy.update(exact.policy)
    step = tf.nest.map_structure(lambda spec: tf.ones([4, *spec.shape], spec.dtype), exact.time_step_spec)
    np.testing.assert_array_equal(mixed.policy.action(step).action, exact.policy.action(step).action)


@pytest.mark.parametrize("kind", [SACConfig, TD3Config, DDPGConfig], ids=lambda kind: kind.kind)
def test_mixed_precision_is_refused_where_it_would_change_nothing(kind: type[AgentConfig]) -> None:
    config, networks = kind(critic_units=()), NetworkConfig(actor_units=())
    make(config, networks=networks)
    with pytest.raises(ConfigError, match=r"mixed_precision would change nothing, .* leave it out, or take networks"):
        make(config, networks=networks, mixed_precision=True)


def test_critics_compute_hidden_products_in_bfloat16_and_values_in_float32() -> None:
    """Beside NumPy that rounds to bfloat16 where the network does."""
    critic = TwinCriticNetwork(from_spec((OBSERVATION, ACTION)), (7, 5), seed=1)
    weights = {item.path: item.variable.numpy() for item in critic.named_variables()}
    draws = np.random.default_rng(0)
    observation, unit = draws.normal(size=(6, 3)).astype(np.float32), draws.uniform(-1, 1, (6, 2)).astype(np.float32)
    center, half_width = np.array([1.0, 0.25], np.float32), np.array([2.0, 0.25], np.float32)
    with in_bfloat16(layers_in_bfloat16([critic], True)):
        found, _ = critic((observation, center + half_width * unit))

    def rounded(array: np.ndarray) -> np.ndarray:
        return array.astype(tf.bfloat16.as_numpy_dtype).astype(np.float32)

    values = np.broadcast_to(np.concatenate([observation, unit], axis=1), (2, 6, 5))
    for layer in (0, 1):
        product = rounded(rounded(values) @ rounded(weights[f"kernels/{layer}"]))
        values = np.maximum(rounded(product + rounded(weights[f"biases/{layer}"])), 0.0)
    expected = (values @ weights["kernels/2"] + weights["biases/2"])[..., 0].T
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)
    exact, _ = critic((observation, center + half_width * unit))
    assert np.abs(found - expected).max() < 0.5 * np.abs(exact - expected).max()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_recurrent_policies_and_several_learners_are_refused(config: AgentConfig) -> None:
    config.check(SHAPE)
    with pytest.raises(ConfigError, match=r"network\.recurrent is not for"):
        config.check(SHAPE._replace(recurrent=True))
    with pytest.raises(ConfigError, match="learners above 1"):
        config.check(SHAPE._replace(learners=2))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SACConfig, {"initial_alpha": 0.0}, r"sac\.initial_alpha must be above 0"),
        (SACConfig, {"alpha_learning_rate": 0.0}, r"sac\.alpha_learning_rate must be above 0"),
        (SACConfig, {"critic_units": (0,)}, r"sac\.critic_units"),
        (TD3Config, {"actor_update_period": 0}, r"td3\.actor_update_period must be above 0"),
        (TD3Config, {"final_exploration_noise": -1.0}, r"td3\.final_exploration_noise must be 0 or more"),
        (DDPGConfig, {"actor_learning_rate": -1.0}, r"ddpg\.actor_learning_rate must be above 0"),
        (DDPGConfig, {"ou_damping": 1.5}, r"ddpg\.ou_damping must be in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(kind: type[AgentConfig], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**settings)


@pytest.mark.parametrize(
    ("config", "action", "message"),
    [
        (TD3Config(), {"a": ACTION, "b": ACTION}, "only a single action is supported"),
        (TD3Config(), BoundedArraySpec((), np.int64, 0, 2), "must be of floats with finite bounds"),
        (DDPGConfig(), ArraySpec((2,), np.float32), "must be of floats with finite bounds"),
        (SACConfig(), ArraySpec((2,), np.float32), "must be of floats with finite bounds"),
        (SACConfig(), {"a": ACTION, "b": BoundedArraySpec((), np.int64, 0, 2)}, "one scalar integer action"),
        (SACConfig(exploration_correlation=0.5), BoundedArraySpec((), np.int64, 0, 2), "is for actions of floats"),
    ],
)
def test_actions_that_an_agent_cannot_take_are_refused(config: AgentConfig, action: Any, message: str) -> None:
    with pytest.raises((ConfigError, SpecMismatchError), match=message):
        make(config, action)


def test_critics_of_several_observations_need_an_encoder() -> None:
    with pytest.raises(ConfigError, match="an observation of 2 leaves needs an encoder"):
        TwinCriticNetwork(from_spec(({"a": OBSERVATION, "b": OBSERVATION}, ACTION)))


def test_the_target_entropy_does_not_depend_on_the_units_of_the_action() -> None:
    """The same actions in other units lead to the same temperature, from the same networks."""
    alphas = []
    for scale in (1.0, 50.0):
        action = BoundedArraySpec((2,), np.float32, -scale, scale)
        agent = make(SACConfig(critic_units=(7,), alpha_learning_rate=0.1), action)
        batch = random_transitions(BoundedArraySpec((2,), np.float32, -1.0, 1.0), 3, (32,))
        batch = batch.replace(action_step=batch.action_step._replace(action=batch.action_step.action * scale))
        noise = np.random.default_rng(0).standard_normal((32, 2, 2), np.float32)
        alphas.append([float(agent.train(batch, noise=noise).extra["alpha_loss"]) for _ in range(2)][1])
    np.testing.assert_allclose(alphas[0], alphas[1], rtol=1e-3)
