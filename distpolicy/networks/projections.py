"""Functions that build and call the projections for a nest of actions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.networks.categorical_projection_network import CategoricalProjectionNetwork
from distpolicy.networks.network import DistributionNetwork
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork
from distpolicy.specs import tensor_spec


def default_categorical_projection_net(action_spec: Any, seed: int | None = None) -> CategoricalProjectionNetwork:
    """Returns the default projection for a discrete action."""
    return CategoricalProjectionNetwork(action_spec, seed=seed)


def default_normal_projection_net(
    action_spec: Any, init_action_stddev: float = 0.35, seed: int | None = None
) -> NormalProjectionNetwork:
    """Returns the default projection for a continuous action.

    Args:
        action_spec: Spec of the action.
        init_action_stddev: Initial standard deviation.
        seed: Seed of the initial weights.
    """
    # The inverse of softplus, which the projection applies.
    bias = float(np.log(np.expm1(init_action_stddev)))
    return NormalProjectionNetwork(action_spec, std_bias_initializer_value=bias, seed=seed)


def make_projections(
    action_spec: Any,
    discrete_projection_net: Callable[..., DistributionNetwork],
    continuous_projection_net: Callable[..., DistributionNetwork],
    seed: int | None,
) -> Any:
    """Returns a nest of projections like ``action_spec``. Projection i gets ``seed + i`` if it takes a seed."""

    def make(index: int, spec: Any) -> DistributionNetwork:
        maker = discrete_projection_net if tensor_spec.is_discrete(spec) else continuous_projection_net
        if seed is None or "seed" not in inspect.signature(maker).parameters:
            return maker(spec)
        return maker(spec, seed=seed + index)

    specs = tf.nest.flatten(action_spec)
    return tf.nest.pack_sequence_as(action_spec, [make(index, spec) for index, spec in enumerate(specs)])


def project(projections: Any, action_spec: Any, encoding: tf.Tensor, num_outer: int, training: bool, mask: Any) -> Any:
    """Projects one encoding ``[..., units]`` to a nest of distributions like ``action_spec``."""
    distributions = [
        projection(encoding, num_outer, training=training, mask=mask)[0] for projection in tf.nest.flatten(projections)
    ]
    return tf.nest.pack_sequence_as(action_spec, distributions)
