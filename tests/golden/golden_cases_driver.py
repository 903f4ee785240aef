"""Golden cases: environments and PyDriver."""

from __future__ import annotations

from typing import Any

import numpy as np
from golden_registry import case, cases, outcome
from golden_toolkit import continuous, function_network


def _environment(ns: Any, length: int = 3, truncate: bool = False) -> Any:
    """Counts its steps; the reward is the action, an episode ends after ``length`` steps."""

    class Counting(ns.py_environment.PyEnvironment):
        def __init__(self) -> None:
            super().__init__()
            self._count = 0
            self._done = True

        def observation_spec(self) -> Any:
            return ns.array_spec.BoundedArraySpec((2,), np.float32, 0, 100, "observation")

        def action_spec(self) -> Any:
            return ns.array_spec.BoundedArraySpec((), np.float32, -1, 9, "action")

        def get_info(self) -> Any:
            return self._count

        def _observe(self) -> Any:
            return np.array([self._count, 2 * self._count], np.float32)

        def _reset(self) -> Any:
            self._count, self._done = 0, False
            return ns.time_step.restart(self._observe())

        def _step(self, action: Any) -> Any:
            if self._done:
                return self.reset()
            self._count += 1
            if self._count < length:
                return ns.time_step.transition(self._observe(), np.float32(action))
            self._done = True
            end = ns.time_step.truncation if truncate else ns.time_step.termination
            return end(self._observe(), np.float32(action))

    return Counting()


def _batched_environment(ns: Any) -> Any:
    """Two rows with episodes of two and of three steps."""

    class Rows(ns.py_environment.PyEnvironment):
        def __init__(self) -> None:
            super().__init__()
            self._lengths = np.array([2, 3])
            self._counts = np.zeros(2, np.int32)

        @property
        def batched(self) -> bool:
            return True

        @property
        def batch_size(self) -> int:
            return 2

        def observation_spec(self) -> Any:
            return ns.array_spec.ArraySpec((1,), np.float32, "observation")

        def action_spec(self) -> Any:
            return ns.array_spec.BoundedArraySpec((), np.float32, -1, 9, "action")

        def _observe(self) -> Any:
            return self._counts[:, np.newaxis].astype(np.float32)

        def _reset(self) -> Any:
            self._counts[:] = 0
            return ns.time_step.restart(self._observe(), batch_size=2)

        def _step(self, action: Any) -> Any:
            self._counts = np.where(self._counts == self._lengths, 0, self._counts + 1).astype(np.int32)
            first, last = self._counts == 0, self._counts == self._lengths
            return ns.time_step.TimeStep(
                np.where(first, 0, np.where(last, 2, 1)).astype(np.int32),
                np.where(first, 0.0, action).astype(np.float32),
                np.where(last, 0.0, 1.0).astype(np.float32),
                self._observe(),
            )

    return Rows()


def _policy(ns: Any) -> Any:
    """Acts by half the sum of what it has seen since the episode's beginning; the sum is its state, a batch of one."""

    class Summing(ns.py_policy.PyPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            total = policy_state + time_step.observation[..., 0]
            scalar = np.asarray(total).reshape(())
            return ns.policy_step.PolicyStep(np.float32(0.5) * scalar, total, {"total": scalar})

    array = ns.array_spec.ArraySpec
    return Summing(
        ns.time_step.time_step_spec(array((2,), np.float32)),
        array((), np.float32),
        policy_state_spec=array((), np.float32),
        info_spec={"total": array((), np.float32)},
    )


@case("py_environment/interface")
def environment(ns: Any) -> Any:
    made = _environment(ns)
    steps = [made.reset(), *(made.step(np.float32(i)) for i in range(5))]
    with made as entered:
        same = entered is made
    return {
        "steps": steps,
        "current": made.current_time_step(),
        "specs": [made.observation_spec(), made.action_spec(), made.reward_spec(), made.discount_spec()],
        "time_step_spec": made.time_step_spec(),
        "batched": [made.batched, made.batch_size],
        "same": same,
        "step_before_reset": _environment(ns).step(np.float32(1.0)),
        "seed": outcome(lambda: made.seed(1)),
        "render": outcome(made.render),
    }


@case("py_environment/handle_auto_reset")
def auto_reset(ns: Any) -> Any:
    class Once(type(_environment(ns))):
        def __init__(self) -> None:
            ns.py_environment.PyEnvironment.__init__(self, handle_auto_reset=True)
            self._count, self._done = 0, True

    made = Once()
    return [made.step(np.float32(1.0)).step_type for _ in range(6)]


_LIMITS: dict[str, tuple[dict[str, Any]]] = {
    "steps": ({"max_steps": 4},),
    "episodes": ({"max_episodes": 2},),
    "both": ({"max_steps": 100, "max_episodes": 1},),
    "until_last": ({"max_episodes": 1, "end_episode_on_boundary": False},),
}


def _run(ns: Any, env: Any, policy: Any, state: Any, **limits: Any) -> Any:
    seen: dict[str, list[Any]] = {"trajectories": [], "transitions": [], "infos": []}

    def observe_transition(transition: Any) -> None:
        seen["transitions"].append([item.step_type if hasattr(item, "step_type") else item for item in transition])

    observe_info = [] if env.batched else [seen["infos"].append]
    driver = ns.py_driver.PyDriver(
        env, policy, [seen["trajectories"].append], [observe_transition], observe_info, **limits
    )
    return {"end": driver.run(env.reset(), state), **seen}


@cases("py_driver", _LIMITS)
def driver(ns: Any, limits: dict[str, Any]) -> Any:
    policy = _policy(ns)
    return _run(ns, _environment(ns), policy, policy.get_initial_state(1), **limits)


def _totals_of_two_runs(ns: Any, **limits: Any) -> Any:
    totals: list[Any] = []
    policy = _policy(ns)
    env = _environment(ns)
    observers = [lambda item: totals.append(float(item.policy_info["total"]))]
    made = ns.py_driver.PyDriver(env, policy, observers, **limits)
    made.run(*made.run(env.reset(), policy.get_initial_state(1)))
    return totals


@case("py_driver/a_run_goes_on_where_the_last_one_ended")
def driver_goes_on(ns: Any) -> Any:
    return _totals_of_two_runs(ns, max_steps=2)


@case("py_driver/a_run_that_begins_an_episode_has_a_new_state")
def driver_new_state(ns: Any) -> Any:
    return _totals_of_two_runs(ns, max_episodes=1)


@case("py_driver/kind_of_a_transition")
def driver_transition(ns: Any) -> Any:
    kinds: list[str] = []
    policy, env = _policy(ns), _environment(ns)
    observers = [lambda item: kinds.append(type(item).__name__)]
    ns.py_driver.PyDriver(env, policy, [], observers, max_steps=1).run(env.reset(), policy.get_initial_state(1))
    return kinds


@case("py_driver/state_without_a_batch")
def driver_unbatched_state(ns: Any) -> Any:
    policy = _policy(ns)
    state = _run(ns, _environment(ns), policy, policy.get_initial_state(), max_episodes=2)["end"][1]
    return list(np.shape(state))


@case("py_driver/of_a_recurrent_eager_policy")
def driver_recurrent(ns: Any) -> Any:
    env = _environment(ns)

    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        total = state[0] + observation[..., 0]
        return 0.5 * total, [total]

    network = function_network(
        ns, call, ns.tensor_spec.from_spec(env.observation_spec()), [ns.tensor_spec.TensorSpec((), np.float32)]
    )
    step_spec = ns.tensor_spec.from_spec(env.time_step_spec())
    actor = ns.actor_policy.ActorPolicy(step_spec, continuous(ns, -1.0, 9.0, shape=()), network)
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(actor)
    run = _run(ns, env, policy, policy.get_initial_state(1), max_episodes=2)
    return {"end": run["end"], "actions": [item.action for item in run["trajectories"]]}


@case("py_driver/truncation")
def driver_truncation(ns: Any) -> Any:
    policy = _policy(ns)
    run = _run(ns, _environment(ns, 2, truncate=True), policy, policy.get_initial_state(1), max_episodes=1)
    return [[item.next_step_type, item.discount] for item in run["trajectories"]]


@cases("py_driver/batched", {"steps": ({"max_steps": 6},), "episodes": ({"max_episodes": 3},)})
def driver_batched(ns: Any, limits: dict[str, Any]) -> Any:
    class Constant(ns.py_policy.PyPolicy):
        def _action(self, time_step: Any, policy_state: Any, seed: Any = None) -> Any:
            return ns.policy_step.PolicyStep(np.array([1.0, 2.0], np.float32), policy_state, ())

    array = ns.array_spec.ArraySpec
    policy = Constant(ns.time_step.time_step_spec(array((1,), np.float32)), array((), np.float32))
    return _run(ns, _batched_environment(ns), policy, (), **limits)


@case("py_driver/of_an_eager_policy")
def driver_eager(ns: Any) -> Any:
    env = _environment(ns)

    def call(weights: Any, observation: Any, step_type: Any, state: Any) -> Any:
        return 0.25 * observation[..., 1], state

    spec = ns.tensor_spec.from_spec(env.observation_spec())
    actor = ns.actor_policy.ActorPolicy(
        ns.tensor_spec.from_spec(env.time_step_spec()),
        continuous(ns, -1.0, 9.0, shape=()),
        function_network(ns, call, spec),
    )
    policy = ns.py_tf_eager_policy.PyTFEagerPolicy(actor, use_tf_function=True)
    run = _run(ns, env, policy, policy.get_initial_state(1), max_steps=4)
    return [[item.step_type, item.observation, item.action, item.reward] for item in run["trajectories"]]


@case("py_driver/errors")
def driver_errors(ns: Any) -> Any:
    policy = _policy(ns)
    return {
        "no_limit": outcome(lambda: bool(ns.py_driver.PyDriver(_environment(ns), policy, []))),
        "zero": outcome(lambda: bool(ns.py_driver.PyDriver(_environment(ns), policy, [], max_steps=0))),
    }
