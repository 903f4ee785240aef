"""The batch that an update of an actor-critic agent reads, and how it is cut into samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from distpolicy.agents.sequences import cut_burn_in, cut_sequences
from distpolicy.trajectories.trajectory import Trajectory


class RolloutBatch(NamedTuple):
    """Rollouts as an update reads them.

    Attributes:
        observation: Nest of ``[B, T + 1, ...]``, normalised, or a MaskedObservation.
        step_type: int32 ``[B, T + 1]``.
        action: Nest of ``[B, T, ...]``.
        log_probability: float32 ``[B, T]``: of the actions, by the policy that acted.
        reward: float32 ``[B, T]``, normalised.
        discount: float32 ``[B, T]``: the env's discount times gamma.
        mask: float32 ``[B, T]``: 1 for each transition of the task, else 0.
        policy_state: Nest of ``[B, ...]``: the policy's state before the first step.
        policy_info: Nest of ``[B, T, ...]``: what the policy that acted tells beside.
    """

    observation: Any
    step_type: tf.Tensor
    action: Any
    log_probability: tf.Tensor
    reward: tf.Tensor
    discount: tf.Tensor
    mask: tf.Tensor
    policy_state: Any
    policy_info: Any

    @property
    def is_boundary(self) -> tf.Tensor:
        """bool ``[B, T]``: the steps that are not a transition; advantages do not flow across them."""
        return tf.equal(self.mask, 0.0)

    def samples(self) -> dict[str, Any]:
        """Returns what a loss reads of each step: nests of ``[B, T, ...]`` by name."""
        return {
            "observation": tf.nest.map_structure(lambda tensor: tensor[:, :-1], self.observation),
            "step_type": self.step_type[:, :-1],
            "action": self.action,
            "log_probability": self.log_probability,
            "mask": self.mask,
        }


def make_batch(
    experience: Trajectory,
    log_probability: tf.Tensor,
    observation: Any,
    reward: tf.Tensor,
    discount: float,
    mask: tf.Tensor,
    policy_state: Any,
) -> RolloutBatch:
    """Makes the batch.

    Args:
        experience: A Trajectory of tensors ``[B, T, ...]``.
        log_probability: float32 ``[B, T]``; see :class:`RolloutBatch`.
        observation: Nest of ``[B, T + 1, ...]``, normalised.
        reward: float32 ``[B, T]``, normalised.
        discount: Gamma.
        mask: float32 ``[B, T]``; see :class:`RolloutBatch`.
        policy_state: Nest of ``[B, ...]``.
    """
    return RolloutBatch(
        observation=observation,
        step_type=with_last(experience.step_type, experience.next_step_type[:, -1]),
        action=experience.action,
        log_probability=log_probability,
        reward=reward,
        discount=discount * experience.discount,
        mask=mask,
        policy_state=policy_state,
        policy_info=experience.policy_info,
    )


def with_last(steps: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Returns ``[B, T + 1, ...]`` from ``[B, T, ...]`` and ``[B, ...]``."""
    return tf.concat([steps, last[:, tf.newaxis]], axis=1)


def cut_steps(samples: Any) -> Any:
    """Cuts nests ``[B, T, ...]`` into steps ``[B * T, ...]``."""
    return tf.nest.map_structure(lambda tensor: tf.reshape(tensor, [-1, *tensor.shape[2:]]), samples)


def steps_before(samples: dict[str, Any], length: int, burn_in: int) -> dict[str, Any]:
    """Returns the steps before each sequence of L steps, from which its state is computed anew.

    Args:
        samples: ``observation`` and ``step_type``, nests of ``[B, T, ...]``.
        length: L.
        burn_in: The number of steps.

    Returns:
        ``before``, nests of ``[N, burn_in, ...]``, and ``is_first``, bool ``[N]``: the first sequence of a slot.
    """
    num_slots, num_steps = samples["step_type"].shape
    before = (samples["observation"], samples["step_type"])
    return {
        "before": tf.nest.map_structure(lambda tensor: cut_burn_in(tensor, length, burn_in), before),
        "is_first": tf.tile(tf.range(num_steps // length) == 0, [num_slots]),
    }


def cut_into_sequences(samples: Any, length: int) -> Any:
    """Cuts nests ``[B, T, ...]`` into sequences ``[N, L, ...]``."""
    return tf.nest.map_structure(lambda tensor: cut_sequences(tensor, length), samples)
