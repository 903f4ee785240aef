"""Network: the base of all networks."""

from __future__ import annotations

import abc
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.parameters import get_parameters, specs_of_parameters
from distpolicy.distributions.utils import DistributionSpecV2
from distpolicy.errors import SpecMismatchError
from distpolicy.networks.keras_habits import KerasHabits
from distpolicy.networks.utils import outer_rank
from distpolicy.specs import tensor_spec
from distpolicy.utils.nest_utils import assert_matches_spec, prune_extra_keys
from distpolicy.utils.nests.array_nest import paths

# Callers may pass these to any network. A network without such a parameter is called without it.
_OPTIONAL = frozenset({"step_type", "network_state", "training"})


class Network(KerasHabits, abc.ABC):
    """A tf.Module that holds Keras 3 layers and knows all their variables.

    A subclass stores its layers and networks as attributes and defines :meth:`call`. The network keeps the arguments of
    its constructor for :meth:`copy`.

    Args:
        input_tensor_spec: Nest of specs of one input, without batch dimensions. None if they are not known yet; inputs
            are then not checked.
        state_spec: Nest of specs of the recurrent state; ``()`` for none.
        name: Name of the module; the class's by default. Characters that a Python name cannot hold become ``_``.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Network:
        self = super().__new__(cls)
        # The prefix _self_ excludes it from the search for variables, object.__setattr__ from tf.Module's tracking.
        object.__setattr__(self, "_self_arguments", (args, kwargs))
        return self

    def __init__(self, input_tensor_spec: Any = None, state_spec: Any = (), name: str | None = None) -> None:
        super().__init__(name=None if name is None else re.sub(r"\W|^(?=\d)", "_", name))
        # Avoids tf.Module's tracking, which would wrap the user's lists and dicts.
        spec = None if input_tensor_spec is None else tensor_spec.from_spec(input_tensor_spec)
        object.__setattr__(self, "_input_tensor_spec", spec)
        object.__setattr__(self, "_state_spec", tensor_spec.from_spec(state_spec))
        object.__setattr__(self, "_network_output_spec", None)
        self._built = False

    @property
    def input_tensor_spec(self) -> Any:
        """Specs of one input, or None."""
        return self._input_tensor_spec

    @property
    def state_spec(self) -> Any:
        """Specs of the recurrent state."""
        return self._state_spec

    @property
    def hidden_layers(self) -> list[Any]:
        """The layers that compute in bfloat16 with mixed precision: those whose outputs other layers read.

        They have a Keras ``dtype_policy``. Networks in this network have their own.
        """
        return []

    @property
    def built(self) -> bool:
        """Whether the variables exist."""
        return self._built

    def create_variables(self, input_tensor_spec: Any = None, **kwargs: Any) -> Any:
        """Creates the variables by one call on zeros, if they do not exist yet.

        Args:
            input_tensor_spec: Nest of specs of one input. A network that already has input specs ignores it.
            **kwargs: Further arguments of :meth:`call`.

        Returns:
            Nest of specs of one output: a TensorSpec for a tensor, a ``DistributionSpecV2`` for a distribution. None
            for a network without input specs whose variables an earlier call has created.

        Raises:
            ValueError: If the network has no input specs and none are given.
        """
        if self._input_tensor_spec is None and input_tensor_spec is not None:
            object.__setattr__(self, "_input_tensor_spec", tensor_spec.from_spec(input_tensor_spec))
        if self._built and (self._network_output_spec is not None or self._input_tensor_spec is None):
            return self._network_output_spec
        if self._input_tensor_spec is None:
            raise SpecMismatchError(
                f"{self.name} has no variables yet; give its constructor or create_variables an input_tensor_spec"
            )
        with tf.init_scope():
            zeros = tensor_spec.zero_spec_nest(self._input_tensor_spec, [1])
            state = tensor_spec.zero_spec_nest(self._state_spec, [1])
            given = {"step_type": tf.zeros([1], tf.int32), "network_state": state, **kwargs}
            outputs, _ = self._call(zeros, given)
        object.__setattr__(self, "_network_output_spec", tf.nest.map_structure(_spec_without_batch, outputs))
        self._built = True
        return self._network_output_spec

    def copy(self, **kwargs: Any) -> Any:
        """Returns a network built with the same arguments, with weights of its own.

        The copy's constructor gets the same layers and networks as arguments. The constructors in this package copy
        them, and your own should, too.

        Args:
            **kwargs: Arguments of the constructor to change.

        Raises:
            TypeError: If the constructor does not have such an argument.
        """
        args, given = self._self_arguments
        signature = inspect.signature(type(self))
        bound = signature.bind(*args, **given)
        for name, value in kwargs.items():
            if name in signature.parameters:
                bound.arguments[name] = value
            else:
                rest = next(
                    (item.name for item in signature.parameters.values() if item.kind == item.VAR_KEYWORD), None
                )
                if rest is None:
                    raise TypeError(f"{type(self).__name__} does not have an argument {name!r}")
                bound.arguments[rest] = {**bound.arguments.get(rest, {}), name: value}
        return type(self)(*bound.args, **bound.kwargs)

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Returns zeros like the state's specs: ``[batch_size, ...]``, or ``[...]`` if ``batch_size`` is None."""
        return tensor_spec.zero_spec_nest(self._state_spec, None if batch_size is None else [batch_size])

    @abc.abstractmethod
    def call(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs: ``call(observation, step_type=None, network_state=(), training=False)``.

        A subclass may leave out any argument but the first, and may add others.

        Args:
            observation: Nest of ``[B, *shape]``.
            *args: ``step_type``, int32 ``[B]`` or None; ``network_state``, a nest of ``[B, ...]``; ``training``,
                whether layers such as Dropout are in training mode.
            **kwargs: The same arguments by name.

        Returns:
            ``(outputs, network_state)``.
        """

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Calls the network.

        Args:
            inputs: Nest of ``[..., *shape]`` like ``input_tensor_spec``. Dicts may have additional keys.
            *args: The arguments of :meth:`call` after the first, in the same order.
            **kwargs: The same arguments by name. If :meth:`call` does not have ``step_type``, ``network_state`` or
                ``training``, these are left out, and so is a ``mask`` of None. A ``network_state`` of ``()`` or None
                stands for the initial state.

        Returns:
            ``(outputs, network_state)``.

        Raises:
            ValueError: If the inputs or the state do not match the specs. The message names the leaf.
        """
        names, _ = _parameters(type(self).call)
        if len(args) > len(names):
            raise TypeError(f"{self.name} takes {len(names)} arguments after the inputs, got {len(args)}")
        given = dict(zip(names, args, strict=False))
        if given.keys() & kwargs.keys():
            raise TypeError(f"{self.name}: arguments given twice: {sorted(given.keys() & kwargs.keys())}")
        given.update(kwargs)
        inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        if self._input_tensor_spec is not None:
            inputs = prune_extra_keys(self._input_tensor_spec, inputs)
            self._check(inputs, self._input_tensor_spec, "inputs")
            self.create_variables()
        if tf.nest.flatten(self._state_spec):
            given["network_state"] = self._full_state(inputs, given.get("network_state", ()))
        outputs, state = self._call(inputs, given)
        self._built = True
        return outputs, state

    def _call(self, inputs: Any, given: dict[str, Any]) -> tuple[Any, Any]:
        names, takes_all = _parameters(type(self).call)
        if not takes_all:
            left_out = _OPTIONAL if given.get("mask") is not None else _OPTIONAL | {"mask"}
            given = {name: value for name, value in given.items() if name in names or name not in left_out}
        answer = self.call(inputs, **given)
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TypeError(f"{self.name}.call must return (outputs, network_state), not {type(answer).__name__}")
        outputs, state = answer
        if tf.nest.flatten(self._state_spec):
            state = self._packed_state(state, "returned network_state")
        return outputs, state

    def _full_state(self, inputs: Any, state: Any) -> Any:
        if state is not None and tf.nest.flatten(state):
            packed = self._packed_state(state, "network_state")
            packed = tf.nest.map_structure(tf.convert_to_tensor, packed)
            self._check(packed, self._state_spec, "network_state")
            return packed
        if self._input_tensor_spec is None:
            raise SpecMismatchError(
                f"{self.name} is recurrent; pass network_state, or give its constructor an input_tensor_spec"
            )
        if outer_rank(inputs, self._input_tensor_spec) == 0:
            return self.get_initial_state()
        first = tf.nest.flatten(inputs)[0]
        return self.get_initial_state(first.shape[0] if first.shape[0] is not None else tf.shape(first)[0])

    def _packed_state(self, state: Any, what: str) -> Any:
        """Returns the state in its specs' containers. Callers may pass a tuple for a list and the reverse."""
        if paths(state) != paths(self._state_spec):
            # This raises an error that says how the nests differ.
            self._check(state, self._state_spec, what)
        return tf.nest.pack_sequence_as(self._state_spec, tf.nest.flatten(state))

    def _check(self, value: Any, spec: Any, what: str) -> None:
        try:
            assert_matches_spec(value, spec, f"{self.name}: {what}")
        except (TypeError, ValueError) as error:
            raise SpecMismatchError(str(error)) from None


class DistributionNetwork(Network):
    """A network whose outputs are distributions.

    Args:
        input_tensor_spec: Nest of specs of one input, or None.
        state_spec: Nest of specs of the recurrent state.
        output_spec: Nest of ``DistributionSpec``.
        name: Name of the module.
    """

    def __init__(self, input_tensor_spec: Any, state_spec: Any, output_spec: Any, name: str | None) -> None:
        super().__init__(input_tensor_spec, state_spec, name)
        object.__setattr__(self, "_output_spec", output_spec)

    @property
    def output_spec(self) -> Any:
        """Nest of ``DistributionSpec``."""
        return self._output_spec


@functools.lru_cache(maxsize=256)
def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Returns a method's parameter names after self and the first, and whether it accepts other names."""
    parameters = list(inspect.signature(function).parameters.values())[2:]
    names = tuple(item.name for item in parameters if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD))
    return names, any(item.kind == item.VAR_KEYWORD for item in parameters)


def _spec_without_batch(output: Any) -> Any:
    if isinstance(output, tfp.distributions.Distribution):
        return DistributionSpecV2(output.event_shape, output.dtype, specs_of_parameters(get_parameters(output)))
    tensor = tf.convert_to_tensor(output)
    return tensor_spec.TensorSpec(tensor.shape[1:], tensor.dtype)
