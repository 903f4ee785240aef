"""RandomTFEnvironment: random time steps inside compiled functions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.specs import tensor_spec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.common import function
from distpolicy.utils.nest_utils import assert_matches_spec


class RandomTFEnvironment(TFEnvironment):
    """Draws observations and rewards uniformly from their specs. All rows begin and end together.

    Args:
        time_step_spec: Tensor specs of one time step.
        action_spec: Nest of tensor specs of one action.
        batch_size: Number of rows.
        episode_end_probability: Probability that a step ends the episode.
    """

    def __init__(
        self, time_step_spec: TimeStep, action_spec: Any, batch_size: int = 1, episode_end_probability: float = 0.1
    ) -> None:
        super().__init__(time_step_spec, action_spec, batch_size)
        self._specs = time_step_spec
        self._episode_end_probability = episode_end_probability
        self._variables = [
            tf.Variable(tf.zeros([batch_size, *spec.shape], spec.dtype), trainable=False)
            for spec in tf.nest.flatten(time_step_spec)
        ]
        self._reset_function, self._step_function = function(self._drawn_reset), function(self._drawn_step)

    def _current_time_step(self) -> TimeStep:
        return tf.nest.pack_sequence_as(self._specs, [tf.identity(value) for value in self._variables])

    def _reset(self) -> TimeStep:
        return self._reset_function()

    def _step(self, action: Any) -> TimeStep:
        """Checks the action, and draws the next time step.

        Raises:
            ValueError: If the action does not match its spec.
        """
        assert_matches_spec(action, self._action_spec, "action", 1)
        return self._step_function()

    def _drawn_reset(self) -> TimeStep:
        observation = self._draw(self._specs.observation)
        return self._updated(ts.restart(observation, self.batch_size, reward_spec=self._specs.reward))

    def _drawn_step(self) -> TimeStep:
        return tf.cond(self._current_time_step().is_last()[0], self._drawn_reset, self._drawn_transition)

    def _drawn_transition(self) -> TimeStep:
        observation, reward = (self._draw(spec) for spec in (self._specs.observation, self._specs.reward))
        ends = tf.random.uniform([]) < self._episode_end_probability
        outer = [self.batch_size]
        return self._updated(
            tf.cond(
                ends,
                lambda: ts.termination(observation, reward, outer_dims=outer),
                lambda: ts.transition(observation, reward, outer_dims=outer),
            )
        )

    def _draw(self, spec: Any) -> Any:
        return tensor_spec.sample_spec_nest(spec, outer_dims=(self.batch_size,))

    def _updated(self, time_step: TimeStep) -> TimeStep:
        for variable, leaf in zip(self._variables, tf.nest.flatten(time_step), strict=True):
            variable.assign(leaf)
        return time_step
