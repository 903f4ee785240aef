"""Wrappers of TFEnvironments. Several can be put around each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.environments.tf_environment import TFEnvironment
from distpolicy.errors import SpecMismatchError
from distpolicy.specs.tensor_spec import BoundedTensorSpec
from distpolicy.trajectories.time_step import TimeStep


class TFEnvironmentBaseWrapper(TFEnvironment):
    """Passes every call on to another environment. A subclass overrides what it changes.

    The environment's other public attributes are available here, too.

    Args:
        env: The environment.
    """

    def __init__(self, env: TFEnvironment) -> None:
        super().__init__()
        self._env = env

    def __getattr__(self, name: str) -> Any:
        # A copied or unpickled object has no attributes yet, and looking one up would recurse.
        if name == "_env":
            raise AttributeError(name)
        return getattr(self._env, name)

    @property
    def batched(self) -> bool:
        """Whether time steps and actions have a batch dimension."""
        return self._env.batched

    @property
    def batch_size(self) -> int:
        """The number of environments."""
        return self._env.batch_size

    def time_step_spec(self) -> Any:
        return self._env.time_step_spec()

    def action_spec(self) -> Any:
        return self._env.action_spec()

    def observation_spec(self) -> Any:
        return self._env.observation_spec()

    def reward_spec(self) -> Any:
        return self._env.reward_spec()

    def render(self, *args: Any, **kwargs: Any) -> Any:
        return self._env.render(*args, **kwargs)

    def _current_time_step(self) -> TimeStep:
        return self._env.current_time_step()

    def _reset(self) -> TimeStep:
        return self._env.reset()

    def _step(self, action: Any) -> TimeStep:
        return self._env.step(action)


class OneHotActionWrapper(TFEnvironmentBaseWrapper):
    """Takes an integer action of n values as a vector ``[n]``: the largest element's place is the action.

    Leaves of other dtypes stay as they are.

    Args:
        env: The environment. Integer leaves of its actions have at most one dimension.

    Raises:
        ValueError: If an integer leaf has more dimensions, or its elements do not have the same number of values.
    """

    def __init__(self, env: TFEnvironment) -> None:
        super().__init__(env)
        self._one_hot_spec = tf.nest.map_structure(_one_hot, env.action_spec())

    def action_spec(self) -> Any:
        return self._one_hot_spec

    def _step(self, action: Any) -> TimeStep:
        return self._env.step(tf.nest.map_structure(_index, self._env.action_spec(), action))


def _one_hot(spec: Any) -> Any:
    if not spec.dtype.is_integer:
        return spec
    nums = np.unique(np.asarray(spec.maximum, np.int64) - np.asarray(spec.minimum, np.int64) + 1)
    if spec.shape.rank > 1 or len(nums) > 1:
        raise SpecMismatchError(
            "OneHotActionWrapper needs actions of at most one dimension with one number of values for all elements, "
            f"not {spec}"
        )
    return BoundedTensorSpec((*spec.shape, int(nums[0])), spec.dtype, 0, 1, "one_hot_action_spec")


def _index(spec: Any, action: tf.Tensor) -> tf.Tensor:
    if not spec.dtype.is_integer:
        return action
    return tf.cast(tf.argmax(action, axis=-1), spec.dtype) + tf.cast(spec.minimum, spec.dtype)
