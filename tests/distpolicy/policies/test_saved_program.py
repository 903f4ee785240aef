"""A saved policy that draws its actions becomes a program, with the bytes of the policy that was saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import CheckpointError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.policy_saver import POLICY_SPECS_JSON, PolicySaver
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.random_tf_policy import RandomTFPolicy
from distpolicy.policies.saved_model_policy import SavedModelPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.time_step import TimeStep, restart, time_step_spec
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.nests.array_nest import flatten, map_structure
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

BOX = BoundedArraySpec((2,), np.float32, -1.0, 1.0)
DISCRETE = BoundedArraySpec((), np.int64, 2, 5)


def over_nests() -> ActorPolicy:
    """Returns a policy with two float64 observations, a normaliser, and two actions, so that it draws twice."""
    spec = {"position": ArraySpec((3,), np.float64), "velocity": ArraySpec((2,), np.float64)}
    actions = {"button": DISCRETE, "wheel": BOX}
    normalizer = StreamingTensorNormalizer(spec)
    network = ActorDistributionNetwork(
        spec, actions, fc_layer_params=(8,), preprocessing_combiner=keras.layers.Concatenate()
    )
    policy = ActorPolicy(
        time_step_spec(spec), actions, network, observation_normalizer=normalizer, emit_log_probability=True
    )
    rng = np.random.default_rng(0)
    normalizer.update({name: rng.normal(5.0, 3.0, (50, *item.shape)) for name, item in spec.items()})
    return policy


def recurrent() -> ActorPolicy:
    spec = ArraySpec((3,), np.float32)
    network = ActorDistributionRnnNetwork(spec, DISCRETE, input_fc_layer_params=None, lstm_size=(4,))
    return ActorPolicy(time_step_spec(spec), DISCRETE, network, emit_log_probability=True)


def masked() -> ActorPolicy:
    spec = {"vector": ArraySpec((3,), np.float32), "mask": ArraySpec((4,), np.bool_)}
    return ActorPolicy(
        time_step_spec(spec),
        DISCRETE,
        ActorDistributionNetwork(spec["vector"], DISCRETE, fc_layer_params=(8,)),
        observation_and_action_constraint_splitter=lambda observation: (observation["vector"], observation["mask"]),
        emit_log_probability=True,
    )


@pytest.fixture(
    params=[
        "discrete",
        pytest.param("squashed", marks=pytest.mark.slow),
        pytest.param("over_nests", marks=pytest.mark.slow),
        "recurrent",
        pytest.param("masked", marks=pytest.mark.slow),
    ]
)
def policy(request: pytest.FixtureRequest, make_policy: Callable[..., ActorPolicy]) -> TFPolicy:
    if request.param == "discrete":
        return make_policy(DISCRETE, emit_log_probability=True)
    if request.param == "squashed":
        network = {"continuous_projection_net": TanhNormalProjectionNetwork}
        return make_policy(BOX, emit_log_probability=True, network=network)
    return {"over_nests": over_nests, "recurrent": recurrent, "masked": masked}[request.param]()


def saved(policy: TFPolicy, folder: Path) -> SavedModelPolicy:
    PolicySaver(policy).save(folder)
    return policy_loader.load(folder)


def step_for(policy: Any, batch_size: int, seed: int) -> TimeStep:
    rng = np.random.default_rng(seed)

    def array(spec: ArraySpec) -> np.ndarray:
        if spec.dtype == np.bool_:
            return np.arange(spec.shape[0]) >= rng.integers(spec.shape[0], size=(batch_size, 1))
        return rng.normal(scale=3.0, size=(batch_size, *spec.shape)).astype(spec.dtype)

    observation = map_structure(array, policy.time_step_spec.observation)
    return restart(observation, batch_size)._replace(step_type=rng.integers(3, size=batch_size, dtype=np.int32))


def seeds_of(num_rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**31 - 1, size=(num_rows, 2), dtype=np.int32)


def assert_equal(left: Any, right: Any) -> None:
    for got, want in zip(flatten(left), flatten(right), strict=True):
        got, want = np.asarray(got), np.asarray(want)
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes()


def test_its_program_draws_what_the_policy_draws(policy: TFPolicy, tmp_path: Path) -> None:
    loaded = saved(policy, tmp_path / "policy")
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(loaded, [8]).program), batch_time_steps=False)
    live = PyTFEagerPolicy(loaded, batch_time_steps=False, inference="litert")
    tensorflow = PyTFEagerPolicy(loaded, batch_time_steps=False, use_tf_function=True, jit_compile=False)
    for batch_size in (1, 8, 19):
        state = live.get_initial_state(batch_size)
        for number in range(4):
            step, seeds = step_for(live, batch_size, number), seeds_of(batch_size, number)
            expected, found = live.action(step, state, seeds), light.action(step, state, seeds)
            assert_equal(found, expected)
            other = tensorflow.action(step, state, seeds)
            for got, want in zip(flatten(found.action), flatten(other.action), strict=True):
                np.testing.assert_allclose(got, np.asarray(want), rtol=1e-4, atol=1e-5)
            state = found.state
    assert live.inference == light.inference == "litert"


def test_a_policy_that_is_loaded_and_saved_again_keeps_its_draws(policy: TFPolicy, tmp_path: Path) -> None:
    first = saved(policy, tmp_path / "first")
    second = saved(first, tmp_path / "second")
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(second, [8]).program), batch_time_steps=False)
    step, state, seeds = step_for(light, 8, 0), light.get_initial_state(8), seeds_of(8, 0)
    expected = PyTFEagerPolicy(policy, batch_time_steps=False).action(step, state, seeds)
    for got, want in zip(flatten(light.action(step, state, seeds).action), flatten(expected.action), strict=True):
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-4, atol=1e-5)


def test_it_acts_by_the_variables_of_a_later_checkpoint(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path
) -> None:
    policy, later = make_policy(BOX), make_policy(BOX, weights_seed=5)
    loaded = saved(policy, tmp_path / "policy")
    PolicySaver(later).save_checkpoint(tmp_path / "checkpoint")
    loaded.update_from_checkpoint(tmp_path / "checkpoint")
    light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(loaded, [8]).program), batch_time_steps=False)
    step, seeds = step_for(light, 8, 0), seeds_of(8, 0)
    expected = PyTFEagerPolicy(later, batch_time_steps=False).action(step, (), seeds)
    np.testing.assert_allclose(light.action(step, (), seeds).action, expected.action, rtol=1e-5, atol=1e-6)


def test_an_earlier_save_acts_by_tensorflow_as_before(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    policy = make_policy(BOX)
    saver = PolicySaver(policy)
    del saver.policy.action_from_noise
    saver.save(tmp_path / "policy")
    loaded = policy_loader.load(tmp_path / "policy")
    with pytest.raises(LiteRTError, match="save the policy again"):
        ProgramBuilder(loaded, [8])
    step, seeds = step_for(PyTFEagerPolicy(policy), 8, 0), seeds_of(8, 0)
    eager = PyTFEagerPolicy(loaded, batch_time_steps=False, inference="auto")
    np.testing.assert_allclose(eager.action(step, (), seeds).action, policy.action(step, (), seeds).action, rtol=1e-5)
    assert eager.inference == "tf"


def test_draws_that_are_not_of_one_kind_stay_in_the_model(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path
) -> None:
    # It draws one of many actions from bits, which only TensorFlow does inside a model.
    policy = RandomTFPolicy(make_policy(DISCRETE).time_step_spec, BoundedArraySpec((), np.int64, 0, 2**40))
    loaded = saved(policy, tmp_path / "policy")
    step, seeds = step_for(PyTFEagerPolicy(policy), 64, 0), seeds_of(64, 0)
    np.testing.assert_array_equal(
        loaded.action(map_structure(tf.constant, step), (), seeds).action,
        policy.action(map_structure(tf.constant, step), (), seeds).action,
    )


@pytest.mark.parametrize(
    "damage", [7, [3], [{"num": 1}], [{"offset": [1, 2, 3], "num": 1}], [{"offset": None, "num": "x"}]]
)
def test_a_damaged_description_of_the_draws_is_refused(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path, damage: Any
) -> None:
    PolicySaver(make_policy(BOX)).save(tmp_path / "policy")
    file = tmp_path / "policy" / POLICY_SPECS_JSON
    details = json.loads(file.read_text())
    assert details["draws"] == [{"offset": None, "num": 4}]
    file.write_text(json.dumps({**details, "draws": damage}))
    with pytest.raises(CheckpointError, match="does not describe the draws"):
        policy_loader.load(tmp_path / "policy")
