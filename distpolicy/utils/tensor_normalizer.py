"""Normalisers that keep running statistics of tensors."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from distpolicy.errors import SpecMismatchError
from distpolicy.specs.tensor_spec import from_spec
from distpolicy.utils.nests.checks import assert_same_structure
from distpolicy.utils.variables.variable_watch import mark_updated


class TensorNormalizer(tf.Module, abc.ABC):
    """Keeps the mean and variance of every leaf of a nest, and normalises by them.

    Every element of every leaf has its own statistics. They are non-trainable variables and belong to the module that
    holds the normaliser.

    Args:
        tensor_spec: Nest of specs of one value, without batch dimensions.
        scope: Name of the module.
        clip_value: Default bound of the results' magnitude in :meth:`normalize`.
        variance_epsilon: Default number that :meth:`normalize` adds to the variance.
    """

    def __init__(
        self,
        tensor_spec: Any,
        scope: str = "normalize_tensor",
        clip_value: float = 5.0,
        variance_epsilon: float = 1e-3,
    ) -> None:
        super().__init__(name=re.sub(r"\W", "_", scope))
        # Avoids tf.Module's tracking, which would wrap dicts and lists.
        object.__setattr__(self, "_tensor_spec", from_spec(tensor_spec))
        self._clip_value, self._variance_epsilon = clip_value, variance_epsilon

    @property
    def tensor_spec(self) -> Any:
        """The specs of one value."""
        return self._tensor_spec

    def update(self, tensor: Any, outer_dims: Any = (0,), weights: Any = None) -> None:
        """Adds a batch to the statistics.

        Args:
            tensor: Nest of ``[..., *shape]``. All dimensions before the spec's shape are batch dimensions.
            outer_dims: The batch dimensions, for compatibility with TF-Agents. They follow from the specs; any value
                but the default must equal them.
            weights: ``[...]``, 1 where a value counts and 0 where it does not; None if all values count.

        Raises:
            ValueError: If the nest does not match the specs, or ``outer_dims`` are not the batch dimensions.
        """
        assert_same_structure(tensor, self._tensor_spec, message=f"{self.name}: tensor differs from its spec")
        leaves = zip(*(tf.nest.flatten(nest) for nest in (tensor, self._tensor_spec)), strict=True)
        for index, (leaf, spec) in enumerate(leaves):
            values = tf.cast(leaf, tf.float64)
            outer = values.shape.rank - spec.shape.rank
            if _as_list(outer_dims) not in ([0], list(range(outer))):
                raise ValueError(
                    f"{self.name}: outer_dims {outer_dims} do not fit a tensor of shape {values.shape} for spec "
                    f"shape {spec.shape}; leave them out, and pass weights by name"
                )
            weight = tf.ones(tf.shape(values)[:outer], tf.float64) if weights is None else tf.cast(weights, tf.float64)
            self._update_leaf(index, values, weight)
        self._mark_updated()

    def normalize(
        self,
        tensor: Any,
        clip_value: float | None = None,
        center_mean: bool = True,
        variance_epsilon: float | None = None,
    ) -> Any:
        """Normalises tensors to mean 0 and variance 1, and clips them.

        Args:
            tensor: Nest of ``[..., *shape]``.
            clip_value: Bound of the results' magnitude; 0 or less for no clipping; None for the constructor's value.
            center_mean: Whether the mean is subtracted.
            variance_epsilon: Number that is added to the variance; None for the constructor's value.

        Returns:
            A nest of the same shapes, with the specs' dtypes if these are floats, otherwise float32.

        Raises:
            ValueError: If the nest does not match the specs.
        """
        assert_same_structure(tensor, self._tensor_spec, message=f"{self.name}: tensor differs from its spec")
        clip = self._clip_value if clip_value is None else clip_value
        epsilon = self._variance_epsilon if variance_epsilon is None else variance_epsilon
        normalized = []
        leaves = zip(*(tf.nest.flatten(nest) for nest in (tensor, self._tensor_spec)), strict=True)
        for index, (leaf, spec) in enumerate(leaves):
            # The statistics are rounded once, and each value takes just a multiplication and an addition.
            dtype = tf.float64 if spec.dtype == tf.float64 else tf.float32
            mean, inverse_deviation = self._leaf_statistics(index, epsilon)
            values = tf.cast(leaf, dtype)
            if center_mean:
                values = values - tf.cast(mean, dtype)
            result = values * tf.cast(inverse_deviation, dtype)
            result = tf.clip_by_value(result, -clip, clip) if clip > 0 else result
            normalized.append(tf.cast(result, spec.dtype) if spec.dtype.is_floating else result)
        return tf.nest.pack_sequence_as(tensor, normalized)

    def copy(self) -> TensorNormalizer:
        """Returns a normaliser with the same settings and statistics, but with variables of its own."""
        made = type(self)(self.tensor_spec, **self._settings())
        for mine, its in zip(self.variables, made.variables, strict=True):
            its.assign(mine)
        return made

    def reset(self) -> None:
        """Resets the statistics to their initial values."""
        self._reset()
        self._mark_updated()

    def _mark_updated(self) -> None:
        # Not inside a compiled function: a mark there makes a variable, for which the function is traced once more. An
        # agent marks all its variables after its compiled update.
        if tf.executing_eagerly():
            mark_updated(self.variables)

    def _settings(self) -> dict[str, Any]:
        return {"scope": self.name, "clip_value": self._clip_value, "variance_epsilon": self._variance_epsilon}

    def _make_variables(self, name: str, value: float, shape_of: Callable[[Any], Any]) -> Any:
        """Returns a nest like the specs of float64 variables, all filled with one value."""
        return tf.nest.map_structure(
            lambda spec: tf.Variable(tf.fill(shape_of(spec), tf.constant(value, tf.float64)), False, name=name),
            self._tensor_spec,
        )

    def _like_spec(self, leaves: list[Any]) -> Any:
        return tf.nest.pack_sequence_as(self._tensor_spec, leaves)

    @abc.abstractmethod
    def _reset(self) -> None:
        """Assigns the initial values."""

    @abc.abstractmethod
    def _update_leaf(self, index: int, values: tf.Tensor, weight: tf.Tensor) -> None:
        """Adds float64 values ``[..., *shape]`` with weights ``[...]`` to the statistics of the leaf at ``index``."""

    @abc.abstractmethod
    def _leaf_statistics(self, index: int, variance_epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a leaf's mean and ``1 / sqrt(variance + variance_epsilon)``, float64 ``[*shape]``."""


def _as_list(dims: Any) -> list[Any]:
    return np.ravel(dims).tolist()


def _weighted(values: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[int]]:
    """Returns the weights' sum, the weights in a shape that broadcasts with the values, and the batch axes."""
    rank = values.shape.rank - weight.shape.rank
    expanded = tf.reshape(weight, tf.concat([tf.shape(weight), tf.ones([rank], tf.int32)], axis=0))
    return tf.reduce_sum(weight), expanded, list(range(weight.shape.rank))


class EMATensorNormalizer(TensorNormalizer):
    """Keeps exponential moving averages of the mean and of the variance about the previous mean.

    The mean starts at 0, the variance at 1. A batch in which all weights are 0 changes nothing.

    Args:
        tensor_spec: See :class:`TensorNormalizer`.
        scope: See :class:`TensorNormalizer`.
        norm_update_rate: Weight of a new batch in the averages, in [0, 1].
        clip_value: See :class:`TensorNormalizer`.
        variance_epsilon: See :class:`TensorNormalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        scope: str = "normalize_tensor",
        norm_update_rate: float = 0.001,
        clip_value: float = 5.0,
        variance_epsilon: float = 1e-3,
    ) -> None:
        super().__init__(tensor_spec, scope, clip_value, variance_epsilon)
        self._norm_update_rate = norm_update_rate
        self.mean = self._make_variables("mean", 0.0, lambda spec: spec.shape)
        self.moving_variance = self._make_variables("variance", 1.0, lambda spec: spec.shape)

    def variance(self) -> Any:
        """Returns the variances, a nest of float64 ``[*shape]``."""
        return self._like_spec([tf.identity(variance) for variance in tf.nest.flatten(self.moving_variance)])

    def _reset(self) -> None:
        for variable in tf.nest.flatten(self.mean):
            variable.assign(tf.zeros_like(variable))
        for variable in tf.nest.flatten(self.moving_variance):
            variable.assign(tf.ones_like(variable))

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "norm_update_rate": self._norm_update_rate}

    def _update_leaf(self, index: int, values: tf.Tensor, weight: tf.Tensor) -> None:
        mean, variance = (tf.nest.flatten(nest)[index] for nest in (self.mean, self.moving_variance))
        count, expanded, axes = _weighted(values, weight)
        rate = tf.where(count > 0.0, tf.constant(self._norm_update_rate, tf.float64), 0.0)
        old_mean = tf.identity(mean)
        squares = tf.reduce_sum(tf.square(values - old_mean) * expanded, axis=axes)
        variance.assign_add(rate * (tf.math.divide_no_nan(squares, count) - variance))
        new_mean = tf.math.divide_no_nan(tf.reduce_sum(values * expanded, axis=axes), count)
        mean.assign_add(rate * (new_mean - old_mean))

    def _leaf_statistics(self, index: int, variance_epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
        mean, variance = (tf.nest.flatten(nest)[index] for nest in (self.mean, self.moving_variance))
        return tf.identity(mean), tf.math.rsqrt(variance + variance_epsilon)


class StreamingTensorNormalizer(TensorNormalizer):
    """Keeps the exact mean and variance of all values so far.

    Batches are merged in float64 by the parallel formula of Chan, Golub and LeVeque ("Algorithms for computing the
    sample variance", 1983), so the result equals one pass over all data. Before the first update values are only
    clipped. :attr:`count`, :attr:`mean` and :attr:`sum_of_squares` are nests of float64 variables like the specs.

    Args:
        tensor_spec: See :class:`TensorNormalizer`.
        scope: See :class:`TensorNormalizer`.
        clip_value: See :class:`TensorNormalizer`.
        variance_epsilon: See :class:`TensorNormalizer`.
    """

    def __init__(
        self,
        tensor_spec: Any,
        scope: str = "normalize_tensor",
        clip_value: float = 5.0,
        variance_epsilon: float = 1e-3,
    ) -> None:
        super().__init__(tensor_spec, scope, clip_value, variance_epsilon)
        self.count = self._make_variables("count", 0.0, lambda spec: ())
        self.mean = self._make_variables("mean", 0.0, lambda spec: spec.shape)
        self.sum_of_squares = self._make_variables("sum_of_squares", 0.0, lambda spec: spec.shape)

    def variance(self) -> Any:
        """Returns the population variances, a nest of float64 ``[*shape]``; 1 for fewer than two values."""
        parts = zip(*(tf.nest.flatten(nest) for nest in (self.count, self.sum_of_squares)), strict=True)
        return self._like_spec([_variance(count, sum_of_squares) for count, sum_of_squares in parts])

    def _reset(self) -> None:
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def merge(self, other: StreamingTensorNormalizer) -> None:
        """Merges another normaliser's statistics, as if this one had seen the same values.

        The two must not have values in common. If the other began as a copy of this one, those values count twice.

        Args:
            other: A normaliser with the same specs.

        Raises:
            SpecMismatchError: If the specs have another structure or other shapes. Nothing has changed then.
        """
        try:
            assert_same_structure(other.count, self.count)
        except (TypeError, ValueError) as error:
            raise SpecMismatchError(f"{self.name}: cannot merge statistics of another structure: {error}") from None
        for mine, its in zip(tf.nest.flatten(self.mean), tf.nest.flatten(other.mean), strict=True):
            if mine.shape != its.shape:
                raise SpecMismatchError(
                    f"{self.name}: cannot merge statistics of shape {its.shape} into those of shape {mine.shape}"
                )
        nests = (other.count, other.mean, other.sum_of_squares)
        for index, part in enumerate(zip(*(tf.nest.flatten(nest) for nest in nests), strict=True)):
            self._merge_leaf(index, *(tf.identity(variable) for variable in part))
        self._mark_updated()

    def _update_leaf(self, index: int, values: tf.Tensor, weight: tf.Tensor) -> None:
        count, expanded, axes = _weighted(values, weight)
        mean = tf.math.divide_no_nan(tf.reduce_sum(values * expanded, axis=axes), count)
        self._merge_leaf(index, count, mean, tf.reduce_sum(tf.square(values - mean) * expanded, axis=axes))

    def _merge_leaf(self, index: int, count: tf.Tensor, mean: tf.Tensor, sum_of_squares: tf.Tensor) -> None:
        own_count, own_mean, own_squares = (
            tf.nest.flatten(nest)[index] for nest in (self.count, self.mean, self.sum_of_squares)
        )
        total = own_count + count
        delta = mean - own_mean
        between = tf.square(delta) * tf.math.divide_no_nan(own_count * count, total)
        own_squares.assign_add(sum_of_squares + between)
        own_mean.assign_add(delta * tf.math.divide_no_nan(count, total))
        own_count.assign(total)

    def _leaf_statistics(self, index: int, variance_epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
        count, mean, sum_of_squares = (
            tf.nest.flatten(nest)[index] for nest in (self.count, self.mean, self.sum_of_squares)
        )
        inverse = tf.math.rsqrt(_variance(count, sum_of_squares) + variance_epsilon)
        return tf.identity(mean), tf.where(count > 0.0, inverse, tf.ones_like(inverse))


def _variance(count: tf.Tensor, sum_of_squares: tf.Tensor) -> tf.Tensor:
    seen = count > 1.0
    safe = tf.where(seen, count, 1.0)
    return tf.where(seen, sum_of_squares / safe, tf.ones_like(sum_of_squares))


def parallel_variance_calculation(
    n_a: Any, avg_a: Any, m2_a: Any, n_b: Any, avg_b: Any, m2_b: Any, m2_b_c: Any
) -> tuple[Any, Any, Any, Any]:
    """Merges the statistics of two sets of numbers (Chan, Golub and LeVeque, 1983), with compensated sums of squares.

    Args:
        n_a: Number of elements of the set a, which should be the smaller one.
        avg_a: Mean of a.
        m2_a: Sum of a's squared differences from its mean.
        n_b: Number of elements of the set b.
        avg_b: Mean of b.
        m2_b: Sum of b's squared differences from its mean.
        m2_b_c: What an earlier call returned as the last value for b; 0 at first.

    Returns:
        Number, mean and sum of squared differences of both sets together, and the bits that the last sum has lost.
    """
    total = n_a + n_b
    delta = avg_b - avg_a
    shift = delta * n_b / total
    m2, lost = kahan_summation(m2_b, m2_b_c, m2_a + delta * n_a * shift)
    return total, avg_a + shift, m2, lost


def kahan_summation(accumulator: Any, carry: Any, value: Any) -> tuple[Any, Any]:
    """Adds a number to a sum and keeps the bits that are lost (Kahan, 1965).

    Args:
        accumulator: The sum.
        carry: What the last call returned as its second value; 0 at first.
        value: The number.

    Returns:
        The new sum, and the bits that it has too much.
    """
    delta = value - carry
    total = accumulator + delta
    return total, (total - accumulator) - delta
