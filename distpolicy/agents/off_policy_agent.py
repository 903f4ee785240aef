"""OffPolicyAgent: what agents that learn from transitions of any age have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.agents.experience_config import ExperienceConfig, Replay
from distpolicy.agents.tf_agent import TFAgent
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition, to_n_step_transition


class OffPolicyAgent(TFAgent):
    """Learns from transitions, which may come from older policies.

    ``train`` takes Transitions ``[B, ...]``, as a replay buffer makes them, or a Trajectory ``[B, n + 1, ...]``, as in
    TF-Agents. A transition over n steps has the discounted sum of their rewards in ``next_time_step``, and there the
    product of their discounts and ``gamma ** (n - 1)``. Weights are float32 ``[B]``: what each transition counts in the
    loss; None for 1.

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
    ) -> None:
        super().__init__(
            time_step_spec,
            action_spec,
            policy,
            collect_policy,
            train_sequence_length=n_step_update + 1,
            training_data_spec=training_data_spec,
            train_step_counter=train_step_counter,
            jit_compile=jit_compile,
            name=name,
        )
        self._gamma, self._n_step_update = gamma, n_step_update

    def experience(self, replay: Mapping[str, Any], rollout_steps: int) -> ExperienceConfig:
        """Returns the settings of a replay buffer of transitions over n steps; see the base class."""
        return Replay(**{"n_step": self._n_step_update, "discount": self._gamma, **replay})

    def _default_weights(self, experience: Any) -> Any:
        return tf.ones(tf.shape(tf.nest.flatten(experience)[0])[:1])

    def _transition(self, experience: Transition | Trajectory) -> Transition:
        """Returns the batch as transitions ``[B, ...]``."""
        if isinstance(experience, Transition):
            return experience
        return to_n_step_transition(experience, self._gamma)

    def _valid(self, transition: Transition, weights: tf.Tensor) -> tf.Tensor:
        """Returns the weights, with 0 where a transition leads from an episode's last step to the next one's first."""
        return weights * tf.cast(tf.logical_not(transition.time_step.is_last()), weights.dtype)


def update_targets(
    sources: Sequence[tf.Variable], targets: Sequence[tf.Variable], step: tf.Tensor, tau: float, period: int
) -> None:
    """Moves target variables towards their sources, every ``period`` steps: ``target += tau (source - target)``.

    It stands inside the compiled update.

    Args:
        sources: The variables.
        targets: Their targets, in the same order.
        step: int64 scalar: gradient steps so far, with this one.
        tau: Share of the sources, in (0, 1].
        period: Steps between two updates.
    """

    def move() -> tf.Tensor:
        for source, target in zip(sources, targets, strict=True):
            target.assign(source if tau == 1.0 else target + tau * (source - target))
        return tf.constant(True)

    if period == 1:
        move()
    else:
        tf.cond(tf.equal(step % period, 0), move, lambda: tf.constant(False))
