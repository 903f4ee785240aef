"""A policy's program acts as the policy itself does, byte for byte, in a process without TensorFlow."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import SpecMismatchError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_program import PolicyProgram, ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, restart, time_step_spec
from distpolicy.utils.common import SoftUpdate
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.nests.array_nest import flatten, map_structure
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer
from distpolicy.utils.variables.array_variables import ArrayVariables
from distpolicy.utils.variables.module_variables import NamedVariable
from distpolicy.weights import VariableLayout, WeightsPacker, WeightsReceiver, WeightView

BOX = BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def normalized(make_policy: Callable[..., ActorPolicy], **arguments: Any) -> ActorPolicy:
    """Returns a policy whose program has parameters that follow from float64 variables and from logarithms."""
    normalizer = StreamingTensorNormalizer(ArraySpec((3,), np.float32))
    policy = make_policy(BOX, observation_normalizer=normalizer, emit_log_probability=True, **arguments)
    normalizer.update(tf.random.stateless_normal([50, 3], [1, 2], 5.0, 3.0))
    return policy


def normalized_float64(action_spec: BoundedArraySpec = BOX) -> ActorPolicy:
    """Returns a policy over two float64 vectors, as MuJoCo's are, with a normaliser: LiteRT has no such arithmetic."""
    spec = {"position": ArraySpec((3,), np.float64), "velocity": ArraySpec((2,), np.float64)}
    normalizer = StreamingTensorNormalizer(spec)
    network = ActorDistributionNetwork(
        spec, action_spec, fc_layer_params=(8,), preprocessing_combiner=keras.layers.Concatenate()
    )
    policy = ActorPolicy(
        time_step_spec(spec), action_spec, network, observation_normalizer=normalizer, emit_log_probability=True
    )
    rng = np.random.default_rng(0)
    normalizer.update({name: rng.normal(5.0, 3.0, (50, *item.shape)) for name, item in spec.items()})
    return policy


def of_pictures() -> ActorPolicy:
    """Returns a policy with convolutions over bytes, whose weights are constants of its program."""
    spec = ArraySpec((12, 12, 3), np.uint8)
    action_spec = BoundedArraySpec((), np.int64, 0, 3)
    network = ActorDistributionNetwork(
        spec, action_spec, conv_layer_params=((8, 3, 2), (16, 3, 1)), fc_layer_params=(24,)
    )
    return ActorPolicy(time_step_spec(spec), action_spec, network, emit_log_probability=True)


def squashed(make_policy: Callable[..., ActorPolicy]) -> ActorPolicy:
    """Returns a policy whose log-probabilities need the inverse of tanh."""
    return make_policy(
        BOX, emit_log_probability=True, network={"continuous_projection_net": TanhNormalProjectionNetwork}
    )


def masked() -> ActorPolicy:
    """Returns a policy that takes a third of its observation as a mask of its actions."""
    spec = {"vector": ArraySpec((3,), np.float32), "mask": ArraySpec((4,), np.bool_)}
    network = ActorDistributionNetwork(spec["vector"], BoundedArraySpec((), np.int64, 2, 5), fc_layer_params=(8,))
    return ActorPolicy(
        time_step_spec(spec),
        BoundedArraySpec((), np.int64, 2, 5),
        network,
        observation_and_action_constraint_splitter=lambda observation: (observation["vector"], observation["mask"]),
        emit_log_probability=True,
    )


@pytest.mark.parametrize("first", [0, -1])
@pytest.mark.parametrize("num_actions", [1, 2, 3, 7, 18])
def test_any_number_of_actions_has_a_greedy_program(num_actions: int, first: int) -> None:
    """The converter takes clipping to 0 and 6, the bounds of MiniGrid's actions, for ReLU6."""
    action_spec = BoundedArraySpec((), np.int64, first, first + num_actions - 1)
    spec = ArraySpec((3,), np.float32)
    network = ActorDistributionNetwork(spec, action_spec, fc_layer_params=(8,))
    policy = GreedyPolicy(ActorPolicy(time_step_spec(spec), action_spec, network))
    step = restart(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), 50)
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="tf")
    found = light(ProgramBuilder(policy, [50]).program).action(step, (), row_seeds(50))
    assert_equal(found, eager.action(step, (), row_seeds(50)))


def test_a_masked_policy_takes_the_actions_that_are_allowed() -> None:
    policy = masked()
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert")
    other = light(ProgramBuilder(policy, [16]).program)
    rng = np.random.default_rng(0)
    mask = rng.random((50, 4)) < 0.5
    mask[np.arange(50), rng.integers(4, size=50)] = True
    observation = {"vector": rng.normal(size=(50, 3)).astype(np.float32), "mask": mask}
    step, seeds = restart(observation, 50), row_seeds(50)
    assert eager.inference == "litert"
    found = other.action(step, (), seeds)
    assert_equal(found, eager.action(step, (), seeds))
    assert mask[np.arange(50), found.action - 2].all()


@pytest.mark.parametrize("converted", [True, False])
def test_a_masked_policy_takes_a_batch_without_rows(converted: bool) -> None:
    policy = masked()
    acting = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert")
    if not converted:
        acting = light(ProgramBuilder(policy, [16]).program)
    step = restart({"vector": np.zeros((0, 3), np.float32), "mask": np.zeros((0, 4), np.bool_)}, 0)
    found = acting.action(step, (), acting.prepare_seeds(np.zeros((1, 0, 2), np.int32))[0])
    assert (found.action.shape, found.info.log_probability.shape, acting.inference) == ((0,), (0,), "litert")


@pytest.fixture(
    params=[
        "discrete",
        "box",
        "normalized",
        "greedy",
        "float64",
        pytest.param("float64 actions", marks=pytest.mark.slow),
        pytest.param("squashed", marks=pytest.mark.slow),
        "pictures",
        "recurrent",
    ]
)
def policy(
    request: pytest.FixtureRequest,
    make_policy: Callable[..., ActorPolicy],
    make_recurrent_policy: Callable[..., ActorPolicy],
) -> TFPolicy:
    if request.param == "recurrent":
        return make_recurrent_policy()
    if request.param == "pictures":
        return of_pictures()
    if request.param == "squashed":
        return squashed(make_policy)
    if request.param == "float64 actions":
        return normalized_float64(BoundedArraySpec((2,), np.float64, -1.0, 1.0))
    if request.param == "float64":
        return normalized_float64()
    if request.param == "normalized":
        return normalized(make_policy)
    if request.param == "greedy":
        return GreedyPolicy(normalized(make_policy))
    action = BOX if request.param == "box" else BoundedArraySpec((), np.int64, 2, 5)
    return make_policy(action, emit_log_probability=True)


def step_for(policy: Any, batch_size: int, seed: int = 0) -> TimeStep:
    """Returns a step with observations of which some are cut by a normaliser."""
    rng = np.random.default_rng(seed)

    def array(spec: ArraySpec) -> np.ndarray:
        if spec.dtype == np.uint8:
            return rng.integers(256, size=(batch_size, *spec.shape), dtype=np.uint8)
        return rng.normal(scale=5.0, size=(batch_size, *spec.shape)).astype(spec.dtype)

    observation = map_structure(array, PyTFEagerPolicy(policy).time_step_spec.observation)
    return restart(observation, batch_size)._replace(step_type=rng.integers(3, size=batch_size, dtype=np.int32))


def row_seeds(batch_size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**31 - 1, size=(batch_size, 2), dtype=np.int32)


def states(policy: Any, batch_size: int) -> Any:
    rng = np.random.default_rng(batch_size)
    return map_structure(
        lambda spec: rng.normal(size=(batch_size, *spec.shape)).astype(spec.dtype), policy.policy_state_spec
    )


def assert_equal(left: Any, right: Any) -> None:
    for got, want in zip(flatten(left), flatten(right), strict=True):
        got, want = np.asarray(got), np.asarray(want)
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes()


def light(program: PolicyProgram) -> PyTFEagerPolicy:
    """Returns the policy as it arrives in another process."""
    return PyTFEagerPolicy(ProgramPolicy(pickle.loads(pickle.dumps(program))), batch_time_steps=False)


def test_it_acts_byte_for_byte_as_the_policy_does(policy: TFPolicy) -> None:
    builder = ProgramBuilder(policy, [8, 24], "key")
    eager, other = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert"), light(builder.program)
    assert other.inference == "litert"
    assert other.tracing_count == 0
    packer = WeightsPacker(policy)
    packer.add_parameters("key", builder.computed_parameters)
    receiver = WeightsReceiver(other, "collector 0")
    for version in range(3):
        if version:
            for place, variable in enumerate(policy.variables()):
                if variable.dtype.is_floating:
                    variable.assign(variable * 1.1 + 0.01 * place)
            eager.refresh()
            assert receiver.apply(packer.pack(0, version)).applied
        # Fewer rows than a program has, as many, and more than the largest.
        for batch_size in (1, 5, 8, 9, 24, 61):
            step, state, seeds = step_for(policy, batch_size, version), states(eager, batch_size), row_seeds(batch_size)
            expected = eager.action(step, state, seeds)
            assert_equal(other.action(step, state, seeds), expected)
            prepared = other.prepare_seeds(seeds[np.newaxis])[0]
            assert_equal(other.action(step, state, prepared), expected)


def test_it_has_the_policys_specs_state_and_variables(policy: TFPolicy) -> None:
    eager = PyTFEagerPolicy(policy, batch_time_steps=False)
    other = light(ProgramBuilder(policy, [1]).program)
    assert other.policy_step_spec == eager.policy_step_spec
    assert other.time_step_spec == eager.time_step_spec
    assert other.collect_data_spec == eager.collect_data_spec
    assert_equal(other.get_initial_state(3), eager.get_initial_state(3))
    assert_equal(other.variables(), eager.variables())
    assert [item.path for item in other.named_variables()] == [item.path for item in eager.named_variables()]
    assert other.variable_layout == eager.variable_layout


def test_single_steps_have_no_batch_dimension(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy(BOX)
    other = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(policy, [1]).program), seed=4)
    eager = PyTFEagerPolicy(policy, inference="litert", seed=4)
    step = map_structure(lambda leaf: leaf[0], make_step(1))
    for seed in (3, None):
        assert_equal(other.action(step, (), seed), eager.action(step, (), seed))


def test_rows_of_pictures_do_not_depend_on_the_batch_they_are_in() -> None:
    other = light(ProgramBuilder(of_pictures(), [8, 32]).program)
    step, seeds = step_for(other.policy, 32), row_seeds(32)
    whole = other.action(step, (), seeds)
    for rows in (slice(0, 1), slice(3, 8), slice(8, 16), slice(9, 32)):
        part = other.action(map_structure(lambda leaf, rows=rows: leaf[rows], step), (), seeds[rows])
        assert_equal(part, map_structure(lambda leaf, rows=rows: leaf[rows], whole))


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_without_tensorflows_parameters_numpy_computes_them(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tau: float
) -> None:
    policy, source = normalized(make_policy), normalized(make_policy, weights_seed=4)
    other = light(ProgramBuilder(policy, [8]).program)
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert")
    weights = WeightsPacker(source).pack(0, 1)
    for each in (other, eager):
        each.update(weights, tau)
    step, seeds = make_step(8), row_seeds(8)
    for got, want in zip(flatten(other.action(step, (), seeds)), flatten(eager.action(step, (), seeds)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_policies_that_share_variables_move_together(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = normalized(make_policy)
    collect, greedy = ProgramBuilder(policy, [4]), ProgramBuilder(GreedyPolicy(policy), [4], owner=policy)
    first = ProgramPolicy(collect.program)
    first.update(WeightsPacker(normalized(make_policy, weights_seed=4)).pack(0, 1))
    second = PyTFEagerPolicy(ProgramPolicy(greedy.program, first.array_variables), batch_time_steps=False)
    step = make_step(4)
    expected = PyTFEagerPolicy(
        GreedyPolicy(normalized(make_policy, weights_seed=4)), batch_time_steps=False, inference="litert"
    )
    np.testing.assert_allclose(second.action(step).action, expected.action(step).action, rtol=1e-5)
    first.update(WeightsPacker(policy).pack(0, 2))
    eager = PyTFEagerPolicy(GreedyPolicy(policy), batch_time_steps=False, inference="litert")
    np.testing.assert_allclose(second.action(step).action, eager.action(step).action, rtol=1e-5)


def test_a_wrong_array_is_named(make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]) -> None:
    other = light(ProgramBuilder(make_policy(), [4]).program)
    step = make_step(4)
    with pytest.raises(TypeError, match=r"time_step/observation.*float32.*float64"):
        other.action(step._replace(observation=step.observation.astype(np.float64)))
    with pytest.raises(ValueError, match=r"time_step/observation.*\(4, 3\).*\(4, 2\)"):
        other.action(step._replace(observation=step.observation[:, :2]))
    with pytest.raises(ValueError, match="takes a batch of time steps"):
        other.action(map_structure(lambda leaf: leaf[0], step))
    other.action(step)


def test_a_wrong_array_is_named_where_numpy_computes_first() -> None:
    policy = normalized_float64()
    other = light(ProgramBuilder(policy, [8]).program)
    for batch_size in (8, 5):
        step = step_for(policy, batch_size)
        wrong = {**step.observation, "position": step.observation["position"].astype(np.float32)}
        with pytest.raises(TypeError, match=r"position.*float64.*float32"):
            other.action(step._replace(observation=wrong))
        wrong = {**step.observation, "velocity": step.observation["velocity"][:, :1]}
        with pytest.raises(ValueError, match=r"velocity.*2\).*1\)"):
            other.action(step._replace(observation=wrong))
        other.action(step)


def test_variables_that_do_not_match_are_named_and_change_nothing(make_policy: Callable[..., ActorPolicy]) -> None:
    other = light(ProgramBuilder(make_policy(), [1]).program)
    before = other.variables()
    with pytest.raises(SpecMismatchError, match=r"variable .*kernel: source .* has shape"):
        other.update(make_policy(network={"fc_layer_params": (3,)}))
    with pytest.raises(ValueError, match="tau"):
        other.update(make_policy(), tau=float("nan"))
    assert_equal(other.variables(), before)


class HiddenVariable(TFPolicy):
    """Reads a variable that nobody finds."""

    def __init__(self, hides: bool) -> None:
        super().__init__(time_step_spec(ArraySpec((3,), np.float32)), BoundedArraySpec((), np.float32, -1.0, 1.0))
        variable = tf.Variable(0.5)
        if hides:
            object.__setattr__(self, "_self_hidden", variable)
        else:
            self.shown = variable
        object.__setattr__(self, "_self_read", lambda: variable)

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return PolicyStep(time_step.reward * self._self_read() * 2.0, (), ())


def test_what_would_not_move_with_the_weights_is_refused() -> None:
    ProgramBuilder(HiddenVariable(hides=False), [1])
    with pytest.raises(LiteRTError, match="variable that its named_variables"):
        ProgramBuilder(HiddenVariable(hides=True), [1])


class Determinant(HiddenVariable):
    """Computes from its variable what NumPy has no rule for."""

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return PolicyStep(time_step.reward * tf.linalg.det(self.shown * tf.eye(2)), (), ())


def test_what_numpy_has_no_rule_for_is_refused() -> None:
    with pytest.raises(LiteRTError, match="MatrixDeterminant"):
        ProgramBuilder(Determinant(hides=False), [1])


_WITHOUT_TENSORFLOW = """
import pickle, sys
from pathlib import Path
import numpy as np
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.utils.memory import peak_memory_bytes

program, step, state, seeds, weights = pickle.loads(Path(sys.argv[1]).read_bytes())
policy = PyTFEagerPolicy(ProgramPolicy(program), batch_time_steps=False)
policy.update(weights, 0.5)
policy.update(weights)
assert policy.get_initial_state(2) is not None
Path(sys.argv[2]).write_bytes(pickle.dumps(policy.action(step, state, seeds)))
print(sorted({"tensorflow", "keras", "tensorflow_probability"} & set(sys.modules)))
print(peak_memory_bytes() // 2**20)
"""


def test_it_runs_without_tensorflow(policy: TFPolicy, tmp_path: Path) -> None:
    builder = ProgramBuilder(policy, [8], "key")
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert")
    step, state, seeds = step_for(policy, 8), states(eager, 8), row_seeds(8)
    packer = WeightsPacker(policy)
    packer.add_parameters("key", builder.computed_parameters)
    given_file, made = tmp_path / "given", tmp_path / "made"
    given_file.write_bytes(pickle.dumps((builder.program, step, state, seeds, packer.pack(0, 1))))
    command = [sys.executable, "-c", _WITHOUT_TENSORFLOW, str(given_file), str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported, peak_mib = done.stdout.splitlines()
    assert imported == "[]"
    assert int(peak_mib) < 150
    assert_equal(pickle.loads(made.read_bytes()), eager.action(step, state, seeds))


@settings(max_examples=60, deadline=None)
@given(
    tau=st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0.0, 1.0, allow_subnormal=False)),
    other=st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0, allow_subnormal=False)),
    by_name=st.booleans(),
    seed=st.integers(0, 99),
)
def test_arrays_move_as_variables_do(tau: float, other: float | None, by_name: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = {
        "dense_10/kernel": rng.normal(size=(2, 3)).astype(np.float32),
        "dense_9/kernel": rng.normal(size=(2, 3)).astype(np.float32),
        "mean": rng.normal(size=4),
        "count": rng.integers(9, size=(), dtype=np.int64),
        "not_a_number": np.full(2, np.nan, np.float32),
    }
    trainable = {"dense_10/kernel", "dense_9/kernel"}
    variables = [NamedVariable(path, tf.Variable(value, trainable=path in trainable)) for path, value in values.items()]
    layout = [VariableLayout(path, value.shape, value.dtype.name, path in trainable) for path, value in values.items()]
    sources = {
        path: rng.normal(size=value.shape).astype(value.dtype) if value.dtype.kind == "f" else value + 7
        for path, value in values.items()
    }
    order = sorted(sources) if by_name else list(sources)
    source = [WeightView(path, sources[path]) for path in order]

    @dataclasses.dataclass
    class Source:
        def named_variables(self) -> list[WeightView]:
            return source

    arrays = ArrayVariables(layout, values)
    arrays.update(Source(), tau, other, by_name)
    SoftUpdate(variables)(source, tau, other, by_name)
    for item in variables:
        np.testing.assert_array_equal(arrays.values[item.path], item.variable.numpy())
