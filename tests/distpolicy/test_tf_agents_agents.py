"""The agents against what TF-Agents 0.19 did with the same weights and batches: losses, gradients, targets, counters.

Where an agent is meant to differ, ``DIFFERENCES`` says how; the migration page says it in words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path[:0] = [str(GOLDEN), str(Path(__file__).parent)]

import agent_cases_recurrent  # noqa: E402, F401  It registers its cases.
from agent_cases import AGENT_CASES, module  # noqa: E402
from golden_registry import Namespace  # noqa: E402
from golden_signatures import describe  # noqa: E402
from test_tf_agents_signatures import mismatch  # noqa: E402

RECORD = json.loads((GOLDEN / "agents_0_19.json").read_text())
THEIRS: dict[str, Any] = RECORD["cases"]
OURS = Namespace("distpolicy")

# What is meant to differ: by this factor, or, for None, by something else.
DIFFERENCES: dict[str, dict[str, float | None]] = {
    # The likelihood is learned; TF-Agents learned the squared error of a draw.
    "bc/likelihood": {"loss": None, "change": None},
    # TF-Agents did not look at the weights.
    "c51/weights": {"loss": None, "change": None},
    # The critics' loss holds what CQL adds.
    "cql/plain": {"critic_loss": None},
    "cql/without_entropy": {"critic_loss": None},
    "cql/bc_steps": {"critic_loss": None},
    # The loss is the negative value; TF-Agents' was a square whose gradient is twice as large.
    **{
        f"ddpg/{name}": {"loss": None, "actor_loss": None, "change/actor": 0.5, "change/target_actor": 0.5}
        for name in ("plain", "dqda_clipping", "target")
    },
    **{
        f"ddpg_rnn/{name}": {"loss": None, "actor_loss": None, "change/actor": 0.5, "change/target_actor": 0.5}
        for name in ("plain", "clipping")
    },
    **{f"loss_ddpg/{name}": {"loss": None, "actor_loss": None, "slope/actor": 0.5} for name in ("plain", "clipping")},
    # What leads from an episode's end to the next one's beginning does not count.
    "sac_rnn/boundary": {"loss": None, "actor_loss": None, "critic_loss": None, "change": None},
    # Each row has its own weight; TF-Agents multiplied each row by the weights of all.
    "ddpg/weights": {"loss": None, "actor_loss": None, "change/actor": None, "change/target_actor": None},
    # The mean is over the three transitions of the task, not over four.
    "dqn/boundary": {"loss": 4 / 3, "change": 4 / 3},
    # The baseline learns the returns alone; TF-Agents' policy gradient went through it, too.
    "reinforce/baseline": {"change/value": None},
    # The temperature learns from the draws before the actor's step, not from new ones.
    "sac/settings": {"loss": None, "alpha_loss": None},
    "sac/alpha": {"loss": None, "alpha_loss": None},
    # A step without the actor has no loss of the actor.
    "td3/periods": {"loss": None, "actor_loss": None},
}


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    """Runs the updates without compiling each for its one call."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# One case of each agent runs by default.
QUICK = ("bc/logits", "ppo/clip", "ppo_preprocessing/gae", *(name for name in AGENT_CASES if name.endswith("/plain")))
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(AGENT_CASES)]


@pytest.mark.parametrize("name", CASES)
def test_learns_what_tf_agents_learned(name: str) -> None:
    compare(AGENT_CASES[name](OURS), THEIRS[name], DIFFERENCES.get(name, {}), "", 1.0)


def compare(ours: Any, theirs: Any, differences: dict[str, float | None], where: str, factor: float | None) -> None:
    """Compares two nests of numbers; the differences are by path."""
    factor = differences.get(where, factor)
    if isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for key, expected in theirs.items():
            compare(ours[key], expected, differences, f"{where}/{key}".lstrip("/"), factor)
        return
    mine, expected = np.array(list(numbers_of(ours))), np.array(list(numbers_of(theirs)))
    if factor is None:
        assert not np.allclose(mine, expected, rtol=2e-4, atol=2e-6), f"{where} does not differ"
    else:
        np.testing.assert_allclose(mine, factor * expected, rtol=2e-4, atol=2e-6, err_msg=where)


def numbers_of(nest: Any) -> Iterator[float]:
    """The numbers of nested lists."""
    if isinstance(nest, list):
        for item in nest:
            yield from numbers_of(item)
    else:
        yield nest


# Names that distpolicy does not have, and why.
ABSENT = {
    "the loss info holds these parts; the update is one compiled function": (
        "ddpg_agent.DdpgAgent.actor_loss",
        "ddpg_agent.DdpgAgent.critic_loss",
        "ppo_agent.PPOAgent.adaptive_kl_loss",
        "ppo_agent.PPOAgent.compute_advantages",
        "ppo_agent.PPOAgent.entropy_regularization_loss",
        "ppo_agent.PPOAgent.get_loss",
        "ppo_agent.PPOAgent.kl_cutoff_loss",
        "ppo_agent.PPOAgent.kl_penalty_loss",
        "ppo_agent.PPOAgent.l2_regularization_loss",
        "ppo_agent.PPOAgent.policy_gradient_loss",
        "ppo_agent.PPOAgent.update_adaptive_kl_beta",
        "ppo_agent.PPOAgent.value_estimation_loss",
        "reinforce_agent.ReinforceAgent.entropy_regularization_loss",
        "reinforce_agent.ReinforceAgent.policy_gradient_loss",
        "reinforce_agent.ReinforceAgent.total_loss",
        "reinforce_agent.ReinforceAgent.value_estimation_loss",
        "sac_agent.SacAgent.actor_loss",
        "sac_agent.SacAgent.alpha_loss",
        "sac_agent.SacAgent.critic_loss",
        "td3_agent.Td3Agent.actor_loss",
        "td3_agent.Td3Agent.critic_loss",
    ),
    "the extra of these losses is a dict": (
        "behavioral_cloning_agent.BehavioralCloningLossInfo",
        "cql_sac_agent.CqlSacLossInfo",
        "ddpg_agent.DdpgInfo",
        "dqn_agent.DqnLossInfo",
        "sac_agent.SacLossInfo",
        "td3_agent.Td3Info",
    ),
}
ABSENT_NAMES = {name for names in ABSENT.values() for name in names}


def member_of(name: str) -> Any:
    short, *rest = name.split(".")
    member = module(OURS, short)
    for part in rest:
        member = getattr(member, part)
    return member


def test_constructors_and_methods_have_the_same_parameters() -> None:
    theirs = RECORD["signatures"]
    found = {name: mismatch(theirs[name], describe(member_of(name))) for name in theirs if name not in ABSENT_NAMES}
    assert {name: problem for name, problem in found.items() if problem} == {}


def test_what_is_said_to_be_absent_is_a_name_of_tf_agents_and_absent() -> None:
    for name in ABSENT_NAMES:
        assert name in RECORD["signatures"]
        with pytest.raises(AttributeError):
            member_of(name)


def test_every_record_has_its_case() -> None:
    assert sorted(THEIRS) == sorted(AGENT_CASES)
    assert set(DIFFERENCES) <= set(THEIRS)
    assert RECORD["versions"]["tf_agents"] == "0.19.0"
