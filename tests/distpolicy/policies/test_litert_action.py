"""The LiteRT engine of PyTFEagerPolicy gives TensorFlow's actions, states and log-probabilities."""

import gc
import logging
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from distpolicy.errors import ConfigError
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork
from distpolicy.policies import policy_loader
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, restart, time_step_spec
from distpolicy.utils.checkpointer import Checkpointer
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer
from distpolicy.weights import WeightsPacker

BOX = BoundedArraySpec((2,), np.float32, -1.0, 1.0)


def engines(policy: TFPolicy, **arguments: Any) -> tuple[PyTFEagerPolicy, PyTFEagerPolicy]:
    """The policy by LiteRT and by TensorFlow."""
    litert = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert", **arguments)
    return litert, PyTFEagerPolicy(policy, batch_time_steps=False, use_tf_function=True, **arguments)


def row_seeds(batch_size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**31 - 1, size=(batch_size, 2), dtype=np.int32)


def assert_same(left: PolicyStep, right: PolicyStep) -> None:
    for got, want in zip(tf.nest.flatten(left), tf.nest.flatten(right), strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("action_spec", [BoundedArraySpec((), np.int64, 2, 5), BOX], ids=["discrete", "box"])
def test_actions_and_log_probabilities_are_tensorflows(
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    action_spec: BoundedArraySpec,
    batch_size: int,
) -> None:
    litert, tensorflow = engines(make_policy(action_spec, clip=False, emit_log_probability=True))
    for seed in range(4):
        step, seeds = make_step(batch_size, seed), row_seeds(batch_size, seed)
        assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))
    assert litert.inference == "litert"
    assert tensorflow.inference == "tf"
    assert litert.tracing_count == 1


def test_one_seed_for_a_batch_gives_tensorflows_draws(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], to_tensors: Callable[[Any], Any]
) -> None:
    policy = make_policy()
    litert, tensorflow = engines(policy, seed=5)
    step = make_step(6)
    for _ in range(3):  # of each one's own stream
        assert_same(litert.action(step), tensorflow.action(step))
    assert_same(litert.action(step, (), 9), tensorflow.action(step, (), 9))
    assert_same(litert.action(step, (), 9), policy.action(to_tensors(step), (), 9))


def test_single_steps_have_no_batch_dimension(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy(BOX)
    litert = PyTFEagerPolicy(policy, inference="litert")
    tensorflow = PyTFEagerPolicy(policy)
    step = tf.nest.map_structure(lambda leaf: leaf[0], make_step(1))
    found = litert.action(step, (), 3)
    assert found.action.shape == (2,)
    assert_same(found, tensorflow.action(step, (), 3))


def test_state_goes_in_and_out_and_is_reset_where_first(
    make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    litert, tensorflow = engines(make_recurrent_policy())
    states = [litert.get_initial_state(5)] * 2
    for seed in range(6):
        step_type = np.random.default_rng(seed).integers(0, 3, 5).astype(np.int32)
        step, seeds = make_step(5, seed, step_type), row_seeds(5, seed)
        steps = [engine.action(step, state, seeds) for engine, state in zip((litert, tensorflow), states, strict=True)]
        assert_same(*steps)
        states = [item.state for item in steps]
    assert litert.inference == "litert"


def test_greedy_policy_draws_nothing(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    litert, tensorflow = engines(GreedyPolicy(make_policy()))
    step = make_step(9)
    assert_same(litert.action(step), tensorflow.action(step))
    assert litert.inference == "litert"


@pytest.mark.parametrize("source_kind", ["policy", "weights"])
@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_update_holds_from_the_next_action_on(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], source_kind: str, tau: float
) -> None:
    policy = make_policy(BOX)
    litert, tensorflow = engines(policy)
    step, seeds = make_step(8), row_seeds(8)
    before = litert.action(step, (), seeds).action
    source = make_policy(BOX, weights_seed=4)
    litert.update(source if source_kind == "policy" else WeightsPacker(source).pack(0, 0), tau=tau)
    assert np.abs(litert.action(step, (), seeds).action - before).max() > 1e-2
    assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))


def test_update_of_the_wrapped_policy_reaches_every_engine_and_batch_size(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy()
    collect, greedy = engines(policy)[0], engines(GreedyPolicy(policy))[0]
    for batch_size in (3, 5):
        collect.action(make_step(batch_size))
        greedy.action(make_step(batch_size))
    policy.update(make_policy(weights_seed=8))
    for batch_size in (3, 5):
        step, seeds = make_step(batch_size), row_seeds(batch_size)
        assert_same(collect.action(step, (), seeds), engines(policy)[1].action(step, (), seeds))
        assert_same(greedy.action(step, (), seeds), engines(GreedyPolicy(policy))[1].action(step, (), seeds))


def test_variables_changed_otherwise_need_a_refresh(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy(BOX)
    litert, tensorflow = engines(policy)
    step, seeds = make_step(4), row_seeds(4)
    before = litert.action(step, (), seeds)
    for variable in policy.trainable_variables:
        variable.assign(variable * -2.0)
    assert_same(litert.action(step, (), seeds), before)
    litert.refresh()
    assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))


def test_updates_inside_of_a_compiled_function_renew_the_copy(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy, other = make_policy(BOX), make_policy(BOX, weights_seed=8)
    litert, tensorflow = engines(policy)
    step, seeds = make_step(4), row_seeds(4)
    update = tf.function(lambda: policy.update(other, tau=0.5))
    litert.action(step, (), seeds)
    for _ in range(3):
        before = litert.action(step, (), seeds)
        update()
        after = litert.action(step, (), seeds)
        assert not np.allclose(after.action, before.action)
        assert_same(after, tensorflow.action(step, (), seeds))
    # So it is for an engine that is made after the function was traced.
    late = engines(policy)[0]
    late.action(step, (), seeds)
    update()
    assert_same(late.action(step, (), seeds), tensorflow.action(step, (), seeds))


def test_every_change_of_a_normaliser_renews_the_copy(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    normalizer, other = (StreamingTensorNormalizer(ArraySpec((3,), np.float32)) for _ in range(2))
    litert, tensorflow = engines(make_policy(BOX, observation_normalizer=normalizer))
    values = tf.random.stateless_normal([50, 3], [1, 2], 5.0, 3.0)
    other.update(2.0 * values)
    step, seeds = make_step(4), row_seeds(4)
    for change in (lambda: normalizer.update(values), lambda: normalizer.merge(other), normalizer.reset):
        before = litert.action(step, (), seeds)
        change()
        after = litert.action(step, (), seeds)
        assert not np.allclose(after.action, before.action)
        assert_same(after, tensorflow.action(step, (), seeds))


def test_a_restored_checkpoint_renews_the_copy(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    Checkpointer(tmp_path, policy=make_policy(BOX, weights_seed=8)).save(0)
    policy = make_policy(BOX)
    litert, tensorflow = engines(policy)
    step, seeds = make_step(4), row_seeds(4)
    before = litert.action(step, (), seeds)
    checkpointer = Checkpointer(tmp_path, policy=policy)
    after = litert.action(step, (), seeds)
    assert not np.allclose(after.action, before.action)
    assert_same(after, tensorflow.action(step, (), seeds))
    policy.update(make_policy(BOX, weights_seed=9))
    litert.action(step, (), seeds)
    checkpointer.initialize_or_restore()
    assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))


def test_a_later_checkpoint_of_a_loaded_model_renews_the_copy(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    PolicySaver(make_policy(BOX)).save(tmp_path / "policy")
    PolicySaver(make_policy(BOX, weights_seed=8)).save_checkpoint(tmp_path / "checkpoint")
    policy = policy_loader.load(tmp_path / "policy")
    litert, tensorflow = engines(policy)
    step, seeds = make_step(4), row_seeds(4)
    before = litert.action(step, (), seeds)
    policy.update_from_checkpoint(tmp_path / "checkpoint")
    after = litert.action(step, (), seeds)
    assert not np.allclose(after.action, before.action)
    assert_same(after, tensorflow.action(step, (), seeds))


def test_normaliser_in_float64_comes_along(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    normalizer = StreamingTensorNormalizer(ArraySpec((3,), np.float32))
    litert, tensorflow = engines(make_policy(BOX, observation_normalizer=normalizer))
    normalizer.update(tf.random.stateless_normal([50, 3], [1, 2], 5.0, 3.0))
    step, seeds = make_step(4), row_seeds(4)
    assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))
    assert litert.inference == "litert"


@pytest.mark.parametrize(
    "projection",
    [TanhNormalProjectionNetwork, lambda spec: NormalProjectionNetwork(spec, scale_distribution=True)],
    ids=["tanh_normal", "with_bias"],
)
def test_log_probabilities_of_squashed_actions_are_tensorflows_for_these_actions(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], projection: Any
) -> None:
    policy = make_policy(BOX, network={"continuous_projection_net": projection}, emit_log_probability=True)
    litert, tensorflow = engines(policy)
    for seed in range(4):
        step, seeds = make_step(64, seed), row_seeds(64, seed)
        found = litert.action(step, (), seeds)
        np.testing.assert_allclose(found.action, tensorflow.action(step, (), seeds).action, rtol=1e-4, atol=1e-5)
        # At a bound the last bit of an action decides, and this bit may be another one in TensorFlow.
        distribution = policy.distribution(tf.nest.map_structure(tf.constant, step)).action
        expected = distribution.log_prob(tf.constant(found.action))
        np.testing.assert_allclose(found.info.log_probability, expected, rtol=1e-3, atol=1e-4)
    assert np.any(np.abs(found.action) > 0.98)
    assert litert.inference == "litert"


def test_rows_do_not_depend_on_the_batch_they_are_in(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    # Byte for byte: one collector and two over the same slots must return the same data.
    litert = engines(make_policy(BOX, network={"fc_layer_params": (64, 64)}, emit_log_probability=True))[0]
    step, seeds = make_step(64), row_seeds(64)
    whole = litert.action(step, (), seeds)
    for rows in (slice(0, 32), slice(32, 64), slice(5, 6), slice(0, 21), slice(21, 42), slice(42, 64), slice(3, 10)):
        part = litert.action(tf.nest.map_structure(lambda leaf, rows=rows: leaf[rows], step), (), seeds[rows])
        np.testing.assert_array_equal(part.action, whole.action[rows])
        np.testing.assert_array_equal(part.info.log_probability, whole.info.log_probability[rows])


def test_wrong_array_is_named(make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]) -> None:
    litert = engines(make_policy())[0]
    step = make_step(4)
    for _ in range(2):  # before and after it is converted
        with pytest.raises(TypeError, match=r"observation.*float32.*float64"):
            litert.action(step._replace(observation=step.observation.astype(np.float64)))
        with pytest.raises(ValueError, match="observation"):
            litert.action(step._replace(observation=step.observation[:, :2]))
        litert.action(step)


class StatefulDraws(TFPolicy):
    """Draws by an operation that keeps a state of its own."""

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        return PolicyStep(tf.random.uniform(tf.shape(time_step.reward), -1.0, 1.0), (), ())

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        raise NotImplementedError


def stateful_draws() -> StatefulDraws:
    spec = time_step_spec(ArraySpec((3,), np.float32))
    return StatefulDraws(spec, BoundedArraySpec((), np.float32, -1.0, 1.0))


def test_policy_that_cannot_be_converted_says_why_and_runs_by_tensorflow(caplog: pytest.LogCaptureFixture) -> None:
    eager = PyTFEagerPolicy(stateful_draws(), batch_time_steps=False, inference="litert")
    with caplog.at_level(logging.WARNING):
        action = eager.action(restart(np.zeros((4, 3), np.float32), 4)).action
    assert len(np.unique(action)) == 4
    assert eager.inference == "tf"
    assert "RandomUniform" in eager.inference_note
    assert "stateful_draws runs in TensorFlow" in caplog.text
    assert "RandomUniform" in caplog.text


def test_auto_falls_back_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    eager = PyTFEagerPolicy(stateful_draws(), batch_time_steps=False, inference="auto")
    with caplog.at_level(logging.WARNING):
        eager.action(restart(np.zeros((4, 3), np.float32), 4))
    assert eager.inference == "tf"
    assert not caplog.records


def test_auto_takes_litert_where_it_works(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    eager = PyTFEagerPolicy(make_policy(), batch_time_steps=False, inference="auto")
    eager.warm_up(4)
    assert eager.inference == "litert"
    assert eager.inference_note == ""
    eager.action(make_step(4), (), row_seeds(4))
    assert eager.tracing_count == 1


def test_auto_does_without_litert_where_it_cannot_be_imported(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    eager = PyTFEagerPolicy(make_policy(), batch_time_steps=False, inference="auto")
    eager.action(make_step(4))
    assert eager.inference == "tf"
    assert "pip install" in eager.inference_note


def test_unknown_engine_is_refused(make_policy: Callable[..., ActorPolicy]) -> None:
    with pytest.raises(ConfigError, match="'tf', 'litert' or 'auto'"):
        PyTFEagerPolicy(make_policy(), inference="onnx")  # type: ignore[arg-type]


def test_engines_do_not_keep_each_other_alive(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy()
    eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="litert")
    eager.action(make_step(2))
    alive = weakref.ref(eager)
    del eager
    gc.collect()
    assert alive() is None
    policy.update(make_policy(weights_seed=3))


class LooksAtB(TFPolicy):
    """Returns the sum of one of its observations."""

    def _distribution(self, time_step: TimeStep, policy_state: Any) -> PolicyStep:
        total = tf.reduce_sum(time_step.observation["b"], axis=-1)
        return PolicyStep(tfp.distributions.Deterministic(total), (), ())


def test_keys_that_the_spec_has_not_are_passed_over() -> None:
    spec = time_step_spec({"b": ArraySpec((3,), np.float32)})
    litert = engines(LooksAtB(spec, BoundedArraySpec((), np.float32, -9.0, 9.0)))[0]
    observation = {"b": np.ones((4, 3), np.float32)}
    extra = {"a": np.zeros((4, 1), np.float32), **observation}
    for given in (observation, extra, observation):
        np.testing.assert_array_equal(litert.action(restart(given, 4)).action, 3.0)
    with pytest.raises(ValueError, match="observation"):
        litert.action(restart({"a": np.zeros((4, 1), np.float32)}, 4))


def test_loaded_policy_that_draws_nothing_is_converted_too(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    PolicySaver(GreedyPolicy(make_policy(BOX))).save(str(tmp_path / "policy"))
    loaded = policy_loader.load(str(tmp_path / "policy"))
    litert, tensorflow = engines(loaded)
    step = make_step(9)
    assert_same(litert.action(step), tensorflow.action(step))
    assert litert.inference == "litert", litert.inference_note
    loaded.update(GreedyPolicy(make_policy(BOX, weights_seed=6)))
    after = litert.action(step)
    assert_same(after, tensorflow.action(step))
    assert_same(after, engines(GreedyPolicy(make_policy(BOX, weights_seed=6)))[1].action(step))


def test_loaded_policy_of_an_earlier_version_that_draws_runs_by_tensorflow(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    # Its draws are inside the saved function. With the zeros of a warm-up as seeds they must not become constants.
    saver = PolicySaver(make_policy())
    del saver.policy.action_from_noise
    saver.save(str(tmp_path / "policy"))
    litert, tensorflow = engines(policy_loader.load(str(tmp_path / "policy")))
    litert.warm_up(64)
    assert litert.inference == "tf"
    assert litert.inference_note
    step, seeds = make_step(64), row_seeds(64)
    assert_same(litert.action(step, (), seeds), tensorflow.action(step, (), seeds))


@pytest.mark.parametrize("inference", ["litert", "tf"])
def test_prepared_seeds_give_the_same_actions(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], inference: Any
) -> None:
    eager = PyTFEagerPolicy(
        make_policy(BOX, emit_log_probability=True), True, batch_time_steps=False, inference=inference
    )
    seeds = np.random.default_rng(0).integers(2**31, size=(5, 6, 2), dtype=np.int32)
    for when in ("before it is converted", "after"):
        prepared = eager.prepare_seeds(seeds)
        assert len(prepared) == 5, when
        for t in range(5):
            step = make_step(6, t)
            plain, quick = eager.action(step, (), seeds[t]), eager.action(step, (), prepared[t])
            np.testing.assert_array_equal(quick.action, plain.action)
            np.testing.assert_array_equal(quick.info.log_probability, plain.info.log_probability)
    assert eager.inference == inference


def test_a_batch_without_rows_has_actions_without_rows(
    make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    litert, tensorflow = engines(make_policy(BOX, emit_log_probability=True))
    for step in (make_step(0), make_step(3), make_step(0)):
        rows = len(step.reward)
        seeds = np.zeros((2, rows, 2), np.int32)
        found = litert.action(step, (), litert.prepare_seeds(seeds)[0])
        assert_same(found, tensorflow.action(step, (), seeds[0]))
        assert found.action.shape == (rows, 2)
        assert found.info.log_probability.shape == (rows,)
        assert litert.action(step).action.shape == (rows, 2)
    assert litert.inference == "litert"
