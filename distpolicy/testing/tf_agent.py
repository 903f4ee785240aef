"""Conformance of agents: what a learner, a checkpoint and a collector rely on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from distpolicy.agents.agent_training import train_arguments_of, train_with, zero_rollout_for
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.testing.data import assert_nests_close, random_time_step, row_seeds
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType, TimeStep
from distpolicy.utils.common import function
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.utils.variables.module_variables import named_variables


class TFAgentConformance:
    """What every TFAgent owes to a learner. Override :meth:`make_agent`.

    Attributes:
        num_slots: B of the rollouts that are tried.
        num_steps: T of the rollouts.
    """

    num_slots: ClassVar[int] = 4
    num_steps: ClassVar[int] = 8

    def make_agent(self) -> TFAgent:
        """Returns a new agent; two calls build two alike, with variables of their own."""
        raise NotImplementedError(f"{type(self).__name__} must define make_agent()")

    @pytest.fixture(name="agent")
    def agent_fixture(self) -> TFAgent:
        """A fresh agent, initialised."""
        agent = self.make_agent()
        agent.initialize()
        return agent

    def make_rollout(self, agent: TFAgent, seed: int = 0) -> Rollout:
        """Returns steps that the collect policy acted on; two environments end an episode, one by truncation."""
        policy, num_slots, num_steps = agent.collect_policy, self.num_slots, self.num_steps
        rollout = zero_rollout_for(agent, num_slots, num_steps)
        rollout.step_type[:] = StepType.MID
        rollout.step_type[:, 0] = StepType.FIRST
        rollout.discount[:] = 1.0
        rollout.step_type[0, 3:5] = StepType.LAST, StepType.FIRST
        rollout.discount[0, 2] = 0.0
        rollout.step_type[1, 5:7] = StepType.LAST, StepType.FIRST
        rollout.step_type[2:, num_steps] = StepType.LAST
        rollout.reward[:] = np.random.default_rng(seed).normal(size=rollout.reward.shape)
        state, act = policy.get_initial_state(num_slots), self._compiled_action(policy)
        for t in range(num_steps + 1):
            drawn = random_time_step(policy.time_step_spec, num_slots, seed * 1000 + t, rollout.step_type[:, t])
            map_structure(lambda to, leaf, t=t: to[:, t].__setitem__(..., leaf), rollout.observation, drawn.observation)
            if t == num_steps:
                break
            step = act(TimeStep(*drawn), state, row_seeds(num_slots, seed * 1000 + t))
            state = step.state
            for rows, nest in ((rollout.action, step.action), (rollout.policy_info, step.info)):
                map_structure(lambda to, leaf, t=t: to[:, t].__setitem__(..., np.asarray(leaf)), rows, nest)
        return rollout

    def _compiled_action(self, policy: TFPolicy) -> Callable[..., PolicyStep]:
        """Returns a policy's compiled action; the last one is kept."""
        if self.__dict__.get("_acting", (None, None))[0] is not policy:
            self._acting = (policy, function(policy.action))
        return self._acting[1]

    def train(self, agent: TFAgent, rollout: Rollout) -> LossInfo:
        """Trains on a rollout as a learner does."""
        known = {**train_arguments_of(rollout), "progress": np.float32(0.0)}
        return train_with(agent, rollout.trajectory, rollout.step_weights, known)

    def state(self, agent: TFAgent) -> dict[str, np.ndarray]:
        """Returns what a checkpoint would hold."""
        return {item.path: item.variable.numpy() for item in agent.named_variables()}

    def restore(self, agent: TFAgent, state: dict[str, np.ndarray]) -> None:
        """Takes a state from :meth:`state`."""
        for item in agent.named_variables():
            item.variable.assign(state[item.path])

    def test_both_policies_share_their_variables(self, agent: TFAgent) -> None:
        collecting = {id(item.variable) for item in named_variables(agent.collect_policy)}
        deployed = {id(item.variable) for item in named_variables(agent.policy)}
        assert collecting, "weights are sent to collectors by the collect policy's variables, and it has none"
        assert deployed <= collecting, "the policy holds variables that no weights update"

    def test_data_spec_is_the_collect_policys(self, agent: TFAgent) -> None:
        assert agent.collect_data_spec == agent.collect_policy.trajectory_spec

    def test_training_changes_the_collect_policy(self, agent: TFAgent) -> None:
        before = [item.variable.numpy() for item in named_variables(agent.collect_policy)]
        info = self.train(agent, self.make_rollout(agent))
        assert math.isfinite(float(info.loss))
        after = [item.variable.numpy() for item in named_variables(agent.collect_policy)]
        assert any(not np.array_equal(left, right) for left, right in zip(before, after, strict=True))
        assert int(agent.train_step_counter.numpy()) >= 1

    def test_a_policy_beside_it_acts_by_the_newest_weights(self, agent: TFAgent) -> None:
        policies = [
            PyTFEagerPolicy(agent.collect_policy, use_tf_function=True, batch_time_steps=False, inference=engine)
            for engine in ("auto", "tf")
        ]
        for seed in range(3):
            self.train(agent, self.make_rollout(agent, seed))
            step = random_time_step(agent.collect_policy.time_step_spec, self.num_slots, seed, StepType.FIRST)
            seeds = row_seeds(self.num_slots, seed)
            found, expected = (
                policy.action(step, policy.get_initial_state(self.num_slots), seed=seeds) for policy in policies
            )
            assert_nests_close(found.action, expected.action)

    def test_training_makes_no_variable(self, agent: TFAgent) -> None:
        before = set(self.state(agent))
        self.train(agent, self.make_rollout(agent))
        assert set(self.state(agent)) == before, "make all variables in the constructor or in initialize()"

    def test_it_is_traced_once(self, agent: TFAgent) -> None:
        for seed in range(3):
            self.train(agent, self.make_rollout(agent, seed))
        assert agent.tracing_count == 1

    def test_a_checkpoint_holds_everything(self, agent: TFAgent) -> None:
        self.train(agent, self.make_rollout(agent, 0))
        other = self.make_agent()
        other.initialize()
        self.restore(other, self.state(agent))
        rollout = self.make_rollout(agent, 1)
        left, right = self.train(agent, rollout), self.train(other, rollout)
        np.testing.assert_array_equal(np.asarray(left.loss), np.asarray(right.loss))
        found, expected = self.state(other), self.state(agent)
        assert set(found) == set(expected)
        for path, value in expected.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)

    @pytest.mark.parametrize("where", ["boundary", "cut"])
    def test_what_is_not_a_transition_changes_nothing(self, agent: TFAgent, where: str) -> None:
        rollout, start = self.make_rollout(agent), self.state(agent)
        if where == "cut":
            rollout.cuts[3, self.num_steps - 1] = True
        masked = rollout.step_weights == 0.0
        self.train(agent, rollout)
        expected = self.state(agent)
        self.restore(agent, start)
        reward = np.where(masked, np.float32(1e6), rollout.reward)
        self.train(agent, rollout._replace(reward=reward))
        for path, value in self.state(agent).items():
            np.testing.assert_array_equal(value, expected[path], err_msg=path)
