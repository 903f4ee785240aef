from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.saved_model_policy import SavedModelPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec


class UndistributedPolicy(TFPolicy):
    """Always takes the lowest action."""

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError("there is no distribution")

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return PolicyStep(tf.zeros(tf.shape(time_step.step_type), tf.int64), (), ())


DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "tf_agents_expected.json").read_text())
OBSERVATION_SPEC = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE_SPEC = BoundedArraySpec((), np.int64, 0, 3, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")


@pytest.fixture(scope="module")
def of_tf_agents(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model or checkpoint that TF-Agents 0.19 wrote."""
    folder = tmp_path_factory.mktemp("tf_agents")

    def unpack(name: str) -> Path:
        if not (folder / name).exists():
            shutil.unpack_archive(DATA / f"tf_agents_{name}.zip", folder / name)
        return folder / name

    return unpack


def recorded_step(record: dict[str, Any]) -> TimeStep:
    observation = record["observation"]
    if isinstance(observation, dict):
        observation = {name: tf.constant(value, tf.float32) for name, value in observation.items()}
    else:
        observation = tf.constant(observation, tf.float32)
    return TimeStep(
        tf.constant(record["step_type"], tf.int32),
        tf.constant(record["reward"], tf.float32),
        tf.constant(record["discount"], tf.float32),
        observation,
    )


def first_line(error: pytest.ExceptionInfo[Exception]) -> str:
    lines = str(error.value).splitlines()
    assert len(lines) == 1
    return lines[0]


def saved(policy: TFPolicy, folder: Path, **arguments: Any) -> Path:
    PolicySaver(policy, **arguments).save(folder)
    return folder


@pytest.fixture(scope="module")
def actor(make_policy: Callable[..., ActorPolicy]) -> ActorPolicy:
    return make_policy(weights_seed=1)


@pytest.fixture(scope="module")
def actor_folder(actor: ActorPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(actor, tmp_path_factory.mktemp("saved") / "actor")


@pytest.fixture
def loaded(actor_folder: Path) -> SavedModelPolicy:
    return policy_loader.load(actor_folder)


# Models that TF-Agents wrote.


def test_greedy_policy_of_tf_agents_acts_as_it_did_there(of_tf_agents: Callable[[str], Path]) -> None:
    record = EXPECTED["greedy"][0]
    policy = policy_loader.load(of_tf_agents("greedy"))
    assert policy.action_spec.dtype == tf.int64
    assert (int(policy.action_spec.minimum), int(policy.action_spec.maximum)) == (0, 3)
    assert len(set(record["step"]["action"])) > 1
    np.testing.assert_array_equal(policy.action(recorded_step(record["time_step"])).action, record["step"]["action"])
    assert policy.get_train_step() == 5
    assert policy.get_metadata() == {"score": 2.5, "games": 3}


def test_checkpoint_of_tf_agents_updates_its_model(of_tf_agents: Callable[[str], Path]) -> None:
    record = EXPECTED["greedy_checkpoint"][0]
    assert record["step"]["action"] != EXPECTED["greedy"][0]["step"]["action"]
    policy = policy_loader.load(of_tf_agents("greedy"), of_tf_agents("greedy_checkpoint"))
    np.testing.assert_array_equal(policy.action(recorded_step(record["time_step"])).action, record["step"]["action"])
    assert policy.get_train_step() == 9


def test_distribution_of_tf_agents_can_be_wrapped_as_greedy(of_tf_agents: Callable[[str], Path]) -> None:
    record = EXPECTED["actor"]
    policy = policy_loader.load(of_tf_agents("actor"))
    step = recorded_step(record["time_step"])
    np.testing.assert_allclose(policy.distribution(step).action.logits_parameter(), record["logits"], rtol=1e-5)
    np.testing.assert_array_equal(GreedyPolicy(policy).action(step).action, np.argmax(record["logits"], axis=1))
    # It has no place for a seed, and draws all the same.
    assert policy.action(step, seed=3).action.shape == (4,)


@pytest.mark.parametrize("name", ["recurrent", "recurrent_fixed"])
@pytest.mark.parametrize("use_tf_function", [False, True])
def test_recurrent_policy_of_tf_agents_acts_as_it_did_there(
    of_tf_agents: Callable[[str], Path], name: str, use_tf_function: bool
) -> None:
    policy = policy_loader.load(of_tf_agents(name))
    act = tf.function(policy.action, autograph=False) if use_tf_function else policy.action
    state = policy.get_initial_state(2)
    assert isinstance(policy.policy_state_spec, list)
    for record in EXPECTED[name]:
        step = act(recorded_step(record["time_step"]), state)
        state = step.state
        np.testing.assert_array_equal(step.action, record["step"]["action"])
        for found, expected in zip(state, record["step"]["state"], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_info_and_dict_observations_of_tf_agents_are_as_they_were_there(of_tf_agents: Callable[[str], Path]) -> None:
    record = EXPECTED["info"]
    policy = policy_loader.load(of_tf_agents("info"))
    step = recorded_step(record["time_step"])
    answer = policy.action(step)
    tf.nest.map_structure(
        lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-5),
        tf.nest.flatten(answer.info),
        [np.asarray(record["info"]["dist_params"][key]) for key in sorted(record["info"]["dist_params"])]
        + [np.asarray(record["info"]["value_prediction"])],
    )
    distribution = policy.distribution(step).action
    np.testing.assert_allclose(distribution.mean(), record["mean"], rtol=1e-5)
    np.testing.assert_allclose(distribution.stddev(), record["stddev"], rtol=1e-5)


def test_policy_of_tf_agents_saved_again_is_served_by_tensorflow_alone(
    of_tf_agents: Callable[[str], Path], tmp_path: Path
) -> None:
    record = EXPECTED["actor"]
    policy = GreedyPolicy(policy_loader.load(of_tf_agents("actor")))
    again = policy_loader.load(saved(policy, tmp_path / "again", batch_size=4))
    step = recorded_step(record["time_step"])
    np.testing.assert_array_equal(again.action(step).action, np.argmax(record["logits"], axis=1))
    # The type of a distribution would keep TensorFlow from loading the model without TFP.
    assert b"tfp.distributions" not in (tmp_path / "again" / "saved_model.pb").read_bytes()


# Models of our own.


def test_loaded_policy_has_the_specs_of_the_one_that_was_saved(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path
) -> None:
    policy = make_policy(BOX, emit_log_probability=True)
    loaded = policy_loader.load(saved(policy, tmp_path / "policy"))
    assert isinstance(loaded, TFPolicy)
    assert loaded.time_step_spec == policy.time_step_spec
    assert loaded.policy_step_spec == policy.policy_step_spec
    assert type(loaded.info_spec) is type(policy.info_spec)
    np.testing.assert_array_equal(loaded.action_spec.maximum, [1.0, 4.0])
    assert loaded.emit_log_probability


@pytest.mark.parametrize("seed", [3, "rows"])
def test_loaded_policy_takes_the_same_actions_for_the_same_seed(
    actor: ActorPolicy,
    loaded: SavedModelPolicy,
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    row_seeds: Callable[..., np.ndarray],
    seed: Any,
) -> None:
    step = to_tensors(make_step(32))
    seed = row_seeds(32) if seed == "rows" else seed
    expected = actor.action(step, seed=seed).action
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(loaded.action(step, seed=seed).action, expected)


def test_loaded_policy_without_a_seed_draws_anew(
    loaded: SavedModelPolicy, make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    step = to_tensors(make_step(32))
    assert len({loaded.action(step).action.numpy().tobytes() for _ in range(5)}) > 1


def test_distributions_are_loaded(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    for number, spec in enumerate([BOX, BoundedArraySpec((), np.int32, -2, 1)]):
        policy = make_policy(spec, weights_seed=1)
        loaded = policy_loader.load(saved(policy, tmp_path / str(number)))
        step = to_tensors(make_step(8))
        expected, found = policy.distribution(step).action, loaded.distribution(step).action
        assert type(found) is type(expected)
        drawn = expected.sample(seed=[1, 2])
        np.testing.assert_allclose(found.log_prob(drawn), expected.log_prob(drawn), rtol=1e-5)
        greedy = GreedyPolicy(loaded).action(step).action
        np.testing.assert_allclose(greedy, GreedyPolicy(policy).action(step).action, rtol=1e-5)


def test_variables_keep_their_paths_and_order(actor: ActorPolicy, loaded: SavedModelPolicy) -> None:
    assert [item.path for item in loaded.named_variables()] == [item.path for item in actor.named_variables()]
    for left, right in zip(loaded.variables(), actor.variables(), strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.trainable == right.trainable


def test_loaded_policy_is_updated_from_a_live_one(
    make_policy: Callable[..., ActorPolicy],
    loaded: SavedModelPolicy,
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
) -> None:
    other, step = make_policy(weights_seed=7), to_tensors(make_step(32))
    loaded.update(other, sort_variables_by_name=True)
    np.testing.assert_array_equal(loaded.action(step, seed=5).action, other.action(step, seed=5).action)
    GreedyPolicy(loaded).update(GreedyPolicy(make_policy(weights_seed=1)))
    assert np.any(loaded.action(step, seed=5).action != other.action(step, seed=5).action)


def test_eager_policy_wraps_a_loaded_one(
    actor: ActorPolicy, loaded: SavedModelPolicy, make_step: Callable[..., TimeStep]
) -> None:
    eager = PyTFEagerPolicy(loaded, use_tf_function=True, batch_time_steps=False)
    live = PyTFEagerPolicy(actor, use_tf_function=True, batch_time_steps=False)
    for seed in range(3):
        answer = eager.action(make_step(16, seed=seed), seed=seed)
        np.testing.assert_array_equal(answer.action, live.action(make_step(16, seed=seed), seed=seed).action)
    assert eager.tracing_count == 1


@pytest.mark.parametrize("batch_size", [None, 3])
def test_recurrent_policy_goes_on_from_its_state(
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    tmp_path: Path,
    batch_size: int | None,
) -> None:
    policy = make_recurrent_policy()
    loaded = policy_loader.load(saved(policy, tmp_path / "policy", batch_size=batch_size))
    expected, found = [PolicyStep(state=item.get_initial_state(batch_size=tf.constant(3))) for item in (policy, loaded)]
    for number, types in enumerate([[0, 0, 0], [1, 2, 1], [1, 0, 2]]):
        step = to_tensors(make_step(3, seed=number, step_type=types))
        expected, found = policy.action(step, expected.state), loaded.action(step, found.state)
        tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
    state = loaded.get_initial_state(None)
    assert tf.nest.map_structure(lambda leaf: tuple(leaf.shape), state) == {"sum": (3,), "steps": ()}


def test_state_may_not_be_left_out(
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    loaded = policy_loader.load(saved(make_recurrent_policy(), tmp_path / "policy"))
    with pytest.raises(ValueError, match="get_initial_state"):
        loaded.action(to_tensors(make_step(3)))


def test_another_batch_size_than_the_saved_one_is_refused_in_one_line(
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    loaded = policy_loader.load(saved(make_recurrent_policy(), tmp_path / "policy", batch_size=3))
    with pytest.raises(ConfigError, match="batches of 3, but got one of 2") as error:
        loaded.get_initial_state(2)
    first_line(error)
    state = tf.nest.map_structure(lambda leaf: leaf[:2], loaded.get_initial_state(3))
    with pytest.raises(ConfigError, match="batch_size=None"):
        loaded.action(to_tensors(make_step(2, step_type=StepType.FIRST)), state)


def test_steps_without_batch_dimension_and_with_two_are_taken(
    actor: ActorPolicy, loaded: SavedModelPolicy, make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    step = to_tensors(make_step(6))
    modes = np.argmax(actor.distribution(step).action.logits_parameter(), axis=1)
    greedy = GreedyPolicy(loaded)
    one = tf.nest.map_structure(lambda leaf: leaf[0], step)
    assert loaded.action(one, seed=1).action.shape == ()
    assert int(greedy.action(one).action) == modes[0]
    folded = tf.nest.map_structure(lambda leaf: tf.reshape(leaf, [2, 3, *leaf.shape[1:]]), step)
    assert loaded.action(folded, seed=1).action.shape == (2, 3)
    np.testing.assert_array_equal(greedy.action(folded).action, modes.reshape(2, 3))


def test_model_without_a_distribution_says_so(
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    policy = UndistributedPolicy(time_step_spec(OBSERVATION_SPEC), DISCRETE_SPEC)
    loaded = policy_loader.load(saved(policy, tmp_path / "policy"))
    step = to_tensors(make_step(3))
    np.testing.assert_array_equal(loaded.action(step).action, np.zeros(3))
    with pytest.raises(NotImplementedError, match="saved without a distribution"):
        loaded.distribution(step)


def test_model_that_takes_something_else_is_no_policy(actor: ActorPolicy, tmp_path: Path) -> None:
    def input_fn(example: Any) -> tuple[TimeStep, Any]:
        ones = tf.ones(tf.shape(example)[:1])
        return TimeStep(tf.cast(ones, tf.int32), ones, ones, example), ()

    folder = saved(actor, tmp_path / "policy", input_fn_and_spec=(input_fn, tf.TensorSpec((3,), tf.float32, "x")))
    with pytest.raises(ConfigError, match="input_fn_and_spec"):
        policy_loader.load(folder)


# Folders that cannot be loaded.


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no saved_model\.pb") as error:
        policy_loader.load(tmp_path / "nothing")
    first_line(error)


def test_model_of_something_else_is_refused(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "module"))
    with pytest.raises(CheckpointError, match="not of a policy"):
        policy_loader.load(tmp_path / "module")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge(path: Path) -> None:
    os.truncate(path, 40 * 2**30)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("saved_model.pb", cut),
        ("variables/variables.index", cut),
        ("variables/variables.data-00000-of-00001", cut),
        ("variables/variables.data-00000-of-00001", flip),
        ("variables/variables.data-00000-of-00001", Path.unlink),
        ("policy_specs.json", cut),
        ("policy_specs.json", lambda path: path.write_text("[]")),
        ("policy_specs.json", lambda path: path.write_text('{"variables": ["one"]}')),
        ("policy_specs.json", lambda path: path.write_text('{"variables": 3}')),
        ("policy_specs.json", lambda path: path.write_text("[" * 100_000)),
        ("policy_specs.json", huge),
        ("policy_specs.json", fifo),
        ("policy_specs.pbtxt", huge),
        ("policy_specs.pbtxt", fifo),
        ("policy_specs.pbtxt", lambda path: path.write_text("list_value { }")),
        (
            "policy_specs.pbtxt",
            lambda path: path.write_text('dict_value { fields { key: "a" value { none_value { } } } }'),
        ),
        ("policy_specs.pbtxt", lambda path: path.write_text("list_value { values { " * 50_000)),
        ("policy_specs.pbtxt", lambda path: path.write_bytes(b"\xff\x00")),
        ("saved_model.pb", huge),
        ("saved_model.pb", fifo),
        ("variables/variables.index", fifo),
    ],
)
def test_damaged_model_is_refused_in_one_line(
    actor_folder: Path, tmp_path: Path, file: str, damage: Callable[[Path], Any]
) -> None:
    folder = Path(shutil.copytree(actor_folder, tmp_path / "damaged"))
    damage(folder / file)
    with pytest.raises((CheckpointError, ConfigError)) as error:
        policy_loader.load(folder)
    assert str(folder) in first_line(error)


def test_damaged_or_missing_specs_are_refused_in_one_line(actor_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(actor_folder, tmp_path / "damaged"))
    cut(folder / "policy_specs.pbtxt")
    with pytest.raises(ConfigError) as error:
        policy_loader.load(folder)
    assert str(folder) in first_line(error)
    (folder / "policy_specs.pbtxt").unlink()
    with pytest.raises(ConfigError, match="give time_step_spec and action_spec") as error:
        policy_loader.load(folder)
    first_line(error)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_damaged_checkpoint_changes_nothing(
    actor_folder: Path, loaded: SavedModelPolicy, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(actor_folder, tmp_path / "damaged"))
    damage(folder / "variables" / "variables.data-00000-of-00001")
    before = [variable.numpy() for variable in loaded.variables()]
    with pytest.raises(CheckpointError) as error:
        loaded.update_from_checkpoint(folder)
    assert str(folder) in first_line(error)
    for variable, value in zip(loaded.variables(), before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_checkpoint_of_another_policy_changes_nothing(
    make_policy: Callable[..., ActorPolicy], loaded: SavedModelPolicy, tmp_path: Path
) -> None:
    before = [variable.numpy() for variable in loaded.variables()]
    other = make_policy(BoundedArraySpec((), np.int64, 0, 6))
    PolicySaver(other).save_checkpoint(tmp_path / "other")
    with pytest.raises(CheckpointError, match="belongs to another policy"):
        loaded.update_from_checkpoint(tmp_path / "other")
    for variable, value in zip(loaded.variables(), before, strict=True):
        np.testing.assert_array_equal(variable, value)


# Models made of a model and a checkpoint.


def test_model_is_made_of_an_earlier_one_and_a_checkpoint(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    randomize: Callable[[Any, int], None],
    tmp_path: Path,
) -> None:
    policy, train_step = make_policy(), tf.Variable(0, dtype=tf.int64)
    metadata = {"score": tf.Variable(1.0), "best": tf.Variable(2.0)}
    saver = PolicySaver(policy, train_step=train_step, metadata=metadata)
    saver.save(tmp_path / "start")
    randomize(policy.variables(), 11)
    train_step.assign(40)
    metadata["score"].assign(6.0)
    saver.save_checkpoint(tmp_path / "later")
    policy_loader.materialize_saved_model(tmp_path / "start", tmp_path / "later", tmp_path / "made")
    step = to_tensors(make_step(32))
    expected = policy.action(step, seed=2).action
    for loaded in (
        policy_loader.load(tmp_path / "made"),
        policy_loader.load(tmp_path / "start", tmp_path / "later"),
        policy_loader.load(tmp_path / "start", tmp_path / "made"),
    ):
        np.testing.assert_array_equal(loaded.action(step, seed=2).action, expected)
        assert loaded.get_train_step() == 40
        assert loaded.get_metadata() == {"score": 6.0, "best": 2.0}


def test_model_is_made_of_tf_agents_model_and_checkpoint(of_tf_agents: Callable[[str], Path], tmp_path: Path) -> None:
    # Its metadata has another key in a checkpoint than in a model, so that TF-Agents' own cannot be loaded either.
    with pytest.raises(CheckpointError, match="metadata"):
        policy_loader.materialize_saved_model(
            of_tf_agents("greedy"), of_tf_agents("greedy_checkpoint"), tmp_path / "made"
        )
    assert not (tmp_path / "made").exists()


def test_model_is_made_in_a_new_folder_only_and_of_parts_that_match(
    make_policy: Callable[..., ActorPolicy], actor_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="exists"):
        policy_loader.materialize_saved_model(actor_folder, actor_folder, tmp_path)
    PolicySaver(make_policy(BoundedArraySpec((), np.int64, 0, 6))).save_checkpoint(tmp_path / "other")
    with pytest.raises(CheckpointError, match="does not fit"):
        policy_loader.materialize_saved_model(actor_folder, tmp_path / "other", tmp_path / "made")
    with pytest.raises(CheckpointError, match=r"no saved_model\.pb"):
        policy_loader.materialize_saved_model(tmp_path / "other", tmp_path / "other", tmp_path / "made")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        policy_loader.materialize_saved_model(actor_folder, tmp_path / "none", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]
