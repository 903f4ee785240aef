"""Losses and gradients of R2D2 against a network in NumPy, from the papers' equations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from distpolicy.agents.agent_config import RunShape
from distpolicy.agents.r2d2.config import R2D2Config
from distpolicy.agents.r2d2.r2d2_agent import R2d2Agent
from distpolicy.errors import ConfigError
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import StepType, time_step_spec
from distpolicy.trajectories.trajectory import Trajectory

OBSERVATION = ArraySpec((2,), np.float32)
ACTION = BoundedArraySpec((), np.int64, 1, 3)
BATCH, BURN_IN, LENGTH, N_STEP = 3, 2, 4, 2
TOTAL = BURN_IN + LENGTH + N_STEP
RATE, GAMMA, UNITS = 0.1, 0.9, 3


class Recurrence(keras.layers.Layer):
    """A cell ``h' = tanh(x W + h U)`` without biases, so that NumPy has it in a line."""

    state_size = output_size = UNITS

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = keras.initializers.RandomNormal(stddev=0.7, seed=seed)
        self.w = self.add_weight(shape=(2, UNITS), initializer=draw, name="w")
        self.u = self.add_weight(shape=(UNITS, UNITS), initializer=draw, name="u")
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        state = keras.ops.tanh(inputs @ self.w + states[0] @ self.u)
        return state, [state]


def network(seed: int) -> QRnnNetwork:
    return QRnnNetwork(
        OBSERVATION,
        ACTION,
        input_fc_layer_params=None,
        output_fc_layer_params=None,
        rnn_construction_fn=Recurrence,
        rnn_construction_kwargs={"seed": seed},
        seed=seed,
    )


def make(own: Any, target: Any = None, observation: Any = OBSERVATION, **changes: Any) -> R2d2Agent:
    settings = {"sequence_length": LENGTH, "burn_in": BURN_IN, "n_step_update": N_STEP, **changes}
    return R2d2Agent(
        time_step_spec(observation),
        ACTION,
        own,
        keras.optimizers.SGD(RATE),
        target_q_network=target,
        target_update_period=100,
        gamma=GAMMA,
        jit_compile=False,
        **settings,
    )


def sequences(seed: int = 0) -> tuple[Trajectory, np.ndarray, np.ndarray]:
    """Returns sequences, weights and states: row 1 has an episode's end, row 2 a truncation, and row 0 lost a step."""
    draws, outer = np.random.default_rng(seed), (BATCH, TOTAL)
    types = np.full((BATCH, TOTAL + 1), StepType.MID, np.int32)
    types[1, 3:5] = types[2, 4:6] = StepType.LAST, StepType.FIRST
    discount = np.ones(outer, np.float32)
    discount[1, 2] = 0.0
    weights = np.where(types[:, :-1] == StepType.LAST, 0.0, draws.uniform(0.5, 1.5, size=(BATCH, 1)))
    weights[0, 4] = 0.0
    trajectory = Trajectory(
        types[:, :-1],
        draws.normal(size=(*outer, 2)).astype(np.float32),
        draws.integers(1, 4, size=outer),
        (),
        types[:, 1:],
        3 * draws.normal(size=outer).astype(np.float32),
        discount,
    )
    return trajectory, weights.astype(np.float32), draws.normal(size=(BATCH, UNITS)).astype(np.float32)


def unrolled(values: list[np.ndarray], data: Trajectory, state: np.ndarray, from_step: int) -> np.ndarray:
    """Returns the values from a step on, ``[B, T, 3]``; a parameter list is w, u, kernel and bias."""
    w, u, kernel, bias = values
    found = []
    for t in range(TOTAL):
        state = np.where((data.step_type[:, t] == StepType.FIRST)[:, None], 0.0, state)
        state = np.tanh(data.observation[:, t] @ w + state @ u)
        found.append(state @ kernel + bias)
    return np.stack(found, axis=1)[:, from_step:]


def rescaled(x: float, epsilon: float) -> float:
    return np.sign(x) * (np.sqrt(abs(x) + 1) - 1) + epsilon * x


def inverted(x: float, epsilon: float) -> float:
    return np.sign(x) * (((np.sqrt(1 + 4 * epsilon * (abs(x) + 1 + epsilon)) - 1) / (2 * epsilon)) ** 2 - 1)


def goals(
    own: list[np.ndarray], target: list[np.ndarray], state: np.ndarray, data: Any, epsilon: float, mask: Any = True
) -> np.ndarray:
    """Returns the targets of the steps that are learned from, ``[B, L]``; a mask is ``[B, T, 3]``."""
    trajectory, weights = data
    judged, valued = (unrolled(values, trajectory, state, 0) for values in (own, target))
    judged = np.where(mask, judged, -np.inf)
    found = np.zeros((BATCH, LENGTH))
    for row in range(BATCH):
        for t in range(LENGTH):
            first = last = BURN_IN + t
            total, share = 0.0, 1.0
            while last < first + N_STEP and weights[row, last] > 0:
                total += share * trajectory.reward[row, last]
                share *= GAMMA * trajectory.discount[row, last]
                last += 1
            value = valued[row, last, np.argmax(judged[row, last])]
            found[row, t] = total + share * (inverted(value, epsilon) if epsilon else value)
            if epsilon:
                found[row, t] = rescaled(found[row, t], epsilon)
    return found


def loss_of(own: list[np.ndarray], state: np.ndarray, data: Any, goal: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the loss and the errors. The state after the burn-in is a constant."""
    trajectory, weights = data
    values = unrolled(own, trajectory, state, BURN_IN)[:, :LENGTH]
    taken = np.take_along_axis(values, trajectory.action[:, BURN_IN:-N_STEP, None] - 1, axis=2)[..., 0]
    counts = weights[:, BURN_IN:-N_STEP].astype(np.float64)
    return float(np.sum(counts * (goal - taken) ** 2) / np.count_nonzero(counts)), goal - taken


def parameters(network: Any) -> list[np.ndarray]:
    named = {item.path.split("/")[-1]: item.variable for item in network.named_variables()}
    return [named[name].numpy().astype(np.float64) for name in ("w", "u", "kernel", "bias")]


def far_away(target: QRnnNetwork) -> None:
    """Sets the target network's variables to others, whose values are large."""
    other = network(3)
    other.create_variables()
    for copy, value in zip(target.variables, other.variables, strict=True):
        copy.assign(20 * value)


@pytest.mark.parametrize("epsilon", [0.0, 1e-2])
def test_loss_priorities_and_gradient_are_the_papers(epsilon: float) -> None:
    own, target = network(1), network(2)
    agent = make(own, target, value_rescaling=epsilon)
    agent.initialize()
    far_away(target)
    trajectory, weights, state = sequences()
    data, start = (trajectory, weights), parameters(own)
    goal = goals(start, parameters(target), state, data, epsilon)
    loss, errors = loss_of(start, state, data, goal)
    told = agent.loss(trajectory, weights, policy_state=[state])
    np.testing.assert_allclose(told.loss, loss, rtol=1e-4)
    np.testing.assert_allclose(told.extra["td_error"], errors, rtol=1e-3, atol=1e-4)
    info = agent.train(trajectory, weights, policy_state=[state])
    np.testing.assert_allclose(info.loss, loss, rtol=1e-4)
    for row in range(BATCH):
        counted = np.abs(errors[row][weights[row, BURN_IN:-N_STEP] > 0])
        np.testing.assert_allclose(info.extra["priorities"][row], 0.9 * counted.max() + 0.1 * counted.mean(), rtol=1e-4)
    # The gradient does not go through the burn-in: its last state is a constant for finite differences, too.
    after = unrolled_state(start, trajectory, state)
    for place, value in enumerate(parameters(own)):
        for index in np.ndindex(value.shape):
            slopes = []
            for step in (1e-5, -1e-5):
                moved = [item.copy() for item in start]
                moved[place][index] += step
                slopes.append(loss_of_rest(moved, after, data, goal))
            slope = (slopes[0] - slopes[1]) / 2e-5
            np.testing.assert_allclose(value[index], start[place][index] - RATE * slope, atol=2e-5)


def test_only_allowed_actions_are_bootstrapped_from() -> None:
    own, target, epsilon = network(1), network(2), 1e-2
    specs = {"values": OBSERVATION, "mask": BoundedArraySpec((3,), np.int32, 0, 1)}
    agent = make(
        own,
        target,
        specs,
        value_rescaling=epsilon,
        observation_and_action_constraint_splitter=lambda observation: (observation["values"], observation["mask"]),
    )
    agent.initialize()
    far_away(target)
    trajectory, weights, state = sequences()
    mask = np.random.default_rng(1).integers(0, 2, size=(BATCH, TOTAL, 3)).astype(np.int32)
    mask[..., 1] |= ~mask.any(axis=-1)
    data, start, other = (trajectory, weights), parameters(own), parameters(target)
    goal, unmasked = (goals(start, other, state, data, epsilon, allowed) for allowed in (mask > 0, True))
    assert np.abs(goal - unmasked).max() > 0.1, "the best actions are allowed anyway"
    loss, errors = loss_of(start, state, data, goal)
    masked = trajectory.replace(observation={"values": trajectory.observation, "mask": mask})
    told = agent.loss(masked, weights, policy_state=[state])
    np.testing.assert_allclose(told.loss, loss, rtol=1e-4)
    np.testing.assert_allclose(told.extra["td_error"], errors, rtol=1e-3, atol=1e-4)


def unrolled_state(values: list[np.ndarray], data: Trajectory, state: np.ndarray) -> np.ndarray:
    for t in range(BURN_IN):
        state = np.where((data.step_type[:, t] == StepType.FIRST)[:, None], 0.0, state)
        state = np.tanh(data.observation[:, t] @ values[0] + state @ values[1])
    return state


def loss_of_rest(own: list[np.ndarray], state: np.ndarray, data: Any, goal: np.ndarray) -> float:
    """Returns the loss for parameters that act after the burn-in only."""
    trajectory, weights = data
    w, u, kernel, bias = own
    total = 0.0
    for t in range(BURN_IN, BURN_IN + LENGTH):
        state = np.where((trajectory.step_type[:, t] == StepType.FIRST)[:, None], 0.0, state)
        state = np.tanh(trajectory.observation[:, t] @ w + state @ u)
        taken = (state @ kernel + bias)[np.arange(BATCH), trajectory.action[:, t] - 1]
        total += np.sum(weights[:, t].astype(np.float64) * (goal[:, t - BURN_IN] - taken) ** 2)
    return total / np.count_nonzero(weights[:, BURN_IN:-N_STEP])


def test_sequences_of_another_length_are_refused() -> None:
    agent = make(network(1), burn_in=3)
    trajectory, weights, state = sequences()
    with pytest.raises(ValueError, match=f"must have {TOTAL + 1} steps, but have {TOTAL}"):
        agent.train(trajectory, weights, policy_state=[state])


def test_a_network_without_a_state_is_refused() -> None:
    with pytest.raises(ConfigError, match="QRnnNetwork"):
        make(QNetwork(OBSERVATION, ACTION))


SHAPE = RunShape(collectors=2, envs_per_collector=4, rollout_steps=16, learners=1, max_policy_lag=0, recurrent=True)


def test_sequences_begin_with_rollouts_and_leave_out_no_step() -> None:
    config = R2D2Config(sequence_length=16, burn_in=8, n_step=3)
    config.check(SHAPE)
    replay = config.experience(SHAPE)
    assert (replay.sequence_length, replay.burn_in, replay.n_step) == (16, 8, 3)
    with pytest.raises(ConfigError, match="set rollout_steps to 16 or less"):
        config.check(SHAPE._replace(rollout_steps=17))
    with pytest.raises(ConfigError, match="lstm or gru"):
        config.check(SHAPE._replace(recurrent=False))
    with pytest.raises(ConfigError, match="one rollout and one sequence"):
        R2D2Config(sequence_length=16, replay_capacity=200).check(SHAPE)
