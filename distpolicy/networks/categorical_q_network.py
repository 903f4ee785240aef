"""CategoricalQNetwork: a network from observations to a distribution over returns for each action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distpolicy.networks.encoding_network import EncodingNetwork
from distpolicy.networks.layer_stacks import ConvLayerParams, num_layers
from distpolicy.networks.network import Network
from distpolicy.networks.q_network import count_actions, q_layer
from distpolicy.networks.utils import apply_dense, outer_rank, with_inner_shape


class CategoricalQNetwork(Network):
    """Encodes an observation and returns the logits of each action's atoms: float32 ``[B, num_actions, num_atoms]``.

    See Bellemare, Dabney and Munos, "A distributional perspective on reinforcement learning", 2017.

    Args:
        input_tensor_spec: Nest of specs of one observation.
        action_spec: Bounded discrete spec of shape ``()`` or ``(1,)``.
        num_atoms: Number of atoms, the possible returns in each distribution.
        preprocessing_layers: See :class:`EncodingNetwork`.
        preprocessing_combiner: See :class:`EncodingNetwork`.
        conv_layer_params: See :class:`EncodingNetwork`.
        fc_layer_params: Width of each dense layer.
        activation_fn: Keras activation of the hidden layers.
        name: Name of the module.
        kernel_initializer: Initializer of the hidden layers' kernels.
        seed: Seed of the initial weights, for initializers without a seed of their own; None to draw one.

    Raises:
        ValueError: If the action spec is anything else.
    """

    def __init__(
        self,
        input_tensor_spec: Any,
        action_spec: Any,
        num_atoms: int = 51,
        preprocessing_layers: Any = None,
        preprocessing_combiner: Any = None,
        conv_layer_params: ConvLayerParams | None = None,
        fc_layer_params: Sequence[int] | None = None,
        activation_fn: Any = "relu",
        name: str | None = "CategoricalQNetwork",
        *,
        kernel_initializer: Any = None,
        seed: int | None = None,
    ) -> None:
        self._num_actions = count_actions(action_spec)
        self._num_atoms = num_atoms
        super().__init__(input_tensor_spec, (), name)
        self._encoder = EncodingNetwork(
            self.input_tensor_spec,
            preprocessing_layers=preprocessing_layers,
            preprocessing_combiner=preprocessing_combiner,
            conv_layer_params=conv_layer_params,
            fc_layer_params=fc_layer_params,
            activation_fn=activation_fn,
            kernel_initializer=kernel_initializer,
            seed=seed,
        )
        last_seed = None if seed is None else seed + num_layers(conv_layer_params, fc_layer_params)
        self._logits = q_layer(self._num_actions * num_atoms, seed=last_seed)

    @property
    def num_atoms(self) -> int:
        """Number of atoms of each distribution."""
        return self._num_atoms

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        """Returns the logits.

        Args:
            observation: Nest of ``[..., *shape]``.
            step_type: Ignored.
            network_state: Returned unchanged.
            training: Ignored; dense layers have no training mode.

        Returns:
            float32 ``[..., num_actions, num_atoms]``, and ``network_state``.
        """
        encoding, network_state = self._encoder(
            observation, step_type=step_type, network_state=network_state, training=training
        )
        logits = apply_dense(self._logits, encoding, outer_rank(observation, self.input_tensor_spec))
        return with_inner_shape(logits, [self._num_actions, self._num_atoms]), network_state
