"""Sequential: layers, networks and functions, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.stateful_layers import call_layer, state_spec_of, with_resets


class Sequential(Network):
    """Passes its inputs through layers, and their states along.

    A recurrent Keras layer or cell is unrolled with its state reset where the step type is FIRST.

    Args:
        layers: Keras layers, recurrent ones among them, cells, Networks, and functions of a nest of tensors.
        input_spec: Nest of specs of one input, or None if it is not known yet.
        name: Name of the module.

    Raises:
        ValueError: If there are no layers.
        TypeError: If one of them cannot be called.
    """

    def __init__(self, layers: Sequence[Callable[..., Any]], input_spec: Any = None, name: str | None = None) -> None:
        if not layers:
            raise ConfigError("Sequential needs at least one layer")
        chain = [with_resets(layer) for layer in layers]
        # As in TF-Agents, only layers that have a state have a place in it.
        specs = tuple(spec for spec in (state_spec_of(layer) for layer in chain) if tf.nest.flatten(spec))
        super().__init__(input_spec, specs, name)
        self._layers = chain
        object.__setattr__(self, "_self_given", list(layers))

    @property
    def layers(self) -> list[Any]:
        """The layers, in order."""
        return list(self._layers)

    def copy(self, **kwargs: Any) -> Sequential:
        """A Sequential of copies of the layers, with weights of their own; functions are shared.

        Args:
            **kwargs: Arguments of the constructor that differ.
        """
        if "layers" not in kwargs:
            kwargs["layers"] = [copy_layer(layer) for layer in self._self_given]
        return super().copy(**kwargs)

    def call(self, inputs: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """The last layer's outputs.

        Args:
            inputs: Nest of ``[B, ...]`` or ``[B, T, ...]``.
            step_type: int32 of the outer dimensions; states are reset where it is FIRST. None to reset nowhere.
            network_state: Tuple of the states of those layers that have one.
            training: Whether dropout acts.

        Returns:
            The outputs, and the tuple of the states after them.
        """
        states, after = iter(network_state), []
        values = inputs
        for layer in self._layers:
            has_state = bool(tf.nest.flatten(state_spec_of(layer)))
            values, state = call_layer(layer, values, next(states) if has_state else (), step_type, training)
            if has_state:
                after.append(state)
        return values, tuple(after)
