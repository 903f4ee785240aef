from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.errors import ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories import time_step as ts
from workers.inference.policy_source import PolicySource

OBSERVATION = BoundedArraySpec((4,), np.float32, -9, 9, "observation")
TIME_STEP = ts.time_step_spec(OBSERVATION)
BINARY = BoundedArraySpec((), np.int64, 0, 1, "action")
BOX = BoundedArraySpec((2,), np.float32, [-1, 0], [1, 4], "action")
NEST = {"move": BOX, "jump": (BINARY, BoundedArraySpec((), np.int64, 3, 5))}


def first_steps(num_slots: int) -> ts.TimeStep:
    return ts.restart(np.ones((num_slots, 4), np.float32), num_slots)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a policy for CartPole's specs that emits log-probabilities."""
    folder = str(tmp_path_factory.mktemp("saved") / "policy")
    network = ActorDistributionNetwork(OBSERVATION, BINARY, fc_layer_params=(4,))
    PolicySaver(ActorPolicy(TIME_STEP, BINARY, network, emit_log_probability=True)).save(folder)
    return folder


def test_a_random_policy_draws_by_the_seeds_of_its_rows() -> None:
    policy = PolicySource("random", seed=3)(TIME_STEP, BOX).collect
    seeds = np.arange(12, dtype=np.int32).reshape(6, 2)
    actions = policy.action(first_steps(6), (), seeds).action
    again = PolicySource("random", seed=4)(TIME_STEP, BOX).collect.action(first_steps(6), (), seeds).action
    assert np.array_equal(actions, again)
    assert len(np.unique(actions, axis=0)) == 6
    assert np.all((actions >= BOX.minimum) & (actions <= BOX.maximum))


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("fixed:1", BINARY, np.int64(1)),
        ("fixed:[0.5, 3]", BOX, np.array([0.5, 3], np.float32)),
    ],
)
def test_a_fixed_policy_does_that_action_in_every_slot(name: str, spec: Any, expected: np.ndarray) -> None:
    policy = PolicySource(name)(TIME_STEP, spec).collect
    action = policy.action(first_steps(3), policy.get_initial_state(3)).action
    assert action.dtype == spec.dtype
    assert np.array_equal(action, np.stack([expected] * 3))
    assert policy.info_spec == ()


def test_a_fixed_action_may_be_a_nest() -> None:
    policy = PolicySource('fixed:{"move": [0, 1], "jump": [1, 4]}')(TIME_STEP, NEST).collect
    action = policy.action(first_steps(2), policy.get_initial_state(2)).action
    assert np.array_equal(action["move"], [[0, 1], [0, 1]])
    assert [leaf.tolist() for leaf in action["jump"]] == [[1, 1], [4, 4]]


@pytest.mark.parametrize(
    ("name", "spec", "told"),
    [
        ("fixed:7", BINARY, r"outside \[0, 1\]"),
        ("fixed:-1", BINARY, r"outside \[0, 1\]"),
        ("fixed:0.5", BINARY, "is not int64 with shape"),
        ("fixed:[1]", BINARY, "is not int64 with shape"),
        ("fixed:", BINARY, "is not a JSON value"),
        ("fixed:left", BINARY, "is not a JSON value"),
        ('fixed:"left"', BINARY, "is not int64 with shape"),
        ("fixed:null", BINARY, "is not int64 with shape"),
        ("fixed:[0, 5]", BOX, "outside"),
        ("fixed:[NaN, 1]", BOX, "fixed"),
        ("fixed:1", NEST, "/jump/0"),
        ('fixed:{"move": [0, 1]}', NEST, "/jump/0"),
        ("nowhere", BINARY, "give random, fixed:VALUE, or the folder of a SavedModel"),
        ("", BINARY, "give random, fixed:VALUE, or the folder of a SavedModel"),
        ("Random", BINARY, "give random, fixed:VALUE, or the folder of a SavedModel"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_in_one_line(name: str, spec: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        PolicySource(name).check(spec)
    assert "\n" not in str(caught.value)


def test_checking_imports_no_tensorflow(saved: str) -> None:
    code = (
        "import sys, numpy as np\n"
        "from distpolicy.specs.array_spec import BoundedArraySpec\n"
        "from workers.inference.policy_source import PolicySource\n"
        "for name in sys.argv[1:]:\n"
        "    PolicySource(name).check(BoundedArraySpec((), np.int64, 0, 1))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", code, "random", "fixed:1", saved], check=True, cwd=root)


@pytest.mark.parametrize("inference", ["tf", "auto"])
def test_a_saved_policy_acts_with_its_log_probabilities(saved: str, inference: Any) -> None:
    policy = PolicySource(saved, inference)(TIME_STEP, BINARY).collect
    seeds = np.arange(10, dtype=np.int32).reshape(5, 2)
    step = policy.action(first_steps(5), policy.get_initial_state(5), seeds)
    assert step.action.shape == (5,)
    assert step.action.dtype == np.int64
    assert np.all(step.info.log_probability < 0)


@pytest.mark.parametrize(
    ("observation", "action", "told"),
    [
        (
            BoundedArraySpec((3,), np.float32, -9, 9),
            BINARY,
            r"observations.*float32 with shape \(4,\), the env's are float32",
        ),
        (BoundedArraySpec((4,), np.float64, -9, 9), BINARY, "the env's are float64"),
        ({"a": OBSERVATION}, BINARY, "observations have the leaves"),
        (OBSERVATION, BOX, "actions"),
    ],
)
def test_a_saved_policy_for_another_env_is_refused(saved: str, observation: Any, action: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        PolicySource(saved)(ts.time_step_spec(observation), action)
    assert saved in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_policy_whose_actions_have_other_bounds_is_refused(saved: str) -> None:
    with pytest.raises(ConfigError, match="actions"):
        PolicySource(saved)(TIME_STEP, BoundedArraySpec((), np.int64, 1, 2))


def test_a_source_is_small_enough_to_travel() -> None:
    source = PolicySource("fixed:1", "tf", 5)
    assert len(pickle.dumps(source)) < 500
    assert pickle.loads(pickle.dumps(source)) == source


def test_a_saved_policy_that_was_warmed_up_draws_the_same_by_every_inference(saved: str) -> None:
    seeds = np.random.default_rng(0).integers(-(2**31), 2**31, (64, 2)).astype(np.int32)
    actions = []
    for inference in ("tf", "auto"):
        policy = PolicySource(saved, inference)(TIME_STEP, BINARY).collect  # type: ignore[arg-type]
        policy.warm_up(64)
        actions.append(policy.action(first_steps(64), policy.get_initial_state(64), seeds).action)
    assert set(actions[0].tolist()) == {0, 1}
    # Rounding decides between two that are all but equally good, very rarely.
    assert np.count_nonzero(actions[0] != actions[1]) <= 1
