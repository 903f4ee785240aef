from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from distpolicy.ops.gae import generalized_advantage_estimation
from distpolicy.ops.vtrace import VTrace, vtrace

FIRST, MID, LAST = 0, 1, 2
Arrays = dict[str, np.ndarray]


def random_arrays(
    seed: int, num_slots: int = 3, num_steps: int = 7, gamma: float = 0.9, dtype: Any = np.float64
) -> Arrays:
    """Steps of episodes that begin, end and are cut anywhere, by a policy other than the one that acted."""
    generator = np.random.default_rng(seed)
    step_type = np.zeros((num_slots, num_steps + 1), np.int32)
    discount = np.full((num_slots, num_steps), gamma)
    step_type[:, 0] = generator.integers(0, 3, num_slots)
    for b in range(num_slots):
        for t in range(num_steps):
            step_type[b, t + 1] = FIRST if step_type[b, t] == LAST else generator.choice([MID, LAST], p=[0.7, 0.3])
            if step_type[b, t + 1] == LAST and generator.random() < 0.5:
                discount[b, t] = 0.0
    # A fault cuts what is no LAST step, too.
    is_boundary = (step_type[:, :-1] == LAST) | (generator.random((num_slots, num_steps)) < 0.1)
    return {
        "log_ratio": generator.normal(size=(num_slots, num_steps)).astype(dtype),
        "reward": generator.normal(size=(num_slots, num_steps)).astype(dtype),
        "discount": discount.astype(dtype),
        "value": generator.normal(size=(num_slots, num_steps + 1)).astype(dtype),
        "is_boundary": is_boundary,
    }


def run(arrays: Arrays, **options: float) -> VTrace:
    return VTrace(*(item.numpy() for item in vtrace(**{k: tf.constant(v) for k, v in arrays.items()}, **options)))


def explicit_sum(
    arrays: Arrays, lambda_: float, clip_rho: float, clip_pg_rho: float, clip_c: float
) -> tuple[np.ndarray, np.ndarray]:
    """Equation 1 and section 4.2 as they are written, for each step on its own, up to the episode's end."""
    log_ratio, reward, discount, value, is_boundary = arrays.values()
    target, advantage = value[:, :-1].copy(), np.zeros_like(reward)
    for b, s in np.ndindex(*reward.shape):
        weight = 1.0
        for t in range(s, reward.shape[1]):
            if is_boundary[b, t]:
                break
            rho = min(clip_rho, np.exp(log_ratio[b, t]))
            c = lambda_ * min(clip_c, np.exp(log_ratio[b, t]))
            delta = rho * (reward[b, t] + discount[b, t] * value[b, t + 1] - value[b, t])
            target[b, s] += weight * delta
            weight *= discount[b, t] * c
    for b, s in np.ndindex(*reward.shape):
        if not is_boundary[b, s]:
            # Beyond the end there are no further corrections: v is V there.
            after = s + 1 < reward.shape[1] and not is_boundary[b, s + 1]
            later = target[b, s + 1] if after else value[b, s + 1]
            q = reward[b, s] + discount[b, s] * (lambda_ * later + (1.0 - lambda_) * value[b, s + 1])
            advantage[b, s] = min(clip_pg_rho, np.exp(log_ratio[b, s])) * (q - value[b, s])
    return target, advantage


def recursion(arrays: Arrays, lambda_: float, clip_rho: float, clip_c: float) -> np.ndarray:
    """Remark 1: ``v_s = V_s + delta_s + gamma * c_s * (v_{s+1} - V_{s+1})``."""
    log_ratio, reward, discount, value, is_boundary = arrays.values()
    target = value.copy()
    for s in reversed(range(reward.shape[1])):
        ratio = np.exp(log_ratio[:, s])
        delta = np.minimum(clip_rho, ratio) * (reward[:, s] + discount[:, s] * value[:, s + 1] - value[:, s])
        trace = discount[:, s] * lambda_ * np.minimum(clip_c, ratio) * (target[:, s + 1] - value[:, s + 1])
        target[:, s] = np.where(is_boundary[:, s], value[:, s], value[:, s] + delta + trace)
    return target[:, :-1]


CLIPS = st.sampled_from([0.5, 1.0, 2.0, float("inf")])


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    num_steps=st.sampled_from([1, 2, 7]),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    lambda_=st.sampled_from([0.0, 0.8, 1.0]),
    clip_rho=CLIPS,
    clip_pg_rho=CLIPS,
    clip_c=CLIPS,
)
def test_estimates_equal_the_papers_sum_and_its_recursion(
    seed: int, num_steps: int, gamma: float, lambda_: float, clip_rho: float, clip_pg_rho: float, clip_c: float
) -> None:
    arrays = random_arrays(seed, 3, num_steps, gamma)
    found = run(arrays, lambda_=lambda_, clip_rho=clip_rho, clip_pg_rho=clip_pg_rho, clip_c=clip_c)
    target, advantage = explicit_sum(arrays, lambda_, clip_rho, clip_pg_rho, clip_c)
    assert found.target.dtype == found.advantage.dtype == np.float64
    np.testing.assert_allclose(found.target, target, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.advantage, advantage, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(recursion(arrays, lambda_, clip_rho, clip_c), target, rtol=1e-10, atol=1e-10)
    ratio = np.minimum(np.exp(arrays["log_ratio"]), clip_pg_rho)
    np.testing.assert_allclose(ratio * found.temporal_difference, advantage, rtol=1e-10, atol=1e-10)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), gamma=st.sampled_from([0.0, 0.9, 1.0]))
def test_on_policy_target_is_the_n_step_return(seed: int, gamma: float) -> None:
    arrays = random_arrays(seed, gamma=gamma)
    arrays["log_ratio"] = np.zeros_like(arrays["log_ratio"])
    # Equation 2: the rewards up to the episode's end, or the rollout's, and the value of what follows.
    expected = arrays["value"].copy()
    for s in reversed(range(arrays["reward"].shape[1])):
        ahead = arrays["reward"][:, s] + arrays["discount"][:, s] * expected[:, s + 1]
        expected[:, s] = np.where(arrays["is_boundary"][:, s], arrays["value"][:, s], ahead)
    np.testing.assert_allclose(run(arrays).target, expected[:, :-1], rtol=1e-10, atol=1e-10)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), lambda_=st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_on_policy_advantage_is_the_generalised_advantage_estimate(seed: int, lambda_: float) -> None:
    arrays = random_arrays(seed)
    arrays["log_ratio"] = np.zeros_like(arrays["log_ratio"])
    names = ("reward", "discount", "value", "is_boundary")
    expected = generalized_advantage_estimation(*(tf.constant(arrays[name]) for name in names), lambda_)
    found = run(arrays, lambda_=lambda_)
    np.testing.assert_allclose(found.advantage, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.target - arrays["value"][:, :-1], expected, rtol=1e-10, atol=1e-10)


def test_float32_stays_float32_and_is_near_float64() -> None:
    exact, rounded = run(random_arrays(5)), run(random_arrays(5, dtype=np.float32))
    for left, right in zip(rounded, exact, strict=True):
        assert left.dtype == np.float32
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_an_action_that_the_policy_never_takes_leaves_the_value_and_weighs_nothing() -> None:
    arrays = random_arrays(1)
    arrays["log_ratio"] = np.full_like(arrays["log_ratio"], -np.inf)
    found = run(arrays)
    np.testing.assert_array_equal(found.target, arrays["value"][:, :-1])
    np.testing.assert_array_equal(found.advantage, 0.0)


def test_a_ratio_that_overflows_is_clipped() -> None:
    arrays = random_arrays(1)
    arrays["log_ratio"] = np.full_like(arrays["log_ratio"], 1e4)
    clipped, on_policy = run(arrays), run({**arrays, "log_ratio": np.zeros_like(arrays["log_ratio"])})
    np.testing.assert_array_equal(clipped.target, on_policy.target)
    np.testing.assert_array_equal(clipped.advantage, on_policy.advantage)


@pytest.mark.parametrize("content", [7.0, 1e6, np.nan, np.inf])
def test_what_stands_in_a_boundary_row_changes_nothing(content: float) -> None:
    arrays = random_arrays(0, 1, 5)
    arrays["is_boundary"] = np.array([[False, False, True, False, False]])
    expected = run(arrays)
    for name in ("reward", "discount", "log_ratio"):
        arrays[name][0, 2] = content
    found = run(arrays)
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(left, right)
    assert found.target[0, 2] == arrays["value"][0, 2]
    assert found.advantage[0, 2] == found.temporal_difference[0, 2] == 0.0


def test_nothing_flows_over_a_boundary() -> None:
    arrays = random_arrays(0, 1, 5)
    arrays["is_boundary"] = np.array([[False, False, True, False, False]])
    before = run(arrays)
    arrays["value"][0, 3:] += 100.0
    arrays["reward"][0, 3:] -= 100.0
    after = run(arrays)
    np.testing.assert_array_equal(before.target[:, :3], after.target[:, :3])
    np.testing.assert_array_equal(before.advantage[:, :3], after.advantage[:, :3])
    assert before.target[0, 3] != after.target[0, 3]


def test_truncation_bootstraps_from_the_last_value_and_termination_does_not() -> None:
    arrays = {"log_ratio": np.log([[0.5]]), "reward": np.array([[1.0]]), "value": np.array([[2.0, 10.0]])}
    arrays |= {"is_boundary": np.array([[False]])}
    truncated = run({**arrays, "discount": np.array([[0.5]])})
    terminated = run({**arrays, "discount": np.array([[0.0]])})
    np.testing.assert_allclose(truncated.advantage, [[0.5 * (1.0 + 0.5 * 10.0 - 2.0)]])
    np.testing.assert_allclose(terminated.advantage, [[0.5 * (1.0 - 2.0)]])
    np.testing.assert_allclose(terminated.target, [[2.0 + 0.5 * (1.0 - 2.0)]])


def test_step_before_a_cut_is_bootstrapped_from_the_last_real_observation() -> None:
    # Two real steps, the row that a fault cut, LAST to FIRST, and a step of the next episode.
    arrays = {
        "log_ratio": np.log([[0.5, 0.8, 3.0, 3.0, 1.0]]),
        "reward": np.array([[-1.0, -1.0, 0.0, 0.0, 5.0]]),
        "discount": np.full((1, 5), 0.9),
        "value": np.array([[1.0, 2.0, 3.0, 100.0, 50.0, 60.0]]),
        "is_boundary": np.array([[False, False, True, True, False]]),
    }
    second = 0.8 * (-1.0 + 0.9 * 3.0 - 2.0)
    first = 0.5 * (-1.0 + 0.9 * 2.0 - 1.0) + 0.9 * 0.5 * second
    np.testing.assert_allclose(run(arrays).target[0, :4], [1.0 + first, 2.0 + second, 3.0, 100.0])


def test_no_gradient_flows_through_the_estimates() -> None:
    arrays = {name: tf.constant(array) for name, array in random_arrays(2).items()}
    with tf.GradientTape() as tape:
        tape.watch([arrays["value"], arrays["log_ratio"]])
        total = tf.add_n([tf.reduce_sum(item) for item in vtrace(**arrays)])
    assert tape.gradient(total, [arrays["value"], arrays["log_ratio"]]) == [None, None]


@pytest.mark.parametrize("name", ["log_ratio", "reward", "discount", "value", "is_boundary"])
def test_wrong_rank_is_refused_and_the_argument_is_named(name: str) -> None:
    arrays = random_arrays(0)
    arrays[name] = arrays[name][..., np.newaxis]
    with pytest.raises(ValueError, match=rf"^{name} must have rank 2"):
        run(arrays)


@pytest.mark.parametrize("name", ["log_ratio", "discount", "is_boundary"])
def test_another_shape_than_the_rewards_is_refused_and_the_argument_is_named(name: str) -> None:
    arrays = random_arrays(0)
    arrays[name] = arrays[name][:, :1]
    with pytest.raises(ValueError, match=rf"^{name} must have the shape of reward"):
        run(arrays)


def test_value_without_the_last_step_is_refused() -> None:
    arrays = random_arrays(0)
    with pytest.raises(ValueError, match="value must have one step more"):
        run({**arrays, "value": arrays["value"][:, :-1]})


_RLLIB = """
import json, sys
import numpy as np
import tensorflow.compat.v1 as tf
try:
    from ray.rllib.algorithms.impala.vtrace_tf import from_importance_weights
except ModuleNotFoundError as error:
    if error.name != "ray.rllib.algorithms.impala.vtrace_tf":
        raise
    print(json.dumps({"missing": error.name}))
    sys.exit()
arrays = {name: np.asarray(value, np.float32).T for name, value in json.loads(sys.stdin.read()).items()}
with tf.Graph().as_default(), tf.Session() as session:
    found = session.run(from_importance_weights(
        arrays["log_ratio"], arrays["discount"], arrays["reward"], arrays["value"][:-1], arrays["value"][-1],
        clip_rho_threshold=1.5, clip_pg_rho_threshold=1.25,
    ))
print(json.dumps({"target": found.vs.T.tolist(), "advantage": found.pg_advantages.T.tolist()}))
"""


@pytest.mark.slow
def test_estimates_equal_rllibs(tmp_path: Path) -> None:
    arrays = random_arrays(11, 4, 20, dtype=np.float32)
    # RLlib has no boundaries inside a sequence: its episodes end by a discount of 0.
    arrays["is_boundary"] = np.zeros_like(arrays["is_boundary"])
    text = json.dumps({name: array.tolist() for name, array in arrays.items()})
    command = [sys.executable, "-c", _RLLIB]
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    expected = json.loads(result.stdout.splitlines()[-1])
    if "missing" in expected:
        pytest.skip(f"this Ray has no {expected['missing']} any more")
    found = run(arrays, clip_rho=1.5, clip_pg_rho=1.25)
    np.testing.assert_allclose(found.target, expected["target"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.advantage, expected["advantage"], rtol=1e-4, atol=1e-4)
