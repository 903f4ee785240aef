"""Golden cases: policies over NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from golden_registry import case, cases, outcome
from golden_toolkit import OBSERVATIONS, continuous, discrete, function_network, linear_network, step_spec, time_step

_WIDE = [[2.0, 0.0], [0.0, 2.0]]


def _array_step_spec(ns: Any, observation: Any = None) -> Any:
    return ns.time_step.time_step_spec(
        ns.array_spec.ArraySpec((2,), np.float32, "observation") if observation is None else observation
    )


def _action_spec(ns: Any) -> Any:
    return {
        "a": ns.array_spec.BoundedArraySpec((2,), np.float32, [-1.0, 5.0], [0.0, 6.0], "a"),
        "b": [ns.array_spec.BoundedArraySpec((), np.int64, 4, 6, "b")],
    }


def _step(ns: Any, observation: Any = None) -> Any:
    return ns.time_step.restart(OBSERVATIONS[0] if observation is None else observation)


def _facts(action: Any) -> Any:
    a, b = action["a"], action["b"][0]
    return {
        "shapes": [list(a.shape), list(np.shape(b))],
        "dtypes": [a.dtype, b.dtype],
        "within": bool(np.all((a >= [-1.0, 5.0]) & (a <= [0.0, 6.0])) and np.all((b >= 4) & (b <= 6))),
    }


@case("random_py_policy/specs")
def random_py(ns: Any) -> Any:
    make = ns.random_py_policy.RandomPyPolicy
    info_spec = {"x": ns.array_spec.BoundedArraySpec((3,), np.float32, 0, 1)}
    policy = make(_array_step_spec(ns), _action_spec(ns), info_spec=info_spec, seed=1)
    step = policy.action(_step(ns))
    batch = ns.time_step.restart(OBSERVATIONS, batch_size=3)
    batched = policy.action(batch)
    fixed = make(_array_step_spec(ns), _action_spec(ns), seed=1, outer_dims=(4, 5)).action(_step(ns))
    return {
        "one": _facts(step.action),
        "batch": _facts(batched.action),
        "outer_dims": _facts(fixed.action),
        "state": step.state,
        "info": [list(step.info["x"].shape), list(batched.info["x"].shape), step.info["x"].dtype],
        "kinds": [type(step.action["a"]).__name__],
        "specs": [policy.time_step_spec, policy.action_spec, policy.policy_state_spec, policy.info_spec],
        "state_passes": policy.action(_step(ns), np.array(3)).state,
        "initial_state": policy.get_initial_state(),
    }


@case("random_py_policy/same_seed_same_actions")
def random_py_seed(ns: Any) -> Any:
    def actions() -> Any:
        policy = ns.random_py_policy.RandomPyPolicy(_array_step_spec(ns), _action_spec(ns), seed=3)
        return [policy.action(_step(ns)).action["a"] for _ in range(3)]

    return all(np.array_equal(one, two) for one, two in zip(actions(), actions(), strict=True))


@case("random_py_policy/no_time_step_spec")
def random_py_no_spec(ns: Any) -> Any:
    policy = ns.random_py_policy.RandomPyPolicy(None, _action_spec(ns), outer_dims=(2,))
    step = ns.time_step.TimeStep(np.zeros(2, np.int32), np.zeros(2, np.float32), np.ones(2, np.float32), ())
    return _facts(policy.action(step).action)


def _split(observation: Any) -> tuple[Any, Any]:
    return observation["x"], observation["mask"]


def _masked(ns: Any, action_spec: Any) -> Any:
    observation = {
        "x": ns.array_spec.ArraySpec((2,), np.float32),
        "mask": ns.array_spec.ArraySpec((3,), np.int32),
    }
    return ns.random_py_policy.RandomPyPolicy(
        _array_step_spec(ns, observation), action_spec, seed=1, observation_and_action_constraint_splitter=_split
    )


@case("random_py_policy/mask")
def random_py_mask(ns: Any) -> Any:
    policy = _masked(ns, ns.array_spec.BoundedArraySpec((), np.int32, 5, 7))
    one = {"x": OBSERVATIONS[0], "mask": np.array([0, 1, 0], np.int32)}
    batch = {"x": OBSERVATIONS, "mask": np.eye(3, dtype=np.int32)}
    action = policy.action(ns.time_step.restart(one)).action
    actions = policy.action(ns.time_step.restart(batch, batch_size=3)).action
    return {
        "one": [int(action), list(np.shape(action)), tf.as_dtype(action.dtype)],
        "batch": [np.asarray(actions).tolist(), tf.as_dtype(actions.dtype)],
    }


@case("random_py_policy/masked_actions_are_arrays")
def random_py_mask_kind(ns: Any) -> Any:
    policy = _masked(ns, ns.array_spec.BoundedArraySpec((), np.int32, 0, 2))
    action = policy.action(ns.time_step.restart({"x": OBSERVATIONS[0], "mask": np.array([0, 1, 0], np.int32)})).action
    return isinstance(action, np.ndarray | np.generic)


@case("random_py_policy/mask_of_zeros")
def random_py_mask_zeros(ns: Any) -> Any:
    policy = _masked(ns, ns.array_spec.BoundedArraySpec((), np.int32, 0, 2))
    step = ns.time_step.restart({"x": OBSERVATIONS[0], "mask": np.zeros(3, np.int32)})
    return outcome(lambda: list(np.shape(policy.action(step).action)))


@case("random_py_policy/errors")
def random_py_errors(ns: Any) -> Any:
    bounded = ns.array_spec.BoundedArraySpec
    return {
        "mask_of_two_actions": outcome(
            lambda: bool(_masked(ns, [bounded((), np.int32, 0, 2), bounded((), np.int32, 0, 2)]))
        ),
        "mask_of_a_vector": outcome(lambda: bool(_masked(ns, bounded((2,), np.int32, 0, 2)))),
        "mask_of_one_element": outcome(lambda: bool(_masked(ns, bounded((1,), np.int32, 0, 2)))),
    }


@case("random_py_policy/per_element_integer_bounds_of_a_batch")
def random_py_per_element(ns: Any) -> Any:
    spec = ns.array_spec.BoundedArraySpec((2,), np.int32, [0, 10], [1, 11])
    policy = ns.random_py_policy.RandomPyPolicy(_array_step_spec(ns), spec, seed=1)
    step = ns.time_step.restart(OBSERVATIONS, batch_size=3)
    return outcome(lambda: list(policy.action(step).action.shape))


@case("scripted_py_policy/sequence")
def scripted(ns: Any) -> Any:
    spec = {
        "a": ns.array_spec.BoundedArraySpec((2,), np.int32, 0, 9),
        "b": ns.array_spec.ArraySpec((), np.float32),
    }
    script = [(1, {"a": [5, 2], "b": 0.5}), (0, {"a": [9, 9], "b": 9.0}), (2, {"a": [1, 3], "b": -1.0})]
    policy = ns.scripted_py_policy.ScriptedPyPolicy(_array_step_spec(ns), spec, script)
    state, steps = policy.get_initial_state(), []
    for _ in range(3):
        step = policy.action(_step(ns), state)
        state = step.state
        steps.append(step)

    def outside() -> Any:
        policy = ns.scripted_py_policy.ScriptedPyPolicy(_array_step_spec(ns), spec, [(1, {"a": [50, 2], "b": 0.5})])
        return policy.action(_step(ns), policy.get_initial_state())

    return {
        "steps": steps,
        "after_the_end": outcome(lambda: policy.action(_step(ns), state)),
        "outside_the_spec": outcome(outside),
    }


def _py_policy(ns: Any, **arguments: Any) -> Any:
    class Doubling(ns.py_policy.PyPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            return ns.policy_step.PolicyStep(2 * time_step.observation, policy_state, {"seed": seed})

    spec = ns.array_spec.BoundedArraySpec((2,), np.float32, -1, 1, "action")
    return Doubling(_array_step_spec(ns), spec, **arguments)


@case("py_policy/interface")
def py_policy(ns: Any) -> Any:
    array = ns.array_spec.ArraySpec
    policy = _py_policy(ns, policy_state_spec=[array((3,), np.float32, "s")], info_spec={"seed": array((), np.int32)})
    state = policy.get_initial_state()
    return {
        "state": state,
        "batch_state": policy.get_initial_state(batch_size=2),
        "step": policy.action(_step(ns), state),
        "seed": policy.action(_step(ns), state, seed=5).info,
        "specs": policy.policy_step_spec,
        "trajectory": policy.trajectory_spec,
        "collect_data": policy.collect_data_spec,
        "splitter": policy.observation_and_action_constraint_splitter,
        "stateless": _py_policy(ns).get_initial_state(3),
    }


@case("py_policy/tensor_specs_are_converted")
def py_policy_specs(ns: Any) -> Any:
    class Idle(ns.py_policy.PyPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            raise NotImplementedError

    policy = Idle(step_spec(ns), [discrete(ns)])
    return [policy.time_step_spec, policy.action_spec]


@cases("batched_py_policy/actions", {"threads": (True,), "one_thread": (False,)})
def batched(ns: Any, multithreading: bool) -> Any:
    class Scaling(ns.py_policy.PyPolicy):
        def __init__(self, scale: float) -> None:
            array = ns.array_spec.ArraySpec
            super().__init__(
                _array_step_spec(ns), array((2,), np.float32), [array((), np.float32)], array((), np.float32)
            )
            self._scale = np.float32(scale)

        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            return ns.policy_step.PolicyStep(
                self._scale * time_step.observation, [policy_state[0] + np.float32(1.0)], self._scale
            )

    make = ns.batched_py_policy.BatchedPyPolicy
    policy = make([Scaling(1.0), Scaling(2.0), Scaling(3.0)], multithreading=multithreading)
    step = policy.action(ns.time_step.restart(OBSERVATIONS, batch_size=3), [np.array([4.0, 5.0, 6.0], np.float32)])
    return {
        "step": step,
        "action_spec": policy.action_spec,
        "initial_state": outcome(lambda: policy.get_initial_state(3)),
    }


def _actor(ns: Any) -> Any:
    return ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), linear_network(ns, _WIDE))


def _arrays(step: Any) -> Any:
    return tf.nest.map_structure(lambda leaf: leaf.numpy(), step)


@cases("py_tf_eager_policy/batch_time_steps", {"eager": (False,), "function": (True,)})
def eager_one(ns: Any, use_tf_function: bool) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_actor(ns), use_tf_function=use_tf_function)
    step = policy.action(_step(ns))
    return {"step": step, "specs": [policy.time_step_spec, policy.action_spec, policy.info_spec]}


@cases("py_tf_eager_policy/batches", {"eager": (False,), "function": (True,)})
def eager_batch(ns: Any, use_tf_function: bool) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_actor(ns), use_tf_function=use_tf_function, batch_time_steps=False)
    return np.asarray(policy.action(_arrays(time_step(ns))).action)


@case("py_tf_eager_policy/kind_of_a_batch")
def eager_batch_kind(ns: Any) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_actor(ns), batch_time_steps=False)
    return "array" if isinstance(policy.action(_arrays(time_step(ns))).action, np.ndarray) else "tensor"


def _recurrent(ns: Any) -> Any:
    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        total = weights[0] * state[0] + observation
        return total, [total]

    network = function_network(ns, call, state_spec=[tf.TensorSpec((2,), tf.float32)], weights=[0.5])
    return ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns, -99.0, 99.0), network)


@cases("py_tf_eager_policy/recurrent", {"eager": (False,), "function": (True,)})
def eager_recurrent(ns: Any, use_tf_function: bool) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_recurrent(ns), use_tf_function=use_tf_function)
    state, steps = policy.get_initial_state(1), []
    for index, observation in enumerate(OBSERVATIONS):
        made = _step(ns, observation) if index != 1 else ns.time_step.transition(observation, np.float32(1.0))
        step = policy.action(made, state)
        state = step.state
        steps.append(step)
    return {"steps": steps, "initial": policy.get_initial_state(1)}


@case("py_tf_eager_policy/initial_state_without_a_batch_size")
def eager_initial_state(ns: Any) -> Any:
    return ns.py_tf_eager_policy.PyTFEagerPolicy(_recurrent(ns)).get_initial_state()


@case("py_tf_eager_policy/variables")
def eager_variables(ns: Any) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_actor(ns))
    return [policy.variables(), type(policy.variables()[0]).__name__]


@case("py_tf_eager_policy/weights_are_shared")
def eager_shared(ns: Any) -> Any:
    actor = _actor(ns)
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(actor, use_tf_function=True)
    before = policy.action(_step(ns)).action
    actor.variables()[0].assign([[0.25, 0.0], [0.0, 0.125]])
    return [before, policy.action(_step(ns)).action]


@case("py_tf_eager_policy/base")
def eager_base(ns: Any) -> Any:
    specs = (_array_step_spec(ns), ns.array_spec.BoundedArraySpec((2,), np.float32, -1, 1, "action"), (), ())
    policy = ns.py_tf_eager_policy.PyTFEagerPolicyBase(_actor(ns), *specs, use_tf_function=True, batch_time_steps=True)
    return {
        "step": policy.action(_step(ns)),
        "specs": [policy.time_step_spec, policy.action_spec, policy.policy_state_spec, policy.info_spec],
        "kinds": issubclass(ns.py_tf_eager_policy.PyTFEagerPolicy, ns.py_tf_eager_policy.PyTFEagerPolicyBase),
        "is_py_policy": isinstance(policy, ns.py_policy.PyPolicy),
    }


@case("py_tf_eager_policy/update")
def eager_update(ns: Any) -> Any:
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(_actor(ns))

    def update() -> Any:
        source = _actor(ns)
        source.variables()[0].assign([[0.25, 0.0], [0.0, 0.125]])
        policy.update(source)
        return list(policy.variables())

    return outcome(update)
