"""sample: draws with or without a gradient."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.gumbel_softmax import GumbelSoftmax
from distpolicy.errors import ConfigError


def sample(distribution: tfp.distributions.Distribution, reparam: bool = False, **kwargs: Any) -> tf.Tensor:
    """Draws from a distribution.

    Args:
        distribution: The distribution.
        reparam: Whether the draw must be a differentiable function of the distribution's parameters. If not, a
            :class:`GumbelSoftmax` draws one-hot vectors.
        **kwargs: Arguments of the distribution's ``sample``.

    Raises:
        ValueError: If ``reparam`` and the distribution's draws do not have a gradient.
    """
    if reparam and distribution.reparameterization_type != tfp.distributions.FULLY_REPARAMETERIZED:
        raise ConfigError(f"draws from {distribution.name} have no gradient; use reparam=False")
    drawn = distribution.sample(**kwargs)
    if isinstance(distribution, GumbelSoftmax) and not reparam:
        return distribution.convert_to_one_hot(drawn)
    return drawn
