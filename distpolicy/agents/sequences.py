"""Evaluating rollouts, and cutting them into sequences that recurrent networks are trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from distpolicy.agents.action_terms import action_log_probability
from distpolicy.agents.actor_critic import ActorCritic


class SequenceStates(NamedTuple):
    """The states of ``N = B * C`` sequences, in order of slots, then of time.

    Attributes:
        start: Nest of ``[N, ...]``: the state before the first step.
        burn_in: The same, before the first step of the burn-in; ``()`` without one.
    """

    start: Any
    burn_in: Any


class Unrolled(NamedTuple):
    """What a pass over a rollout computes.

    Attributes:
        value: float32 ``[B, T + 1]``.
        log_probability: float32 ``[B, T]``: of the actions that were taken; ``()`` if they were not given.
        states: The states of the rollout's sequences; ``()`` without recurrent networks.
    """

    value: tf.Tensor
    log_probability: tf.Tensor | tuple[()]
    states: SequenceStates | tuple[()]


def unroll_steps(actor_critic: ActorCritic, observation: Any, step_type: tf.Tensor, action: Any) -> Unrolled:
    """Evaluates the steps of a rollout by networks without a state.

    Args:
        actor_critic: What is evaluated.
        observation: Nest of ``[B, T + 1, *shape]``.
        step_type: int32 ``[B, T + 1]``.
        action: Nest of ``[B, T, *shape]``; ``()`` if log-probabilities are not needed.
    """
    distribution, value, _ = actor_critic(observation, step_type, ())
    if isinstance(action, tuple) and not action:
        return Unrolled(value, (), ())
    # Any action stands in for the one after the last step.
    action = tf.nest.map_structure(lambda tensor: tf.concat([tensor, tensor[:, -1:]], axis=1), action)
    return Unrolled(value, action_log_probability(distribution, action)[:, :-1], ())


def unroll_sequences(
    actor_critic: ActorCritic,
    observation: Any,
    step_type: tf.Tensor,
    state: Any,
    length: int,
    burn_in: int,
    action: Any = (),
) -> Unrolled:
    """Evaluates the steps of a rollout and finds the states of its sequences, by one unroll from its first state.

    Args:
        actor_critic: What is unrolled.
        observation: Nest of ``[B, T + 1, *shape]``.
        step_type: int32 ``[B, T + 1]``.
        state: Nest of ``[B, ...]``: the state before step 0.
        length: L, the steps of a sequence; divides T.
        burn_in: Steps before a sequence from which its state can be computed anew; at most L.
        action: Nest of ``[B, T, *shape]``; ``()`` if log-probabilities are not needed.
    """
    num_slots, num_steps = step_type.shape[0], int(step_type.shape[1]) - 1
    with_actions = not (isinstance(action, tuple) and not action)

    def by_time(tensor: tf.Tensor) -> tf.Tensor:
        parts = tf.reshape(tensor[:, :num_steps], [num_slots, num_steps // length, length, *tensor.shape[2:]])
        return tf.transpose(parts, [1, 0, 2, *range(3, parts.shape.rank)])

    def unroll(steps: tuple[Any, ...], state: Any, begin: int, end: int) -> tuple[tf.Tensor, Any]:
        part, types, taken = tf.nest.map_structure(lambda tensor: tensor[:, begin:end], steps)
        distribution, value, state = actor_critic(part, types, state)
        outputs = [value, action_log_probability(distribution, taken)] if with_actions else [value]
        return tf.stack(outputs), state

    def one(carried: tuple[Any, ...], sequence: tuple[Any, ...]) -> tuple[Any, ...]:
        _, state, _ = carried
        outputs, middle = [], state
        if burn_in < length:
            output, middle = unroll(sequence, state, 0, length - burn_in)
            outputs.append(output)
        state = middle
        if burn_in:
            output, state = unroll(sequence, middle, length - burn_in, length)
            outputs.append(output)
        return tf.concat(outputs, axis=2), state, middle

    steps = (observation, step_type, action)
    initial = (tf.zeros([1 + with_actions, num_slots, length]), state, state)
    outputs, end, middle = tf.scan(one, tf.nest.map_structure(by_time, steps), initial)
    last, last_type = tf.nest.map_structure(lambda tensor: tensor[:, num_steps:], (observation, step_type))
    _, bootstrap, _ = actor_critic(last, last_type, tf.nest.map_structure(lambda tensor: tensor[-1], end))
    outputs = tf.reshape(tf.transpose(outputs, [1, 2, 0, 3]), [1 + with_actions, num_slots, num_steps])

    def before(first: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
        states = tf.concat([first[tf.newaxis], later[:-1]], axis=0)
        states = tf.transpose(states, [1, 0, *range(2, states.shape.rank)])
        return tf.reshape(states, [-1, *states.shape[2:]])

    states = SequenceStates(
        start=tf.nest.map_structure(before, state, end),
        burn_in=tf.nest.map_structure(before, state, middle) if burn_in else (),
    )
    value = tf.concat([outputs[0], bootstrap], axis=1)
    return Unrolled(value, outputs[1] if with_actions else (), states)


def cut_sequences(tensor: tf.Tensor, length: int) -> tf.Tensor:
    """Returns ``[B, T, ...]`` as ``[B * C, L, ...]``."""
    return tf.reshape(tensor, [-1, length, *tensor.shape[2:]])


def cut_burn_in(tensor: tf.Tensor, length: int, burn_in: int) -> tf.Tensor:
    """Returns the steps before each sequence of ``[B, T, ...]``, as ``[B * C, burn_in, ...]``.

    There are no steps before a slot's first sequence; its values must not be used.
    """
    parts = tf.reshape(tensor, [tensor.shape[0], -1, length, *tensor.shape[2:]])[:, :, length - burn_in :]
    before = tf.roll(parts, shift=1, axis=1)
    return tf.reshape(before, [-1, burn_in, *tensor.shape[2:]])


def burned_in(
    actor_critic: ActorCritic, observation: Any, step_type: tf.Tensor, states: SequenceStates, is_first: tf.Tensor
) -> Any:
    """Returns the states before sequences, recomputed over the steps before them (Kapturowski et al., "R2D2", 2019).

    Args:
        actor_critic: With the weights of now.
        observation: Nest of ``[N, burn_in, *shape]``.
        step_type: int32 ``[N, burn_in]``.
        states: Those that were stored.
        is_first: bool ``[N]``: sequences that are the first of their rollout, whose states stay as they are.
    """
    _, _, computed = actor_critic(observation, step_type, states.burn_in)

    def choose(stored: tf.Tensor, fresh: tf.Tensor) -> tf.Tensor:
        mask = tf.reshape(is_first, [-1] + [1] * (stored.shape.rank - 1))
        return tf.stop_gradient(tf.where(mask, stored, fresh))

    return tf.nest.map_structure(choose, states.start, computed)
