"""Sequential: a chain of layers, networks and functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.errors import ConfigError
from distpolicy.networks.layer_stacks import copy_layer
from distpolicy.networks.network import Network
from distpolicy.networks.stateful_layers import call_layer, state_spec_of, with_resets


class Sequential(Network):
    """Passes its inputs through a chain of layers, and keeps track of their states.

    A recurrent Keras layer or cell is unrolled over time. Its state is reset where the step type is FIRST.

    Args:
        layers: Keras layers (recurrent ones, too), cells, Networks, and functions of a nest of tensors.
        input_spec: Nest of specs of one input, or None if it is not known yet.
        name: Name of the module.

    Raises:
        ValueError: If there are no layers.
        TypeError: If a layer cannot be called.
    """

    def __init__(self, layers: Sequence[Callable[..., Any]], input_spec: Any = None, name: str | None = None) -> None:
        if not layers:
            raise ConfigError("Sequential needs at least one layer, but layers is empty")
        chain = [with_resets(layer) for layer in layers]
        # As in TF-Agents, the state has an entry only for layers that have one.
        specs = tuple(spec for spec in (state_spec_of(layer) for layer in chain) if tf.nest.flatten(spec))
        super().__init__(input_spec, specs, name)
        self._layers = chain
        object.__setattr__(self, "_self_given", list(layers))

    @property
    def layers(self) -> list[Any]:
        """The layers, in order."""
        return list(self._layers)

    def copy(self, **kwargs: Any) -> Sequential:
        """Returns a Sequential with copies of the layers, which have weights of their own. Functions are shared.

        Args:
            **kwargs: Arguments of the constructor to change.
        """
        if "layers" not in kwargs:
            kwargs["layers"] = [copy_layer(layer) for layer in self._self_given]
        return super().copy(**kwargs)

    def call(
        self,
        inputs: Any,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
        mask: Any = None,
    ) -> Any:
        """Returns the last layer's outputs.

        Args:
            inputs: Nest of ``[B, ...]`` or ``[B, T, ...]``.
            step_type: int32 ``[B]``, ``[B, T]`` or scalar; states are reset where it is FIRST. None for no resets.
            network_state: Tuple of the states of the layers that have one.
            training: Whether dropout is active.
            mask: Mask of actions, which the last layer gets; it has to be a Network that takes one. None for no mask.

        Returns:
            The outputs, and the tuple of the next states.

        Raises:
            TypeError: If there is a mask, and the last layer is not a Network.
        """
        if mask is not None and not isinstance(self._layers[-1], Network):
            raise TypeError(f"{self.name}: the last layer is not a Network, which could take the mask of actions")
        states, after = iter(network_state), []
        values = inputs
        for index, layer in enumerate(self._layers):
            has_state = bool(tf.nest.flatten(state_spec_of(layer)))
            options = {"mask": mask} if index == len(self._layers) - 1 else {}
            values, state = call_layer(layer, values, next(states) if has_state else (), step_type, training, **options)
            if has_state:
                after.append(state)
        return values, tuple(after)
