from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.observation_encoding import preprocessing_for
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver, specs_from_collect_data_spec
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.saved_signature import path_names
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs import tensor_spec
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.nests.array_nest import flatten
from distpolicy.utils.nests.integer_keys import with_string_keys
from distpolicy.utils.sampling.tensor_draws import row_uniform
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")

# Runs where neither distpolicy nor TFP can be imported: TensorFlow alone.
SERVE = """
import sys
for name in ("distpolicy", "tensorflow_probability", "tf_keras"):
    sys.modules[name] = None
import collections
import numpy as np
import tensorflow as tf
given = np.load("inputs.npz")
TimeStep = collections.namedtuple("TimeStep", "step_type reward discount observation")
step = TimeStep(*[tf.constant(given[name]) for name in TimeStep._fields])
outputs = {}
for name in sys.argv[1:]:
    policy = tf.saved_model.load(name)
    if name == "recurrent":
        state = policy.get_initial_state(len(given["reward"]))
        for _ in range(3):
            answer = policy.action(step, state)
            state = answer.state
        outputs["recurrent_steps"] = state["steps"].numpy()
    elif name == "drawn":
        answer = policy.action(step, (), tf.constant(given["row_seeds"]))
        outputs["drawn_by_one_seed"] = policy.action(step, seed=tf.constant([3, 4])).action.numpy()
        named = {"0/" + key: value for key, value in step._asdict().items()}
        signed = policy.signatures["action_with_seed"](seed=tf.constant([3, 4]), **named)
        np.testing.assert_array_equal(signed["action"], outputs["drawn_by_one_seed"])
        outputs["log_probability"] = answer.info.log_probability.numpy()
        outputs["logits"] = policy.distribution(step).action["logits"].numpy()
    else:
        assert policy.get_initial_state(4) == ()
        answer = policy.action(step)
        named = {"0/" + key: value for key, value in step._asdict().items()}
        np.testing.assert_allclose(policy.signatures["action"](**named)["action"], answer.action, rtol=1e-5)
    outputs[name] = answer.action.numpy()
np.savez("outputs.npz", **outputs)
"""


@pytest.fixture(scope="module")
def normalizer() -> StreamingTensorNormalizer:
    made = StreamingTensorNormalizer(TensorSpec((3,), tf.float32))
    made.update(tf.constant(np.random.default_rng(5).normal([1.0, -2.0, 0.5], [3.0, 0.5, 1.0], size=(50, 3))))
    return made


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    make_policy: Callable[..., ActorPolicy],
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    row_seeds: Callable[..., np.ndarray],
    normalizer: StreamingTensorNormalizer,
) -> tuple[dict[str, TFPolicy], dict[str, np.ndarray]]:
    """Policies by name, and what a process with TensorFlow alone answered for them."""
    network = {"continuous_projection_net": TanhNormalProjectionNetwork}
    policies: dict[str, TFPolicy] = {
        "discrete": GreedyPolicy(make_policy(weights_seed=1)),
        "shifted": GreedyPolicy(make_policy(BoundedArraySpec((), np.int32, -2, 1), weights_seed=1)),
        "normalized": GreedyPolicy(make_policy(BOX, weights_seed=1, observation_normalizer=normalizer)),
        "squashed": GreedyPolicy(make_policy(BOX, weights_seed=1, network=network)),
        "drawn": make_policy(weights_seed=1, emit_log_probability=True),
        "recurrent": make_recurrent_policy(),
    }
    folder = tmp_path_factory.mktemp("saved")
    for name, policy in policies.items():
        PolicySaver(policy).save(folder / name)
    np.savez(folder / "inputs.npz", **make_step(32)._asdict(), row_seeds=row_seeds(32))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *policies], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return policies, dict(np.load(folder / "outputs.npz"))


Served = tuple[dict[str, TFPolicy], dict[str, np.ndarray]]


@pytest.mark.parametrize("name", ["discrete", "shifted", "normalized", "squashed"])
def test_saved_policy_acts_alike_with_tensorflow_alone(
    served: Served, make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any], name: str
) -> None:
    expected = served[0][name].action(to_tensors(make_step(32))).action.numpy()
    assert len(np.unique(expected, axis=0)) > 1
    assert served[1][name].dtype == expected.dtype
    np.testing.assert_allclose(served[1][name], expected, rtol=1e-5, atol=1e-6)


def test_saved_policy_draws_as_the_live_one_for_the_same_seed(
    served: Served,
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    row_seeds: Callable[..., np.ndarray],
) -> None:
    policy, step = served[0]["drawn"], to_tensors(make_step(32))
    expected = policy.action(step, seed=row_seeds(32))
    assert len(np.unique(expected.action)) > 1
    np.testing.assert_array_equal(served[1]["drawn"], expected.action)
    np.testing.assert_allclose(served[1]["log_probability"], expected.info.log_probability, rtol=1e-5)
    by_one_seed = policy.action(step, seed=tf.constant([3, 4])).action
    np.testing.assert_array_equal(served[1]["drawn_by_one_seed"], by_one_seed)


def test_saved_distribution_is_its_parameters(
    served: Served, make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    distribution = served[0]["drawn"].distribution(to_tensors(make_step(32))).action
    np.testing.assert_allclose(served[1]["logits"], distribution.logits_parameter(), rtol=1e-5)


def test_normaliser_s_statistics_are_saved(
    served: Served,
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
) -> None:
    plain = GreedyPolicy(make_policy(BOX, weights_seed=1)).action(to_tensors(make_step(32))).action
    assert not np.allclose(served[1]["normalized"], plain, atol=1e-2)


def test_saved_recurrent_policy_has_a_usable_initial_state(served: Served, make_step: Callable[..., TimeStep]) -> None:
    observation = make_step(32).observation
    np.testing.assert_array_equal(served[1]["recurrent_steps"], np.full(32, 3))
    np.testing.assert_allclose(served[1]["recurrent"], (1 + 0.5 + 0.25) * 2.0 * observation, rtol=1e-5)


Goal = namedtuple("Goal", "where tolerance")

NESTED_OBSERVATION = {
    "goals": [Goal(TensorSpec((2,), tf.float32, "where"), TensorSpec((), tf.float32, "tolerance"))],
    "speed": TensorSpec((3,), tf.float32, "speed"),
}
NESTED_ACTION = {
    "turn": (tensor_spec.BoundedTensorSpec((2,), tf.float32, -1.0, 1.0, "turn"),),
    "gear": [tensor_spec.BoundedTensorSpec((), tf.int32, 2, 5, "gear")],
}


class NestedPolicy(TFPolicy):
    """Acts by sums of a nested observation, a table, and a uniform number; a state of one tensor counts the steps."""

    def __init__(self) -> None:
        step_spec = ts.time_step_spec(NESTED_OBSERVATION["speed"])._replace(observation=NESTED_OBSERVATION)
        super().__init__(
            step_spec, NESTED_ACTION, TensorSpec((1,), tf.int32, "count"), {"draw": TensorSpec((), tf.float32, "draw")}
        )
        initializer = tf.lookup.KeyValueTensorInitializer([2, 3, 4, 5], [5, 4, 3, 2], tf.int32, tf.int32)
        self.table = tf.lookup.StaticHashTable(initializer, 2)
        self.scale = tf.Variable(0.1)

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("it draws without one")

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        observation = time_step.observation
        turn = self.scale * (observation["goals"][0].where + tf.reduce_sum(observation["speed"], 1, keepdims=True))
        gear = self.table.lookup(2 + tf.squeeze(policy_state, 1) % 4)
        draw = tf.zeros(tf.shape(gear)) if seed is None or seed.shape.rank == 1 else row_uniform(seed, 1)[:, 0]
        return PolicyStep({"turn": (turn,), "gear": [gear]}, policy_state + 1, {"draw": draw})


def nested_step(batch_size: int, step_type: Any = StepType.MID) -> TimeStep:
    generator = np.random.default_rng(2)

    def draw(spec: TensorSpec) -> tf.Tensor:
        return tf.constant(generator.normal(size=(batch_size, *spec.shape)).astype(np.float32))

    observation = tf.nest.map_structure(draw, NESTED_OBSERVATION)
    ones = tf.ones([batch_size])
    return TimeStep(tf.fill([batch_size], tf.constant(step_type)), ones, ones, observation)


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> tuple[NestedPolicy, PolicySaver, Any]:
    """A policy of nests and a lookup table, its saver for batches of three, and the loaded object."""
    folder = tmp_path_factory.mktemp("nested") / "policy"
    policy = NestedPolicy()
    saver = PolicySaver(policy, batch_size=3)
    saver.save(folder)
    return policy, saver, tf.saved_model.load(str(folder))


def test_nests_and_lookup_tables_are_saved(
    nested: tuple[NestedPolicy, PolicySaver, Any], row_seeds: Callable[..., np.ndarray]
) -> None:
    policy, _, loaded = nested
    state, expected_state = loaded.get_initial_state(), policy.get_initial_state(3)
    for _ in range(3):
        found = loaded.action(nested_step(3), state, row_seeds(3))
        expected = policy.action(nested_step(3), expected_state, row_seeds(3))
        tf.nest.map_structure(
            lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-6),
            tf.nest.flatten(found),
            tf.nest.flatten(expected),
        )
        state, expected_state = found.state, expected.state
    np.testing.assert_array_equal(found.action["gear"][0], [3, 3, 3])
    assert type(found.action["turn"]) is tuple


def test_signatures_are_named_by_paths(nested: tuple[NestedPolicy, PolicySaver, Any]) -> None:
    policy, saver, loaded = nested
    step, state = nested_step(3), policy.get_initial_state(3)
    inputs = {
        "0/step_type": step.step_type,
        "0/reward": step.reward,
        "0/discount": step.discount,
        "0/observation/goals/0/where": step.observation["goals"][0].where,
        "0/observation/goals/0/tolerance": step.observation["goals"][0].tolerance,
        "0/observation/speed": step.observation["speed"],
        "1": state,
    }
    answer = loaded.signatures["action"](**inputs)
    assert set(answer) == {"action/turn/0", "action/gear/0", "state", "info/draw"}
    np.testing.assert_allclose(answer["action/turn/0"], policy.action(step, state).action["turn"][0], rtol=1e-6)
    names = [spec.name for spec in tf.nest.flatten(saver.action_input_spec)]
    assert names == [spec.name for spec in tf.nest.flatten(saver.action_input_spec[0])] + ["1"]
    assert set(names) == set(inputs)
    assert saver.policy_step_spec.action["gear"][0] == TensorSpec((), tf.int32, "action/gear/0")
    assert saver.policy_state_spec.shape == (1,)


def test_specs_beside_the_model_are_those_of_the_policy(
    nested: tuple[NestedPolicy, PolicySaver, Any], tmp_path: Path
) -> None:
    policy, saver, _ = nested
    saver.save(tmp_path / "policy")
    specs = specs_from_collect_data_spec(tensor_spec.from_pbtxt_file(str(tmp_path / "policy" / "policy_specs.pbtxt")))
    expected = tensor_spec.to_nest_array_spec(policy.policy_step_spec)
    assert specs["action_spec"] == expected.action
    assert int(specs["action_spec"]["gear"][0].minimum) == 2
    assert specs["policy_state_spec"] == expected.state
    assert specs["info_spec"] == expected.info
    assert tuple(specs["time_step_spec"]) == tuple(tensor_spec.to_nest_array_spec(policy.time_step_spec))


def test_fixed_batch_size_says_so_where_another_is_asked_for(nested: tuple[NestedPolicy, PolicySaver, Any]) -> None:
    loaded = nested[2]
    for state in (loaded.get_initial_state(), loaded.get_initial_state(3), loaded.get_initial_state(batch_size=3)):
        np.testing.assert_array_equal(state, np.zeros((3, 1)))
    np.testing.assert_array_equal(loaded.signatures["get_initial_state"]()[""], np.zeros((3, 1)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="saved for batches of 3"):
        loaded.get_initial_state(4)


def test_state_may_be_left_out_at_first_steps_only(nested: tuple[NestedPolicy, PolicySaver, Any]) -> None:
    loaded = nested[2]
    np.testing.assert_array_equal(loaded.action(nested_step(3, StepType.FIRST)).state, np.ones((3, 1)))
    mixed = nested_step(3)._replace(step_type=tf.constant([0, 1, 0]))
    for step in (nested_step(3), mixed):
        with pytest.raises(tf.errors.InvalidArgumentError, match="pass the state that the last call returned"):
            loaded.action(step)


def test_saved_state_is_reset_where_first(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    PolicySaver(make_recurrent_policy()).save(tmp_path / "policy")
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    state = {"sum": tf.ones([3, 3]), "steps": tf.constant([4, 5, 6])}
    answer = loaded.action(make_step(3, step_type=[1, 0, 2]), state)
    np.testing.assert_array_equal(answer.state["steps"], [5, 1, 7])


def test_model_without_a_distribution_is_saved_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    saver = PolicySaver(NestedPolicy())
    assert "without distribution(): it draws without one" in caplog.text
    assert "distribution" not in saver.signatures


def test_seed_makes_the_sequence_of_a_new_load_reproducible(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    sequences = []
    for number, seed in enumerate([7, 7, 8]):
        PolicySaver(make_policy(weights_seed=1), seed=seed).save(tmp_path / str(number))
        loaded = tf.saved_model.load(str(tmp_path / str(number)))
        sequences.append([loaded.action(make_step(32)).action.numpy().tolist() for _ in range(3)])
    assert sequences[0] == sequences[1] != sequences[2]
    assert sequences[0][0] != sequences[0][1]


def test_values_are_those_at_the_time_of_the_save(
    make_policy: Callable[..., ActorPolicy], randomize: Callable[[Any, int], None], tmp_path: Path
) -> None:
    policy, train_step = make_policy(), tf.Variable(1, dtype=tf.int64)
    metadata = {"score": tf.Variable(1.0), "games": tf.Variable(2.0)}
    saver = PolicySaver(policy, train_step=train_step, metadata=metadata)
    saver.save(tmp_path / "first")
    train_step.assign(2)
    metadata["score"].assign(5.0)
    randomize(policy.variables(), 5)
    saver.save(tmp_path / "second")
    assert saver.get_train_step() == 2
    assert saver.get_metadata() == {"score": 5.0, "games": 2.0}
    first, second = (tf.saved_model.load(str(tmp_path / name)) for name in ("first", "second"))
    assert [int(item.get_train_step()) for item in (first, second)] == [1, 2]
    assert [float(item.get_metadata()["score"]) for item in (first, second)] == [1.0, 5.0]
    assert float(second.signatures["get_metadata"]()["games"]) == 2.0
    assert int(second.signatures["get_train_step"]()["int64"]) == 2
    for saved, live in zip(second.model_variables, policy.variables(), strict=True):
        np.testing.assert_array_equal(saved, live)
    assert any(np.any(left != right) for left, right in zip(first.model_variables, policy.variables(), strict=True))


def test_train_step_is_minus_one_by_default(make_policy: Callable[..., ActorPolicy]) -> None:
    assert PolicySaver(make_policy()).get_train_step() == -1


def test_weights_are_written_once(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    policy = make_policy()
    PolicySaver(policy).save(tmp_path / "policy")
    written = dict(tf.train.list_variables(str(tmp_path / "policy" / "variables" / "variables")))
    written.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert len(written) == len(policy.variables()) + 1


def test_functions_are_saved_with_the_policy(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    saver, offset = PolicySaver(make_policy()), tf.Variable(3.0)
    saver.register_function("shift", lambda nest: nest["x"] + offset, {"x": tf.TensorSpec((2,), tf.float32)})
    double = tf.function(lambda x: 2.0 * x * offset)
    with pytest.raises(ValueError, match="has not been traced"):
        saver.register_concrete_function("double", double)
    double.get_concrete_function(tf.TensorSpec([None], tf.float32))
    saver.register_concrete_function("double", double)
    with pytest.raises(ValueError, match="'shift'"):
        saver.register_function("shift", lambda nest: nest, tf.TensorSpec((), tf.float32))
    with pytest.raises(ValueError, match="'action'"):
        saver.register_concrete_function("action", double)
    saver.save(tmp_path / "policy")
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.shift({"x": tf.ones([4, 2])}), np.full((4, 2), 4.0))
    np.testing.assert_array_equal(loaded.double(tf.ones([3])), np.full(3, 6.0))


def test_signatures_can_be_named_by_specs(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    saver = PolicySaver(make_policy(), use_nest_path_signatures=False)
    saver.save(tmp_path / "policy")
    action = tf.saved_model.load(str(tmp_path / "policy")).signatures["action"]
    step = {"step_type": tf.ones([2], tf.int32), "reward": tf.ones([2]), "discount": tf.ones([2])}
    assert set(action(**step, observation=tf.ones([2, 3]))) == {"action"}


@pytest.mark.parametrize(("name", "message"), [(None, "has no name"), ("reward", "another spec is named")])
def test_names_of_specs_must_be_there_and_differ(
    make_policy: Callable[..., ActorPolicy], name: str | None, message: str
) -> None:
    policy = make_policy(observation_spec=BoundedArraySpec((3,), np.float32, -1.0, 1.0, name))
    with pytest.raises(ValueError, match=message):
        PolicySaver(policy, use_nest_path_signatures=False)


def test_input_function_stands_before_the_policy(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    def input_fn(example: dict[str, tf.Tensor]) -> tuple[TimeStep, Any]:
        ones = tf.ones(tf.shape(example["raw"])[:1])
        return TimeStep(tf.cast(ones, tf.int32), ones, ones, example["raw"] / 2.0), ()

    policy, spec = make_policy(weights_seed=1), {"raw": TensorSpec((3,), tf.float32, "raw_input")}
    saver = PolicySaver(policy, input_fn_and_spec=(input_fn, spec))
    assert saver.action_input_spec == (spec,)
    saver.save(tmp_path / "policy")
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    step = make_step(32)
    expected = policy.action(tf.nest.map_structure(tf.constant, step), seed=tf.constant([1, 2])).action
    raw = tf.constant(step.observation * 2.0)
    np.testing.assert_array_equal(loaded.action({"raw": raw}, tf.constant([1, 2])).action, expected)
    assert loaded.action({"raw": raw}).action.shape == (32,)
    assert loaded.distribution({"raw": raw}).action["logits"].shape == (32, 4)
    signed = loaded.signatures["action_with_seed"](raw_input=raw, seed=tf.constant([1, 2]))
    np.testing.assert_array_equal(signed["action"], expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": True}, ValueError, "batch_size"),
        ({"batch_size": 2.0}, ValueError, "batch_size"),
        ({"train_step": 3}, ValueError, "train_step"),
        ({"metadata": {"score": 3.0}}, TypeError, "'score'"),
        ({"metadata": {3: tf.Variable(1.0)}}, TypeError, "strings"),
        ({"metadata": [tf.Variable(1.0)]}, TypeError, "dict"),
    ],
)
def test_arguments_are_checked(
    make_policy: Callable[..., ActorPolicy], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PolicySaver(make_policy(), **arguments)


def test_only_tf_policies_are_saved() -> None:
    with pytest.raises(TypeError, match="TFPolicy"):
        PolicySaver(tf.Module())


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_failed_save_leaves_the_earlier_one_and_nothing_else(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path
) -> None:
    saver = PolicySaver(make_policy())
    saver.save(tmp_path / "policy")
    before = files_below(tmp_path)
    # A function of a variable that nothing saved holds cannot be written.
    stray = tf.Variable(1.0)
    saver.policy.broken = tf.function(lambda: stray + 1.0)
    saver.policy.broken.get_concrete_function()
    with pytest.raises(KeyError, match="concrete function"):
        saver.save(tmp_path / "policy")
    assert files_below(tmp_path) == before
    with pytest.raises(KeyError, match="concrete function"):
        saver.save(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_earlier_save_is_replaced_whole(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    PolicySaver(make_policy(weights_seed=1)).save(tmp_path / "policy")
    policy = make_policy(weights_seed=2)
    PolicySaver(policy).save(tmp_path / "policy")
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.model_variables[0], policy.variables()[0])
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_folder_with_other_things_is_left_alone(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        PolicySaver(make_policy()).save(tmp_path)
    assert files_below(tmp_path) == {"notes.txt": b"mine"}


def test_checkpoint_in_a_model_s_folder_replaces_its_variables_only(
    make_policy: Callable[..., ActorPolicy], randomize: Callable[[Any, int], None], tmp_path: Path
) -> None:
    policy = make_policy()
    saver = PolicySaver(policy)
    saver.save(tmp_path / "policy")
    graph = (tmp_path / "policy" / "saved_model.pb").read_bytes()
    randomize(policy.variables(), 9)
    saver.save_checkpoint(tmp_path / "policy")
    assert (tmp_path / "policy" / "saved_model.pb").read_bytes() == graph
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    np.testing.assert_array_equal(loaded.model_variables[0], policy.variables()[0])


def test_checkpoint_has_the_keys_of_a_model_and_a_child_for_tf_agents(tmp_path: Path) -> None:
    saver = PolicySaver(NestedPolicy(), metadata={"score": tf.Variable(1.0)})
    offset = tf.Variable(3.0)
    saver.register_function("shift", lambda x: x + offset, tf.TensorSpec((), tf.float32))
    saver.save(tmp_path / "model")
    saver.save_checkpoint(tmp_path / "checkpoint")
    model, checkpoint = (
        dict(tf.train.list_variables(str(tmp_path / folder / "variables" / "variables")))
        for folder in ("model", "checkpoint")
    )
    assert model == checkpoint
    # This is how TF-Agents' policies read it.
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    loaded.model_variables[0].assign(9.0)
    status = tf.train.Checkpoint(policy=loaded).read(str(tmp_path / "checkpoint" / "variables" / "variables"))
    status.assert_existing_objects_matched().expect_partial()
    assert float(loaded.model_variables[0]) == pytest.approx(0.1)


def test_loaded_policy_with_a_lookup_table_is_saved_again(
    nested: tuple[NestedPolicy, PolicySaver, Any], tmp_path: Path
) -> None:
    policy, saver, _ = nested
    saver.save(tmp_path / "policy")
    PolicySaver(policy_loader.load(tmp_path / "policy"), batch_size=3).save(tmp_path / "again")
    again = tf.saved_model.load(str(tmp_path / "again"))
    found, expected = (
        again.action(nested_step(3, StepType.FIRST)),
        policy.action(nested_step(3), tf.zeros([3, 1], tf.int32)),
    )
    np.testing.assert_array_equal(found.action["gear"][0], expected.action["gear"][0])
    np.testing.assert_allclose(found.action["turn"][0], expected.action["turn"][0], rtol=1e-6)


class Records(logging.Handler):
    """Keeps the messages that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_saving_does_not_warn_about_names(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    records, logger = Records(), logging.getLogger("absl")
    logger.addHandler(records)
    try:
        PolicySaver(make_policy()).save(tmp_path / "policy")
        logger.warning("something else")
    finally:
        logger.removeHandler(records)
    assert "something else" in records.messages
    assert not any("parameter name" in message for message in records.messages)


BOX = BoundedArraySpec((2,), np.float32, -1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        ("joint pos (rad)", "größe"),
        ("a%", "100%25", ""),
        ("arm pos", "arm_pos", "Arm pos", "arm.pos", "arm/pos"),
        (10, 2, -1),
    ],
    ids=["words", "signs", "alike", "integers"],
)
def test_any_keys_are_saved_served_and_converted(tmp_path: Path, keys: tuple[Any, ...]) -> None:
    spec: Any = {"nested": (dict.fromkeys(keys, BOX), BOX), "10": dict.fromkeys(keys, BOX)}
    layers, combiner = preprocessing_for(spec)
    network = ActorDistributionNetwork(spec, spec, layers, preprocessing_combiner=combiner, fc_layer_params=(4,))
    policy = ActorPolicy(ts.time_step_spec(spec), spec, network, emit_log_probability=True)
    PolicySaver(policy).save(tmp_path / "policy")
    generator = np.random.default_rng(0)
    observation = tf.nest.map_structure(lambda _: generator.normal(size=(3, 2)).astype(np.float32), spec)
    step, seed = ts.restart(tf.nest.map_structure(tf.constant, observation), 3), tf.constant([1, 2])
    expected = policy.action(step, seed=seed)
    loaded = policy_loader.load(tmp_path / "policy")
    assert loaded.action_spec == policy.action_spec
    tf.nest.map_structure(
        lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-5),
        loaded.action(step, seed=seed),
        expected,
    )
    for left, right in zip(
        flatten(loaded.distribution(step).action), flatten(policy.distribution(step).action), strict=True
    ):
        np.testing.assert_allclose(left.mode(), right.mode(), rtol=1e-5)
    served = tf.saved_model.load(str(tmp_path / "policy")).signatures["action_with_seed"]
    names = path_names((with_string_keys(policy.time_step_spec),))
    given = dict(zip(names, tf.nest.flatten(with_string_keys(step)), strict=True))
    outputs = served(**given, seed=seed)
    names = path_names(with_string_keys(policy.policy_step_spec))
    for name, leaf in zip(names, tf.nest.flatten(with_string_keys(expected)), strict=True):
        np.testing.assert_allclose(outputs[name], leaf, rtol=1e-5)
    converted = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference="litert")
    found = converted.action(tf.nest.map_structure(np.asarray, step), seed=np.asarray(seed))
    tf.nest.map_structure(
        lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4), found.action, expected.action
    )
    assert converted.inference == "litert"
