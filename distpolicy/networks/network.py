"""Network: the base of all networks."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from distpolicy.specs import tensor_spec
from distpolicy.utils.module_variables import NamedVariable, named_variables


class Network(tf.Module, abc.ABC):
    """A tf.Module that holds Keras 3 layers and knows all their variables.

    Args:
        input_tensor_spec: Nest of specs of one observation, without batch dimensions.
        state_spec: Nest of specs of the recurrent state; ``()`` for none.
        name: Name of the module; the class's by default.
    """

    def __init__(self, input_tensor_spec: Any, state_spec: Any = (), name: str | None = None) -> None:
        super().__init__(name=name)
        # Past tf.Module's tracking, which would wrap the user's lists and dicts.
        object.__setattr__(self, "_input_tensor_spec", tensor_spec.from_spec(input_tensor_spec))
        object.__setattr__(self, "_state_spec", tensor_spec.from_spec(state_spec))
        self._built = False

    @property
    def input_tensor_spec(self) -> Any:
        """Specs of one observation."""
        return self._input_tensor_spec

    @property
    def state_spec(self) -> Any:
        """Specs of the recurrent state."""
        return self._state_spec

    def create_variables(self) -> None:
        """Creates the variables by one call on zeros, if they do not exist yet."""
        if not self._built:
            with tf.init_scope():
                zeros = tensor_spec.zero_spec_nest(self._input_tensor_spec, [1])
                state = tensor_spec.zero_spec_nest(self._state_spec, [1])
                self.call(zeros, step_type=tf.zeros([1], tf.int32), network_state=state)
            self._built = True

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Zeros of the state's specs; ``[batch_size, ...]`` if that is given."""
        return tensor_spec.zero_spec_nest(self._state_spec, None if batch_size is None else [batch_size])

    @abc.abstractmethod
    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """The network's function.

        Args:
            observation: Nest of ``[B, *shape]``.
            step_type: int32 ``[B]``, or None.
            network_state: Nest of ``[B, ...]``.
            training: Whether layers such as Dropout act as in training.

        Returns:
            ``(outputs, network_state)``.
        """

    def __call__(
        self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False
    ) -> tuple[Any, Any]:
        self.create_variables()
        return self.call(observation, step_type=step_type, network_state=network_state, training=training)

    def named_variables(self) -> list[NamedVariable]:
        """All variables with their paths, each once, in a stable order."""
        self.create_variables()
        return named_variables(self)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All variables, trainable and not."""
        return tuple(item.variable for item in self.named_variables())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that are trained."""
        return tuple(variable for variable in self.variables if variable.trainable)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The others."""
        return tuple(variable for variable in self.variables if not variable.trainable)
