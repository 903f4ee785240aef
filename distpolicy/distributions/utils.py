"""Distributions within the bounds of a spec, and specs of distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.tanh_bijector_stable import Tanh
from distpolicy.errors import ConfigError
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec


class SquashToSpecNormal(tfp.distributions.TransformedDistribution):
    """A normal squashed by tanh into the bounds of a spec (Haarnoja et al., 2018, appendix C).

    Args:
        distribution: A Normal, a MultivariateNormalDiag, or an Independent over normals.
        spec: With finite bounds.
        validate_args: Whether TFP checks arguments.
        name: Of the distribution.

    Raises:
        ValueError: If a bound is not finite, or the distribution is no normal.
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
        """The normal before it is squashed."""
        return self.distribution

    def _mode(self, **kwargs: Any) -> tf.Tensor:
        """The squashed mean, where most of the normal's mass is; the density's own mode may lie at a bound."""
        return self.bijector.forward(self.distribution.mode())

    def _mean(self, **kwargs: Any) -> tf.Tensor:
        """The same as the mode, as in TF-Agents; the true mean has no closed form."""
        return self._mode()

    def _stddev(self, **kwargs: Any) -> tf.Tensor:
        """The normal's, in units of the bounds, as in TF-Agents; the true one has no closed form."""
        return self.distribution.stddev() * self._half_width

    def _entropy(self, **kwargs: Any) -> tf.Tensor:
        """The normal's and the logarithm of the squashing's slope at its mean; the true one has no closed form."""
        normal = self.distribution
        slope = self.bijector.forward_log_det_jacobian(normal.mean(), event_ndims=normal.event_shape.rank)
        return normal.entropy() + slope


@tfp.distributions.RegisterKL(SquashToSpecNormal, SquashToSpecNormal)
def _kl_of_squashed(left: SquashToSpecNormal, right: SquashToSpecNormal, name: str | None = None) -> tf.Tensor:
    # One bijection on both sides leaves the divergence as it is.
    return left.input_distribution.kl_divergence(right.input_distribution, name=name or "kl_squashed")


def scale_distribution_to_spec(distribution: tfp.distributions.Distribution, spec: BoundedTensorSpec) -> Any:
    """The normal distribution squashed into the bounds of ``spec``."""
    return SquashToSpecNormal(distribution, spec)


def diagonal_normal(loc: tf.Tensor, scale: tf.Tensor, event_rank: int) -> tfp.distributions.Distribution:
    """A normal without correlations over actions of a rank.

    Args:
        loc: Means ``[..., *shape]``.
        scale: Standard deviations of the same shape.
        event_rank: Rank of ``shape``.

    Returns:
        A Normal for rank 0, a MultivariateNormalDiag for rank 1, and an Independent over normals above.
    """
    if event_rank == 1:
        return tfp.distributions.MultivariateNormalDiag(loc, scale)
    normal = tfp.distributions.Normal(loc, scale)
    return normal if event_rank == 0 else tfp.distributions.Independent(normal, event_rank)


def bounded_elements(spec: Any) -> np.ndarray:
    """Which elements have finite bounds, bool of the spec's shape; bounds of 1e30 and more count as infinite."""
    if not isinstance(spec, BoundedTensorSpec):
        return np.zeros(spec.shape.as_list(), bool)
    minimum, maximum = (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
    return (minimum > -1e30) & (maximum < 1e30) & (maximum > minimum)


def action_scale(spec: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Centre and half width of the spec's bounds, in its dtype; 0 and 1 where a bound is not finite."""
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, BoundedTensorSpec) else (-np.inf, np.inf)
    minimum, maximum = (np.broadcast_to(bound, spec.shape).astype(np.float64) for bound in bounds)
    bounded = bounded_elements(spec)
    with np.errstate(over="ignore", invalid="ignore"):
        center = np.where(bounded, (minimum + maximum) / 2.0, 0.0)
        half_width = np.where(bounded, (maximum - minimum) / 2.0, 1.0)
    return tf.constant(center, spec.dtype), tf.constant(half_width, spec.dtype)


@dataclass(frozen=True)
class DistributionSpecV2:
    """What a network whose output is a distribution has for a spec.

    Attributes:
        event_shape: Shape of one draw.
        dtype: Its dtype.
    """

    event_shape: tf.TensorShape
    dtype: tf.DType

    @property
    def shape(self) -> tf.TensorShape:
        """The event shape, so that this stands where the spec of one draw would."""
        return self.event_shape

    @property
    def event_spec(self) -> TensorSpec:
        """Spec of one draw."""
        return TensorSpec(self.event_shape, self.dtype)
