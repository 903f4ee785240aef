"""Conformance of agents that learn from a replay buffer."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from distpolicy.agents.agent_training import train_steps_with, train_with
from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.policies.policy_program import ProgramPolicy
from distpolicy.policies.program_builder import ProgramBuilder
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.testing.data import assert_nests_close, random_time_step, row_seeds
from distpolicy.testing.tf_agent import TFAgentConformance
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from distpolicy.trajectories.transitions import to_transition
from distpolicy.utils.nests.array_nest import map_structure
from distpolicy.weights import WeightsPacker


class Batch(NamedTuple):
    """The input of a gradient step.

    Attributes:
        experience: Transitions ``[B, ...]``, or a Trajectory ``[B, T, ...]``.
        weights: float32, ``[B]`` or ``[B, T]``.
        arguments: What the agent may ask for, by name.
    """

    experience: Any
    weights: np.ndarray
    arguments: dict[str, Any]


class OffPolicyAgentConformance(TFAgentConformance):
    """What an agent owes to a learner with a replay buffer. Override :meth:`make_agent`.

    Attributes:
        num_updates: K, the gradient steps of a call.
        runs_without_tensorflow: Whether the collect policy can be turned into a program.
        returns_priorities: Whether ``train`` returns priorities, as a buffer that draws by them needs.
        explores: Whether ``explore`` changes how the collect policy acts.
    """

    num_updates: ClassVar[int] = 3
    runs_without_tensorflow: ClassVar[bool] = True
    returns_priorities: ClassVar[bool] = True
    explores: ClassVar[bool] = True

    def make_batch(self, agent: TFAgent, rollout: Rollout) -> Batch:
        """Returns all steps of a rollout as a batch of transitions; override it for agents that take sequences."""
        whole = rollout.trajectory
        following = whole.replace(observation=map_structure(lambda leaf: leaf[:, 1:], rollout.observation))
        transitions = to_transition(whole, following)
        flat = map_structure(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), transitions)
        return Batch(flat, rollout.step_weights.ravel(), self.arguments(agent, rollout.step_weights.size))

    def arguments(self, agent: TFAgent, num_rows: int) -> dict[str, Any]:
        """Returns what any agent may ask for."""
        draws = np.random.default_rng(num_rows)
        noise = map_structure(lambda spec: draws.standard_normal((num_rows, *spec.shape), np.float32), agent.noise_spec)
        return {"progress": np.float32(0.0), "noise": noise}

    def train(self, agent: TFAgent, rollout: Rollout) -> LossInfo:
        """Takes one gradient step."""
        batch = self.make_batch(agent, rollout)
        return train_with(agent, batch.experience, batch.weights, batch.arguments)

    def train_steps(self, agent: TFAgent, seed: int = 0) -> LossInfo:
        """Takes K gradient steps in one call."""
        batches = [self.make_batch(agent, self.make_rollout(agent, seed + k)) for k in range(self.num_updates)]
        stacked = map_structure(lambda *leaves: np.stack(leaves), *batches)
        return train_steps_with(agent, stacked.experience, stacked.weights, stacked.arguments)

    def test_many_steps_in_one_call_are_as_good_as_many_calls(self, agent: TFAgent) -> None:
        start = self.state(agent)
        rollouts = [self.make_rollout(agent, k) for k in range(self.num_updates)]
        info = self.train_steps(agent)
        found = self.state(agent)
        self.restore(agent, start)
        each = [self.train(agent, rollout) for rollout in rollouts]
        for path, value in self.state(agent).items():
            np.testing.assert_allclose(found[path], value, rtol=1e-4, atol=1e-6, err_msg=path)
        np.testing.assert_allclose(info.loss, np.mean([one.loss for one in each]), rtol=1e-4)
        assert int(agent.train_step_counter) == self.num_updates

    def test_many_calls_are_traced_once(self, agent: TFAgent) -> None:
        for seed in range(3):
            info = self.train_steps(agent, 10 * seed)
            assert math.isfinite(float(info.loss))
        assert agent.tracing_count == 1

    def test_priorities_are_of_rows(self, agent: TFAgent) -> None:
        batch = self.make_batch(agent, self.make_rollout(agent))
        info = train_with(agent, batch.experience, batch.weights, batch.arguments)
        if "priorities" not in info.extra:
            assert not self.returns_priorities, "LossInfo.extra has no priorities: return them, or set it to False"
            pytest.skip("its author says that it returns no priorities")
        priorities = np.asarray(info.extra["priorities"])
        assert priorities.shape == batch.weights.shape[:1]
        assert np.isfinite(priorities).all()
        assert (priorities >= 0).all()
        assert (priorities > 0).any(), "all priorities are 0"
        many = self.train_steps(agent).extra["priorities"]
        assert many.shape == (self.num_updates, *priorities.shape)

    def test_figures_are_finite_scalars(self, agent: TFAgent) -> None:
        for name, value in self.train_steps(agent).extra.items():
            if name != "priorities":
                assert np.shape(value) == (), name
                assert math.isfinite(float(value)), name

    def test_exploration_travels_with_the_weights(self, agent: TFAgent) -> None:
        carried = {id(variable) for variable in agent.collect_policy.variables() if not variable.trainable}
        changed = set()
        for progress, has_begun in ((0.0, False), (0.0, True), (0.5, True), (1.0, True)):
            before = {id(item.variable): (item, item.variable.numpy()) for item in agent.named_variables()}
            agent.explore(progress, has_begun=has_begun)
            for key, (item, value) in before.items():
                if not np.array_equal(item.variable.numpy(), value):
                    assert key in carried, f"explore changed {item.path}, which collectors do not get"
                    changed.add(item.path)
        assert changed or not self.explores, (
            "explore changes nothing over a whole run: mend it, or set explores to False"
        )

    def test_collectors_need_no_tensorflow(self, agent: TFAgent) -> None:
        if not self.runs_without_tensorflow:
            pytest.skip("its author says that it cannot be turned into a program")
        policy = agent.collect_policy
        light = PyTFEagerPolicy(ProgramPolicy(ProgramBuilder(policy, [8]).program), batch_time_steps=False)
        eager = PyTFEagerPolicy(policy, batch_time_steps=False, inference="tf")
        agent.explore(0.5, has_begun=True)
        light.update(WeightsPacker(policy).pack(0, 1))
        steps, seeds = random_time_step(policy.time_step_spec, 8, 0, StepType.FIRST), row_seeds(8, 0)
        found, expected = (one.action(steps, one.get_initial_state(8), seed=seeds).action for one in (light, eager))
        assert_nests_close(found, expected)

    def test_a_policy_beside_the_agent_explores_as_it_was_told_last(self, agent: TFAgent) -> None:
        if not self.runs_without_tensorflow:
            pytest.skip("its author says that it cannot be turned into a program")
        policy = agent.collect_policy
        beside, eager = (
            PyTFEagerPolicy(policy, batch_time_steps=False, inference=inference) for inference in ("litert", "tf")
        )
        steps, seeds = random_time_step(policy.time_step_spec, 64, 0, StepType.FIRST), row_seeds(64, 0)
        for progress, has_begun in ((0.0, False), (1.0, True)):
            agent.explore(progress, has_begun=has_begun)
            found, expected = (
                one.action(steps, one.get_initial_state(64), seed=seeds).action for one in (beside, eager)
            )
            assert_nests_close(found, expected)
