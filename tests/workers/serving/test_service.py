"""The service itself, in one event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import SpecMismatchError
from distpolicy.serving.messages import ActRequest, ServingError
from distpolicy.specs.array_spec import ArraySpec
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from workers.serving.service import PolicyService, ServiceConfig


class RewardPolicy:
    """Its action is the reward, which is a nest, times a factor."""

    def __init__(self, takes_s: float = 0.0) -> None:
        reward = {"cost": ArraySpec((2,), np.float32), "gain": ArraySpec((), np.float32)}
        self.time_step_spec = time_step_spec(ArraySpec((), np.float32), reward)
        self.action_spec = reward
        self.policy_state_spec: Any = ()
        self.info_spec: Any = ()
        self.factor, self._takes_s = 1.0, takes_s

    def get_initial_state(self, batch_size: int) -> Any:
        return ()

    def action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        time.sleep(self._takes_s)
        reward = time_step.reward
        return PolicyStep({name: self.factor * leaf for name, leaf in reward.items()}, (), ())


def test_a_reply_has_the_version_that_computed_it_although_a_newer_one_is_there() -> None:
    # So slow that batches are computed in a thread.
    service = PolicyService(RewardPolicy(takes_s=0.01), ServiceConfig(max_batch=8), version=3)

    async def run() -> list[tuple[int, float]]:
        async def blocking() -> None:
            await service.act(ActRequest(0.0, reward={"cost": [1, 1], "gain": 1}))
            # Before the other request of the batch gets its reply, the next batch takes a newer policy.
            time.sleep(0.1)

        async def asked() -> tuple[int, float]:
            reply = await service.act(ActRequest(0.0, reward={"cost": [1, 1], "gain": 1}))
            return reply.version, float(reply.action["gain"])

        first, second = asyncio.create_task(blocking()), asyncio.create_task(asked())
        await asyncio.sleep(0.005)
        service.update(lambda: setattr(service.policy, "factor", 10.0), 4)
        await first
        return [await second, await asked()]

    assert asyncio.run(run()) == [(3, 1.0), (4, 10.0)]
    service.close()


def test_rewards_may_be_nests_with_shapes() -> None:
    service = PolicyService(RewardPolicy(), ServiceConfig(max_batch=8))

    async def run() -> None:
        reply = await service.act(ActRequest(0.0))
        np.testing.assert_array_equal(reply.action["cost"], [0, 0])
        reply = await service.act(ActRequest([0.0, 0.0], reward={"cost": [[1, 2], [3, 4]], "gain": [5, 6]}))
        np.testing.assert_array_equal(reply.action["cost"], [[1, 2], [3, 4]])
        np.testing.assert_array_equal(reply.action["gain"], [5, 6])
        # One for all rows.
        reply = await service.act(ActRequest([0.0, 0.0], reward={"cost": [1, 2], "gain": 5}))
        np.testing.assert_array_equal(reply.action["gain"], [5, 5])
        with pytest.raises(ServingError, match=r"reward/cost: expected shape \[2\]"):
            await service.act(ActRequest(0.0, reward={"cost": [1, 2, 3], "gain": 5}))
        with pytest.raises(ServingError, match="reward has 3 rows, and observation has 2"):
            await service.act(ActRequest([0.0, 0.0], reward={"cost": [[1, 2]] * 3, "gain": [1, 2, 3]}))

    asyncio.run(run())
    service.close()


class CountingPolicy(RewardPolicy):
    """Its state begins with a number of its own."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.policy_state_spec = ArraySpec((), np.float32)
        self.action_spec = ArraySpec((), np.float32)
        self.first = first
        self.sizes: list[int] = []

    def get_initial_state(self, batch_size: int) -> Any:
        return np.full(batch_size, self.first, np.float32)

    def action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        self.sizes.append(len(policy_state))
        return PolicyStep(policy_state.copy(), policy_state + np.float32(1), ())


def test_the_first_state_is_the_newer_policys_own() -> None:
    service = PolicyService(CountingPolicy(0.0), ServiceConfig(max_batch=8))

    async def run() -> None:
        assert (await service.act(ActRequest(0.0))).action == 0.0
        newer = CountingPolicy(50.0)
        service.update(lambda: setattr(service, "policy", newer), 1)
        reply = await service.act(ActRequest(0.0))
        while reply.version != 1:
            reply = await service.act(ActRequest(0.0))
        reply = await service.act(ActRequest(0.0))
        assert reply.action == 50.0
        assert (await service.act(ActRequest(0.0, session=reply.session))).action == 51.0

    asyncio.run(run())
    service.close()


def test_a_policy_is_tried_out_with_batches_of_each_size() -> None:
    service = PolicyService(CountingPolicy(0.0), ServiceConfig(max_batch=32))
    newer = CountingPolicy(1.0)
    service.try_out(newer)
    assert newer.sizes == [8, 16, 32]
    with pytest.raises(SpecMismatchError, match="the action_spec differs"):
        service.try_out(RewardPolicy())
    service.close()
