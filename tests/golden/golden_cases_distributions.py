"""Golden cases: projections with given weights, and distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome
from golden_toolkit import (
    OBSERVATIONS,
    continuous,
    discrete,
    fill,
    logits_of,
    summary,
)


@case("projections/categorical")
def categorical_projection(ns: Any) -> Any:
    project = ns.categorical_projection_network.CategoricalProjectionNetwork
    network = project(discrete(ns))
    distribution, _ = network(tf.constant(OBSERVATIONS), outer_rank=1)
    fill(network.variables)
    distribution, _ = network(tf.constant(OBSERVATIONS), outer_rank=1)
    masked, _ = network(
        tf.constant(OBSERVATIONS), outer_rank=1, mask=tf.constant([[1, 1, 0], [0, 1, 1], [0, 0, 1]], tf.int32)
    )
    return {
        "log_prob": logits_of(distribution, 3),
        "masked": tf.maximum(logits_of(masked, 3), -100.0),
        "masked_mode": masked.mode(),
        "shape_of_logits": list(distribution.logits.shape),
    }


@case("projections/categorical_vector")
def categorical_vector(ns: Any) -> Any:
    spec = ns.tensor_spec.BoundedTensorSpec((2,), tf.int32, 0, 2)
    network = ns.categorical_projection_network.CategoricalProjectionNetwork(spec)
    network(tf.constant(OBSERVATIONS), outer_rank=1)
    fill(network.variables)
    distribution, _ = network(tf.constant(OBSERVATIONS), outer_rank=1)
    return {"mode": distribution.mode(), "dtype": distribution.dtype}


@case("projections/categorical_unequal_counts")
def categorical_unequal(ns: Any) -> Any:
    spec = ns.tensor_spec.BoundedTensorSpec((2,), tf.int32, 0, [1, 2])
    return outcome(lambda: ns.categorical_projection_network.CategoricalProjectionNetwork(spec).name)


@case("projections/categorical_of_floats")
def categorical_floats(ns: Any) -> Any:
    return outcome(lambda: ns.categorical_projection_network.CategoricalProjectionNetwork(continuous(ns)).name)


_NORMALS: dict[str, tuple[dict[str, Any]]] = {
    "default": ({},),
    "state_dependent_std": ({"state_dependent_std": True},),
    "bias": ({"std_bias_initializer_value": 0.5},),
    "scaled": ({"scale_distribution": True},),
    "no_transform": ({"mean_transform": None, "std_transform": None, "state_dependent_std": True},),
}


@cases("projections/normal", _NORMALS)
def normal_projection(ns: Any, arguments: dict[str, Any]) -> Any:
    network = ns.normal_projection_network.NormalProjectionNetwork(continuous(ns, -2.0, 4.0), **arguments)
    network(tf.constant(OBSERVATIONS), outer_rank=1)
    fill(network.variables)
    for variable in network.variables:
        if arguments.get("std_transform", ...) is None:
            variable.assign(tf.abs(variable))
    distribution, _ = network(tf.abs(tf.constant(OBSERVATIONS)), outer_rank=1)
    return summary(distribution, tf.ones((3, 2)))


@case("projections/normal_scalar")
def normal_scalar(ns: Any) -> Any:
    network = ns.normal_projection_network.NormalProjectionNetwork(continuous(ns, -2.0, 4.0, shape=()))
    network(tf.constant(OBSERVATIONS), outer_rank=1)
    fill(network.variables)
    distribution, _ = network(tf.constant(OBSERVATIONS), outer_rank=1)
    return summary(distribution, tf.ones(3))


@case("projections/normal_mask")
def normal_mask(ns: Any) -> Any:
    network = ns.normal_projection_network.NormalProjectionNetwork(continuous(ns))
    return outcome(lambda: network(tf.constant(OBSERVATIONS), outer_rank=1, mask=tf.ones((3, 2))))


@case("projections/tanh_normal")
def tanh_normal(ns: Any) -> Any:
    network = ns.tanh_normal_projection_network.TanhNormalProjectionNetwork(continuous(ns, -2.0, 4.0))
    network(tf.constant(OBSERVATIONS), outer_rank=1)
    fill(network.variables)
    distribution, _ = network(tf.constant(OBSERVATIONS), outer_rank=1)
    return {"mode": distribution.mode(), "log_prob": distribution.log_prob(tf.ones((3, 2)))}


@cases(
    "masked/distribution", {"default": ({},), "none": ({"neg_inf": None},), "minus_infinity": ({"neg_inf": -np.inf},)}
)
def masked(ns: Any, arguments: dict[str, Any]) -> Any:
    logits = tf.constant([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]])
    mask = tf.constant([[True, True, False], [False, True, True]])
    distribution = ns.masked.MaskedCategorical(logits=logits, mask=mask, **arguments)
    return {
        "mode": distribution.mode(),
        "log_prob": tf.maximum(logits_of(distribution, 3), -100.0),
        "entropy": distribution.entropy(),
        "mask": distribution.mask,
        "dtype": distribution.dtype,
    }


@case("masked/errors")
def masked_errors(ns: Any) -> Any:
    make = ns.masked.MaskedCategorical
    mask = tf.constant([[True, False]])
    return {"probs": outcome(lambda: make(logits=None, mask=mask, probs=tf.constant([[0.5, 0.5]])).name)}


@case("masked/mask_of_zeros")
def masked_zeros(ns: Any) -> Any:
    distribution = outcome(
        lambda: ns.masked.MaskedCategorical(logits=tf.constant([[1.0, 2.0]]), mask=tf.constant([[False, False]])).mode()
    )
    return distribution


@case("shifted_categorical/distribution")
def shifted(ns: Any) -> Any:
    distribution = ns.shifted_categorical.ShiftedCategorical(
        logits=tf.constant([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]]), dtype=tf.int64, shift=4
    )
    return {"mode": distribution.mode(), "log_prob": logits_of(distribution, 3, 4), "dtype": distribution.dtype}
