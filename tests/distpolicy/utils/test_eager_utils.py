from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from distpolicy.metrics.tf_metric import TFHistogramStepMetric, TFMultiMetricStepMetric
from distpolicy.utils import common, eager_utils, xla
from distpolicy.utils.batched_observer_unbatching import BatchedObserverUnbatching


def written(folder: Path) -> dict[str, Any]:
    """The values of all summaries of a folder by their tags."""
    values: dict[str, Any] = {}
    for file in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(file)):
            for value in event_pb2.Event.FromString(record.numpy()).summary.value:
                values[value.tag] = tf.make_ndarray(value.tensor)
    return values


def test_gradients_are_clipped_one_by_one() -> None:
    variable = tf.Variable([1.0, 2.0])
    rows = tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([1]), tf.constant([2, 2]))
    pairs = [
        (tf.constant([3.0, 4.0]), variable),
        (None, variable),
        (tf.constant([0.3, 0.4]), variable),
        (rows, variable),
    ]
    clipped = eager_utils.clip_gradient_norms(pairs, 1.0)
    np.testing.assert_allclose(clipped[0][0], [0.6, 0.8])
    assert clipped[1][0] is None
    np.testing.assert_allclose(clipped[2][0], [0.3, 0.4])
    np.testing.assert_allclose(clipped[3][0].values, [[0.6, 0.8]])
    assert all(pair[1] is variable for pair in clipped)
    np.testing.assert_allclose(eager_utils.clip_gradient_norms_fn(2.5)(pairs)[0][0], [1.5, 2.0])


def test_summaries_have_norms_and_histograms(tmp_path: Path) -> None:
    variable = tf.Variable([3.0, 4.0], name="kernel")
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        eager_utils.add_variables_summaries([(None, variable)], 1)
        eager_utils.add_gradients_summaries([(tf.constant([0.0, 2.0]), variable), (None, variable)], 1)
        common.generate_tensor_summaries("same", tf.constant([1.0, 1.0]), 1)
        common.summarize_tensor_dict({"many": tf.range(4.0)}, 1)
    values = written(tmp_path)
    name = variable.name.replace(":", "_")
    assert float(values[f"summarize_vars/{name}_value_norm"]) == 5.0
    assert float(values[f"summarize_grads/{name}_gradient_norm"]) == 2.0
    histogram = values["many/histogram"]
    assert histogram.shape == (30, 3)
    assert histogram[:, 2].sum() == 4
    assert histogram[0].tolist() == pytest.approx([0.0, 0.1, 1.0])
    assert values["same/histogram"][:, 2].sum() == 2
    assert {key: float(values[f"many/{key}"]) for key in ("mean", "mean_abs", "max", "min")} == {
        "mean": 1.5,
        "mean_abs": 1.5,
        "max": 3.0,
        "min": 0.0,
    }
    assert float(values["many/std"]) == pytest.approx(np.std(np.arange(4.0)))


class Values(TFMultiMetricStepMetric):
    def result(self) -> tf.Tensor:
        return tf.constant([1.0, 2.0])


class Histogram(TFHistogramStepMetric):
    def result(self) -> tf.Tensor:
        return tf.constant([1.0, 2.0, 2.0])


def test_metrics_of_several_values_write_them_all(tmp_path: Path) -> None:
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        Values("Loss", metric_names=("a", "b")).tf_summaries(train_step=3)
        Values("One", prefix="", metric_names=("Reward",)).tf_summaries(train_step=3)
        Values("None").tf_summaries(train_step=3)
        Histogram("Actions").tf_summaries(train_step=3)
    values = written(tmp_path)
    assert {tag: float(value) for tag, value in values.items() if value.ndim == 0} == {
        "Metrics/Loss/a": 1.0,
        "Metrics/Loss/b": 2.0,
        "One/Reward0": 1.0,
        "One/Reward1": 2.0,
        "Metrics/None/Metric0": 1.0,
        "Metrics/None/Metric1": 2.0,
    }
    assert values["Metrics/Actions"][-1, 2] == 2


def test_a_function_of_arrays_takes_tensors_in_graphs() -> None:
    @eager_utils.np_function
    def add(values: dict[str, Any], scale: float = 1.0) -> dict[str, Any]:
        return {"sum": np.sum(values["x"]) * np.array(scale, values["x"].dtype), "first": values["y"][0]}

    inputs = {"x": tf.constant([3, 4]), "y": tf.constant([5.0, 6.0])}
    for call in (add, tf.function(add, autograph=False)):
        outputs = call(inputs, scale=2)
        assert int(outputs["sum"]) == 14
        assert outputs["sum"].dtype.is_integer
        assert float(outputs["first"]) == 5.0

    mean = eager_utils.np_function(output_dtypes=tf.float32)(np.mean)
    repeat = eager_utils.np_function(output_dtypes=lambda dtype: (dtype, dtype))(lambda x: (x, x))
    compiled = tf.function(lambda x: (mean(x), *repeat(x)), autograph=False, input_signature=[tf.TensorSpec(None)])
    found = compiled(tf.constant([1.0, 2.0]))
    assert float(found[0]) == 1.5
    np.testing.assert_array_equal(found[2], [1.0, 2.0])
    with pytest.raises(ValueError, match="give output_dtypes"):
        tf.function(lambda x: add(x), autograph=False).get_concrete_function(
            {"x": tf.TensorSpec([None]), "y": tf.TensorSpec([None])}
        )
    with pytest.raises(ValueError, match="must be dtypes or a function"):
        tf.function(eager_utils.np_function(lambda x: x, output_dtypes="no dtype"), autograph=False)(tf.constant(1.0))


def test_a_future_is_called_later_perhaps_with_other_arguments() -> None:
    class Thing:
        def scaled(self, x: float, factor: float = 1.0) -> float:
            return x * factor

    thing = Thing()
    later = eager_utils.future_in_eager_mode(thing.scaled)(2.0, factor=3.0)
    assert isinstance(later, eager_utils.Future)
    assert later() == 6.0
    assert later(5.0) == 15.0
    assert later(5.0, 2.0) == 10.0
    assert later(factor=1.0) == 2.0
    assert eager_utils.Future(Thing.scaled, thing, 2.0)(3.0) == 3.0
    traced = tf.function(eager_utils.future_in_eager_mode(lambda x: x + 1.0), autograph=False)
    assert float(traced(tf.constant(1.0))) == 2.0
    with pytest.raises(TypeError):
        eager_utils.future_in_eager_mode(3)  # type: ignore[arg-type]


def test_datasets_are_iterated_in_and_out_of_graphs() -> None:
    iterator = eager_utils.dataset_iterator(tf.data.Dataset.range(3))
    assert int(eager_utils.get_next(iterator)) == 0
    assert int(tf.function(eager_utils.get_next)(iterator)) == 1


def test_functions_are_compiled_by_xla_in_graphs_only() -> None:
    class Thing:
        scale = 3.0

        @xla.compile_method_in_graph_mode
        def call(self, x: tf.Tensor, shift: Any = 0.0) -> Any:
            seen.append(tf.executing_eagerly())
            return {"y": self.scale * x + shift}

    seen: list[bool] = []
    assert xla.is_xla_available()
    thing = Thing()
    assert float(thing.call(2.0, shift=1.0)["y"]) == 7.0
    outer = tf.function(lambda x: thing.call(x, shift=1.0)["y"], autograph=False)
    assert float(outer(tf.constant(2.0))) == 7.0
    assert seen == [True, False]
    calls = [
        op
        for op in outer.get_concrete_function(tf.constant(2.0)).graph.get_operations()
        if "PartitionedCall" in op.type
    ]
    assert any(op.get_attr("_XlaMustCompile") for op in calls)


def test_rows_go_to_observers_of_their_own() -> None:
    seen: list[list[Any]] = []

    def make() -> Any:
        seen.append([])
        return seen[-1].append

    observer = BatchedObserverUnbatching(make, 2)
    observer({"x": np.array([1, 2])})
    observer({"x": np.array([3, 4])})
    assert [[int(item["x"]) for item in row] for row in seen] == [[1, 3], [2, 4]]
    with pytest.raises(ValueError, match="zip"):
        observer({"x": np.array([1, 2, 3])})
