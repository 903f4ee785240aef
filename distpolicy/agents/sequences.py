"""Cutting rollouts into sequences that recurrent networks are trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from distpolicy.agents.actor_critic import ActorCritic


class SequenceStates(NamedTuple):
    """The states of ``N = B * C`` sequences, in order of slots, then of time.

    Attributes:
        start: Nest of ``[N, ...]``: the state before the first step.
        burn_in: The same, before the first step of the burn-in; ``()`` without one.
    """

    start: Any
    burn_in: Any


def unroll_sequences(
    actor_critic: ActorCritic, observation: Any, step_type: tf.Tensor, state: Any, length: int, burn_in: int
) -> tuple[tf.Tensor, SequenceStates]:
    """Returns the values of a rollout and the states of its sequences, by one unroll from its first state.

    Args:
        actor_critic: What is unrolled.
        observation: Nest of ``[B, T + 1, *shape]``.
        step_type: int32 ``[B, T + 1]``.
        state: Nest of ``[B, ...]``: the state before step 0.
        length: L, the steps of a sequence; divides T.
        burn_in: Steps before a sequence from which its state can be computed anew; at most L.

    Returns:
        float32 ``[B, T + 1]`` and the states.
    """
    num_steps = int(step_type.shape[1]) - 1

    def by_time(tensor: tf.Tensor) -> tf.Tensor:
        parts = tf.reshape(tensor[:, :-1], [tensor.shape[0], num_steps // length, length, *tensor.shape[2:]])
        return tf.transpose(parts, [1, 0, 2, *range(3, parts.shape.rank)])

    def unroll(steps: tuple[Any, tf.Tensor], state: Any, begin: int, end: int) -> tuple[tf.Tensor, Any]:
        part, types = tf.nest.map_structure(lambda tensor: tensor[:, begin:end], steps)
        _, value, state = actor_critic(part, types, state)
        return value, state

    def one(carried: tuple[Any, ...], sequence: tuple[Any, tf.Tensor]) -> tuple[Any, ...]:
        _, state, _ = carried
        values, middle = [], state
        if burn_in < length:
            value, middle = unroll(sequence, state, 0, length - burn_in)
            values.append(value)
        state = middle
        if burn_in:
            value, state = unroll(sequence, middle, length - burn_in, length)
            values.append(value)
        return tf.concat(values, axis=1), state, middle

    steps = (observation, step_type)
    initial = (tf.zeros([step_type.shape[0], length]), state, state)
    value, end, middle = tf.scan(one, tf.nest.map_structure(by_time, steps), initial)
    bootstrap, _ = unroll(steps, tf.nest.map_structure(lambda tensor: tensor[-1], end), num_steps, num_steps + 1)
    value = tf.reshape(tf.transpose(value, [1, 0, 2]), [step_type.shape[0], num_steps])

    def before(first: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
        states = tf.concat([first[tf.newaxis], later[:-1]], axis=0)
        states = tf.transpose(states, [1, 0, *range(2, states.shape.rank)])
        return tf.reshape(states, [-1, *states.shape[2:]])

    states = SequenceStates(
        start=tf.nest.map_structure(before, state, end),
        burn_in=tf.nest.map_structure(before, state, middle) if burn_in else (),
    )
    return tf.concat([value, bootstrap], axis=1), states


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
