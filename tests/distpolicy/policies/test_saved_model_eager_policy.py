from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import SavedModelPyTFEagerPolicy
from distpolicy.specs import tensor_spec
from distpolicy.trajectories.time_step import StepType, TimeStep


@pytest.fixture(scope="module")
def actor(make_policy: Callable[..., ActorPolicy]) -> ActorPolicy:
    return make_policy(weights_seed=1, emit_log_probability=True)


@pytest.fixture(scope="module")
def folder(actor: ActorPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("saved") / "policy"
    metadata = {"score": tf.Variable(2.5)}
    PolicySaver(actor, train_step=tf.Variable(7, dtype=tf.int64), metadata=metadata).save(target)
    return target


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_arrays_come_in_and_go_out(
    actor: ActorPolicy, folder: Path, make_step: Callable[..., TimeStep], use_tf_function: bool
) -> None:
    policy = SavedModelPyTFEagerPolicy(folder, load_specs_from_pbtxt=True, use_tf_function=use_tf_function)
    assert isinstance(policy, PyPolicy)
    steps = make_step(8)
    one = tf.nest.map_structure(lambda leaf: leaf[0], steps)
    answer = policy.action(one, seed=4)
    assert isinstance(answer.action, np.ndarray | np.generic)
    assert answer.action.shape == answer.info.log_probability.shape == ()
    batched = SavedModelPyTFEagerPolicy(folder, use_tf_function=use_tf_function, batch_time_steps=False)
    found = batched.action(steps, seed=4)
    expected = actor.action(tf.nest.map_structure(tf.constant, steps), seed=4)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_allclose(found.info.log_probability, expected.info.log_probability, rtol=1e-5)


def test_specs_are_found_beside_the_model(actor: ActorPolicy, folder: Path) -> None:
    policy = SavedModelPyTFEagerPolicy(folder)
    assert policy.time_step_spec == tensor_spec.to_nest_array_spec(actor.time_step_spec)
    assert policy.action_spec == tensor_spec.to_nest_array_spec(actor.action_spec)
    assert policy.info_spec == tensor_spec.to_nest_array_spec(actor.info_spec)


def test_specs_that_are_given_stand_in_for_missing_ones(
    actor: ActorPolicy, folder: Path, make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / "policy_specs.pbtxt").unlink()
    for load_specs_from_pbtxt in (False, True):
        with pytest.raises(ConfigError, match="give time_step_spec and action_spec"):
            SavedModelPyTFEagerPolicy(bare, load_specs_from_pbtxt=load_specs_from_pbtxt)
    specs = tensor_spec.to_nest_array_spec((actor.time_step_spec, actor.action_spec, actor.info_spec))
    policy = SavedModelPyTFEagerPolicy(bare, specs[0], specs[1], info_spec=specs[2], batch_time_steps=False)
    assert policy.action(make_step(5)).action.shape == (5,)


def test_train_step_metadata_and_variables_are_the_model_s(actor: ActorPolicy, folder: Path) -> None:
    policy = SavedModelPyTFEagerPolicy(folder)
    assert policy.get_train_step() == 7
    assert policy.get_metadata() == {"score": 2.5}
    assert policy.get_train_step_from_last_restored_checkpoint_path() is None
    for found, expected in zip(policy.variables(), actor.variables(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(isinstance(variable, tf.Variable) for variable in policy.variables())
    before = policy.variables()[0].numpy()
    policy.variables()[0].assign_add(tf.ones_like(before))
    np.testing.assert_array_equal(policy.variables()[0], before + 1.0)


@pytest.mark.parametrize("use_tf_function", [False, True])
def test_checkpoint_changes_the_next_action(
    make_policy: Callable[..., ActorPolicy],
    folder: Path,
    make_step: Callable[..., TimeStep],
    tmp_path: Path,
    use_tf_function: bool,
) -> None:
    policy = SavedModelPyTFEagerPolicy(folder, use_tf_function=use_tf_function, batch_time_steps=False)
    step = make_step(32)
    before = policy.action(step, seed=1).action
    other = make_policy(weights_seed=2, emit_log_probability=True)
    saver = PolicySaver(other, train_step=tf.Variable(9, dtype=tf.int64), metadata={"score": tf.Variable(0.0)})
    saver.save_checkpoint(tmp_path / "policy_checkpoint_0000009")
    policy.update_from_checkpoint(str(tmp_path / "policy_checkpoint_0000009"))
    expected = other.action(tf.nest.map_structure(tf.constant, step), seed=1).action
    np.testing.assert_array_equal(policy.action(step, seed=1).action, expected)
    assert np.any(before != expected)
    assert policy.get_train_step() == 9
    assert policy.get_train_step_from_last_restored_checkpoint_path() == 9
    saver.save_checkpoint(tmp_path / "newest9")
    policy.update_from_checkpoint(tmp_path / "newest9")
    assert policy.get_train_step_from_last_restored_checkpoint_path() is None
    with pytest.raises(CheckpointError, match="no checkpoint"):
        policy.update_from_checkpoint(tmp_path / "nothing_3")
    assert policy.get_train_step_from_last_restored_checkpoint_path() is None


def test_state_is_carried(
    make_recurrent_policy: Callable[..., Any], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    PolicySaver(make_recurrent_policy()).save(tmp_path / "policy")
    policy = SavedModelPyTFEagerPolicy(tmp_path / "policy", batch_time_steps=False)
    step = make_step(2, step_type=StepType.FIRST)
    answer = policy.action(step, policy.get_initial_state(2))
    answer = policy.action(step._replace(step_type=np.array([1, 0], np.int32)), answer.state)
    np.testing.assert_array_equal(answer.state["steps"], [2, 1])


def test_registered_functions_are_attributes(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    saver = PolicySaver(make_policy())
    saver.register_function("double", lambda x: 2 * x, tf.TensorSpec((), tf.float32))
    saver.save(tmp_path / "policy")
    policy = SavedModelPyTFEagerPolicy(tmp_path / "policy")
    np.testing.assert_array_equal(policy.double(tf.ones([3])), np.full(3, 2.0))
    for name in ("nothing", "_nothing"):
        with pytest.raises(AttributeError, match=name):
            getattr(policy, name)
