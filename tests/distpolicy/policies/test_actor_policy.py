from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

VECTOR = BoundedArraySpec((3,), np.float32, -10.0, 10.0)


class ModeNetwork(Network):
    """Returns an action, not a distribution: 1 in training mode, 0 otherwise."""

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return tf.fill(tf.shape(observation)[:1], float(training)), network_state


def test_actor_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="function"):
        ActorPolicy(ts.time_step_spec(VECTOR), BoundedArraySpec((), np.float32), lambda observation: observation)


@pytest.mark.parametrize("training", [False, True])
def test_network_may_return_actions_and_is_told_of_training(
    make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any], training: bool
) -> None:
    policy = ActorPolicy(
        ts.time_step_spec(VECTOR), BoundedArraySpec((), np.float32), ModeNetwork(VECTOR), training=training
    )
    np.testing.assert_array_equal(policy.action(to_tensors(make_step(2))).action, np.full(2, float(training)))


def test_observations_are_normalised_before_the_network_sees_them(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    normalizer = StreamingTensorNormalizer(ArraySpec((3,), np.float32))
    policy, plain = make_policy(observation_normalizer=normalizer), make_policy()
    step = to_tensors(make_step(8))

    def logits(of: ActorPolicy, observation: Any) -> np.ndarray:
        return of.distribution(step._replace(observation=observation)).action.logits_parameter().numpy()

    np.testing.assert_array_equal(logits(policy, step.observation), logits(plain, step.observation))
    normalizer.update(step.observation * 3.0 + 1.0)
    expected = logits(plain, normalizer.normalize(step.observation))
    np.testing.assert_allclose(logits(policy, step.observation), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected, logits(plain, step.observation), atol=1e-2)
    assert policy.observation_normalizer is normalizer


def test_variables_exist_from_the_start_and_include_the_normaliser_s(make_policy: Callable[..., ActorPolicy]) -> None:
    policy = make_policy(observation_normalizer=StreamingTensorNormalizer(VECTOR), weights_seed=None)
    assert [item.path for item in policy.named_variables()] == [
        "actor_network/encoder/layers/0/kernel",
        "actor_network/encoder/layers/0/bias",
        "actor_network/projection/logits/kernel",
        "actor_network/projection/logits/bias",
        "observation_normalizer/count",
        "observation_normalizer/mean",
        "observation_normalizer/sum_of_squares",
    ]
    assert len(policy.trainable_variables) == 4
