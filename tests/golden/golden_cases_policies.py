"""Golden cases: the other policies over tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from golden_registry import case, cases, outcome
from golden_toolkit import (
    OBSERVATIONS,
    continuous,
    discrete,
    linear_network,
    observation_spec,
    step_spec,
    time_step,
)

_WIDE = [[2.0, 0.0], [0.0, 2.0]]


def _split(observation: Any) -> tuple[Any, Any]:
    return observation["x"], observation["mask"]


def _fixed(ns: Any, **arguments: Any) -> Any:
    spec = {"a": continuous(ns), "b": [discrete(ns)]}
    return ns.fixed_policy.FixedPolicy({"a": np.array([0.5, 7.0]), "b": [2]}, step_spec(ns), spec, **arguments)


@cases("fixed_policy/shapes", {"unbatched": (1,), "batch": ([0, 1, 2],), "batch_and_time": ([[0, 1, 2]],)})
def fixed_shapes(ns: Any, kinds: Any) -> Any:
    step = time_step(ns, kinds)
    policy = _fixed(ns)
    distributions = policy.distribution(step).action
    return {"step": policy.action(step), "modes": [distributions["a"].mode(), distributions["b"][0].mode()]}


@case("fixed_policy/arguments")
def fixed_arguments(ns: Any) -> Any:
    note = {"note": tf.TensorSpec((), tf.int32)}
    plain = _fixed(ns, emit_log_probability=False)
    noted = _fixed(
        ns, emit_log_probability=False, policy_info={"note": tf.constant([1, 2, 3])}, info_spec=note, name="Fix"
    )
    return {
        "default_info_spec": tf.nest.map_structure(lambda spec: [spec.shape, spec.dtype], _fixed(ns).info_spec),
        "emits": [_fixed(ns).emit_log_probability, plain.emit_log_probability],
        "plain": plain.action(time_step(ns)),
        "noted": noted.action(time_step(ns)),
        "noted_spec": noted.info_spec,
        "name": noted.name,
        "num_variables": len(noted.variables()),
        "distribution_kind": type(plain.distribution(time_step(ns)).action["a"]).__name__,
        "distribution_info": noted.distribution(time_step(ns)).info,
        "updated": outcome(lambda: plain.update(_fixed(ns))),
    }


@case("fixed_policy/dict_info_with_log_probability")
def fixed_dict_info(ns: Any) -> Any:
    policy = _fixed(ns, policy_info={"note": tf.constant([1, 2, 3])}, info_spec={"note": tf.TensorSpec((), tf.int32)})
    return policy.action(time_step(ns)).info


@case("fixed_policy/distribution_info")
def fixed_distribution_info(ns: Any) -> Any:
    return _fixed(ns).distribution(time_step(ns)).info


@case("fixed_policy/numpy_time_step")
def fixed_numpy(ns: Any) -> Any:
    step = tf.nest.map_structure(lambda leaf: leaf.numpy(), time_step(ns))
    return outcome(lambda: _fixed(ns).action(step).action)


@case("fixed_policy/errors")
def fixed_errors(ns: Any) -> Any:
    def make(actions: Any, spec: Any) -> Any:
        return outcome(lambda: ns.fixed_policy.FixedPolicy(actions, step_spec(ns), spec).name)

    return {
        "structure": make({"a": 1}, {"b": discrete(ns)}),
        "length": make([1], [discrete(ns), discrete(ns)]),
        "container": make((1,), [discrete(ns)]),
        "fraction_for_an_integer": make(1.5, discrete(ns)),
    }


@case("greedy_policy/modes")
def greedy_modes(ns: Any) -> Any:
    def normal(output: Any) -> Any:
        return tfp.distributions.MultivariateNormalDiag(output, 0.5 * tf.ones_like(output))

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE, normal))
    greedy = ns.greedy_policy.GreedyPolicy(policy)
    distribution = greedy.distribution(time_step(ns)).action
    return {
        "action": greedy.action(time_step(ns)),
        "kind": type(distribution).__name__,
        "loc": distribution.mode(),
        "wrapped": greedy.wrapped_policy is policy,
        "specs": [greedy.action_spec, greedy.info_spec, greedy.policy_state_spec],
        "num_variables": len(greedy.variables()),
        "again": greedy.action(time_step(ns), seed=3).action,
    }


@case("greedy_policy/no_mode")
def greedy_no_mode(ns: Any) -> Any:
    def mixture(output: Any) -> Any:
        return tfp.distributions.MixtureSameFamily(
            tfp.distributions.Categorical(logits=tf.zeros_like(output)), tfp.distributions.Normal(output, 1.0)
        )

    policy = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns, shape=()), linear_network(ns, _WIDE, mixture))
    return outcome(lambda: ns.greedy_policy.GreedyPolicy(policy).action(time_step(ns)).action)


@case("random_tf_policy/specs")
def random_tf(ns: Any) -> Any:
    spec = {"a": continuous(ns, [-1.0, 5.0], [0.0, 6.0]), "b": [discrete(ns, 3, 4)]}
    step = ns.random_tf_policy.RandomTFPolicy(step_spec(ns), spec).action(time_step(ns))
    a, b = step.action["a"], step.action["b"][0]
    return {
        "shapes": [a.shape, b.shape],
        "dtypes": [a.dtype, b.dtype],
        "within": bool(tf.reduce_all((a >= [-1.0, 5.0]) & (a <= [0.0, 6.0]))),
        "within_integers": bool(tf.reduce_all((b >= 4) & (b <= 6))),
        "state": step.state,
        "info": step.info,
    }


@case("random_tf_policy/emit_log_probability")
def random_tf_emit(ns: Any) -> Any:
    def log_probability(spec: Any) -> Any:
        policy = ns.random_tf_policy.RandomTFPolicy(step_spec(ns), spec, emit_log_probability=True)
        return policy.action(time_step(ns)).info

    return {"discrete": log_probability(discrete(ns, 4, 2)), "nested": log_probability([discrete(ns, 2)])}


@case("random_tf_policy/emit_log_probability_of_a_continuous_action")
def random_tf_emit_continuous(ns: Any) -> Any:
    policy = ns.random_tf_policy.RandomTFPolicy(
        step_spec(ns), continuous(ns, -1.0, 3.0, shape=()), emit_log_probability=True
    )
    return policy.action(time_step(ns)).info


@case("random_tf_policy/mask")
def random_tf_mask(ns: Any) -> Any:
    spec = step_spec(ns, {"x": observation_spec(), "mask": tf.TensorSpec((3,), tf.int32)})
    policy = ns.random_tf_policy.RandomTFPolicy(
        spec, discrete(ns, 3, 5), observation_and_action_constraint_splitter=_split, emit_log_probability=True
    )
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.int32)
    return policy.action(time_step(ns, observation={"x": OBSERVATIONS, "mask": mask}))


@case("random_tf_policy/errors")
def random_tf_errors(ns: Any) -> Any:
    policy = ns.random_tf_policy.RandomTFPolicy(step_spec(ns), discrete(ns))
    spec = step_spec(ns, {"x": observation_spec(), "mask": tf.TensorSpec((3,), tf.int32)})

    def masked(action_spec: Any) -> Any:
        return outcome(
            lambda: (
                ns.random_tf_policy.RandomTFPolicy(
                    spec, action_spec, observation_and_action_constraint_splitter=_split
                ).name
            )
        )

    return {
        "distribution": outcome(lambda: policy.distribution(time_step(ns)).info),
        "mask_of_two_actions": masked([discrete(ns), discrete(ns)]),
        "mask_of_a_vector": masked(ns.tensor_spec.BoundedTensorSpec((2,), tf.int64, 0, 2)),
    }


@case("temporal_action_smoothing/sequence")
def smoothing(ns: Any) -> Any:
    inner = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns, -9.0, 9.0), linear_network(ns, _WIDE))
    policy = ns.temporal_action_smoothing.TemporalActionSmoothing(inner, smoothing_coefficient=0.75)
    state, steps = policy.get_initial_state(3), []
    for kinds in ((0, 0, 0), (1, 1, 2), (1, 2, 0)):
        step = policy.action(time_step(ns, kinds), state)
        state = step.state
        steps.append(step)
    return {"steps": steps, "spec": policy.policy_state_spec, "num_variables": len(policy.variables())}


def _informed(ns: Any) -> Any:
    note = {"note": tf.constant([1, 2, 3])}
    return _fixed(ns, emit_log_probability=False, policy_info=note, info_spec={"note": tf.TensorSpec((), tf.int32)})


@case("policy_info_updater_wrapper/info")
def info_updater(ns: Any) -> Any:
    inner = _informed(ns)

    def updater(step: Any) -> Any:
        del step
        return {"model": tf.fill([3], 7)}

    policy = ns.policy_info_updater_wrapper.PolicyInfoUpdaterWrapper(
        inner, {"model": tf.TensorSpec((), tf.int32, "model"), "note": tf.TensorSpec((), tf.int32)}, updater
    )
    return {"step": policy.action(time_step(ns)), "spec": policy.info_spec, "num_variables": len(policy.variables())}


@case("policy_info_updater_wrapper/errors")
def info_updater_errors(ns: Any) -> Any:
    inner = _informed(ns)
    spec = {"model": tf.TensorSpec((), tf.int32, "model")}

    def act(info: Any) -> Any:
        policy = ns.policy_info_updater_wrapper.PolicyInfoUpdaterWrapper(inner, spec, lambda step: info)
        return outcome(lambda: policy.action(time_step(ns)))

    return {"not_a_dict": act(tf.fill([3], 7)), "another_key": act({"other": tf.fill([3], 7)})}


@case("noise_policies/without_noise")
def noise(ns: Any) -> Any:
    inner = ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE), clip=False)
    gaussian = ns.gaussian_policy.GaussianPolicy(inner, scale=0.0)
    unclipped = ns.gaussian_policy.GaussianPolicy(inner, scale=0.0, clip=False)
    return {
        "gaussian": gaussian.action(time_step(ns), seed=1).action,
        "gaussian_unclipped": unclipped.action(time_step(ns), seed=1).action,
    }


@case("noise_policies/errors")
def noise_errors(ns: Any) -> Any:
    inner = ns.fixed_policy.FixedPolicy(1, step_spec(ns), discrete(ns))
    policy = ns.gaussian_policy.GaussianPolicy(
        ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE))
    )
    return {
        "gaussian_of_integers": outcome(lambda: ns.gaussian_policy.GaussianPolicy(inner).name),
        "ou_of_integers": outcome(lambda: ns.ou_noise_policy.OUNoisePolicy(inner).name),
        "distribution": outcome(lambda: policy.distribution(time_step(ns)).info),
    }
