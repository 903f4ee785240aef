"""A loader makes programs of a policy's folder, and of what replaces it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from workers.serving.loader import PolicyLoader
from workers.serving.replica import make_policy

OBSERVATION = BoundedArraySpec((3,), np.float32, -10, 10)
ACTION = BoundedArraySpec((2,), np.float32, -100, 100)


def actions(policy: Any) -> np.ndarray:
    observation = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    zeros = np.zeros(8, np.float32)
    step = TimeStep(np.ones(8, np.int32), zeros, zeros + 1, observation)
    return policy.action(step, (), np.zeros((8, 2), np.int32)).action


@pytest.fixture(scope="module")
def policy() -> Any:
    network = ActorDistributionNetwork(OBSERVATION, ACTION, fc_layer_params=(4,))
    return GreedyPolicy(ActorPolicy(time_step_spec(OBSERVATION), ACTION, network))


def replace(folder: Path, policy: Any, **options: Any) -> None:
    newer = folder.with_name("newer")
    PolicySaver(policy, **options).save(str(newer))
    if folder.exists():
        shutil.rmtree(folder)
    newer.rename(folder)


@pytest.mark.slow
def test_newer_policies_are_loaded_once_each(policy: Any, tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    replace(folder, policy)
    loader = PolicyLoader(folder, "auto", 8)
    first = loader.load(0)
    assert first is not None
    assert (first.version, first.number, first.note) == (0, 0, "")
    assert loader.load(5) is None
    before = actions(make_policy(first))
    for variable in policy.variables():
        variable.assign(variable + 0.5)
    replace(folder, policy, train_step=tf.Variable(12, dtype=tf.int64))
    second = loader.load(1)
    assert second is not None
    assert (second.version, second.number) == (12, 1)
    assert loader.load(5) is None
    expected = policy.action(
        TimeStep(
            tf.ones(8, tf.int32),
            tf.zeros(8),
            tf.ones(8),
            tf.constant(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)),
        )
    ).action
    after = actions(make_policy(second))
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(after, before, atol=0.1)

    # Another policy is told once, and the next one is taken.
    network = ActorDistributionNetwork(OBSERVATION, ACTION, fc_layer_params=(5,))
    replace(folder, GreedyPolicy(ActorPolicy(time_step_spec(OBSERVATION), ACTION, network)))
    with pytest.raises(CheckpointError):
        loader.load(2)
    assert loader.load(2) is None
    replace(folder, policy)
    third = loader.load(2)
    assert third is not None
    assert (third.version, third.number) == (2, 2)
    # A loader whose process was started again goes on counting.
    again = PolicyLoader(folder, "tf", 8).load(3)
    assert again is not None
    assert again.number == 3

    # A run that replaces the folder lets it be missing for a moment.
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="cannot be read"):
        loader.load(2)


def test_what_is_not_a_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises((CheckpointError, ConfigError)):
        PolicyLoader(tmp_path / "policy", "auto", 8).load(0)


def test_a_newer_policy_that_others_may_write_is_refused_until_its_mode_is_right(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    model = tmp_path / "policy" / "saved_model.pb"
    model.write_bytes(b"no model")
    model.chmod(0o666)
    loader = PolicyLoader(tmp_path / "policy", "auto", 8)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"others may write to .*saved_model.pb .* give --trust-shared"):
            loader.load(0)
    # It is read now, and is not a model.
    model.chmod(0o600)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        loader.load(0)
    assert "others may write" not in str(caught.value)
    model.chmod(0o666)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        PolicyLoader(tmp_path / "policy", "auto", 8, trust_shared=True).load(0)
    assert "others may write" not in str(caught.value)


def test_a_folder_that_is_missing_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "policy"

    def appear(seconds: float) -> None:
        folder.mkdir(mode=0o700)
        (folder / "saved_model.pb").write_bytes(b"no model")

    monkeypatch.setattr("workers.serving.loader.time.sleep", appear)
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        PolicyLoader(folder, "auto", 8).load(0)
    assert "cannot be read: it is missing" not in str(caught.value)
