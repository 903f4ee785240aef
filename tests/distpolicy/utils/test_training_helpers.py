"""Names of ``utils.common`` that programs of training use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.q_network import QNetwork
from distpolicy.networks.sequential import Sequential
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.utils import common


def test_a_checkpointer_restores_the_newest_save(tmp_path: Path) -> None:
    def objects(value: float) -> dict[str, Any]:
        return {"weight": tf.Variable(value), "step": tf.Variable(0, dtype=tf.int64)}

    saved = objects(1.0)
    checkpointer = common.Checkpointer(tmp_path / "new" / "folder", max_to_keep=2, **saved)
    assert not checkpointer.checkpoint_exists
    checkpointer.initialize_or_restore()
    for step in range(1, 4):
        saved["step"].assign(step)
        saved["weight"].assign(10.0 * step)
        checkpointer.save(global_step=saved["step"])
    assert checkpointer.checkpoint_exists
    assert [Path(path).name for path in checkpointer.manager.checkpoints] == ["ckpt-2", "ckpt-3"]
    other = objects(5.0)
    restored = common.Checkpointer(tmp_path / "new" / "folder", **other)
    assert restored.checkpoint_exists
    restored.initialize_or_restore().assert_consumed()
    assert (float(other["weight"]), int(other["step"])) == (30.0, 3)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_function_is_called_once_a_period(compiled: bool) -> None:
    calls = tf.Variable(0)
    body = common.Periodically(lambda: calls.assign_add(1) and None if not compiled else calls.assign_add(1).op, 3)
    call = tf.function(body) if compiled else body
    counts = []
    for _ in range(7):
        call()
        counts.append(int(calls))
    assert counts == [0, 0, 1, 1, 1, 2, 2]


def test_a_function_is_called_once_a_period_in_python() -> None:
    calls: list[int] = []
    every = common.periodically(lambda: calls.append(1), 2)
    assert isinstance(every, common.EagerPeriodically)
    for _ in range(5):
        every()
    assert len(calls) == 2
    for never in (common.EagerPeriodically(lambda: calls.append(1), None), common.Periodically(lambda: None, None)):
        never()
    assert len(calls) == 2
    for kind in (common.EagerPeriodically, common.Periodically):
        with pytest.raises(TypeError, match="function"):
            kind(3, 2)  # type: ignore[operator]


def test_losses_are_averaged_with_their_weights() -> None:
    loss = np.array([[1.0, 3.0], [2.0, np.nan]], np.float32)
    found = common.aggregate_losses(
        loss, np.array([[1.0, 1.0], [3.0, 0.0]], np.float32), regularization_loss=[0.5, 0.25]
    )
    assert [float(value) for value in found] == [3.25, 2.5, 0.75]
    assert float(common.aggregate_losses(loss[:, 0], [2.0, 0.0], global_batch_size=4).total_loss) == 0.5
    assert float(common.aggregate_losses(loss[:1], 2.0).total_loss) == 4.0
    assert common.aggregate_losses(regularization_loss=1.0)[:2] == (1.0, None)
    assert common.aggregate_losses() == (None, None, None)
    with pytest.raises(ValueError, match="batch dimension"):
        common.aggregate_losses(1.0)


def network(**arguments: Any) -> QNetwork:
    made = QNetwork(
        TensorSpec((3,), tf.float32), BoundedTensorSpec((), tf.int32, 0, 1), fc_layer_params=(4,), **arguments
    )
    made.create_variables()
    return made


def test_a_target_network_is_a_copy_with_variables_of_its_own() -> None:
    own = network(name="Own")
    target = common.maybe_copy_target_network_with_checks(own, name="Target")
    assert target.name == "Target"
    assert len(common.deduped_network_variables(target, own)) == len(target.variables) == len(own.variables) > 0
    assert common.deduped_network_variables(own, own) == []
    given = network()
    assert common.maybe_copy_target_network_with_checks(own, given) is given


def test_networks_that_do_not_match_are_refused() -> None:
    own = network()
    with pytest.raises(ValueError, match="share"):
        common.maybe_copy_target_network_with_checks(own, own)
    dense = tf.keras.layers.Dense(4)
    shared, other = (Sequential([dense], input_spec=TensorSpec((3,), tf.float32)) for _ in range(2))
    for one in (shared, other):
        one.create_variables()
    with pytest.raises(ValueError, match="share"):
        common.check_no_shared_variables(shared, other)
    wider = QNetwork(TensorSpec((3,), tf.float32), BoundedTensorSpec((), tf.int32, 0, 1), fc_layer_params=(5,))
    with pytest.raises(ValueError, match="different variables"):
        common.check_matching_networks(own, wider)
    longer = QNetwork(TensorSpec((4,), tf.float32), BoundedTensorSpec((), tf.int32, 0, 1), fc_layer_params=(4,))
    with pytest.raises(ValueError, match="different inputs"):
        common.check_matching_networks(own, longer)


def test_specs_are_written_with_their_bounds(tmp_path: Path) -> None:
    spec = {"a": BoundedArraySpec((2,), np.float32, -1.0, [1.0, 2.0], "a"), "b": (TensorSpec((), tf.int64, "b"),)}
    common.save_spec(spec, tmp_path / "new" / "spec.pb")
    loaded = common.load_spec(tmp_path / "new" / "spec.pb")
    assert loaded == {"a": BoundedTensorSpec((2,), tf.float32, -1.0, [1.0, 2.0], "a"), "b": spec["b"]}
    (tmp_path / "other").write_bytes(b"\xff\xffnot specs")
    with pytest.raises(ValueError, match="no specs"):
        common.load_spec(tmp_path / "other")


def test_tensorflow_2_is_eager() -> None:
    assert common.has_eager_been_enabled()
    assert bool(tf.function(lambda: tf.constant(common.has_eager_been_enabled()))())


def test_numbers_are_written_by_their_names(tmp_path: Path) -> None:
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        common.summarize_scalar_dict({"td": tf.constant(2.0), "no": None}, step=tf.constant(4, tf.int64))
    (file,) = tmp_path.iterdir()
    values = [value for event in tf.compat.v1.train.summary_iterator(str(file)) for value in event.summary.value]
    assert [(value.tag, float(tf.make_ndarray(value.tensor))) for value in values] == [("Losses/td", 2.0)]
