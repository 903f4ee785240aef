"""The inference server: rows of several collectors in one call of the policy, and each gets its own back."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import StaleWeightsError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.actor_distribution_rnn_network import ActorDistributionRnnNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_program import NeedsTensorFlow
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_policy import PyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.testing import assert_nests_close, random_time_step
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import StepType, TimeStep, time_step_spec
from distpolicy.weights import WeightsPacker
from workers.collection.collector import PolicyPair
from workers.inference.program_source import ProgramPolicies
from workers.inference.server import InferenceServer, ServedWeights

SPEC = time_step_spec(ArraySpec((3,), np.float32))
ACTION = BoundedArraySpec((), np.int64, 0, 4)
BOX = BoundedArraySpec((2,), np.float32, -2, 2)


def recurrent_pair(step_spec: TimeStep, action_spec: Any) -> PolicyPair:
    network = ActorDistributionRnnNetwork(
        step_spec.observation,
        action_spec,
        input_fc_layer_params=(8,),
        lstm_size=(6,),
        output_fc_layer_params=(),
        seed=1,
    )
    policy = ActorPolicy(step_spec, action_spec, network, emit_log_probability=True)
    generator = np.random.default_rng(0)
    for variable in policy.trainable_variables:
        variable.assign(generator.normal(scale=0.7, size=variable.shape).astype(np.float32))
    eager = PyTFEagerPolicy(policy, use_tf_function=True, batch_time_steps=False)
    return PolicyPair(eager, eager)


def row_seeds(num_rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**31, size=(num_rows, 2), dtype=np.int32)


def test_every_collector_gets_what_the_policy_gives_its_own_rows_alone() -> None:
    server = InferenceServer(recurrent_pair, SPEC, ACTION, max_rows=10, window_s=30.0)
    alone = recurrent_pair(SPEC, ACTION).collect
    sizes = (4, 3, 3)

    async def play() -> None:
        served = [await server.get_initial_state(size) for size in sizes]
        own = [alone.get_initial_state(size) for size in sizes]
        for t in range(4):
            step_types = np.resize([StepType.FIRST, StepType.MID, StepType.MID, StepType.LAST], 10)[t:]
            calls = []
            for index, size in enumerate(sizes):
                step = random_time_step(SPEC, size, seed=10 * t + index, step_type=step_types[:size])
                seeds = row_seeds(size, 100 * t + index)
                calls.append((step, seeds))
            answers = await asyncio.gather(
                *[server.action(step, state, seeds) for (step, seeds), state in zip(calls, served, strict=True)]
            )
            for index, (step, seeds) in enumerate(calls):
                expected = alone.action(step, own[index], seeds)
                assert_nests_close(answers[index], expected, 1e-5)
                served[index], own[index] = answers[index].state, expected.state
        statistics = await server.statistics()
        assert (statistics.num_calls, statistics.num_batches, statistics.mean_rows) == (12, 4, 10.0)

    asyncio.run(play())


def test_a_call_is_answered_after_the_window_if_no_others_come() -> None:
    server = InferenceServer(recurrent_pair, SPEC, ACTION, max_rows=8, window_s=0.05)

    async def play() -> None:
        state = await server.get_initial_state(2)
        answer = await server.action(random_time_step(SPEC, 2), state, row_seeds(2, 0))
        assert answer.action.shape == (2,)
        statistics = await server.statistics()
        assert statistics.mean_rows == 2.0
        assert statistics.mean_wait_s >= 0.04

    asyncio.run(play())


def test_rows_beyond_a_batch_wait_for_the_next() -> None:
    server = InferenceServer(recurrent_pair, SPEC, ACTION, max_rows=6, window_s=0.05)

    async def play() -> None:
        calls = [
            (random_time_step(SPEC, 4, seed), await server.get_initial_state(4), row_seeds(4, seed)) for seed in (1, 2)
        ]
        answers = await asyncio.gather(*[server.action(*call) for call in calls])
        assert [answer.action.shape for answer in answers] == [(4,), (4,)]
        assert (await server.statistics()).num_batches == 2

    asyncio.run(play())


class Failing(PyPolicy):
    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any = None) -> PolicyStep:
        raise ValueError("no such action")


def test_an_error_of_the_policy_reaches_every_caller() -> None:
    policy = Failing(SPEC, ACTION)
    server = InferenceServer(lambda *specs: PolicyPair(policy, policy), SPEC, ACTION, max_rows=4, window_s=30.0)

    async def play() -> None:
        calls = [server.action(random_time_step(SPEC, 2), (), row_seeds(2, 0)) for _ in range(2)]
        for found in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(found, ValueError)
            assert str(found) == "no such action"

    asyncio.run(play())


@pytest.mark.parametrize("num_rows", [1, 5])
def test_the_policy_is_traced_once_whatever_the_batches(num_rows: int) -> None:
    pairs: list[PolicyPair] = []

    def make(*specs: Any) -> PolicyPair:
        pairs.append(recurrent_pair(*specs))
        return pairs[0]

    server = InferenceServer(make, SPEC, ACTION, max_rows=5, window_s=0.0)

    async def play() -> None:
        for seed in range(3):
            state = await server.get_initial_state(num_rows)
            await server.action(random_time_step(SPEC, num_rows, seed), state, row_seeds(num_rows, seed))

    asyncio.run(play())
    assert pairs[0].collect.tracing_count == 1


def test_a_rollout_by_weights_that_are_too_old_to_be_learned_from_goes_on_and_an_evaluation_does_not() -> None:
    # As with --on-stale drop, where a slow collector may be any number of versions behind.
    server = InferenceServer(recurrent_pair, SPEC, ACTION, max_rows=2, window_s=30.0, num_versions=2)
    packer = WeightsPacker(server._policy)

    async def play() -> None:
        first, _, newest = [await server.apply(packer.pack(0, version)) for version in range(3)]
        state, step, seeds = await server.get_initial_state(2), random_time_step(SPEC, 2, seed=1), row_seeds(2, 3)
        expected = await server.action(step, state, seeds, "collect", newest)
        assert_nests_close(await server.action(step, state, seeds, "collect", first), expected, 0.0)
        await server.serve_greedy()
        with pytest.raises(StaleWeightsError, match=r"holds no weights \(0, 0\) any more"):
            await server.action(step, state, seeds, "greedy", first)
        never_held = ServedWeights(1, 7)
        with pytest.raises(StaleWeightsError, match=r"holds no weights \(1, 7\)"):
            await server.action(step, state, seeds, "collect", never_held)

    asyncio.run(play())


@pytest.mark.parametrize("has_program", [True, False])
def test_the_greedy_policy_beside_a_program_acts_by_the_weights_of_each_call(has_program: bool) -> None:
    def make() -> ActorPolicy:
        network = ActorDistributionNetwork(SPEC.observation, BOX, fc_layer_params=(4,))
        return ActorPolicy(SPEC, BOX, network, emit_log_probability=True)

    def fallback() -> PolicyPair:
        policy = make()
        return PolicyPair(*[PyTFEagerPolicy(one, batch_time_steps=False) for one in (policy, GreedyPolicy(policy))])

    learned = make()
    greedy = PyTFEagerPolicy(GreedyPolicy(learned), batch_time_steps=False)
    program = ProgramBuilder(learned, (2,), "collect").program
    greedy_program = (
        ProgramBuilder(GreedyPolicy(learned), (2,), "greedy", learned).program
        if has_program
        else NeedsTensorFlow("it has an operation that cannot be converted")
    )
    server = InferenceServer(
        lambda *specs: ProgramPolicies(program, fallback), SPEC, BOX, max_rows=2, window_s=30.0, num_versions=2
    )
    packer, step, seeds = WeightsPacker(learned), random_time_step(SPEC, 2, seed=1), row_seeds(2, 3)

    async def play() -> None:
        names, expected = [], []
        for version in range(2):
            names.append(await server.apply(packer.pack(0, version)))
            expected.append(np.array(greedy.action(step, (), seeds).action))
            for variable in learned.trainable_variables:
                variable.assign(variable + 0.3)
        assert np.abs(expected[1] - expected[0]).max() > 0.01
        for version in (0, 1, 0):
            await server.serve_greedy(greedy_program)
            found = await server.action(step, (), seeds, "greedy", names[version])
            np.testing.assert_allclose(found.action, expected[version], atol=1e-5)

    asyncio.run(play())
