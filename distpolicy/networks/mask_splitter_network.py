"""MaskSplitterNetwork: a network around another one that takes the mask of actions out of the observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distpolicy.networks.network import DistributionNetwork, Network
from distpolicy.specs import tensor_spec
from distpolicy.utils.nest_utils import flatten_and_check_shape_nested_specs


class MaskSplitterNetwork(DistributionNetwork):
    """Splits each observation, and calls a network with the one part, and on request with the mask.

    Args:
        splitter_fn: Function from an observation to the network's input and a mask of actions.
        wrapped_network: The network. ``copy`` copies it, too.
        passthrough_mask: Whether the network gets the mask, as its argument ``mask``. Otherwise the mask is dropped.
        input_tensor_spec: Specs of one observation, with the mask; None if they are not known yet.
        name: Name of the module.

    Raises:
        ValueError: If the observation without its mask does not match the network's own input specs.
    """

    def __init__(
        self,
        splitter_fn: Callable[[Any], tuple[Any, Any]],
        wrapped_network: Network,
        passthrough_mask: bool = False,
        input_tensor_spec: Any = None,
        name: str = "MaskSplitterNetwork",
    ) -> None:
        super().__init__(
            input_tensor_spec, wrapped_network.state_spec, getattr(wrapped_network, "output_spec", None), name
        )
        if input_tensor_spec is not None and wrapped_network.input_tensor_spec is not None:
            unmasked, _ = splitter_fn(tensor_spec.from_spec(input_tensor_spec))
            flatten_and_check_shape_nested_specs(unmasked, wrapped_network.input_tensor_spec)
        self._splitter_fn = splitter_fn
        self._wrapped_network = wrapped_network
        self._passthrough_mask = passthrough_mask

    def copy(self, **kwargs: Any) -> MaskSplitterNetwork:
        """Returns a network around a copy of the wrapped one, with weights of its own."""
        return super().copy(**{"wrapped_network": self._wrapped_network.copy(), **kwargs})

    def call(
        self,
        observation: Any,
        step_type: Any = None,
        network_state: Any = (),
        training: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Returns the wrapped network's outputs and state for an observation with its mask."""
        unmasked, mask = self._splitter_fn(observation)
        if self._passthrough_mask:
            kwargs["mask"] = mask
        return self._wrapped_network(
            unmasked, step_type=step_type, network_state=network_state, training=training, **kwargs
        )
