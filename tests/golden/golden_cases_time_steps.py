"""Golden cases: time steps and policy steps."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome

OBSERVATION = np.array([1.0, 2.0], np.float32)
BATCH = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


@case("time_step/step_type")
def step_type(ns: Any) -> Any:
    kind = ns.time_step.StepType
    return {
        "values": [kind.FIRST, kind.MID, kind.LAST],
        "from_numbers": [kind(0), kind(1), kind(2)],
        "is_the_constant": kind(1) is kind.MID,
        "unknown": outcome(lambda: kind(3)),
    }


@case("time_step/restart")
def restart(ns: Any) -> Any:
    ts = ns.time_step
    reward_spec = ns.array_spec.ArraySpec((3,), np.float64, "reward")
    return {
        "array": ts.restart(OBSERVATION),
        "batch": ts.restart(BATCH, batch_size=2),
        "tensor": ts.restart(tf.constant(OBSERVATION)),
        "tensor_batch": ts.restart(tf.constant(BATCH), batch_size=2),
        "tensor_batch_size": ts.restart(tf.constant(BATCH), batch_size=tf.constant(2)),
        "nest": ts.restart({"a": OBSERVATION, "b": (BATCH,)}),
        "float64_stays": ts.restart(OBSERVATION.astype(np.float64)),
        "reward_spec": ts.restart(OBSERVATION, reward_spec=reward_spec),
        "reward_spec_batch": ts.restart(BATCH, batch_size=2, reward_spec=reward_spec),
    }


@case("time_step/transition")
def transition(ns: Any) -> Any:
    ts = ns.time_step
    rewards = np.array([1.0, 2.0], np.float32)
    return {
        "number": ts.transition(OBSERVATION, 2.0),
        "discount": ts.transition(OBSERVATION, np.float32(2.0), 0.9),
        "array": ts.transition(OBSERVATION, np.array(2.0, np.float64), np.array(0.5, np.float32)),
        "tensor": ts.transition(tf.constant(OBSERVATION), tf.constant(2.0)),
        "tensor_discount": ts.transition(tf.constant(OBSERVATION), tf.constant(2.0), tf.constant(0.5)),
        "tensor_batch": ts.transition(tf.constant(BATCH), tf.constant(rewards)),
        "tensor_batch_scalar_discount": ts.transition(tf.constant(BATCH), tf.constant(rewards), 0.5),
        "tensor_outer_dims": ts.transition(tf.constant(BATCH), tf.constant(rewards), outer_dims=[2]),
        "batch_discounts": ts.transition(BATCH, rewards, np.array([0.5, 1.0], np.float32)),
        "nan": outcome(lambda: ts.transition(OBSERVATION, np.float32(np.nan))),
    }


@case("time_step/transition_numpy_batch_scalar_discount")
def transition_scalar_discount(ns: Any) -> Any:
    return ns.time_step.transition(BATCH, np.array([1.0, 2.0], np.float32), 0.5)


@case("time_step/transition_numpy_batch_default_discount")
def transition_default_discount(ns: Any) -> Any:
    return ns.time_step.transition(BATCH, np.array([1.0, 2.0], np.float32))


@case("time_step/transition_list_of_rewards")
def transition_list(ns: Any) -> Any:
    return ns.time_step.transition(BATCH, [1.0, 2.0])


@case("time_step/transition_tensor_observation_python_reward")
def transition_python_reward(ns: Any) -> Any:
    return outcome(lambda: ns.time_step.transition(tf.constant(OBSERVATION), 2.0))


@case("time_step/transition_of_vector_reward")
def transition_vector_reward(ns: Any) -> Any:
    reward = np.ones((2, 3), np.float32)
    return {
        "tensor": ns.time_step.transition(tf.constant(BATCH), tf.constant(reward), outer_dims=[2]),
        "array": ns.time_step.transition(BATCH, reward, np.ones(2, np.float32), outer_dims=[2]),
    }


@cases("time_step", {"termination": ("termination",), "truncation": ("truncation",)})
def ending(ns: Any, name: str) -> Any:
    end = getattr(ns.time_step, name)
    rewards = np.array([1.0, 2.0], np.float32)
    return {
        "number": end(OBSERVATION, 2.0),
        "batch": end(BATCH, rewards)._replace(discount=()),
        "tensor": end(tf.constant(OBSERVATION), tf.constant(2.0)),
        "tensor_batch": end(tf.constant(BATCH), tf.constant(rewards)),
        "tensor_outer_dims": end(tf.constant(BATCH), tf.constant(rewards), outer_dims=[2]),
        "array_outer_dims": end(BATCH, rewards, outer_dims=[2])._replace(discount=()),
    }


@case("time_step/termination_discount_of_a_batch")
def termination_discount(ns: Any) -> Any:
    return ns.time_step.termination(BATCH, np.array([1.0, 2.0], np.float32)).discount


@case("time_step/truncation_discount_of_a_batch")
def truncation_discount(ns: Any) -> Any:
    rewards = np.array([1.0, 2.0], np.float32)
    given = ns.time_step.truncation(BATCH, rewards, np.array([0.5, 0.9], np.float32))
    return {"default": ns.time_step.truncation(BATCH, rewards).discount, "given": given.discount}


@case("time_step/predicates")
def predicates(ns: Any) -> Any:
    ts = ns.time_step
    kinds = np.array([0, 1, 2], np.int32)
    arrays = ts.TimeStep(kinds, np.zeros(3, np.float32), np.ones(3, np.float32), ())
    tensors = ts.TimeStep(*(tf.constant(item) for item in arrays[:3]), ())
    return {
        "array": [arrays.is_first(), arrays.is_mid(), arrays.is_last()],
        "tensor": [tensors.is_first(), tensors.is_mid(), tensors.is_last()],
        "scalar": ts.restart(OBSERVATION).is_first(),
        "fields": list(ts.TimeStep._fields),
    }


@case("time_step/time_step_spec")
def time_step_spec(ns: Any) -> Any:
    ts, arrays, tensors = ns.time_step, ns.array_spec, ns.tensor_spec
    array, tensor = arrays.ArraySpec((2,), np.float32, "obs"), tensors.TensorSpec((2,), tf.float32, "obs")
    return {
        "array": ts.time_step_spec(array),
        "tensor": ts.time_step_spec(tensor),
        "bounded": ts.time_step_spec(tensors.BoundedTensorSpec((2,), tf.float32, 0, 1, "obs")),
        "nest": ts.time_step_spec({"a": array, "b": [array]}),
        "none": ts.time_step_spec(),
        "reward": ts.time_step_spec(array, arrays.ArraySpec((3,), np.float32, "rewards")),
        "tensor_reward": ts.time_step_spec(tensor, tensors.TensorSpec((3,), tf.float32, "rewards")),
        "mixed": outcome(lambda: ts.time_step_spec(array, tensors.TensorSpec((3,), tf.float32, "rewards"))),
    }


WithLogProbability = collections.namedtuple("WithLogProbability", ["log_probability", "other"])
WithoutLogProbability = collections.namedtuple("WithoutLogProbability", ["other"])


@case("policy_step/defaults")
def policy_step_defaults(ns: Any) -> Any:
    step = ns.policy_step.PolicyStep
    return {
        "empty": step(),
        "some": step(np.array(1), (), {"a": np.array(2)}),
        "replaced": step(np.array(1)).replace(action=np.array(3)),
        "info": ns.policy_step.PolicyInfo(np.array(-1.0)),
        "field": ns.policy_step.CommonFields.LOG_PROBABILITY,
    }


@case("policy_step/log_probability")
def log_probability(ns: Any) -> Any:
    ps, value = ns.policy_step, np.array(-1.0, np.float32)
    return {
        "set_empty": ps.set_log_probability((), value),
        "set_none": ps.set_log_probability(None, value),
        "set_dict": ps.set_log_probability({"a": np.array(1)}, value),
        "set_namedtuple": ps.set_log_probability(WithLogProbability((), np.array(1)), value),
        "set_info": ps.set_log_probability(ps.PolicyInfo(()), {"a": value}),
        "set_without_field": outcome(lambda: ps.set_log_probability(WithoutLogProbability(np.array(1)), value)),
        "get_dict": ps.get_log_probability({"log_probability": value}),
        "get_namedtuple": ps.get_log_probability(WithLogProbability(value, ())),
        "get_info": ps.get_log_probability(ps.PolicyInfo(value)),
        "get_none": ps.get_log_probability(()),
        "get_default": ps.get_log_probability({"a": value}, 3),
        "get_default_namedtuple": ps.get_log_probability(WithoutLogProbability(()), 3),
    }


@case("policy_step/set_log_probability_of_a_dict_leaves_it_alone")
def set_dict_in_place(ns: Any) -> Any:
    info = {"a": np.array(1)}
    ns.policy_step.set_log_probability(info, np.array(-1.0, np.float32))
    return sorted(info)


@case("policy_step/set_log_probability_of_another_container")
def set_other(ns: Any) -> Any:
    return outcome(lambda: ns.policy_step.set_log_probability((np.array(1),), np.array(-1.0, np.float32)))
