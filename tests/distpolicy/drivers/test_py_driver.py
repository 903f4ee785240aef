from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.drivers.py_driver import PyDriver
from distpolicy.environments.py_environment import PyEnvironment
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.trajectories.trajectory import Trajectory, Transition


class Rows(PyEnvironment):
    """Episodes of fixed lengths; the observation counts steps, the reward is the action."""

    def __init__(self, lengths: list[int] | int, handle_auto_reset: bool = False) -> None:
        super().__init__(handle_auto_reset)
        self._lengths = np.asarray(lengths)
        self._counts = np.zeros_like(self._lengths)
        self._resets_itself = not handle_auto_reset

    @property
    def batched(self) -> bool:
        return self._lengths.ndim == 1

    @property
    def batch_size(self) -> int | None:
        return len(self._lengths) if self.batched else None

    def observation_spec(self) -> Any:
        return BoundedArraySpec((3,), np.float32, -10.0, 10.0)

    def action_spec(self) -> Any:
        return ArraySpec((), np.float32)

    def get_info(self) -> Any:
        return self._counts.copy()

    def _observe(self) -> np.ndarray:
        return np.repeat(self._counts[..., np.newaxis], 3, axis=-1).astype(np.float32)

    def _reset(self) -> TimeStep:
        self._counts = np.zeros_like(self._lengths)
        return ts.restart(self._observe(), self.batch_size)

    def _step(self, action: Any) -> TimeStep:
        ended = (self._counts == self._lengths) & self._resets_itself
        self._counts = np.where(ended, 0, self._counts + 1)
        last = self._counts == self._lengths
        return TimeStep(
            np.where(ended, 0, np.where(last, 2, 1)).astype(np.int32),
            np.where(ended, 0.0, action).astype(np.float32),
            np.where(last, 0.0, 1.0).astype(np.float32),
            self._observe(),
        )


class Counter(PyPolicy):
    """Counts from 7 on in its state, and acts by what it counted."""

    def __init__(self, env: PyEnvironment) -> None:
        super().__init__(env.time_step_spec(), env.action_spec(), {"count": ArraySpec((), np.int32)})

    def _get_initial_state(self, batch_size: int | None) -> Any:
        return {"count": np.full(() if batch_size is None else batch_size, 7, np.int32)}

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        count = policy_state["count"]
        return PolicyStep(np.asarray(count, np.float32), {"count": count + 1}, ())


class Log:
    """What the observers of a driver were told."""

    def __init__(self, env: PyEnvironment, policy: PyPolicy, **limits: Any) -> None:
        self.trajectories: list[Trajectory] = []
        self.transitions: list[Transition] = []
        self.infos: list[Any] = []
        observers = ([self.trajectories.append], [self.transitions.append], [self.infos.append])
        self.driver = PyDriver(env, policy, *observers, **limits)

    def kinds(self) -> list[list[Any]]:
        """Step type and next step type of each trajectory."""
        return [[np.asarray(item.step_type).tolist(), item.next_step_type.tolist()] for item in self.trajectories]

    def counts(self) -> list[Any]:
        """The state that each transition began with."""
        return [np.asarray(item.action_step.state["count"]).tolist() for item in self.transitions]


def _run(env: PyEnvironment, num_runs: int = 1, **limits: Any) -> tuple[Log, TimeStep, Any]:
    policy = Counter(env)
    log = Log(env, policy, **limits)
    at = env.reset(), policy.get_initial_state(env.batch_size)
    for _ in range(num_runs):
        at = log.driver.run(*at)
    return log, *at


EPISODE = [[0, 1], [1, 2], [2, 0]]


@pytest.mark.parametrize(
    ("limits", "kinds"),
    [
        ({"max_steps": 3}, [*EPISODE, [0, 1]]),
        ({"max_steps": 2}, EPISODE[:2]),
        ({"max_episodes": 2}, EPISODE * 2),
        ({"max_episodes": 2, "end_episode_on_boundary": False}, [*EPISODE, *EPISODE[:2]]),
        ({"max_steps": 100, "max_episodes": 1}, EPISODE),
        ({"max_steps": 1, "max_episodes": 5}, EPISODE[:1]),
        ({"max_steps": 0, "max_episodes": 1}, EPISODE),
    ],
)
@pytest.mark.parametrize("handle_auto_reset", [False, True])
def test_run_ends_at_its_limit(limits: dict[str, Any], kinds: list[Any], handle_auto_reset: bool) -> None:
    log, time_step, _ = _run(Rows(2, handle_auto_reset), **limits)
    assert log.kinds() == kinds
    assert int(time_step.step_type) == kinds[-1][1]


def test_boundary_between_episodes_is_observed_and_not_counted() -> None:
    log, _, _ = _run(Rows(2), num_runs=5, max_steps=1)
    assert log.kinds() == [*EPISODE, *EPISODE, [0, 1]]


def test_runs_go_on_where_the_last_one_ended() -> None:
    pieces, _, _ = _run(Rows(3), num_runs=4, max_steps=2)
    whole, _, _ = _run(Rows(3), max_steps=8)
    assert pieces.kinds() == whole.kinds()
    assert pieces.counts() == whole.counts()


def test_observers_are_told_the_same_step() -> None:
    log, _, _ = _run(Rows(2), max_episodes=1)
    for trajectory, transition, info in zip(log.trajectories, log.transitions, log.infos, strict=True):
        time_step, action_step, next_time_step = transition
        assert isinstance(transition, Transition)
        np.testing.assert_array_equal(trajectory.observation, time_step.observation)
        np.testing.assert_array_equal(trajectory.action, action_step.action)
        np.testing.assert_array_equal(trajectory.reward, next_time_step.reward)
        np.testing.assert_array_equal(trajectory.discount, next_time_step.discount)
        np.testing.assert_array_equal(info, next_time_step.observation[0])
    assert [float(item.discount) for item in log.trajectories] == [1.0, 0.0, 1.0]


def test_state_of_an_episode_begins_anew_in_every_run() -> None:
    log, _, state = _run(Rows(2), max_episodes=2)
    assert log.counts() == [7, 8, 9, 7, 8, 9]
    assert int(state["count"]) == 10
    log, _, _ = _run(Rows(2), num_runs=2, max_episodes=1)
    assert log.counts() == [7, 8, 9, 7, 8, 9]


def test_state_of_each_row_begins_anew_where_its_episode_does() -> None:
    log, _, _ = _run(Rows([1, 2, 3]), max_steps=12)
    counts, step_types = np.array(log.counts()), np.array([item.step_type for item in log.trajectories])
    assert (step_types == 0).sum() > 4
    expected = np.zeros_like(counts)
    for index, kinds in enumerate(step_types):
        expected[index] = np.where(kinds == 0, 7, expected[index - 1] + 1)
    np.testing.assert_array_equal(counts, expected)


def test_rows_of_a_batch_are_counted_together() -> None:
    log, _, _ = _run(Rows([1, 3]), max_steps=5)
    assert [item.step_type.tolist() for item in log.trajectories] == [[0, 0], [2, 1], [0, 1]]
    log, _, _ = _run(Rows([1, 3]), max_episodes=2)
    assert [item.step_type.tolist() for item in log.trajectories] == [[0, 0], [2, 1], [0, 1], [2, 2]]
    log, _, _ = _run(Rows([1, 3]), max_episodes=2, end_episode_on_boundary=False)
    assert [item.next_step_type.tolist() for item in log.trajectories] == [[2, 1], [0, 1], [2, 2]]


def test_batch_of_one_that_the_caller_keeps_stays_one() -> None:
    env = Rows(2)
    policy = Counter(env)
    log = Log(env, policy, max_episodes=2)
    log.driver.run(env.reset(), policy.get_initial_state(1))
    assert log.counts() == [[7], [8], [9]] * 2


def test_policy_over_tensors_has_its_rows_reset(make_recurrent_policy: Any) -> None:
    policy: ActorPolicy = make_recurrent_policy(clip=False)
    # So that it is the driver that resets.
    policy._automatic_state_reset = False
    eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False)
    env = Rows([1, 2])
    states = []
    driver = PyDriver(env, eager, [], [lambda item: states.append(item.action_step.state["steps"])], max_steps=6)
    env.action_spec = lambda: ArraySpec((3,), np.float32)  # type: ignore[method-assign]
    env._step = (lambda step: lambda action: step(action[:, 0]))(env._step)  # type: ignore[method-assign]
    driver.run(env.reset(), eager.get_initial_state(2))
    assert all(tf.is_tensor(item) for item in states)
    np.testing.assert_array_equal(np.stack(states), [[0, 0], [1, 1], [0, 2], [1, 0], [0, 1]])


def test_environment_that_stays_at_last_is_an_error() -> None:
    class Stuck(Rows):
        def _step(self, action: Any) -> TimeStep:
            step = super()._step(action)
            return step._replace(step_type=np.full_like(step.step_type, 2))

    with pytest.raises(RuntimeError, match=r"Stuck stays at LAST.*handle_auto_reset"):
        _run(Stuck(2), max_steps=5)


@pytest.mark.parametrize("limits", [{}, {"max_steps": 0}, {"max_steps": None, "max_episodes": 0}])
def test_driver_without_a_limit_is_refused(limits: dict[str, Any]) -> None:
    env = Rows(2)
    with pytest.raises(ValueError, match="max_steps or max_episodes"):
        PyDriver(env, Counter(env), [], **limits)


def test_driver_tells_what_it_was_given() -> None:
    env = Rows(2)
    policy, observer = Counter(env), print
    driver = PyDriver(env, policy, [observer], max_steps=1)
    assert (driver.env, driver.policy) == (env, policy)
    assert (driver.observers, driver.transition_observers, driver.info_observers) == ([observer], [], [])
