"""IMPALA and APPO: what one update computes, beside NumPy written from the papers, and what lag does to it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
from rollout_training import train

from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.agent_config import AgentConfig, LearnerOptions
from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.appo.appo_agent import APPOAgent
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.vtrace_config import VTraceConfig
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.utils.nests.array_nest import map_structure

OBSERVATION = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE = BoundedArraySpec((), np.int64, 0, 2, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
MIXED = {"choice": DISCRETE, "push": BOX}
NUM_SLOTS, NUM_STEPS, GAMMA = 4, 8, 0.9
SMALL = NetworkConfig(actor_units=(6,), activation="tanh")
LSTM = dataclasses.replace(SMALL, recurrent="lstm", recurrent_units=(5,))
ONE_STEP: dict[str, Any] = {
    "value_units": (5,),
    "num_epochs": 1,
    "num_minibatches": 1,
    "normalize_advantages": False,
    "max_gradient_norm": 1e6,
    "discount": GAMMA,
    "entropy_weight": 0.03,
    "value_loss_weight": 0.7,
    "clip_rho": 1.3,
    "clip_pg_rho": 1.1,
    "clip_c": 0.9,
    "vtrace_lambda": 0.8,
}
IMPALA, APPO = ImpalaConfig(**ONE_STEP), APPOConfig(**ONE_STEP, target_update_period=5, clip_behaviour_ratio=1.5)
Weights = dict[str, np.ndarray]


def make_agent(
    config: AgentConfig,
    action: Any = DISCRETE,
    networks: NetworkConfig = SMALL,
    jit_compile: bool = False,
    action_mask: str | None = None,
) -> ActorCriticAgent[Any]:
    observation = {"seen": OBSERVATION, action_mask: ArraySpec((3,), np.int8)} if action_mask else OBSERVATION
    specs = EnvironmentSpecs(time_step_spec(observation), action)
    options = LearnerOptions(seed=3, jit_compile=jit_compile, action_mask=action_mask)
    agent = config.make_agent(specs, networks, options)
    assert isinstance(agent, ActorCriticAgent)
    return agent


def make_rollout(agent: ActorCriticAgent[Any], seed: int = 0) -> Rollout:
    """Random steps by some other policy, with a termination, two truncations and a cut."""
    generator = np.random.default_rng(seed)
    zeros = zero_rollout_for(agent, NUM_SLOTS, NUM_STEPS)

    def normal(array: np.ndarray, offset: float = 0.0) -> np.ndarray:
        return generator.normal(offset, 0.5, array.shape).astype(array.dtype)

    def action(array: np.ndarray) -> np.ndarray:
        is_discrete = np.issubdtype(array.dtype, np.integer)
        return generator.integers(0, 3, array.shape) if is_discrete else normal(array)

    step_type = np.full(zeros.step_type.shape, StepType.MID, np.int32)
    for slot, last in ((0, 4), (2, 3), (3, 6)):
        step_type[slot, last : last + 2] = StepType.LAST, StepType.FIRST
    discount, cuts = np.ones_like(zeros.discount), zeros.cuts.copy()
    discount[0, 3], cuts[3, 5] = 0.0, True
    return zeros._replace(
        observation=2.0 * normal(zeros.observation),
        step_type=step_type,
        action=map_structure(action, zeros.action),
        policy_info=map_structure(lambda array: normal(array, -1.0), zeros.policy_info),
        reward=normal(zeros.reward, 1.0),
        discount=discount,
        cuts=cuts,
        policy_state=map_structure(normal, zeros.policy_state),
    )


def allowed_actions(rollout: Rollout) -> np.ndarray:
    """Random masks that allow what was done, and nothing where nothing is done: bool ``[B, T + 1, 3]``."""
    allowed = np.random.default_rng(7).random((NUM_SLOTS, NUM_STEPS + 1, 3)) < 0.4
    allowed[:, :-1] |= np.eye(3, dtype=bool)[rollout.action]
    return allowed & np.pad(rollout.step_weights > 0, [(0, 0), (0, 1)])[..., np.newaxis]


class Layers(NamedTuple):
    """A network of one hidden layer of tanh, and where its weights are."""

    prefix: str
    last: str

    def paths(self) -> list[str]:
        names = (f"{self.prefix}/encoder/layers/0", f"{self.prefix}/{self.last}")
        return [f"{name}/{part}" for name in names for part in ("kernel", "bias")]

    def hidden(self, weights: Weights, inputs: np.ndarray) -> np.ndarray:
        kernel, bias, *_ = (weights[path] for path in self.paths())
        return np.tanh(inputs @ kernel + bias)

    def outputs(self, weights: Weights, inputs: np.ndarray) -> np.ndarray:
        *_, kernel, bias = (weights[path] for path in self.paths())
        return self.hidden(weights, inputs) @ kernel + bias

    def gradients(self, weights: Weights, inputs: np.ndarray, by_output: np.ndarray) -> Weights:
        """Derivatives by the weights, from those by the outputs, both of ``[n, ...]``."""
        hidden, kernel = self.hidden(weights, inputs), weights[self.paths()[2]]
        by_hidden = by_output @ kernel.T * (1.0 - hidden**2)
        values = (inputs.T @ by_hidden, by_hidden.sum(0), hidden.T @ by_output, by_output.sum(0))
        return dict(zip(self.paths(), values, strict=True))


ACTOR = Layers("policy/actor_network", "projection/logits")
TARGET = Layers("target_network", "projection/logits")
CRITIC = Layers("value_network", "value")


def log_softmax(logits: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    if allowed is not None:
        # 0 probability for what is forbidden; rows that do not count stay as they are.
        logits = np.where(allowed | ~allowed.any(-1, keepdims=True), logits, -1e30)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def taken(log_probabilities: np.ndarray, action: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_probabilities, action[..., np.newaxis], -1)[..., 0]


def reference_vtrace(
    config: VTraceConfig, ratio: np.ndarray, rollout: Rollout, value: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Targets (remark 1) and ``q - V`` (section 4.2, with lambda), float64 ``[B, T]``."""
    target, difference, discount = value.copy(), np.zeros_like(ratio), GAMMA * rollout.discount
    for t in reversed(range(NUM_STEPS)):
        ahead = target[:, t + 1] - value[:, t + 1]
        one_step = rollout.reward[:, t] + discount[:, t] * value[:, t + 1] - value[:, t]
        c = config.vtrace_lambda * np.minimum(config.clip_c, ratio[:, t])
        change = np.minimum(config.clip_rho, ratio[:, t]) * one_step + discount[:, t] * c * ahead
        target[:, t] += np.where(counts[:, t], change, 0.0)
        difference[:, t] = np.where(counts[:, t], one_step + discount[:, t] * config.vtrace_lambda * ahead, 0.0)
    return target[:, :-1], difference


class Reference(NamedTuple):
    losses: dict[str, float]
    gradients: Weights


def reference(config: VTraceConfig, weights: Weights, rollout: Rollout, allowed: np.ndarray | None = None) -> Reference:
    """The losses of the whole batch and their gradients, by hand; with masks bool ``[B, T, 3]`` if there are any."""
    counts = rollout.step_weights > 0
    num, inputs = counts.sum(), rollout.observation.astype(np.float64)
    log_pi, action = log_softmax(ACTOR.outputs(weights, inputs[:, :-1]), allowed), rollout.action
    log_mu = rollout.policy_info.log_probability
    value = CRITIC.outputs(weights, inputs)[..., 0]
    probability = np.exp(log_pi)
    score = np.eye(3)[action] - probability
    if isinstance(config, ImpalaConfig):
        ratio = np.exp(taken(log_pi, action) - log_mu)
        target, difference = reference_vtrace(config, ratio, rollout, value, counts)
        weight = np.minimum(config.clip_pg_rho, ratio) * difference
        policy_loss = -(weight * taken(log_pi, action))[counts].sum() / num
    else:
        log_target = taken(log_softmax(TARGET.outputs(weights, inputs[:, :-1]), allowed), action)
        target_ratio = np.exp(log_target - log_mu)
        target, difference = reference_vtrace(config, target_ratio, rollout, value, counts)
        advantage = np.minimum(config.clip_pg_rho, target_ratio) * difference
        ratio = np.minimum(1.5, 1.0 / target_ratio) * np.exp(taken(log_pi, action) - log_mu)
        surrogate = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
        policy_loss = -surrogate[counts].sum() / num
        weight = np.where(ratio * advantage <= np.clip(ratio, 0.8, 1.2) * advantage, ratio * advantage, 0.0)
        assert 0.1 < np.mean(weight[counts] == 0.0) < 0.9
        assert 0.1 < np.mean(1.0 / target_ratio[counts] > 1.5) < 0.9
    entropy = -(probability * log_pi).sum(-1)
    by_logits = -weight[..., np.newaxis] * score
    by_logits += config.entropy_weight * probability * (log_pi + entropy[..., np.newaxis])
    by_value = 2.0 * config.value_loss_weight * (value[:, :-1] - target)
    steps = inputs[:, :-1][counts]
    losses = {
        "policy_loss": policy_loss,
        "value_loss": ((value[:, :-1] - target) ** 2)[counts].sum() / num,
        "entropy": entropy[counts].sum() / num,
    }
    gradients = ACTOR.gradients(weights, steps, by_logits[counts] / num)
    gradients |= CRITIC.gradients(weights, steps, by_value[counts][:, np.newaxis] / num)
    return Reference(losses, gradients)


def state_of(agent: ActorCriticAgent[Any]) -> Weights:
    return {item.path: item.variable.numpy() for item in agent.named_variables()}


def shuffle(agent: ActorCriticAgent[Any]) -> None:
    """Makes policy and target network differ, and the policy far from uniform."""
    generator = np.random.default_rng(5)
    for item in agent.named_variables():
        if item.path.startswith(("policy/", "target_network/", "value_network/")):
            item.variable.assign(generator.normal(0.0, 0.6, item.variable.shape))


@pytest.mark.parametrize("action_mask", [None, "mask"], ids=["all actions", "masks"])
@pytest.mark.parametrize("config", [IMPALA, APPO], ids=["impala", "appo"])
def test_loss_and_gradient_of_a_batch_equal_the_papers(config: VTraceConfig, action_mask: str | None) -> None:
    agent = make_agent(config, action_mask=action_mask)
    shuffle(agent)
    # Not an update in which the target network is renewed.
    agent.train_step_counter.assign(1)
    rollout, start = make_rollout(make_agent(config)), state_of(agent)
    allowed = allowed_actions(rollout) if action_mask else None
    weights = {path: value.astype(np.float64) for path, value in start.items()}
    expected = reference(config, weights, rollout, None if allowed is None else allowed[:, :-1])
    if allowed is not None:
        rollout = rollout._replace(observation={"seen": rollout.observation, "mask": allowed.astype(np.int8)})
    metrics = train(agent, rollout)
    for name, loss in expected.losses.items():
        np.testing.assert_allclose(metrics[name], loss, rtol=1e-4, atol=1e-6, err_msg=name)
    loss = expected.losses["policy_loss"] + 0.7 * expected.losses["value_loss"] - 0.03 * expected.losses["entropy"]
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-4, atol=1e-6)
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in expected.gradients.values()))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)
    # Adam's first moment after one step is a tenth of the gradient.
    paths = {id(item.variable): item.path for item in agent.named_variables()}
    order = [paths[id(variable)] for variable in agent._trained]
    found = np.split(state_of(agent)["optimizer/first_moment"] / 0.1, np.cumsum([start[path].size for path in order]))
    for path, gradient in zip(order, found, strict=False):
        np.testing.assert_allclose(gradient.reshape(start[path].shape), expected.gradients[path], rtol=1e-3, atol=1e-6)
    assert set(order) == set(expected.gradients)


def on_policy(agent: ActorCriticAgent[Any], rollout: Rollout) -> Rollout:
    """The rollout with the log-probabilities of the agent's own policy."""
    weights = {path: value.astype(np.float64) for path, value in state_of(agent).items()}
    log_pi = log_softmax(ACTOR.outputs(weights, rollout.observation[:, :-1].astype(np.float64)))
    own = taken(log_pi, rollout.action).astype(np.float32)
    return rollout._replace(policy_info=rollout.policy_info._replace(log_probability=own))


def test_appo_without_lag_is_ppo() -> None:
    shared = {"value_units": (5,), "num_epochs": 1, "num_minibatches": 4, "entropy_weight": 0.01}
    ppo = make_agent(PPOConfig(gae_lambda=0.9, **shared))
    appo = make_agent(APPOConfig(vtrace_lambda=0.9, **shared))
    rollout = on_policy(ppo, make_rollout(ppo))
    expected, found = train(ppo, rollout), train(appo, rollout)
    for name, figure in expected.items():
        np.testing.assert_allclose(found[name], figure, rtol=1e-3, atol=1e-5, err_msg=name)
    after = state_of(appo)
    for path, value in state_of(ppo).items():
        np.testing.assert_allclose(after[path], value, rtol=1e-3, atol=1e-5, err_msg=path)


def test_target_network_follows_the_policy_every_few_updates_by_its_share() -> None:
    config = dataclasses.replace(APPO, target_update_period=2, target_update_tau=0.25, learning_rate=0.01)
    agent = make_agent(config)
    assert isinstance(agent, APPOAgent)
    shuffle(agent)
    path = "/projection/logits/kernel"
    for update in range(4):
        before = state_of(agent)
        train(agent, make_rollout(agent, update))
        after = state_of(agent)
        old, source = before[f"target_network{path}"], before[f"policy/actor_network{path}"]
        expected = 0.75 * old + 0.25 * source if update % 2 == 0 else old
        np.testing.assert_allclose(after[f"target_network{path}"], expected, rtol=1e-6)


def test_target_network_begins_as_the_policy_and_is_not_sent_to_collectors() -> None:
    agent = make_agent(APPO, MIXED, LSTM)
    assert isinstance(agent, APPOAgent)
    state = state_of(agent)
    targets = {path.removeprefix("target_network/"): path for path in state if path.startswith("target_network/")}
    policy = [path for path in state if path.startswith("policy/")]
    assert len(targets) == len(policy) > 6
    for pair in zip(targets.values(), policy, strict=True):
        np.testing.assert_array_equal(*(state[path] for path in pair))
    own = {id(variable) for variable in agent.collect_policy.variables()}
    assert not own & {id(item.variable) for item in agent.named_variables() if item.path in targets.values()}


@pytest.mark.parametrize("config", [ImpalaConfig(), APPOConfig()], ids=["impala", "appo"])
def test_every_metric_is_announced(config: VTraceConfig) -> None:
    metrics = train(make_agent(dataclasses.replace(config, num_minibatches=2)), make_rollout(make_agent(config)))
    assert set(metrics) == {*config.metrics, "loss"}


@pytest.mark.parametrize(
    "action",
    [pytest.param(DISCRETE, marks=pytest.mark.slow), pytest.param(BOX, marks=pytest.mark.slow), MIXED],
    ids=["discrete", "box", "nested"],
)
@pytest.mark.parametrize("networks", [SMALL, pytest.param(LSTM, marks=pytest.mark.slow)], ids=["feed-forward", "lstm"])
@pytest.mark.parametrize("kind", [pytest.param("impala", marks=pytest.mark.slow), "appo"])
def test_several_passes_over_any_actions_are_compiled_as_they_are_written(
    kind: str, networks: NetworkConfig, action: Any
) -> None:
    config = AgentConfig.of_kind(kind)(  # type: ignore[call-arg]  # Each kind has these settings.
        num_epochs=2,
        num_minibatches=2,
        sequence_length=4,
        sequence_states="recomputed",
        burn_in=2,
        normalize_observations=True,
        normalize_rewards=True,
        learning_rate=0.01,
        value_units=(5,),
    )
    plain, compiled = (make_agent(config, action, networks, jit_compile) for jit_compile in (False, True))
    for update in range(2):
        rollout = make_rollout(plain, update)
        found, expected = train(compiled, rollout, 0.1), train(plain, rollout, 0.1)
        for name, figure in expected.items():
            np.testing.assert_allclose(found[name], figure, rtol=1e-2, atol=1e-4, err_msg=name)
    after = state_of(compiled)
    for path, value in state_of(plain).items():
        np.testing.assert_allclose(after[path], value, rtol=1e-2, atol=1e-3, err_msg=path)


@pytest.mark.parametrize("config", [IMPALA, APPO], ids=["impala", "appo"])
def test_no_data_of_any_age_makes_an_update_that_is_not_finite(config: VTraceConfig) -> None:
    agent = make_agent(config)
    for shift in (-1e4, 1e4):
        rollout = make_rollout(agent)
        info = rollout.policy_info._replace(log_probability=rollout.policy_info.log_probability + shift)
        train(agent, rollout._replace(policy_info=info))
        assert all(np.isfinite(value).all() for value in state_of(agent).values())


@pytest.mark.parametrize("kind", ["impala", "appo"])
def test_settings_that_cannot_work_are_refused_by_name(kind: str) -> None:
    make: Any = AgentConfig.of_kind(kind)
    names = ("clip_rho", "clip_pg_rho", "clip_c", "vtrace_lambda", "learning_rate")
    for name in names:
        with pytest.raises(ValueError, match=rf"{kind}\.{name} must be .* -1.0"):
            make(**{name: -1.0})
    with pytest.raises(ValueError, match=rf"{kind}\.vtrace_lambda must be in \[0, 1\], but is 1.1"):
        make(vtrace_lambda=1.1)


def test_target_network_is_updated_by_a_share() -> None:
    with pytest.raises(ValueError, match=r"appo\.target_update_tau must be in \[0, 1\], but is 2.0"):
        APPOConfig(target_update_tau=2.0)
    with pytest.raises(ValueError, match=r"appo\.target_update_period must be above 0, but is 0"):
        APPOConfig(target_update_period=0)
