"""OffPolicyAgent: what agents that learn from transitions of any age have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from distpolicy.agents.experience_config import ExperienceConfig, Replay
from distpolicy.agents.off_policy_losses import sequence_priority
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.errors import NotSupportedError
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition, to_n_step_transition, to_transition


class OffPolicyAgent(TFAgent):
    """Learns from transitions, which may come from older policies.

    ``train`` takes Transitions ``[B, ...]``, as a replay buffer makes them, or a Trajectory ``[B, n + 1, ...]``, as in
    TF-Agents. A transition over n steps has the discounted sum of their rewards in ``next_time_step``, and there the
    product of their discounts and ``gamma ** (n - 1)``. Weights are float32 ``[B]``: what each transition counts in the
    loss; None for 1.

    With recurrent networks, ``train`` takes a Trajectory ``[B, T, ...]`` of any length, or Transitions
    ``[B, T - 1, ...]``. The networks start from a state of zeros, and reset it where a step is FIRST. A sequence's loss
    is the sum over its transitions. Weights may be float32 ``[B, T]``, too. All is as in TF-Agents.

    Args:
        time_step_spec: A TimeStep of specs.
        action_spec: Nest of bounded specs of one action.
        policy: The policy that is evaluated and deployed.
        collect_policy: The policy that collectors run.
        gamma: The discount factor.
        n_step_update: n, the steps of a transition.
        train_step_counter: int64 variable that counts updates; None to make one.
        training_data_spec: Nest of specs of what ``train`` takes; None for the collect policy's.
        jit_compile: Whether XLA compiles the update.
        name: Name of the module.
        is_recurrent: Whether a network has a state, so that the agent learns from sequences.

    Raises:
        NotImplementedError: If recurrent networks are to learn from transitions over several steps.
    """

    def __init__(
        self,
        time_step_spec: TimeStep,
        action_spec: Any,
        policy: TFPolicy,
        collect_policy: TFPolicy,
        gamma: float,
        n_step_update: int = 1,
        train_step_counter: tf.Variable | None = None,
        training_data_spec: Any = None,
        jit_compile: bool = False,
        name: str | None = None,
        is_recurrent: bool = False,
    ) -> None:
        if is_recurrent and n_step_update != 1:
            raise NotSupportedError(
                f"recurrent networks learn from single steps, but n_step_update is {n_step_update}: leave it out, or "
                "use an R2d2Agent"
            )
        super().__init__(
            time_step_spec,
            action_spec,
            policy,
            collect_policy,
            train_sequence_length=None if is_recurrent else n_step_update + 1,
            training_data_spec=training_data_spec,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
        )
        self._gamma, self._n_step_update, self._is_recurrent = gamma, n_step_update, is_recurrent

    def experience(self, replay: Mapping[str, Any], rollout_steps: int) -> ExperienceConfig:
        """Returns the settings of a replay buffer; see the base class.

        It holds transitions over n steps, or for recurrent networks sequences that are as long as rollouts.
        """
        own: dict[str, Any] = {"n_step": self._n_step_update, "discount": self._gamma}
        if self._is_recurrent:
            own["sequence_length"] = rollout_steps
        return Replay(**{**own, **replay})

    def _default_weights(self, experience: Any) -> Any:
        return tf.ones(tf.shape(tf.nest.flatten(experience)[0])[:1])

    def _transition(self, experience: Transition | Trajectory) -> Transition:
        """Returns the batch as transitions ``[B, ...]``, or ``[B, T - 1, ...]`` for recurrent networks."""
        if isinstance(experience, Transition):
            return experience
        return to_transition(experience) if self._is_recurrent else to_n_step_transition(experience, self._gamma)

    def _valid(self, transition: Transition, weights: tf.Tensor) -> tf.Tensor:
        """Returns the weights of transitions, float32 ``[B]`` or ``[B, T - 1]``.

        It is 0 where a transition leads from an episode's last step to the next one's first.
        """
        if self._is_recurrent:
            if weights.shape.rank == 1:
                weights = weights[:, tf.newaxis]
            elif weights.shape.rank == 2:
                weights = weights[:, : tf.shape(transition.time_step.step_type)[1]]
        return weights * tf.cast(tf.logical_not(transition.time_step.is_last()), weights.dtype)

    def _shares(self, weights: tf.Tensor) -> tf.Tensor:
        """Returns by what each transition's loss is multiplied in the mean, float32 like ``weights``.

        It is the weight divided by the number of rows that count. A sequence is one row.
        """
        counted = tf.not_equal(weights, 0.0)
        if self._is_recurrent:
            counted = tf.reduce_any(counted, axis=1)
        return weights / tf.maximum(tf.math.count_nonzero(counted, dtype=tf.float32), 1.0)

    def _mean_loss(self, losses: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Returns the weighted mean over rows of their losses; those of a sequence are added up.

        Args:
            losses: float32 ``[B]`` or ``[B, T - 1]``.
            weights: float32 of the same shape, from :meth:`_valid`.
        """
        return tf.reduce_sum(losses * self._shares(weights))

    def _priorities(self, errors: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Returns the rows' priorities, float32 ``[B]``, from the absolute errors of transitions."""
        return sequence_priority(errors, weights > 0.0) if self._is_recurrent else errors
