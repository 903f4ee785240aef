from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import SpecMismatchError, StaleWeightsError
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.common import SoftUpdate
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer
from distpolicy.utils.variables.module_variables import NamedVariable
from distpolicy.weights import Weights, WeightsPacker, WeightsReceiver, checksum

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")


class Holder:
    """The least that a packer and a receiver need: variables by path, and ``update``."""

    def __init__(self, values: dict[str, Any], trainable: Sequence[str] = ()) -> None:
        self.variables = {name: tf.Variable(value, trainable=name in trainable) for name, value in values.items()}
        self._update = SoftUpdate(self.named_variables())

    def named_variables(self) -> list[NamedVariable]:
        return [NamedVariable(name, variable) for name, variable in self.variables.items()]

    def update(self, source: Any, tau: float, tau_non_trainable: float | None, sort_variables_by_name: bool) -> None:
        self._update(source.named_variables(), tau, tau_non_trainable, sort_variables_by_name)


def mixed(scale: int = 1) -> Holder:
    """Variables of several dtypes, sizes that fill no whole word, a scalar and an empty one."""
    return Holder(
        {
            "kernel": np.arange(6, dtype=np.float32).reshape(2, 3) * scale,
            "count": np.array(7 * scale, np.int64),
            "mean": np.array([0.1, 0.2, 0.3]) * scale,
            "flags": np.array([True, False, bool(scale - 1)]),
            "bytes": np.arange(5, dtype=np.uint8) * scale,
            "nothing": np.zeros((0, 4), np.float32),
            "bias": np.full(3, -1.5, np.float32) * scale,
        },
        trainable=("kernel", "bias"),
    )


Snapshot = Callable[[Any], dict[str, np.ndarray]]
SameBits = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]


@pytest.fixture
def normalized_policy(make_policy: Callable[..., ActorPolicy]) -> Callable[[int], ActorPolicy]:
    def make(seed: int) -> ActorPolicy:
        normalizer = StreamingTensorNormalizer(TensorSpec((3,), tf.float32))
        normalizer.update(tf.constant(np.random.default_rng(seed).normal(3.0, 2.0, size=(10, 3))))
        return make_policy(BOX, weights_seed=seed, observation_normalizer=normalizer)

    return make


def test_weights_of_one_policy_make_another_the_same(
    normalized_policy: Callable[[int], ActorPolicy], snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    source, target = normalized_policy(1), normalized_policy(2)
    receiver = WeightsReceiver(target, "collector 3")
    assert receiver.held is None
    acknowledgement = receiver.apply(WeightsPacker(source).pack(2, 5))
    assert acknowledgement == ("collector 3", 2, 5, True)
    assert receiver.held == (2, 5)
    assert_same_bits(snapshot(target), snapshot(source))


def test_mixed_dtypes_survive(snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    source, target = mixed(2), mixed(1)
    weights = WeightsPacker(source).pack(0, 1)
    assert {buffer.dtype.name for buffer in weights.buffers.values()} == {
        "float32",
        "int64",
        "float64",
        "bool",
        "uint8",
    }
    assert weights.num_bytes == 9 * 4 + 8 + 3 * 8 + 3 + 5
    assert [item.path for item in weights.layout if item.trainable] == ["kernel", "bias"]
    WeightsReceiver(target, "receiver").apply(weights)
    assert_same_bits(snapshot(target), snapshot(source))


def test_a_snapshot_does_not_change_with_the_policy() -> None:
    source = mixed()
    packer = WeightsPacker(source)
    weights = packer.pack(0, 0)
    source.variables["kernel"].assign_add(tf.ones([2, 3]))
    later = packer.pack(0, 1)
    weights.verify()
    np.testing.assert_array_equal(weights.named_variables()[0].variable, np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(later.named_variables()[0].variable, np.arange(6).reshape(2, 3) + 1)


def test_layout_that_differs_is_refused_and_the_variable_is_named(
    snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    target = mixed()
    before = snapshot(target)
    receiver = WeightsReceiver(target, "collector 3")
    values = {
        name: item.variable.numpy() for name, item in zip(target.variables, target.named_variables(), strict=True)
    }
    for name, changed in [
        ("mean", np.zeros(4)),
        ("bytes", np.zeros(5, np.int8)),
        ("bias", np.zeros((3, 1), np.float32)),
    ]:
        source = Holder({**values, name: changed}, trainable=("kernel", "bias"))
        with pytest.raises(SpecMismatchError, match=rf"collector 3.*variable {name} "):
            receiver.apply(WeightsPacker(source).pack(0, 1))
    renamed = {("centre" if name == "mean" else name): value for name, value in values.items()}
    with pytest.raises(SpecMismatchError, match=r"mean.*centre"):
        receiver.apply(WeightsPacker(Holder(renamed, trainable=("kernel", "bias"))).pack(0, 1))
    fewer = {name: value for name, value in values.items() if name != "bias"}
    with pytest.raises(SpecMismatchError, match=r"7 variables.*6"):
        receiver.apply(WeightsPacker(Holder(fewer, trainable=("kernel",))).pack(0, 1))
    assert receiver.held is None
    assert_same_bits(snapshot(target), before)


def test_older_weights_are_refused_and_change_nothing(snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    source, target = mixed(3), mixed(1)
    packer, receiver = WeightsPacker(source), WeightsReceiver(target, "collector 3")
    receiver.apply(packer.pack(1, 5))
    before = snapshot(target)
    source.variables["kernel"].assign(tf.zeros([2, 3]))
    for older in [(1, 4), (0, 9)]:
        with pytest.raises(StaleWeightsError, match=r"collector 3 holds weights \(1, 5\)"):
            receiver.apply(packer.pack(*older))
    assert receiver.held == (1, 5)
    assert_same_bits(snapshot(target), before)


def test_restarted_learner_s_first_version_is_accepted() -> None:
    source, target = mixed(3), mixed(1)
    packer, receiver = WeightsPacker(source), WeightsReceiver(target, "receiver")
    receiver.apply(packer.pack(0, 5))
    source.variables["kernel"].assign(tf.fill([2, 3], 9.0))
    assert receiver.apply(packer.pack(1, 0)).applied
    assert receiver.held == (1, 0)
    np.testing.assert_array_equal(target.variables["kernel"], np.full((2, 3), 9.0))


def test_same_weights_are_applied_once() -> None:
    source, target = mixed(3), mixed(1)
    weights = WeightsPacker(source).pack(0, 1)
    receiver = WeightsReceiver(target, "receiver")
    assert receiver.apply(weights, tau=0.5).applied
    once = target.variables["kernel"].numpy()
    assert receiver.apply(weights, tau=0.5) == ("receiver", 0, 1, False)
    np.testing.assert_array_equal(target.variables["kernel"], once)
    np.testing.assert_allclose(once, 2.0 * np.arange(6).reshape(2, 3))


def test_taus_hold_for_weights_too() -> None:
    source, target = mixed(3), mixed(1)
    WeightsReceiver(target, "receiver").apply(WeightsPacker(source).pack(0, 1), tau=0.0, tau_non_trainable=1.0)
    np.testing.assert_array_equal(target.variables["kernel"], np.arange(6).reshape(2, 3))
    np.testing.assert_allclose(target.variables["mean"], [0.3, 0.6, 0.9])
    assert target.variables["count"].numpy() == 21


def test_refused_update_leaves_the_version_as_it_was() -> None:
    receiver = WeightsReceiver(mixed(1), "receiver")
    weights = WeightsPacker(mixed(3)).pack(0, 1)
    with pytest.raises(ValueError, match="tau"):
        receiver.apply(weights, tau=2.0)
    assert receiver.held is None
    assert receiver.apply(weights).applied


@pytest.mark.parametrize("place", range(5))
def test_damaged_buffers_are_refused(place: int, snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    target = mixed(1)
    before = snapshot(target)
    weights = WeightsPacker(mixed(3)).pack(0, 1)
    receiver = WeightsReceiver(target, "receiver")
    damaged = {name: buffer.copy() for name, buffer in weights.buffers.items()}
    list(damaged.values())[place].reshape(-1).view(np.uint8)[-1] ^= 1
    with pytest.raises(SpecMismatchError, match="checksum"):
        receiver.apply(Weights(0, 1, weights.layout, damaged, weights.checksum))
    assert receiver.held is None
    assert_same_bits(snapshot(target), before)
    assert receiver.apply(weights).applied


def test_checksum_is_of_the_words_and_of_the_bytes_left() -> None:
    rest = np.array([1, 2, 3], np.uint8)
    words = np.array([2**63, 2**63 + 4], np.uint64)
    assert checksum([rest, words]) == 1 + 2 + 3 + 4
    assert checksum([]) == 0


def test_views_are_read_only_and_no_copies() -> None:
    weights = WeightsPacker(mixed()).pack(0, 0)
    for view in weights.named_variables():
        assert not view.variable.flags.writeable
        if view.variable.size:
            assert any(np.shares_memory(view.variable, buffer) for buffer in weights.buffers.values())
    with pytest.raises(ValueError, match="read-only"):
        weights.named_variables()[0].variable[0, 0] = 1.0


def test_pickle_of_protocol_5_holds_no_buffer_and_copies_none() -> None:
    source = Holder({"kernel": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)})
    weights = WeightsPacker(source).pack(3, 4)
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(weights, protocol=5, buffer_callback=buffers.append)
    assert len(stream) < 2_000
    assert sum(buffer.raw().nbytes for buffer in buffers) == weights.num_bytes == 64 * 64 * 4
    loaded = pickle.loads(stream, buffers=buffers)
    assert np.shares_memory(loaded.buffers["kernel"], weights.buffers["kernel"])
    # As in Ray's object store, whose memory cannot be written to.
    frozen = pickle.loads(stream, buffers=[bytes(buffer) for buffer in buffers])
    assert not frozen.buffers["kernel"].flags.writeable
    frozen.verify()
    target = Holder({"kernel": np.zeros((64, 64), np.float32)})
    assert WeightsReceiver(target, "receiver").apply(frozen).version == 4
    np.testing.assert_array_equal(target.variables["kernel"], source.variables["kernel"])


@pytest.mark.parametrize("spec", [BoundedArraySpec((), np.int64, 0, 3), BOX], ids=["discrete", "continuous"])
def test_zeroed_weights_give_the_zero_weight_action(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
    spec: BoundedArraySpec,
) -> None:
    learner, collector = make_policy(spec, weights_seed=1), make_policy(spec, weights_seed=2)
    compiled = PyTFEagerPolicy(GreedyPolicy(collector), use_tf_function=True, batch_time_steps=False, jit_compile=False)
    step = make_step(64)
    middle = np.zeros(64) if spec.shape == () else np.tile([0.0, 2.0], (64, 1))
    assert not np.array_equal(compiled.action(step).action, middle)
    for variable in learner.variables():
        variable.assign(tf.zeros_like(variable))
    WeightsReceiver(PyTFEagerPolicy(collector), "collector").apply(WeightsPacker(learner).pack(0, 1))
    np.testing.assert_array_equal(compiled.action(step).action, middle)
    assert compiled.tracing_count == 1
    if spec.shape == ():
        logits = collector.distribution(to_tensors(step)).action.logits_parameter()
        np.testing.assert_array_equal(logits, np.zeros((64, 4)))


def test_weights_pair_by_natural_order_where_asked() -> None:
    values = {f"dense_{index}": np.full(2, index, np.float32) for index in (9, 10)}
    source = Holder(values)
    target = Holder({name: np.zeros(2, np.float32) for name in reversed(values)})
    weights = WeightsPacker(source).pack(0, 1)
    receiver = WeightsReceiver(target, "receiver")
    with pytest.raises(SpecMismatchError, match="dense_10"):
        receiver.apply(weights)
    receiver.apply(weights, sort_variables_by_name=True)
    assert {name: float(item[0]) for name, item in target.variables.items()} == {"dense_10": 10.0, "dense_9": 9.0}


def test_snapshot_keeps_its_values_while_the_variable_goes_on() -> None:
    source = mixed(3)
    weights = WeightsPacker(source).pack(0, 1)
    before = [view.variable.copy() for view in weights.named_variables()]
    source.variables["kernel"].assign_add(tf.ones([2, 3]))
    tf.function(lambda: source.variables["kernel"].assign_add(tf.ones([2, 3])), jit_compile=True)()
    for view, value in zip(weights.named_variables(), before, strict=True):
        np.testing.assert_array_equal(view.variable, value)


def test_variable_that_shares_the_snapshot_s_memory_does_not_write_to_it() -> None:
    weights = pickle.loads(pickle.dumps(WeightsPacker(mixed(3)).pack(0, 1)))
    for buffer in weights.buffers.values():
        buffer.setflags(write=False)
    target = mixed(1)
    WeightsReceiver(target, "receiver").apply(weights)
    target.variables["kernel"].assign_add(tf.ones([2, 3]))
    weights.verify()
    np.testing.assert_array_equal(target.variables["kernel"], weights.buffers["kernel"] + 1.0)


def test_bfloat16_travels() -> None:
    source = Holder({"kernel": np.array([1.5, -2.0], tf.bfloat16.as_numpy_dtype)})
    target = Holder({"kernel": np.zeros(2, tf.bfloat16.as_numpy_dtype)})
    WeightsReceiver(target, "receiver").apply(WeightsPacker(source).pack(0, 1))
    np.testing.assert_array_equal(target.variables["kernel"].numpy().astype(np.float32), [1.5, -2.0])


def test_lent_weights_are_put_back_whether_they_are_older_or_newer(
    snapshot: Snapshot, assert_same_bits: SameBits
) -> None:
    held, other, target = mixed(2), mixed(3), mixed(1)
    receiver = WeightsReceiver(target, "collector 3")
    with receiver.lent(WeightsPacker(other).pack(0, 9)):
        assert_same_bits(snapshot(target), snapshot(other))
    receiver.apply(WeightsPacker(held).pack(0, 5))
    for version in (4, 5, 6):
        source = held if version == 5 else other
        with receiver.lent(WeightsPacker(source).pack(0, version)):
            assert_same_bits(snapshot(target), snapshot(source))
        assert_same_bits(snapshot(target), snapshot(held))
        assert receiver.held == (0, 5)
    with pytest.raises(RuntimeError, match="in between"), receiver.lent(WeightsPacker(other).pack(0, 7)):
        raise RuntimeError("in between")
    assert_same_bits(snapshot(target), snapshot(held))


def test_weights_that_are_lent_to_a_mixture_stay(snapshot: Snapshot, assert_same_bits: SameBits) -> None:
    target, other = mixed(1), mixed(3)
    receiver = WeightsReceiver(target, "collector 3")
    receiver.apply(WeightsPacker(mixed(2)).pack(0, 5), tau=0.5)
    with pytest.raises(StaleWeightsError), receiver.lent(WeightsPacker(other).pack(0, 4)):
        pass
    with receiver.lent(WeightsPacker(other).pack(0, 6)):
        pass
    assert_same_bits(snapshot(target), snapshot(other))
    assert receiver.held == (0, 6)


def test_older_weights_that_come_at_the_same_time_do_not_overwrite_newer_ones() -> None:
    target, source = mixed(), mixed(2)
    plain_update, versions = target.update, []
    is_updating = threading.Event()

    def slow_update(weights: Weights, *taus: Any) -> None:
        is_updating.set()
        time.sleep(0.2)
        plain_update(weights, *taus)
        versions.append(weights.version)

    target.update = slow_update  # type: ignore[method-assign]
    receiver, packer = WeightsReceiver(target, "collector 0"), WeightsPacker(source)
    older, newer = packer.pack(0, 6), packer.pack(0, 7)
    thread = threading.Thread(target=receiver.apply, args=(newer,))
    thread.start()
    is_updating.wait(10.0)
    # Checked while the newer ones are being applied, and not before.
    with pytest.raises(StaleWeightsError, match=r"holds weights \(0, 7\) and was offered the older \(0, 6\)"):
        receiver.apply(older)
    thread.join()
    assert (versions, receiver.held) == ([7], (0, 7))
