"""What two replicas learn, and one learner from the same batches; run as a program, it is one of the replicas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from rollout_training import train

from distpolicy.agents.actor_critic_agent import ActorCriticAgent
from distpolicy.agents.agent_training import zero_rollout_for
from distpolicy.agents.appo.appo_agent import APPOAgent
from distpolicy.agents.appo.config import APPOConfig
from distpolicy.agents.impala.config import ImpalaConfig
from distpolicy.agents.impala.impala_agent import ImpalaAgent
from distpolicy.agents.minibatches import draw_minibatches
from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.agents.ppo.surrogate_agent import SurrogateAgent
from distpolicy.agents.replicas import Replicas
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.lstm_encoding_network import LSTMEncodingNetwork
from distpolicy.networks.value_network import ValueNetwork
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import StepType
from distpolicy.utils.nests.array_nest import map_structure

OBSERVATION = BoundedArraySpec((3,), np.float32, -10.0, 10.0, "observation")
DISCRETE = BoundedArraySpec((), np.int64, 0, 2, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")
NUM_REPLICAS, NUM_SLOTS, NUM_STEPS, NUM_UPDATES = 2, 6, 8, 3
ALL = {"normalize_observations": True, "normalize_rewards": True, "entropy_weight": 0.01, "learning_rate": 1e-2}

CASES = {
    "whole batch": (BOX, False, True, PPOConfig(num_epochs=3, num_minibatches=1, **ALL)),
    "minibatches": (DISCRETE, False, False, PPOConfig(num_epochs=2, num_minibatches=4, **ALL)),
    "recurrent": (
        DISCRETE,
        True,
        False,
        PPOConfig(num_epochs=2, num_minibatches=3, sequence_length=4, sequence_states="recomputed", burn_in=2, **ALL),
    ),
    "impala": (BOX, False, True, ImpalaConfig(num_epochs=2, num_minibatches=4, **ALL)),
    "recurrent appo": (
        DISCRETE,
        True,
        False,
        APPOConfig(num_epochs=2, num_minibatches=3, sequence_length=4, target_update_tau=0.5, **ALL),
    ),
}
AGENTS = {"ppo": SurrogateAgent, "impala": ImpalaAgent, "appo": APPOAgent}


class WholeMinibatches:
    """A mixin of one learner, whose minibatches are made of those of the replicas."""

    def _minibatches(self: Any, num_slots: int, num_steps: int) -> np.ndarray:
        config, size = self._config, num_slots * num_steps // self._length(num_steps) // NUM_REPLICAS
        parts = [
            draw_minibatches(0, int(self.train_step_counter), size, config.num_epochs, config.num_minibatches, rank)
            for rank in range(NUM_REPLICAS)
        ]
        return np.concatenate([part + rank * size for rank, part in enumerate(parts)], axis=1)


def make_agent(case: str, replicas: Replicas | None) -> ActorCriticAgent[Any]:
    action_spec, is_recurrent, jit_compile, config = CASES[case]
    encoding = None
    if is_recurrent:
        encoding = LSTMEncodingNetwork(OBSERVATION, None, None, None, (6,), (5,), None, seed=1)
    spec = OBSERVATION if encoding is None else encoding.create_variables()
    actor = ActorDistributionNetwork(spec, action_spec, fc_layer_params=(8,), activation_fn="tanh", seed=3)
    value = ValueNetwork(spec, fc_layer_params=(8,), activation_fn="tanh", seed=4)
    agent: Any = AGENTS[config.kind]
    if replicas is None:
        agent = type("WholeAgent", (WholeMinibatches, agent), {})
    return agent(
        ts.time_step_spec(OBSERVATION),
        action_spec,
        actor,
        value,
        config,
        jit_compile=jit_compile,
        encoding_network=encoding,
        replicas=replicas,
    )


def make_rollout(agent: ActorCriticAgent[Any], seed: int) -> Rollout:
    """Random steps, more of which are boundaries in the later slots, so that parts differ in what counts."""
    generator = np.random.default_rng(seed)
    zeros = zero_rollout_for(agent, NUM_SLOTS, NUM_STEPS)

    def normal(array: np.ndarray, offset: float = 0.0) -> np.ndarray:
        return generator.normal(offset, 0.5, array.shape).astype(array.dtype)

    step_type = np.full(zeros.step_type.shape, StepType.MID, np.int32)
    for slot, last in ((2, 3), (4, 1), (4, 5), (5, 2)):
        step_type[slot, last : last + 2] = StepType.LAST, StepType.FIRST
    is_discrete = np.issubdtype(zeros.action.dtype, np.integer)
    return zeros._replace(
        observation=2.0 * normal(zeros.observation, 0.5 * seed),
        step_type=step_type,
        action=generator.integers(0, 3, zeros.action.shape) if is_discrete else normal(zeros.action),
        policy_info=map_structure(lambda array: normal(array, -1.0), zeros.policy_info),
        reward=normal(zeros.reward, 1.0),
        discount=np.ones_like(zeros.discount),
        policy_state=map_structure(normal, zeros.policy_state),
        discounted_return=normal(zeros.discounted_return),
    )


def part_of(rollout: Rollout, rank: int) -> Rollout:
    """The slots of one replica."""
    size = NUM_SLOTS // NUM_REPLICAS
    shared = {"first_slot": rollout.first_slot}
    cut = map_structure(
        lambda array: array[rank * size : (rank + 1) * size], rollout._replace(**dict.fromkeys(shared, ()))
    )
    return cut._replace(**shared)


def learn(case: str, replicas: Replicas | None = None) -> dict[str, np.ndarray]:
    """The metrics of every update, and everything that the agent holds after the last."""
    agent = make_agent(case, replicas)
    found: dict[str, Any] = {}
    for update in range(NUM_UPDATES):
        rollout = make_rollout(agent, update)
        part = rollout if replicas is None else part_of(rollout, replicas.rank)
        metrics = train(agent, part, update / NUM_UPDATES)
        found |= {f"update {update}/{name}": np.asarray(value) for name, value in metrics.items()}
    return found | {item.path: item.variable.numpy() for item in agent.named_variables()}


def main(rank: int, folder: Path, addresses: list[str]) -> None:
    replicas = Replicas(addresses, rank)
    for case in CASES:
        np.savez(folder / f"{case} {rank}.npz", **learn(case, replicas))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
