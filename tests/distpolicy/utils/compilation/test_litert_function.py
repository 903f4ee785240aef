"""LiteRT programs return what TensorFlow does."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.saved_model import save as saver

from distpolicy.specs.array_spec import ArraySpec
from distpolicy.utils.compilation import litert_function
from distpolicy.utils.compilation.litert_function import LiteRTError, LiteRTFunction
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

X = tf.TensorSpec((3, 4), tf.float32)
N = tf.TensorSpec((3,), tf.int64)
RNG = np.random.default_rng(0)
INPUTS = [RNG.normal(size=(3, 4)).astype(np.float32), np.arange(3)]


def assert_alike(program: LiteRTFunction, function: Callable[..., Sequence[tf.Tensor]], inputs: Sequence) -> None:
    expected = [np.asarray(item) for item in function(*[tf.constant(item) for item in inputs])]
    for want, got in zip(expected, program(inputs), strict=True):
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.fixture
def weight() -> tf.Variable:
    return tf.Variable(RNG.normal(size=(4, 2)).astype(np.float32))


def test_outputs_are_those_of_tensorflow(weight: tf.Variable) -> None:
    def function(x: tf.Tensor, n: tf.Tensor) -> list[tf.Tensor]:
        hidden = tf.tanh(x @ weight)
        return [hidden, tf.argmax(hidden, axis=-1), n + 1, tf.nn.log_softmax(hidden)]

    program = LiteRTFunction(function, [X, N])
    assert program.needed_inputs == [0, 1]
    for _ in range(3):  # parameters must stay where they are from call to call
        assert_alike(program, function, INPUTS)


def test_inputs_constants_and_variables_may_be_outputs_themselves(weight: tf.Variable) -> None:
    def function(x: tf.Tensor, n: tf.Tensor) -> list[tf.Tensor]:
        return [x, tf.zeros([2]), weight, weight * 2.0, tf.identity(n), x]

    program = LiteRTFunction(function, [X, N])
    assert program.needed_inputs == [0, 1]
    assert_alike(program, function, INPUTS)
    weight.assign(weight + 1.0)
    program.refresh()
    assert_alike(program, function, INPUTS)


def test_variables_are_taken_over_by_refresh_alone(weight: tf.Variable) -> None:
    program = LiteRTFunction(lambda x: [x @ weight], [X])
    before = program(INPUTS[:1])[0]
    weight.assign(weight * 3.0)
    np.testing.assert_array_equal(program(INPUTS[:1])[0], before)
    program.refresh()
    np.testing.assert_allclose(program(INPUTS[:1])[0], before * 3.0, rtol=1e-5)


def test_inputs_that_nothing_depends_on_may_be_left_out(weight: tf.Variable) -> None:
    program = LiteRTFunction(lambda x, n: [x @ weight], [X, N])
    assert program.needed_inputs == [0]
    np.testing.assert_allclose(program([INPUTS[0], None])[0], INPUTS[0] @ weight.numpy(), rtol=1e-5)


def test_outputs_of_a_call_outlive_the_next(weight: tf.Variable) -> None:
    program = LiteRTFunction(lambda x: [x @ weight], [X])
    first = program(INPUTS[:1])[0]
    copy = first.copy()
    program([INPUTS[0] + 1.0])
    np.testing.assert_array_equal(first, copy)


def test_what_follows_from_variables_alone_may_be_what_litert_has_not() -> None:
    variance = tf.Variable(np.array([1.0, 4.0, 9.0, 16.0]), dtype=tf.float64)

    def function(x: tf.Tensor) -> list[tf.Tensor]:
        return [x * tf.cast(tf.math.rsqrt(tf.math.lbeta([variance, variance]) ** 2), tf.float32)[0]]

    assert_alike(LiteRTFunction(function, [X]), function, INPUTS[:1])


def test_integers_bytes_and_flags_pass() -> None:
    def function(image: tf.Tensor, flag: tf.Tensor, n: tf.Tensor) -> list[tf.Tensor]:
        scaled = tf.cast(image, tf.float32) / 255.0
        return [tf.where(flag[:, tf.newaxis], scaled, -scaled), tf.clip_by_value(n, 1, 2), tf.equal(n, 0)]

    inputs = [np.arange(6, dtype=np.uint8).reshape(3, 2), np.array([True, False, True]), np.arange(3, dtype=np.int32)]
    program = LiteRTFunction(function, [tf.TensorSpec(item.shape, item.dtype) for item in inputs])
    assert_alike(program, function, inputs)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: [x + tf.random.normal([4])], "RandomStandardNormal"),
        (lambda x: [x + tf.random.stateless_normal([3, 4], tf.cast(x[0, :2], tf.int32))], "StatelessRandom"),
        (lambda x: [tf.linalg.svd(x)[0]], "Svd"),
    ],
)
def test_what_litert_cannot_do_is_refused_with_the_reason(function: Callable, reason: str) -> None:
    with pytest.raises(LiteRTError, match=reason) as caught:
        LiteRTFunction(function, [X])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("by_input", [True, False])
def test_changes_of_variables_are_refused(weight: tf.Variable, by_input: bool) -> None:
    def function(x: tf.Tensor) -> list[tf.Tensor]:
        weight.assign_add(tf.transpose(x)[:, :2] if by_input else tf.ones([4, 2]))
        return [x + 1.0]

    with pytest.raises(LiteRTError):
        LiteRTFunction(function, [X])


def test_another_shape_is_an_error(weight: tf.Variable) -> None:
    program = LiteRTFunction(lambda x: [x @ weight], [X])
    with pytest.raises(ValueError, match=r"[Dd]imension"):
        program([np.zeros((2, 4), np.float32)])
    with pytest.raises(ValueError, match="type"):
        program([np.zeros((3, 4), np.float64)])


def test_without_litert_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(LiteRTError, match=r"cannot be imported .*pip install ai-edge-litert"):
        LiteRTFunction(lambda x: [x + 1.0], [X])


def test_convolutions_have_constant_weights_that_follow_the_variables() -> None:
    rng = np.random.default_rng(0)
    shapes = {"first": (3, 3, 2, 4), "each": (2, 2, 4, 2), "bias": (4,), "dense": (72, 5)}
    weights = {name: tf.Variable(rng.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()}

    def function(image: tf.Tensor) -> list[tf.Tensor]:
        values = tf.cast(image, tf.float32) / 255.0
        values = tf.nn.relu(tf.nn.conv2d(values, weights["first"], 2, "VALID") + weights["bias"])
        values = tf.nn.depthwise_conv2d(values, weights["each"], [1, 1, 1, 1], "VALID")
        # The converter merges constant factors with constant weights.
        values = values * tf.constant(np.linspace(0.5, 1.5, 8), tf.float32) - 0.5
        return [tf.nn.log_softmax(tf.reshape(values, [3, -1]) @ weights["dense"])]

    inputs = [rng.integers(256, size=(3, 9, 9, 2), dtype=np.uint8)]
    program = LiteRTFunction(function, [tf.TensorSpec((3, 9, 9, 2), tf.uint8)])
    assert len(program.program.embedded) == 3
    for _ in range(3):
        assert_alike(program, function, inputs)
        for variable in weights.values():
            variable.assign(variable * 0.7 + 0.1)
        before = program(inputs)[0]
        program.refresh()
        assert np.any(program(inputs)[0] != before)


def test_weights_that_the_converter_changes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32))
    convert = litert_function._converted

    def changed(graph: Any, constants: Any) -> Any:
        return convert(graph, {place: 2.0 * marks for place, marks in constants.items()})

    monkeypatch.setattr(litert_function, "_converted", changed)
    with pytest.raises(LiteRTError, match="changes the weights"):
        LiteRTFunction(lambda image: [tf.nn.conv2d(image, weight, 1, "VALID")], [tf.TensorSpec((3, 9, 9, 2))])


WIDE = tf.TensorSpec((3, 4), tf.float64)


@pytest.mark.filterwarnings("error")
def test_float64_arithmetic_on_inputs_is_numpys_with_tensorflows_bytes(weight: tf.Variable) -> None:
    normalizer = StreamingTensorNormalizer(ArraySpec((4,), np.float64))

    def function(x: tf.Tensor, noise: tf.Tensor) -> list[tf.Tensor]:
        normalized = normalizer.normalize(x)
        narrow = tf.cast(tf.concat([normalized, tf.square(x) / 3.0], axis=-1), tf.float32)
        return [normalized, narrow, narrow[:, :4] @ weight + tf.cast(tf.cast(noise, tf.float64) * 2.0, tf.float32)]

    rng = np.random.default_rng(0)
    x = rng.normal(scale=9.0, size=(3, 4))
    x[0] = [np.nan, np.inf, -np.inf, 1e300]
    inputs = [x, rng.normal(size=(3, 2)).astype(np.float32)]
    program = LiteRTFunction(function, [WIDE, tf.TensorSpec((3, 2), tf.float32)])
    assert program.needed_inputs == [0, 1]
    for _ in range(3):
        normalizer.update(rng.normal(4.0, 5.0, (50, 4)))
        program.refresh()
        expected, found = [item.numpy() for item in function(*inputs)], program(inputs)
        for want, got in zip(expected[:2], found[:2], strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        np.testing.assert_allclose(found[2], expected[2], rtol=1e-5, atol=1e-6)


def test_without_arithmetic_float64_is_litert_s(weight: tf.Variable) -> None:
    program = LiteRTFunction(lambda x: [tf.cast(x, tf.float32) @ weight], [WIDE]).program
    assert program.prelude is None


def test_float64_arithmetic_on_results_is_numpys(weight: tf.Variable) -> None:
    scale = tf.Variable(np.array([0.5, 2.0]), dtype=tf.float64)

    def function(x: tf.Tensor, wide: tf.Tensor) -> list[tf.Tensor]:
        hidden = tf.tanh(x @ weight)
        drawn = tf.cast(hidden, tf.float64) * scale + wide[:, :2] ** 2
        squares = tf.reduce_sum(tf.math.squared_difference(drawn, wide[:, 2:]) / 3.0, axis=-1)
        return [hidden, drawn, tf.cast(squares, tf.float32), wide * 2.0]

    inputs = [INPUTS[0], np.random.default_rng(0).normal(size=(3, 4))]
    program = LiteRTFunction(function, [X, WIDE])
    assert program.needed_inputs == [0, 1]
    for _ in range(2):
        assert_alike(program, function, inputs)
        scale.assign(scale * 3.0)
        program.refresh()
    with pytest.raises(ValueError, match="float64"):
        program([INPUTS[0], INPUTS[0]])


def test_float64_that_neither_can_compute_is_refused(weight: tf.Variable) -> None:
    with pytest.raises(LiteRTError, match="MatMul"):
        LiteRTFunction(lambda x: [tf.cast(x @ weight, tf.float64) @ tf.ones([2, 2], tf.float64)], [X])


@pytest.mark.parametrize("num_failures", [1, 100])
def test_a_converter_that_loses_the_signature_is_asked_again_and_then_refused(
    monkeypatch: pytest.MonkeyPatch, weight: tf.Variable, num_failures: int
) -> None:
    failures = iter(range(num_failures))
    save = saver.save

    def failing_save(*arguments: Any, **keywords: Any) -> None:
        if next(failures, None) is not None:
            raise OSError("no space left on device")
        save(*arguments, **keywords)

    monkeypatch.setattr(saver, "save", failing_save)

    def function(x: tf.Tensor) -> list[tf.Tensor]:
        return [tf.tanh(x @ weight)]

    if num_failures == 1:
        assert_alike(LiteRTFunction(function, [X]), function, INPUTS[:1])
    else:
        with pytest.raises(LiteRTError, match="temporary files"):
            LiteRTFunction(function, [X])
