"""Builders that the tests of distpolicy share. They are session-scoped so that property tests can use them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.network import Network
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.time_step import TimeStep

OBSERVATION_SPEC = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE_SPEC = BoundedArraySpec((), np.int64, 0, 3, "action")


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Keras takes the seed of weights that are drawn without one from here. One small network in a few hundred answers
    # the same whatever it is asked, which no test expects.
    random.seed(item.nodeid)


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., ActorPolicy]:
    """An actor policy over vectors of three; weights are drawn anew so that its outputs differ from row to row."""

    def make(
        action_spec: BoundedArraySpec = DISCRETE_SPEC,
        observation_spec: BoundedArraySpec = OBSERVATION_SPEC,
        weights_seed: int | None = 0,
        network: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> ActorPolicy:
        settings = {"fc_layer_params": (8,), "activation_fn": "tanh", **(network or {})}
        actor = ActorDistributionNetwork(observation_spec, action_spec, **settings)
        policy = ActorPolicy(ts.time_step_spec(observation_spec), action_spec, actor, **arguments)
        if weights_seed is not None:
            randomize_variables(policy.trainable_variables, weights_seed)
        return policy

    return make


def randomize_variables(variables: Any, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for variable in variables:
        variable.assign(generator.normal(scale=0.5, size=variable.shape).astype(np.float32))


@pytest.fixture(scope="session")
def randomize() -> Callable[[Any, int], None]:
    """Draws the values of variables from a seed."""
    return randomize_variables


@pytest.fixture(scope="session")
def make_step() -> Callable[..., TimeStep]:
    """A batch of MID steps, or of the given step types, with random observations, as NumPy arrays."""

    def make(
        batch_size: int, seed: int = 0, step_type: Any = ts.StepType.MID, shape: tuple[int, ...] = (3,)
    ) -> TimeStep:
        generator = np.random.default_rng(seed)
        return TimeStep(
            np.broadcast_to(np.asarray(step_type, np.int32), (batch_size,)).copy(),
            generator.normal(size=batch_size).astype(np.float32),
            np.ones(batch_size, np.float32),
            generator.normal(size=(batch_size, *shape)).astype(np.float32),
        )

    return make


@pytest.fixture(scope="session")
def to_tensors() -> Callable[[Any], Any]:
    """A nest of arrays as tensors."""
    return lambda nest: tf.nest.map_structure(tf.constant, nest)


@pytest.fixture(scope="session")
def row_seeds() -> Callable[..., np.ndarray]:
    """Seeds int32 ``[num, 2]`` as collectors make them: a counter of steps, and a number of the slot."""

    def make(num: int, counter: int = 0) -> np.ndarray:
        return np.stack([np.full(num, counter), np.arange(num) * 7919 + 12345], axis=1).astype(np.int32)

    return make


class AccumulatorNetwork(Network):
    """A recurrent network that is easy to follow: ``sum' = 0.5 * sum + gain * x`` and a counter of steps.

    Its action is the new sum; its state a dict of both.
    """

    def __init__(self, observation_spec: Any) -> None:
        state_spec = {"sum": tensor_spec.TensorSpec((3,), tf.float32), "steps": tensor_spec.TensorSpec((), tf.int32)}
        super().__init__(observation_spec, state_spec)
        self.gain = tf.Variable(2.0, name="gain")

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        total = 0.5 * network_state["sum"] + self.gain * observation
        return total, {"sum": total, "steps": network_state["steps"] + 1}


@pytest.fixture(scope="session")
def make_recurrent_policy() -> Callable[..., ActorPolicy]:
    """A deterministic policy with the state of :class:`AccumulatorNetwork`."""

    def make(**arguments: Any) -> ActorPolicy:
        action_spec = BoundedArraySpec((3,), np.float32, -1e6, 1e6, "action")
        network = AccumulatorNetwork(OBSERVATION_SPEC)
        return ActorPolicy(ts.time_step_spec(OBSERVATION_SPEC), action_spec, network, **arguments)

    return make


def snapshot_of(module: Any) -> dict[str, np.ndarray]:
    return {item.path: item.variable.numpy() for item in module.named_variables()}


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Any], dict[str, np.ndarray]]:
    """Copies of all variables of a policy, network or agent by path."""
    return snapshot_of


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]:
    """Fails where two snapshots differ in as little as one bit."""

    def check(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
        assert list(left) == list(right)
        differing = [path for path in left if left[path].tobytes() != right[path].tobytes()]
        assert not differing

    return check
