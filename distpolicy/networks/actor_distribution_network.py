"""ActorDistributionNetwork: an observation in, an action distribution out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpolicy.networks.dense_encoder import DenseEncoder
from distpolicy.networks.network import Network
from distpolicy.networks.projection import CategoricalProjection, NormalProjection, ProjectionFactory
from distpolicy.specs import tensor_spec


class ActorDistributionNetwork(Network):
    """Dense layers and a projection to a distribution over one action.

    Args:
        input_tensor_spec: Spec of one observation.
        output_tensor_spec: Bounded spec of one action.
        fc_layer_params: Width of each dense layer.
        activation_fn: Keras activation of the dense layers.
        discrete_projection_net: Makes the projection of a discrete action from its spec and a seed.
        continuous_projection_net: The same for a continuous one; :class:`TanhNormalProjection` is the other choice.
        seed: Seed of the initial weights.
        name: Name of the module.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        output_tensor_spec: Any,
        fc_layer_params: Sequence[int] = (200, 100),
        activation_fn: Any = "relu",
        discrete_projection_net: ProjectionFactory = CategoricalProjection,
        continuous_projection_net: ProjectionFactory = NormalProjection,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(input_tensor_spec, name=name)
        spec = tensor_spec.from_spec(output_tensor_spec)
        self._encoder = DenseEncoder(self.input_tensor_spec.shape.rank, fc_layer_params, activation_fn, seed)
        project = discrete_projection_net if tensor_spec.is_discrete(spec) else continuous_projection_net
        self._projection = project(spec, seed + len(fc_layer_params))

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return self._projection(self._encoder(observation)), network_state
