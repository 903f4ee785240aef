"""Golden cases: wrappers of environments, and metrics of single rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome


def _counting(ns: Any, length: int, action_spec: Any = None) -> Any:
    """An environment that counts its steps and rewards the sum of its actions."""

    class Counting(ns.py_environment.PyEnvironment):
        def __init__(self) -> None:
            super().__init__()
            self.count, self.ended = 0, True

        def observation_spec(self) -> Any:
            return ns.array_spec.ArraySpec((1,), np.float32, "count")

        def action_spec(self) -> Any:
            return ns.array_spec.BoundedArraySpec((), np.int32, 2, 6, "a") if action_spec is None else action_spec

        def _reset(self) -> Any:
            self.count, self.ended = 0, False
            return ns.time_step.restart(np.array([0.0], np.float32))

        def _step(self, action: Any) -> Any:
            if self.ended:
                return self.reset()
            self.count += 1
            observation = np.array([self.count], np.float32)
            reward = np.float32(sum(float(np.sum(leaf)) for leaf in tf.nest.flatten(action)))
            self.ended = self.count >= length
            if self.ended:
                return ns.time_step.termination(observation, reward)
            return ns.time_step.transition(observation, reward, np.float32(0.5))

    return Counting()


def _stream(env: Any, actions: Any) -> list[Any]:
    """The numbers of time steps, whose containers and kinds of scalars are the environment's."""
    steps = [env.reset(), *(env.step(action) for action in actions)]
    return [
        [int(step.step_type), float(step.reward), float(step.discount), np.asarray(step.observation)[0].tolist()]
        for step in steps
    ]


@cases("wrappers/fixed_length", {"short": (2, 4), "long": (9, 3), "exact": (3, 3)})
def fixed_length(ns: Any, length: int, fixed: int) -> Any:
    return _stream(ns.wrappers.FixedLength(_counting(ns, length), fixed), [np.int32(3)] * 7)


@case("wrappers/flatten_action")
def flatten_action(ns: Any) -> Any:
    bounded = ns.array_spec.BoundedArraySpec
    spec = {"b": bounded((2,), np.float32, -1, 2, "b"), "a": bounded((), np.float32, 0, 5, "a")}
    env = ns.wrappers.FlattenActionWrapper(_counting(ns, 3, spec))
    mixed = {"a": bounded((), np.int32, 0, 5), "b": bounded((), np.float32, 0, 5)}
    return {
        "spec": env.action_spec(),
        "stream": _stream(env, [np.array([1.0, 2.0, 4.0], np.float32)]),
        "mixed": outcome(lambda: ns.wrappers.FlattenActionWrapper(_counting(ns, 3, mixed))),
        "matrix": outcome(lambda: ns.wrappers.FlattenActionWrapper(_counting(ns, 3, bounded((2, 2), np.int32, 0, 5)))),
    }


@case("wrappers/handle_auto_reset")
def auto_reset(ns: Any) -> Any:
    env = ns.wrappers.PyEnvironmentBaseWrapper(_counting(ns, 1), handle_auto_reset=True)
    return _stream(env, [np.int32(3)] * 3)


@case("tf_wrappers/one_hot")
def one_hot(ns: Any) -> Any:
    spec = ns.array_spec.BoundedArraySpec((), np.int32, 0, 4, "a")
    env = ns.tf_wrappers.OneHotActionWrapper(ns.tf_py_environment.TFPyEnvironment(_counting(ns, 3, spec)))
    env.reset()
    step = env.step(tf.one_hot([3], 5, dtype=tf.int32))
    return {"spec": env.action_spec(), "step": step, "size": env.batch_size, "batched": env.batched}


@case("batched_py_metric")
def batched_py_metric(ns: Any) -> Any:
    metric = ns.batched_py_metric.BatchedPyMetric(ns.py_metrics.AverageReturnMetric, metric_args={"buffer_size": 3})
    before = metric.result()
    trajectory, discount = ns.trajectory, np.ones(2, np.float32)
    for make, reward in ((trajectory.first, [1, 2]), (trajectory.mid, [3, 4]), (trajectory.last, [5, 6])):
        metric(make((), (), (), np.array(reward, np.float32), discount))
    wrong = trajectory.mid((), (), (), np.zeros(3, np.float32), np.ones(3, np.float32))
    return {
        "before": before,
        "after": float(metric.result()),
        "name": metric.name,
        "wrong": outcome(lambda: metric(wrong)),
    }


@case("specs/bandit_spec_utils")
def bandit_specs(ns: Any) -> Any:
    module = ns.bandit_spec_utils
    spec = module.create_per_arm_observation_spec(4, 2, 5, add_num_actions_feature=True)
    return {
        "spec": spec,
        "per_arm": module.get_context_dims_from_spec(spec, True),
        "plain": module.get_context_dims_from_spec(tf.TensorSpec((3,), tf.float32), False),
        "dropped": sorted(module.drop_arm_observation(ns.trajectory.Trajectory(*[spec] * 7)).observation),
    }


@case("episodic_replay_buffer")
def episodic_replay_buffer(ns: Any) -> Any:
    spec = tf.TensorSpec((), tf.int64, "item")
    buffer = ns.episodic_replay_buffer.EpisodicReplayBuffer(
        spec, capacity=3, begin_episode_fn=lambda item: item % 10 == 0, end_episode_fn=lambda item: item % 10 == 9
    )
    ids = buffer.create_episode_ids(2)
    found: dict[str, Any] = {"created": ids, "one": buffer.create_episode_ids()}
    for numbers in ([11, 21], [19, 22], [30, 23], [31, 40]):
        ids = buffer.add_batch(tf.constant(numbers, tf.int64), ids)
        found[f"after {numbers}"] = ids
    found["frames"] = buffer.num_frames()
    found["all"] = buffer.gather_all()
    found["episodes"] = list(buffer.as_dataset(single_deterministic_pass=True))
    sample, sample_ids = next(iter(buffer.as_dataset(sample_batch_size=2, num_steps=1)))
    found["sample"] = [sample.shape, sample_ids.shape, sample_ids.dtype]
    found["info"] = type(buffer.get_next()[1]).__name__
    found["too_many"] = outcome(lambda: buffer.create_episode_ids(4))
    found["no_steps"] = outcome(lambda: buffer.as_dataset(sample_batch_size=2))
    buffer.clear()
    found["cleared"] = buffer.num_frames()
    return found
