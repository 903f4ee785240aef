"""Collectors whose slots are stepped in two groups, beside the same ones in one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from toy_envs import CRASHING, STREAM, StreamEnv
from toy_policies import empty_weights, kept, rollout_bytes, scripted_pair

from distpolicy.errors import ConfigError, EnvironmentCrashedError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.nests.array_nest import flatten
from workers.collection.collector import Collector, CollectorConfig, PolicyFactory, PolicyPair
from workers.collection.seeding import slot_seeds
from workers.environments.factory import EnvironmentFactory
from workers.inference.policy_source import PolicySource
from workers.restart_budget import RestartBudgetConfig

NUM_SLOTS, NUM_STEPS, FIRST_SLOT, SEED = 5, 9, 3, 7
# Of the five slots three are in the first group.
SECOND_GROUP_ROW = 4
CARTPOLE = EnvironmentFactory("CartPole-v1", "sync")


def make(
    num_groups: int, factory: EnvironmentFactory, policy_factory: PolicyFactory, num_slots: int = NUM_SLOTS
) -> Collector:
    config = CollectorConfig(2, FIRST_SLOT, num_slots, NUM_STEPS, SEED, num_groups=num_groups)
    return Collector(config, factory, policy_factory)


def collect(
    num_groups: int, factory: EnvironmentFactory, policy_factory: PolicyFactory, num_rollouts: int = 4
) -> tuple[list[Any], list[Any], list[Any]]:
    """Rollouts, where they were cut, and their reports."""
    collector = make(num_groups, factory, policy_factory)
    rollouts, cuts, reports = [], [], []
    try:
        for _ in range(num_rollouts):
            rollout, report = collector.rollout()
            rollouts.append(kept(rollout))
            cuts.append(rollout.cuts.tolist())
            reports.append(report)
    finally:
        collector.close()
    return rollouts, cuts, reports


def actor(inference: Any, recurrent: bool = False) -> PolicyFactory:
    """A policy of a seeded network."""

    def factory(time_step_spec: TimeStep, action_spec: Any) -> PolicyPair:
        specs = time_step_spec.observation, action_spec
        if recurrent:
            network: Any = ActorDistributionRnnNetwork(*specs, input_fc_layer_params=(4,), lstm_size=(4,), seed=0)
        else:
            network = ActorDistributionNetwork(*specs, fc_layer_params=(8,), seed=0)
        policy = ActorPolicy(time_step_spec, action_spec, network)
        eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False, inference=inference)
        return PolicyPair(eager, eager)

    return factory


def told(report: Any) -> list[Any]:
    """What a report says of episodes and steps."""
    return [report.num_env_steps, report.episode_returns, report.episode_lengths, report.episode_ends]


@pytest.mark.parametrize(
    ("factory", "policy"),
    [
        (CARTPOLE, PolicySource("random")),
        (CARTPOLE, PolicySource("fixed:1")),
        (CARTPOLE, actor("litert")),
        (CARTPOLE, actor("litert", recurrent=True)),
        (EnvironmentFactory(STREAM, "sync"), PolicySource("random")),
        (EnvironmentFactory(STREAM, "async"), PolicySource("random")),
    ],
    ids=["random", "fixed", "litert", "recurrent", "stream-sync", "stream-async"],
)
def test_two_groups_collect_the_same_bytes_as_one(factory: EnvironmentFactory, policy: PolicyFactory) -> None:
    (one, _, one_reports), (two, _, two_reports) = (collect(groups, factory, policy) for groups in (1, 2))
    assert [rollout_bytes(rollout) for rollout in two] == [rollout_bytes(rollout) for rollout in one]
    assert [told(report) for report in two_reports] == [told(report) for report in one_reports]
    assert any(report.episode_ends for report in one_reports)


def test_two_groups_collect_the_same_as_one_by_tensorflow() -> None:
    (one, _, _), (two, _, _) = (collect(groups, CARTPOLE, actor("tf")) for groups in (1, 2))
    for left, right in zip(one, two, strict=True):
        for expected, found in zip(flatten(left), flatten(right), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("row", [1, SECOND_GROUP_ROW])
def test_faults_and_cuts_are_those_of_the_whole_collector(row: int) -> None:
    seed = slot_seeds(SEED, FIRST_SLOT, NUM_SLOTS, generation=0).environment[row]
    kwargs = {"fault": "step", "after": 3, "seed": seed}
    factory = EnvironmentFactory("toy_envs:FaultyEnv", "sync", kwargs, restarts=RestartBudgetConfig(backoff_s=0.0))
    (one, one_cuts, one_reports), (two, two_cuts, two_reports) = (
        collect(groups, factory, PolicySource("random")) for groups in (1, 2)
    )
    assert [rollout_bytes(rollout) for rollout in two] == [rollout_bytes(rollout) for rollout in one]
    assert two_cuts == one_cuts
    assert np.argwhere(two_cuts[0]).tolist() == [[row, 2]]
    assert not np.any(two_cuts[1:])
    faults = [report.faults for report in two_reports]
    assert faults == [report.faults for report in one_reports]
    assert [(fault.slot, fault.step) for fault in faults[0]] == [(FIRST_SLOT + row, 2)]


def test_faults_of_both_groups_are_told_in_order_of_their_steps() -> None:
    kwargs = {"fault": "step", "after": 3, "length": 4}
    factory = EnvironmentFactory("toy_envs:FaultyEnv", "sync", kwargs, restarts=RestartBudgetConfig(backoff_s=0.0))
    _, _, (report,) = collect(2, factory, PolicySource("random"), num_rollouts=1)
    assert len({fault.slot for fault in report.faults}) == NUM_SLOTS
    assert [fault.step for fault in report.faults] == sorted(fault.step for fault in report.faults)
    assert len({fault.step for fault in report.faults}) > 1


@pytest.mark.parametrize(("fault", "text"), [("step", "raised OSError in step"), ("observation", "NaN or infinity")])
@pytest.mark.parametrize("row", [1, SECOND_GROUP_ROW])
def test_an_error_tells_slot_step_and_seed_of_the_whole_collector(row: int, fault: str, text: str) -> None:
    seed = slot_seeds(SEED, FIRST_SLOT, NUM_SLOTS, generation=0).environment[row]
    kwargs = {"seed": seed, "fault": fault, "call": 2}
    factory = EnvironmentFactory(CRASHING, "sync", kwargs, restarts=RestartBudgetConfig(max_restarts=0))
    with pytest.raises(EnvironmentCrashedError, match=text) as caught:
        collect(2, factory, scripted_pair)
    error = caught.value
    assert (error.collector, error.slot, error.step, error.seed) == (2, FIRST_SLOT + row, 1, seed)


class WatchedPolicy(PyPolicy):
    """Always acts 0.

    Args:
        time_step_spec: As for any policy.
        action_spec: Likewise.
        before: Called in each call with its number of rows.
    """

    def __init__(self, time_step_spec: TimeStep, action_spec: Any, before: Callable[[int], None]) -> None:
        super().__init__(time_step_spec, action_spec)
        self._before = before

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        num_rows = len(time_step.step_type)
        self._before(num_rows)
        return PolicyStep(np.zeros(num_rows, np.int64), policy_state, ())


def watched(before: Callable[[int], None]) -> PolicyFactory:
    def factory(*specs: Any) -> PolicyPair:
        policy = WatchedPolicy(*specs, before)
        return PolicyPair(policy, policy)

    return factory


@pytest.mark.parametrize("refused_rows", [3, 2])
def test_an_error_of_the_policy_reaches_the_caller_from_either_group(refused_rows: int) -> None:
    def refuse(num_rows: int) -> None:
        if num_rows == refused_rows:
            raise ValueError("no such action")

    collector = make(2, EnvironmentFactory(STREAM), watched(refuse))
    with pytest.raises(ValueError, match="no such action"):
        collector.rollout()
    collector.close()


def test_the_policy_is_called_by_one_group_at_a_time() -> None:
    under_way = threading.Lock()
    calls = []

    def call(num_rows: int) -> None:
        assert under_way.acquire(blocking=False)
        threading.Event().wait(0.001)  # lets the other group come
        calls.append(num_rows)
        under_way.release()

    collector = make(2, EnvironmentFactory(STREAM), watched(call))
    collector.rollout()
    collector.close()
    assert sorted(calls) == [2] * NUM_STEPS + [3] * NUM_STEPS


class MeetingEnv(StreamEnv):
    """Its first step waits until the test's policy is called for the second group."""

    met: threading.Event

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self._calls == 0:
            assert MeetingEnv.met.wait(10.0)
        return super().step(action)


def test_the_policy_acts_for_one_group_while_the_other_is_stepped() -> None:
    MeetingEnv.met = threading.Event()
    rebuilds = RestartBudgetConfig(max_restarts=0)
    factory = EnvironmentFactory("test_collector_groups:MeetingEnv", "sync", restarts=rebuilds)
    collector = make(2, factory, watched(lambda num_rows: MeetingEnv.met.set() if num_rows == 2 else None))
    # The first group's envs wait for the second group's first action; without overlap it never comes, and they fail.
    collector.rollout()
    collector.close()


class HomeEnv(StreamEnv):
    """Notes the thread of every call, from its making to its end."""

    threads: list[set[int]]

    def __init__(self) -> None:
        super().__init__()
        self._threads = {threading.get_ident()}
        HomeEnv.threads.append(self._threads)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self._threads.add(threading.get_ident())
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._threads.add(threading.get_ident())
        return super().step(action)

    def close(self) -> None:
        self._threads.add(threading.get_ident())
        super().close()


def test_an_env_stays_in_the_thread_that_made_it() -> None:
    HomeEnv.threads = []
    collect(2, EnvironmentFactory("test_collector_groups:HomeEnv", "sync"), PolicySource("random"), num_rollouts=2)
    assert [len(threads) for threads in HomeEnv.threads] == [1] * NUM_SLOTS
    assert len(set.union(*HomeEnv.threads)) == 2


def group_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("env-group")}


def test_close_ends_the_thread_and_one_group_has_none() -> None:
    before = group_threads()
    one = make(1, EnvironmentFactory(STREAM), scripted_pair)
    one.rollout(empty_weights())
    assert group_threads() == before
    two = make(2, EnvironmentFactory(STREAM), scripted_pair)
    two.rollout(empty_weights())
    assert len(group_threads() - before) == 1
    two.close()
    assert group_threads() == before
    two.close()
    one.close()


def test_an_env_that_cannot_be_made_is_refused_whatever_the_group() -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        make(2, EnvironmentFactory("test_collector_groups:UnmakableEnv", "sync"), scripted_pair)


class UnmakableEnv(StreamEnv):
    """Can only be made in the first thread."""

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("only in the first thread")
        super().__init__()


@pytest.mark.parametrize("num_groups", [1, 2])
def test_steps_begun_counts_the_steps_of_each_group(num_groups: int) -> None:
    collector = make(num_groups, EnvironmentFactory(STREAM), scripted_pair)
    counts = [collector.steps_begun]
    for version in range(2):
        collector.rollout(empty_weights(version))
        counts.append(collector.steps_begun)
    collector.close()
    assert counts == [0, num_groups * NUM_STEPS, 2 * num_groups * NUM_STEPS]


def test_steps_begun_counts_the_step_that_fails() -> None:
    seed = slot_seeds(SEED, FIRST_SLOT, 1, generation=0).environment[0]
    kwargs = {"seed": seed, "fault": "step", "call": 3}
    factory = EnvironmentFactory(CRASHING, "sync", kwargs, restarts=RestartBudgetConfig(max_restarts=0))
    collector = make(1, factory, scripted_pair)
    with pytest.raises(EnvironmentCrashedError):
        collector.rollout(empty_weights())
    assert collector.steps_begun == 3


class WaitingEnv(StreamEnv):
    """Takes its time."""

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        time.sleep(0.003)
        return super().step(action)


def test_times_of_two_groups_that_overlap_are_shares_of_the_whole() -> None:
    factory = EnvironmentFactory("test_collector_groups:WaitingEnv", "sync")
    _, _, (report,) = collect(2, factory, PolicySource("random"), num_rollouts=1)
    assert report.env_s > 0
    assert report.policy_s > 0
    assert report.env_s + report.policy_s <= report.total_s


def test_a_vectorised_form_is_made_once_for_each_group() -> None:
    factory = EnvironmentFactory("CartPole-v1", "vector_entry_point")
    (rollout, *_), _, _ = collect(2, factory, PolicySource("random"), num_rollouts=1)
    seeds = slot_seeds(SEED, FIRST_SLOT, NUM_SLOTS, generation=0).environment
    for rows in (slice(0, 3), slice(3, 5)):
        env = gym.make_vec("CartPole-v1", num_envs=rows.stop - rows.start, vectorization_mode="vector_entry_point")
        expected, _ = env.reset(seed=seeds[rows.start])
        np.testing.assert_array_equal(rollout.observation[rows, 0], expected)


@pytest.mark.parametrize(
    ("num_slots", "num_groups", "text"),
    [(4, 0, "num_groups must be 1 or 2"), (4, 3, "num_groups must be 1 or 2"), (1, 2, "2 groups need a slot each")],
)
def test_groups_that_cannot_be_are_refused(num_slots: int, num_groups: int, text: str) -> None:
    with pytest.raises(ConfigError, match=f"collector 4: .*{text}"):
        CollectorConfig(4, 0, num_slots, 1, 0, num_groups=num_groups)


@pytest.mark.parametrize("num_groups", [1, 2])
def test_a_rollout_says_which_step_of_its_slots_it_begins_with(num_groups: int) -> None:
    rollouts, _, _ = collect(num_groups, CARTPOLE, PolicySource("random"), 3)
    for number, rollout in enumerate(rollouts):
        assert rollout.first_step.tolist() == [[0, number * NUM_STEPS]] * NUM_SLOTS
    config = CollectorConfig(0, FIRST_SLOT, NUM_SLOTS, NUM_STEPS, SEED, generation=4, num_groups=num_groups)
    collector = Collector(config, CARTPOLE, PolicySource("random"))
    assert collector.rollout()[0].first_step.tolist() == [[4, 0]] * NUM_SLOTS
    collector.close()
