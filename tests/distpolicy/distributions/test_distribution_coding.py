from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions.distribution_coding import decode_distribution, encode_distribution
from distpolicy.distributions.masked import MaskedCategorical
from distpolicy.distributions.shifted_categorical import ShiftedCategorical
from distpolicy.distributions.utils import SquashToSpecNormal
from distpolicy.errors import CheckpointError
from distpolicy.specs.tensor_spec import BoundedTensorSpec

tfd, tfb = tfp.distributions, tfp.bijectors
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
SCALE = np.exp(LOGITS[::-1])
MASK = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], bool)

DISTRIBUTIONS: dict[str, Callable[[], Any]] = {
    "categorical": lambda: tfd.Categorical(logits=tf.constant(LOGITS), dtype=tf.int64),
    "probabilities": lambda: tfd.Categorical(probs=tf.nn.softmax(LOGITS)),
    "masked": lambda: MaskedCategorical(tf.constant(LOGITS), tf.constant(MASK)),
    "shifted": lambda: ShiftedCategorical(logits=tf.constant(LOGITS), dtype=tf.int32, shift=-2),
    "normal": lambda: tfd.Normal(tf.constant(LOGITS), 2.0),
    "diagonal": lambda: tfd.MultivariateNormalDiag(tf.constant(LOGITS), tf.constant(SCALE)),
    "independent": lambda: tfd.Independent(tfd.Normal(tf.constant(LOGITS), tf.constant(SCALE)), 1),
    "deterministic": lambda: tfd.Deterministic(loc=tf.constant(LOGITS)),
    "chain": lambda: tfd.TransformedDistribution(
        tfd.Normal(tf.constant(LOGITS), tf.constant(SCALE)), tfb.Chain([tfb.Shift(tf.constant(1.0)), tfb.Tanh()])
    ),
    "squashed": lambda: SquashToSpecNormal(
        tfd.MultivariateNormalDiag(tf.constant(LOGITS), tf.constant(SCALE)),
        BoundedTensorSpec((3,), tf.float32, [-1.0, 0.0, 2.0], 3.0),
    ),
    "mixture": lambda: tfd.Mixture(
        tfd.Categorical(logits=tf.constant(LOGITS[:, :2])),
        [tfd.Normal(tf.constant(LOGITS[:, 0]), 1.0), tfd.Normal(tf.constant(LOGITS[:, 1]), tf.constant(SCALE[:, 1]))],
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_what_was_coded_comes_back(name: str) -> None:
    distribution = DISTRIBUTIONS[name]()
    description, tensors = encode_distribution(distribution)
    description = json.loads(json.dumps(description))
    found = decode_distribution(description, tf.nest.map_structure(lambda leaf: leaf.numpy(), tensors))
    assert type(found) is type(distribution)
    assert found.dtype == distribution.dtype
    drawn = distribution.sample(seed=[1, 2])
    np.testing.assert_allclose(found.sample(seed=[1, 2]), drawn, rtol=1e-6)
    # The distribution that drew remembers what it drew from; another one has to invert its bijector.
    np.testing.assert_allclose(found.log_prob(drawn), distribution.log_prob(drawn), rtol=1e-3)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_other_tensors_make_another_distribution_of_the_kind(name: str) -> None:
    description, tensors = encode_distribution(DISTRIBUTIONS[name]())
    swapped = tf.nest.map_structure(lambda leaf: leaf[::-1] if leaf.shape.rank else leaf, tensors)
    drawn = decode_distribution(description, tensors).sample(seed=[1, 2])
    left = decode_distribution(description, tensors).log_prob(drawn)
    right = decode_distribution(description, swapped).log_prob(drawn[::-1])
    np.testing.assert_allclose(left, right[::-1], rtol=1e-5)


class OwnNormal(tfd.Normal):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OwnNormal(0.0, 1.0), "OwnNormal; only classes of TFP"),
        (lambda: tfd.Independent(OwnNormal([0.0], 1.0), 1), r"Independent\.distribution is a .*OwnNormal"),
        (
            lambda: tfd.TransformedDistribution(
                tfd.Normal(0.0, 1.0), tfb.Inline(forward_fn=tf.exp, forward_min_event_ndims=0)
            ),
            "forward_fn",
        ),
    ],
)
def test_what_cannot_be_coded_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode_distribution(make())


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "tfp.distributions.Nothing",
        "tfp.distributions.mvn_diag",
        "distpolicy.errors.ConfigError",
        "distpolicy.nothing.Normal",
        "distpolicy.weights.Weights",
    ],
)
def test_description_makes_distributions_only(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        decode_distribution({"class": name, "arguments": {}}, {})


def test_missing_tensor_is_an_error() -> None:
    description, _ = encode_distribution(DISTRIBUTIONS["normal"]())
    with pytest.raises(CheckpointError, match="loc"):
        decode_distribution(description, {})
