"""Every policy of the library passes the conformance suite that users run on their own; over every kind of space."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.bandits.policies.mixture_policy import MixturePolicy
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.networks.categorical_q_network import CategoricalQNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.q_rnn_network import QRnnNetwork
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.batched_py_policy import BatchedPyPolicy
from distpolicy.policies.boltzmann_policy import BoltzmannPolicy
from distpolicy.policies.categorical_q_policy import CategoricalQPolicy
from distpolicy.policies.epsilon_greedy_policy import EpsilonGreedyPolicy
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.gaussian_policy import GaussianPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.ou_noise_policy import OUNoisePolicy
from distpolicy.policies.policy_info_updater_wrapper import PolicyInfoUpdaterWrapper
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.policies.random_py_policy import RandomPyPolicy
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.scripted_py_policy import ScriptedPyPolicy
from distpolicy.policies.temporal_action_smoothing import TemporalActionSmoothing
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.gymnasium_spaces import spec_from_space
from distpolicy.testing import PyPolicyConformance, TFPolicyConformance
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

spaces = gym.spaces

BOX = spec_from_space(spaces.Box(-2.0, 2.0, (3,), np.float32))
DISCRETE = spec_from_space(spaces.Discrete(4))
CONTINUOUS = spec_from_space(spaces.Box(-1.0, 1.0, (2,), np.float32))

OBSERVATIONS: dict[str, spaces.Space] = {
    "box": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "box-matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float32),
    "image": spaces.Box(0, 255, (12, 12, 3), np.uint8),
    "discrete": spaces.Discrete(5, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 5]),
    "multi-binary": spaces.MultiBinary(4),
    "dict": spaces.Dict({"b": spaces.Box(-1.0, 1.0, (2,), np.float32), "a": spaces.Discrete(3)}),
    "tuple": spaces.Tuple([spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.MultiBinary(3)]),
    "nested": spaces.Dict({"x": spaces.Tuple([spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,), np.float32)])}),
}
ACTIONS: dict[str, spaces.Space] = {
    "discrete": spaces.Discrete(4),
    "discrete-start": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([3, 3]),
    "multi-discrete-unequal": spaces.MultiDiscrete([2, 4]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "box-matrix": spaces.Box(np.float32([[0.0, -3.0]]), np.float32([[1.0, 5.0]]), dtype=np.float32),
    "dict": spaces.Dict({"steer": spaces.Box(-1.0, 1.0, (1,), np.float32), "gear": spaces.Discrete(3)}),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Box(0.0, 1.0, (), np.float32)]),
}


def randomized(policy: TFPolicy) -> TFPolicy:
    """The same policy with weights that make its outputs differ from row to row."""
    generator = np.random.default_rng(3)
    for variable in policy.trainable_variables:
        variable.assign(generator.normal(scale=0.4, size=variable.shape).astype(variable.dtype.as_numpy_dtype))
    return policy


def encoder_of(observation_spec: Any) -> dict[str, Any]:
    """Arguments of a network that make it take observations of this spec."""
    leaves = tf.nest.flatten(observation_spec)
    if len(leaves) == 1 and leaves[0] is observation_spec:
        return {"conv_layer_params": ((4, 3, 2),)} if len(observation_spec.shape) == 3 else {}

    def dense(spec: Any) -> Any:
        # Rescaling casts integers.
        return keras.Sequential([keras.layers.Rescaling(1.0), keras.layers.Flatten(), keras.layers.Dense(4)])

    return {
        "preprocessing_layers": tf.nest.map_structure(dense, observation_spec),
        "preprocessing_combiner": keras.layers.Add(),
    }


def actor_policy(
    observation_spec: Any = BOX, action_spec: Any = DISCRETE, recurrent: str | None = None, **arguments: Any
) -> TFPolicy:
    """An actor policy with a small network."""
    encoder = encoder_of(observation_spec)
    network: Any
    if recurrent is None:
        network = ActorDistributionNetwork(observation_spec, action_spec, fc_layer_params=(8,), seed=1, **encoder)
    else:
        network = ActorDistributionRnnNetwork(
            observation_spec,
            action_spec,
            input_fc_layer_params=(8,),
            lstm_size=(6,),
            output_fc_layer_params=(8,),
            cell=recurrent,
            seed=1,
            **encoder,
        )
    return randomized(ActorPolicy(time_step_spec(observation_spec), action_spec, network, **arguments))


def q_policy(network: Any = QNetwork, action_spec: Any = DISCRETE, **arguments: Any) -> TFPolicy:
    """A Q policy with a small network."""
    sizes = {"fc_layer_params": (8,)} if network is QNetwork else {"input_fc_layer_params": (8,), "lstm_size": (6,)}
    return randomized(
        QPolicy(time_step_spec(BOX), action_spec, q_network=network(BOX, action_spec, **sizes), **arguments)
    )


def categorical_q_policy() -> TFPolicy:
    network = CategoricalQNetwork(BOX, DISCRETE, num_atoms=5, fc_layer_params=(8,))
    return randomized(CategoricalQPolicy(time_step_spec(BOX), DISCRETE, network, min_q_value=-2.0, max_q_value=2.0))


def masked_policy() -> TFPolicy:
    """An actor policy whose observations bring a mask of actions along."""
    spec = {"see": BOX, "mask": spec_from_space(spaces.MultiBinary(4))}
    network: Any = ActorDistributionNetwork(BOX, DISCRETE, fc_layer_params=(8,))
    policy = ActorPolicy(
        time_step_spec(spec),
        DISCRETE,
        network,
        observation_and_action_constraint_splitter=lambda observation: (observation["see"], observation["mask"]),
        emit_log_probability=True,
    )
    return randomized(policy)


def with_a_free_action(step: TimeStep) -> TimeStep:
    """The same steps, with one action at least that the mask allows."""
    mask = step.observation["mask"]
    mask[np.arange(len(mask)), np.arange(len(mask)) % 4] = 1
    return step


def info_policy() -> TFPolicy:
    def count(step: PolicyStep) -> dict[str, tf.Tensor]:
        action = tf.nest.flatten(step.action)[0]
        shape = tf.shape(action) if tf.is_tensor(action) else action.batch_shape_tensor()
        return {"steps": tf.ones(shape, tf.int32)}

    return PolicyInfoUpdaterWrapper(actor_policy(), {"steps": tf.TensorSpec((), tf.int32)}, count)


def loaded_policy() -> TFPolicy:
    """A policy that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        PolicySaver(actor_policy(recurrent="lstm", emit_log_probability=True)).save(f"{folder}/policy")
        return policy_loader.load(f"{folder}/policy")


def mixture(*policies: TFPolicy) -> TFPolicy:
    return MixturePolicy(tfp.distributions.Categorical(probs=[0.3, 0.7]), policies)


def fixed() -> TFPolicy:
    return FixedPolicy(np.int64(2), time_step_spec(BOX), DISCRETE, emit_log_probability=False)


def _normaliser() -> StreamingTensorNormalizer:
    normalizer = StreamingTensorNormalizer(BOX)
    normalizer.update(tf.random.stateless_normal([20, 3], [1, 2]))
    return normalizer


NO_DISTRIBUTION = {"has_distribution": False}

# name: (how it is made, what the suite has to know of it)
CASES: dict[str, tuple[Callable[[], TFPolicy], dict[str, Any]]] = {
    "Actor": (lambda: actor_policy(emit_log_probability=True), {}),
    "ActorNormalised": (lambda: actor_policy(action_spec=CONTINUOUS, observation_normalizer=_normaliser()), {}),
    "ActorUnclipped": (lambda: actor_policy(action_spec=CONTINUOUS, clip=False), {"within_bounds": False}),
    "ActorMasked": (masked_policy, {"time_step": with_a_free_action}),
    "ActorLSTM": (lambda: actor_policy(recurrent="lstm", emit_log_probability=True), {}),
    "ActorGRU": (lambda: actor_policy(action_spec=CONTINUOUS, recurrent="gru"), {}),
    "Greedy": (lambda: GreedyPolicy(actor_policy(action_spec=CONTINUOUS)), {}),
    "GreedyLSTM": (lambda: GreedyPolicy(actor_policy(recurrent="lstm")), {}),
    "EpsilonGreedy": (lambda: EpsilonGreedyPolicy(actor_policy(), 0.5), NO_DISTRIBUTION),
    "EpsilonGreedyLSTM": (lambda: EpsilonGreedyPolicy(actor_policy(recurrent="lstm"), 0.5), NO_DISTRIBUTION),
    "Q": (q_policy, {}),
    "QOfAStart": (lambda: q_policy(action_spec=spec_from_space(spaces.Discrete(3, start=5))), {}),
    "QLSTM": (lambda: q_policy(QRnnNetwork), {}),
    "CategoricalQ": (categorical_q_policy, {}),
    "Boltzmann": (lambda: BoltzmannPolicy(q_policy(), temperature=0.5), {}),
    "Gaussian": (lambda: GaussianPolicy(actor_policy(action_spec=CONTINUOUS), scale=0.3), {"has_distribution": False}),
    "OUNoise": (lambda: OUNoisePolicy(actor_policy(action_spec=CONTINUOUS)), {"has_distribution": False}),
    "OUNoiseLSTM": (
        lambda: OUNoisePolicy(actor_policy(action_spec=CONTINUOUS, recurrent="lstm")),
        {"has_distribution": False},
    ),
    "Smoothing": (
        lambda: TemporalActionSmoothing(actor_policy(action_spec=CONTINUOUS), 0.7),
        {"has_distribution": False},
    ),
    "InfoUpdater": (info_policy, {}),
    "Mixture": (lambda: mixture(actor_policy(), fixed()), {"has_distribution": False}),
    "MixtureLSTM": (
        lambda: mixture(actor_policy(recurrent="lstm"), actor_policy(recurrent="gru")),
        {"has_distribution": False},
    ),
    "Fixed": (fixed, {}),
    "Loaded": (loaded_policy, {}),
    "Random": (partial(RandomTFPolicy, time_step_spec(BOX), DISCRETE, emit_log_probability=True), NO_DISTRIBUTION),
}
for _name, _space in OBSERVATIONS.items():
    CASES[f"Observation[{_name}]"] = (partial(actor_policy, spec_from_space(_space)), {})
    CASES[f"RecurrentObservation[{_name}]"] = (partial(actor_policy, spec_from_space(_space), recurrent="gru"), {})
for _name, _space in ACTIONS.items():
    _spec = spec_from_space(_space)
    CASES[f"Action[{_name}]"] = (partial(actor_policy, BOX, _spec, emit_log_probability=True), {})
    CASES[f"RandomAction[{_name}]"] = (
        partial(RandomTFPolicy, time_step_spec(BOX), _spec, emit_log_probability=True),
        NO_DISTRIBUTION,
    )


def conformance(make: Callable[[], TFPolicy], attributes: dict[str, Any]) -> type:
    """A test class of the suite for one policy."""
    attributes = dict(attributes)
    change = attributes.pop("time_step", None)
    members: dict[str, Any] = {**attributes, "make_policy": lambda self: make()}
    if change is not None:
        members["time_step"] = lambda self, *args, **kwargs: change(
            TFPolicyConformance.time_step(self, *args, **kwargs)
        )
    return type("Conformance", (TFPolicyConformance,), members)


# What they have of their own is tested by the others: every observation by a feed-forward actor, every action likewise.
# The spaces that remain have a leaf of each kind, and a nest.
SLOW = (
    *("RecurrentObservation", "RandomAction", "OUNoiseLSTM", "MixtureLSTM", "EpsilonGreedyLSTM"),
    *("Observation[box-matrix", "Observation[multi", "Observation[dict", "Observation[tuple"),
    *("Action[box-matrix", "Action[multi", "Action[discrete-start", "Action[tuple"),
    *("Loaded", "ActorGRU", "QLSTM", "GreedyLSTM"),
)

for _name, (_make, _attributes) in CASES.items():
    _class = conformance(_make, _attributes)
    globals()[f"Test{_name}"] = pytest.mark.slow(_class) if _name.startswith(SLOW) else _class


class TestRandomPyPolicy(PyPolicyConformance):
    def make_policy(self) -> PyPolicy:
        action_spec = {name: spec_from_space(space) for name, space in ACTIONS.items()}
        return RandomPyPolicy(time_step_spec(BOX), action_spec, seed=3)


class TestRandomPyPolicyOfSingleSteps(PyPolicyConformance):
    batch_size = None

    def make_policy(self) -> PyPolicy:
        return RandomPyPolicy(time_step_spec(BOX), CONTINUOUS, seed=3)


class TestScriptedPyPolicy(PyPolicyConformance):
    batch_size = None

    def make_policy(self) -> PyPolicy:
        return ScriptedPyPolicy(time_step_spec(BOX), DISCRETE, [(2, np.int64(1)), (9, np.int64(3))])


class TestBatchedPyPolicy(PyPolicyConformance):
    def make_policy(self) -> PyPolicy:
        return BatchedPyPolicy([RandomPyPolicy(time_step_spec(BOX), DISCRETE, seed=index) for index in range(4)])


class TestPyTFEagerPolicy(PyPolicyConformance):
    def make_policy(self) -> PyPolicy:
        return PyTFEagerPolicy(actor_policy(recurrent="lstm"), use_tf_function=True, batch_time_steps=False, seed=3)


class TestPyTFEagerPolicyByLiteRT(PyPolicyConformance):
    def make_policy(self) -> PyPolicy:
        return PyTFEagerPolicy(actor_policy(recurrent="lstm"), batch_time_steps=False, seed=3, inference="litert")


class TestPyTFEagerPolicyOfSingleSteps(PyPolicyConformance):
    batch_size = None

    def make_policy(self) -> PyPolicy:
        return PyTFEagerPolicy(actor_policy(), seed=3)
