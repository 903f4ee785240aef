"""NoisyUpdate: the update of agents that draw actions while they learn."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from distpolicy.agents.off_policy_agent import OffPolicyAgent
from distpolicy.agents.tf_agent import LossInfo
from distpolicy.trajectories.trajectory import Trajectory
from distpolicy.trajectories.transitions import Transition


class NoisyUpdate(OffPolicyAgent):
    """Hands the numbers of :attr:`noise_spec` to an update. It stands before the class that has the update.

    Attributes:
        _train_on: Takes a gradient step, from transitions, their weights and their noise.
        _loss_on: Returns the loss, from transitions, their weights, whether dropout is active, and their noise.
    """

    _train_on: Callable[..., LossInfo]
    _loss_on: Callable[..., LossInfo]

    def _train(
        self, experience: Transition | Trajectory, weights: tf.Tensor, *, noise: tf.Tensor | None = None
    ) -> LossInfo:
        transition = self._transition(experience)
        return self._train_on(transition, weights, self._noise_of(transition, noise))

    def _loss(
        self,
        experience: Transition | Trajectory,
        weights: tf.Tensor,
        training: bool = False,
        *,
        noise: tf.Tensor | None = None,
    ) -> LossInfo:
        transition = self._transition(experience)
        return self._loss_on(transition, weights, training, self._noise_of(transition, noise))

    def _noise_of(self, transition: Transition, noise: tf.Tensor | None) -> tf.Tensor:
        """Returns the numbers of :attr:`noise_spec` for each transition.

        Args:
            transition: The batch.
            noise: The numbers for each row, or for each step of a sequence; None to draw them.
        """
        outer = tf.shape(transition.next_time_step.step_type)
        if noise is None:
            return tf.random.normal(tf.concat([outer, self.noise_spec.shape], axis=0))
        return noise[:, : outer[1]] if self._is_recurrent else noise
