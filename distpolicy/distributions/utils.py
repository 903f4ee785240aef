"""Distributions limited to the bounds of a spec, and specs of distributions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.parameters import (
    Params,
    get_parameters,
    holds_tensors,
    make_from_parameters,
    merge_to_parameters_from_dict,
    parameters_to_dict,
)
from distpolicy.distributions.tanh_bijector_stable import Tanh
from distpolicy.errors import ConfigError, SpecMismatchError
from distpolicy.specs.array_spec import INFINITE_BOUND
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec, from_spec
from distpolicy.utils.nest_utils import assert_same_structure

__all__ = [
    "DistributionSpecV2",
    "Params",
    "SquashToSpecNormal",
    "action_scale",
    "assert_specs_are_compatible",
    "bounded_elements",
    "diagonal_normal",
    "get_parameters",
    "make_from_parameters",
    "merge_to_parameters_from_dict",
    "parameters_to_dict",
    "scale_distribution_to_spec",
]

# The trapezoidal rule for expectations under a standard normal distribution. It converges exponentially for smooth
# functions (Trefethen and Weideman, 2014). With these nodes, entropies are exact to 1e-5 up to a deviation of 1, to
# 2e-3 at 3, and to 0.5 at 20, where the entropy is -26.
_NODES = np.arange(-10, 11) / 2.0
_NODE_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


class SquashToSpecNormal(tfp.distributions.TransformedDistribution):
    """A normal distribution squashed by tanh into the bounds of a spec (Haarnoja et al., 2018, appendix C).

    Args:
        distribution: A Normal, a MultivariateNormalDiag, or an Independent over normals.
        spec: A spec with finite bounds.
        validate_args: Whether TFP checks arguments.
        name: Name of the distribution.

    Raises:
        ValueError: If a bound is not finite, or the distribution is not normal.
    """

    def __init__(
        self,
        distribution: tfp.distributions.Distribution,
        spec: BoundedTensorSpec,
        validate_args: bool = False,
        name: str = "SquashToSpecNormal",
    ) -> None:
        parameters = dict(locals())
        tfd = tfp.distributions
        normal = distribution.distribution if isinstance(distribution, tfd.Independent) else distribution
        if not isinstance(normal, tfd.Normal | tfd.MultivariateNormalDiag):
            raise ConfigError(f"SquashToSpecNormal takes a normal distribution, not {type(distribution).__name__}")
        if not bounded_elements(spec).all():
            raise ConfigError(f"SquashToSpecNormal needs a spec with finite bounds, not {spec}")
        center, half_width = action_scale(spec)
        squash = tfp.bijectors.Chain([tfp.bijectors.Shift(center), tfp.bijectors.Scale(half_width), Tanh()])
        super().__init__(distribution, squash, validate_args=validate_args, parameters=parameters, name=name)
        self._half_width = half_width

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"distribution": tfp.util.BatchedComponentProperties()}

    @property
    def input_distribution(self) -> tfp.distributions.Distribution:
        """The normal distribution before squashing."""
        return self.distribution

    def _mode(self, **kwargs: Any) -> tf.Tensor:
        """Returns the squashed mean, where most of the mass is. The density's own mode may lie at a bound."""
        return self.bijector.forward(self.distribution.mode())

    def _mean(self, **kwargs: Any) -> tf.Tensor:
        """Returns the mode, as in TF-Agents. The true mean has no closed form."""
        return self._mode()

    def _stddev(self, **kwargs: Any) -> tf.Tensor:
        """Returns the normal's stddev scaled to the bounds, as in TF-Agents. The true one has no closed form."""
        return self.distribution.stddev() * self._half_width

    def _entropy(self, **kwargs: Any) -> tf.Tensor:
        """Returns the normal's entropy plus the expected logarithm of the squashing's slope.

        The expectation is a sum over fixed nodes and not over draws: it needs no seed, and its gradient has no noise.
        """
        normal = self.distribution
        nodes, node_weights = (
            tf.reshape(tf.constant(values, self.dtype), [-1] + [1] * normal.mean().shape.rank)
            for values in (_NODES, _NODE_WEIGHTS)
        )
        raw = normal.mean() + normal.stddev() * nodes
        slope = tf.reduce_sum(node_weights * self.bijector.forward_log_det_jacobian(raw, event_ndims=0), axis=0)
        event_rank = normal.event_shape.rank
        return normal.entropy() + tf.reduce_sum(
            slope, axis=list(range(slope.shape.rank - event_rank, slope.shape.rank))
        )


@tfp.distributions.RegisterKL(SquashToSpecNormal, SquashToSpecNormal)
def _kl_of_squashed(left: SquashToSpecNormal, right: SquashToSpecNormal, name: str | None = None) -> tf.Tensor:
    # The same bijection on both sides does not change the divergence.
    return left.input_distribution.kl_divergence(right.input_distribution, name=name or "kl_squashed")


def scale_distribution_to_spec(distribution: tfp.distributions.Distribution, spec: BoundedTensorSpec) -> Any:
    """Squashes a normal distribution into the bounds of ``spec``."""
    return SquashToSpecNormal(distribution, spec)


def diagonal_normal(loc: tf.Tensor, scale: tf.Tensor, event_rank: int) -> tfp.distributions.Distribution:
    """Returns a normal distribution with independent elements.

    Args:
        loc: Means ``[..., *shape]``.
        scale: Standard deviations ``[..., *shape]``.
        event_rank: Rank of ``shape``.

    Returns:
        A Normal for rank 0, a MultivariateNormalDiag for rank 1, and an Independent over normals above.
    """
    if event_rank == 1:
        return tfp.distributions.MultivariateNormalDiag(loc, scale)
    normal = tfp.distributions.Normal(loc, scale)
    return normal if event_rank == 0 else tfp.distributions.Independent(normal, event_rank)


def bounded_elements(spec: Any) -> np.ndarray:
    """Returns True for elements with two finite bounds that differ, bool ``[*shape]``.

    Bounds of 1e30 or more, and the ends of a dtype's range, count as infinite.
    """
    minimum, maximum = _bounds(spec)
    return np.isfinite(minimum) & np.isfinite(maximum) & (maximum > minimum)


def action_scale(spec: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the centre and the scale of each element of an action, in the spec's dtype.

    A network's output of 0 stands for the centre, and one of 1 for a scale above it.

    ============== ================ =================
    bounds         centre           scale
    ============== ================ =================
    ``[a, b]``     ``(a + b) / 2``  ``(b - a) / 2``
    ``[a, inf)``   ``a + scale``    ``max(1, abs(a))``
    ``(-inf, b]``  ``b - scale``    ``max(1, abs(b))``
    none, or equal ``0``            ``1``
    ============== ================ =================

    An action with one bound thus begins inside, most draws lie within the bound, and the scale is the only one that
    the bound tells.
    """
    minimum, maximum = _bounds(spec)
    closed = bounded_elements(spec)
    center, scale = np.zeros(spec.shape.as_list()), np.ones(spec.shape.as_list())
    for bound, other, sign in ((minimum, maximum, 1.0), (maximum, minimum, -1.0)):
        half_open = np.isfinite(bound) & ~np.isfinite(other)
        scale[half_open] = np.maximum(1.0, np.abs(bound[half_open]))
        center[half_open] = bound[half_open] + sign * scale[half_open]
    center[closed] = (minimum[closed] + maximum[closed]) / 2.0
    scale[closed] = (maximum[closed] - minimum[closed]) / 2.0
    return tf.constant(center, spec.dtype), tf.constant(scale, spec.dtype)


def _bounds(spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper bounds of a spec, float64 ``[*shape]``, with infinity where there is none."""
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, BoundedTensorSpec) else (-np.inf, np.inf)
    minimum, maximum = (np.broadcast_to(bound, spec.shape).astype(np.float64) for bound in bounds)
    largest = min(INFINITE_BOUND, float(spec.dtype.max))
    return np.where(minimum <= -largest, -np.inf, minimum), np.where(maximum >= largest, np.inf, maximum)


@dataclass(frozen=True)
class DistributionSpecV2:
    """The spec of a network's output that is a distribution.

    Attributes:
        event_shape: Shape of one draw.
        dtype: Dtype of one draw.
        parameters: The distribution's parameters, with specs instead of tensors; None if they are not known. Two specs
            may be equal without having the same.

    Raises:
        TypeError: If the parameters hold a tensor.
    """

    event_shape: tf.TensorShape
    dtype: tf.DType
    parameters: Params | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.parameters is not None and holds_tensors(self.parameters):
            raise TypeError(f"the parameters of a spec must have specs instead of tensors: {self.parameters}")

    @property
    def shape(self) -> tf.TensorShape:
        """The event shape. With it, this object can replace the spec of one draw."""
        return self.event_shape

    @property
    def event_spec(self) -> TensorSpec:
        """Spec of one draw."""
        return TensorSpec(self.event_shape, self.dtype)


def assert_specs_are_compatible(network_output_spec: Any, spec: Any, message_prefix: str) -> None:
    """Checks that a network's outputs fit a spec, in structure, shapes and dtypes. Bounds may differ.

    Args:
        network_output_spec: What ``Network.create_variables`` returned.
        spec: Nest of tensor specs.
        message_prefix: What the error's message begins with.

    Raises:
        ValueError: If they do not fit.
    """
    events = tf.nest.map_structure(
        lambda item: item.event_spec if isinstance(item, DistributionSpecV2) else from_spec(item), network_output_spec
    )
    problem = f"{message_prefix}: {events} does not fit {spec}"
    assert_same_structure(events, spec, message=problem)
    for event, own in zip(tf.nest.flatten(events), tf.nest.flatten(spec), strict=True):
        if not event.is_compatible_with(own):
            raise SpecMismatchError(problem)
