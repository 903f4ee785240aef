from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from toy_policies import kept

from distpolicy.agents.ppo.config import PPOConfig
from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.trajectories.rollout import Rollout
from distpolicy.trajectories.time_step import restart
from distpolicy.weights import Weights
from launch.config.train import TrainConfig
from launch.training.factories import AgentFactory, PolicyFactory
from workers.collection.collector import Collector, CollectorConfig
from workers.environments.factory import EnvironmentFactory
from workers.environments.probe import probe
from workers.experience.on_policy import merge_rollouts
from workers.learning.learner import Learner

CONFIG = TrainConfig(
    collectors=3,
    envs_per_collector=2,
    rollout_steps=20,
    jit_compile=False,
    network=NetworkConfig(actor_units=(8,)),
    agent=PPOConfig(
        value_units=(8,), num_epochs=2, num_minibatches=3, normalize_observations=True, normalize_rewards=True
    ),
)
ENVIRONMENT = EnvironmentFactory("CartPole-v1", "sync")
SPECS = probe(ENVIRONMENT)
NUM_UPDATES = 4
Update = tuple[Rollout, ...]


def make(config: TrainConfig = CONFIG, generation: int = 0) -> Learner:
    return Learner(AgentFactory(config, SPECS), generation, max_policy_lag=100)


@pytest.fixture(scope="module")
def rollouts() -> list[Update]:
    """The rollouts of some updates: of three collectors each, with the weights that a learner begins with."""
    weights = make().weights()
    collectors = [
        Collector(CollectorConfig(index, 2 * index, 2, 20, seed=0), ENVIRONMENT, PolicyFactory(CONFIG))
        for index in range(3)
    ]
    return [tuple(kept(collector.rollout(weights)[0]) for collector in collectors) for _ in range(NUM_UPDATES)]


@pytest.fixture(scope="module")
def learner() -> Learner:
    return make()


@pytest.fixture(scope="module")
def beginning(learner: Learner) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in learner.state().items()}


@pytest.fixture
def fresh(learner: Learner, beginning: dict[str, np.ndarray]) -> Learner:
    """The one learner that is compiled, as it was at the beginning."""
    learner.restore(beginning)
    return learner


def run(learner: Learner, updates: list[Update], first: int = 0) -> tuple[Weights, dict[str, float]]:
    for index, parts in enumerate(updates, first):
        result = learner.update(index / NUM_UPDATES, *parts)
    return result


def state_bytes(state: dict[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    return {name: (value.shape, value.dtype.name, value.tobytes()) for name, value in state.items()}


def differing(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    assert one.keys() == other.keys()
    left, right = state_bytes(one), state_bytes(other)
    return {name for name in left if left[name] != right[name]}


def test_merged_rows_are_in_order_of_slots_whatever_order_they_come_in(rollouts: list[Update]) -> None:
    first, second, third = rollouts[1]
    merged = merge_rollouts((third, first, second))
    assert merged.first_slot == 0
    assert merged.num_slots == 6
    for name in ("observation", "step_type", "action", "reward", "discount", "discounted_return"):
        expected = np.concatenate([getattr(part, name) for part in (first, second, third)])
        np.testing.assert_array_equal(getattr(merged, name), expected)
    np.testing.assert_array_equal(
        merged.policy_info.log_probability,
        np.concatenate([part.policy_info.log_probability for part in (first, second, third)]),
    )


def of_versions(part: Rollout, *versions: int) -> Rollout:
    return part._replace(weights_version=np.array([[0, version] for version in versions]))


def test_merged_rows_keep_their_own_versions(rollouts: list[Update]) -> None:
    first, second, _ = rollouts[0]
    merged = merge_rollouts((of_versions(second, 4, 4), of_versions(first, 3, 5)))
    assert merged.weights_version.tolist() == [[0, 3], [0, 5], [0, 4], [0, 4]]


def test_one_rollout_is_its_own_merge(rollouts: list[Update]) -> None:
    assert merge_rollouts(rollouts[0][:1]) is rollouts[0][0]


def test_weights_do_not_depend_on_the_order_in_which_rollouts_come(
    fresh: Learner, beginning: dict[str, np.ndarray], rollouts: list[Update]
) -> None:
    in_order, _ = run(fresh, rollouts[:2])
    in_order_state = fresh.state()
    fresh.restore(beginning)
    permuted, _ = run(fresh, [(third, first, second) for first, second, third in rollouts[:2]])
    assert permuted.checksum == in_order.checksum
    assert {name: value.tobytes() for name, value in permuted.buffers.items()} == {
        name: value.tobytes() for name, value in in_order.buffers.items()
    }
    assert not differing(fresh.state(), in_order_state)


def test_each_update_is_the_next_version_and_changes_the_weights(fresh: Learner, rollouts: list[Update]) -> None:
    found = [fresh.weights(), *(run(fresh, [parts])[0] for parts in rollouts[:3])]
    assert [(weights.generation, weights.version) for weights in found] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert len({weights.checksum for weights in found}) == 4
    for weights in found:
        weights.verify()


def test_published_weights_are_a_snapshot(fresh: Learner, rollouts: list[Update]) -> None:
    weights = fresh.weights()
    before = {name: value.copy() for name, value in weights.buffers.items()}
    run(fresh, rollouts[:1])
    for name, value in weights.buffers.items():
        np.testing.assert_array_equal(value, before[name])


def test_published_weights_act_as_the_learners_own_policy(fresh: Learner, rollouts: list[Update]) -> None:
    weights, _ = run(fresh, rollouts[:2])
    collector = Collector(CollectorConfig(0, 0, 2, 20, seed=0), ENVIRONMENT, PolicyFactory(CONFIG))
    rollout, _ = collector.rollout(weights)
    policy = fresh._agent.collect_policy
    time_steps = tf.nest.map_structure(tf.constant, restart(rollout.observation[:, :-1].reshape(-1, 4), 40))
    expected = policy.distribution(time_steps).action.log_prob(rollout.action.reshape(-1)).numpy()
    np.testing.assert_allclose(rollout.policy_info.log_probability.reshape(-1), expected, atol=1e-5)


def test_policy_lag_is_the_distance_to_the_oldest_behaviour_policy(fresh: Learner, rollouts: list[Update]) -> None:
    lags = [fresh.update(0.0, *parts)[1]["policy_lag"] for parts in rollouts[:3]]
    assert lags == [0.0, 1.0, 2.0]  # they were all collected with version 0
    newest = [of_versions(part, 3, 3) for part in rollouts[3]]
    mixed = [*newest[:2], of_versions(newest[2], 2, 3)]
    assert fresh.update(0.0, *mixed)[1]["policy_lag"] == 1.0
    newest = [of_versions(part, 4, 4) for part in rollouts[3]]
    assert fresh.update(0.0, *newest)[1]["policy_lag"] == 0.0


def test_rows_that_are_older_than_the_lag_allows_are_refused_and_change_nothing(
    beginning: dict[str, np.ndarray], rollouts: list[Update]
) -> None:
    strict = Learner(AgentFactory(CONFIG, SPECS), max_policy_lag=1)
    strict.restore({**beginning, "learner/version": np.array(2)})
    before = strict.state()
    first, second, third = (of_versions(part, 2, 1) for part in rollouts[0])
    with pytest.raises(DistPolicyError, match=r"^update 3 got a rollout .* 2 versions old; max_policy_lag allows 1"):
        strict.update(0.0, first, of_versions(second, 1, 0), third)
    assert not differing(strict.state(), before)
    weights, metrics = strict.update(0.0, first, second, third)
    assert weights.version == 3
    assert (metrics["policy_lag"], metrics["policy_lag_mean"]) == (1.0, 0.5)


def test_metrics_are_finite_floats_with_timings(fresh: Learner, rollouts: list[Update]) -> None:
    metrics = fresh.update(0.25, *rollouts[0])[1]
    wanted = {"policy_loss", "value_loss", "entropy", "approx_kl", "learning_rate", "update_s", "learner_wait_s"}
    assert wanted <= metrics.keys()
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())
    assert metrics["learning_rate"] == pytest.approx(0.75 * CONFIG.agent.learning_rate)
    assert metrics["update_s"] > 0
    assert metrics["learner_wait_s"] >= 0


def test_the_learners_own_work_between_updates_is_not_waiting_for_rollouts(
    fresh: Learner, rollouts: list[Update]
) -> None:
    fresh.update(0.0, *rollouts[0])
    start = time.perf_counter()
    fresh.state()
    fresh.export_policies()
    work_s = time.perf_counter() - start
    time.sleep(0.2)
    metrics = fresh.update(0.25, *rollouts[1])[1]
    assert metrics["learner_other_s"] == pytest.approx(work_s, abs=0.1)
    assert 0.2 <= metrics["learner_wait_s"] < 0.2 + work_s / 2
    assert fresh.update(0.5, *rollouts[2])[1]["learner_other_s"] == 0.0


def test_warm_up_leaves_every_variable_byte_equal(fresh: Learner, beginning: dict[str, np.ndarray]) -> None:
    assert fresh.warm_up(CONFIG.collectors * CONFIG.envs_per_collector, CONFIG.rollout_steps) > 0
    assert not differing(fresh.state(), beginning)
    assert fresh.weights().version == 0


def test_warm_up_does_not_change_later_updates(
    fresh: Learner, beginning: dict[str, np.ndarray], rollouts: list[Update]
) -> None:
    run(fresh, rollouts[:2])
    expected = fresh.state()
    fresh.restore(beginning)
    fresh.warm_up(CONFIG.collectors * CONFIG.envs_per_collector, CONFIG.rollout_steps)
    run(fresh, rollouts[:2])
    assert not differing(fresh.state(), expected)


def test_n_updates_restored_into_another_learner_and_n_more_equal_2n_updates(
    fresh: Learner, rollouts: list[Update]
) -> None:
    run(fresh, rollouts[:2])
    state = {name: value.copy() for name, value in fresh.state().items()}
    weights, _ = run(fresh, rollouts[2:], first=2)
    resumed = make(generation=1)
    assert differing(resumed.state(), state)
    resumed.restore(state)
    assert not differing(resumed.state(), state)
    resumed_weights, _ = run(resumed, rollouts[2:], first=2)
    assert not differing(resumed.state(), fresh.state())
    assert (weights.generation, weights.version) == (0, 4)
    assert (resumed_weights.generation, resumed_weights.version) == (1, 4)
    assert resumed_weights.checksum == weights.checksum


def test_two_learners_of_one_seed_begin_alike_and_those_of_others_do_not(beginning: dict[str, np.ndarray]) -> None:
    assert not differing(make().state(), beginning)
    other = dataclasses.replace(CONFIG, seed=1)
    assert any(name.startswith("policy/") for name in differing(make(other).state(), beginning))


def test_state_holds_every_part_of_an_update(
    fresh: Learner, beginning: dict[str, np.ndarray], rollouts: list[Update]
) -> None:
    parts = {name.split("/")[0] for name in beginning}
    assert parts == {"policy", "value_network", "reward_normalizer", "optimizer", "train_step", "learner"}
    run(fresh, rollouts[:1])
    changed = differing(fresh.state(), beginning)
    assert {name.split("/")[0] for name in changed} == parts
    assert {"learner/version", "train_step"} <= changed
    assert any("normalizer" in name for name in changed if name.startswith("policy/"))


def test_the_update_is_traced_once(fresh: Learner, rollouts: list[Update]) -> None:
    fresh.warm_up(CONFIG.collectors * CONFIG.envs_per_collector, CONFIG.rollout_steps)
    run(fresh, rollouts)
    assert fresh._agent.tracing_count == 1


def unchanged(learner: Learner, state: dict[str, np.ndarray], message: str) -> None:
    """The state is refused with this message and nothing has been taken from it."""
    before = {name: value.copy() for name, value in learner.state().items()}
    with pytest.raises(ConfigError, match=message):
        learner.restore(state)
    assert not differing(learner.state(), before)


def test_a_state_of_another_architecture_is_refused_by_the_name_of_the_variable(fresh: Learner) -> None:
    wide = dataclasses.replace(CONFIG, network=NetworkConfig(actor_units=(9,)))
    state = make(wide).state()
    name = next(name for name, value in fresh.state().items() if value.shape != state[name].shape)
    assert "kernel" in name
    unchanged(fresh, state, rf"another architecture: {re.escape(name)} has shape \(4, 9\) there and \(4, 8\) here")


@pytest.mark.parametrize("network", [NetworkConfig((8, 8)), NetworkConfig((8,), encoder_units=(8,)), NetworkConfig(())])
def test_a_state_of_another_depth_is_refused(fresh: Learner, network: NetworkConfig) -> None:
    unchanged(
        fresh,
        make(dataclasses.replace(CONFIG, network=network)).state(),
        r"the checkpoint .*(policy|network|optimizer)/",
    )


def test_a_state_without_the_observation_normalizer_is_refused(fresh: Learner) -> None:
    other = dataclasses.replace(CONFIG, agent=dataclasses.replace(CONFIG.agent, normalize_observations=False))
    state = make(other).state()
    unchanged(fresh, state, r"the checkpoint has no policy/.*normalizer")


def without(state: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize("name", ["train_step", "learner/version", "optimizer/first_moment"])
def test_a_state_that_lacks_something_is_refused_by_its_name(fresh: Learner, rollouts: list[Update], name: str) -> None:
    state = {key: value.copy() for key, value in fresh.state().items()}
    run(fresh, rollouts[:1])
    unchanged(fresh, without(state, name), f"has no {name}")


def test_a_state_that_holds_too_much_is_refused_by_its_name(fresh: Learner, rollouts: list[Update]) -> None:
    state = {**{key: value.copy() for key, value in fresh.state().items()}, "policy/extra": np.zeros(2)}
    run(fresh, rollouts[:1])
    unchanged(fresh, state, "holds policy/extra")


def test_a_diverged_update_is_an_error_that_names_what_is_not_finite(fresh: Learner, rollouts: list[Update]) -> None:
    parts = [part._replace(reward=np.full_like(part.reward, np.nan)) for part in rollouts[0]]
    with pytest.raises(DistPolicyError, match=r"diverged in update 1: .*loss.* not finite; lower the learning rate"):
        fresh.update(0.0, *parts)
    assert fresh.weights().version == 0


def test_ping_tells_the_generation_and_memory_is_counted() -> None:
    learner = make(generation=5)
    assert learner.ping() == 5
    assert learner.weights().generation == 5
    assert learner.peak_memory_bytes() > 2**20


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def greedy_actions(policy: Any, observation: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    from distpolicy.trajectories.time_step import restart

    return policy.action(restart(tf.constant(observation), batch_size=len(observation))).action.numpy()


def test_exported_policy_has_the_files_of_a_saved_model(fresh: Learner) -> None:
    files = fresh.export_policies()["policy"]
    assert {"saved_model.pb", "policy_specs.pbtxt", "variables/variables.index"} <= files.keys()
    assert {type(data) for data in files.values()} == {bytes}


def test_exported_policy_acts_in_a_process_with_tensorflow_alone(
    fresh: Learner, rollouts: list[Update], tmp_path: Path
) -> None:
    run(fresh, rollouts)
    folder = written(fresh.export_policies()["policy"], tmp_path / "policy")
    observation = rollouts[0][0].observation.reshape(-1, 4)
    np.save(tmp_path / "observation.npy", observation)
    script = (
        "import collections, sys, numpy as np, tensorflow as tf\n"
        "TimeStep = collections.namedtuple('TimeStep', 'step_type reward discount observation')\n"
        "observation = np.load('observation.npy')\n"
        "policy = tf.saved_model.load('policy')\n"
        "n = len(observation)\n"
        "reward, discount = np.zeros(n, np.float32), np.ones(n, np.float32)\n"
        "step = policy.action(TimeStep(np.zeros(n, np.int32), reward, discount, observation))\n"
        "assert not any(name.split('.')[0] == 'distpolicy' for name in sys.modules)\n"
        "np.save('action.npy', step.action.numpy())\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    expected = greedy_actions(fresh._agent.policy, observation)
    assert folder.is_dir()
    assert len(np.unique(expected)) == 2
    np.testing.assert_array_equal(np.load(tmp_path / "action.npy"), expected)


def test_policies_that_are_exported_again_have_the_newest_variables(
    fresh: Learner, rollouts: list[Update], tmp_path: Path
) -> None:
    from distpolicy.policies import policy_loader

    observation = rollouts[0][0].observation.reshape(-1, 4)
    names = ("policy", "collect_policy")
    before = {name: dict(files) for name, files in fresh.export_policies(names).items()}
    run(fresh, rollouts)
    after = fresh.export_policies(names)
    for name in names:
        assert before[name].keys() == after[name].keys()
        data = "variables/variables.data-00000-of-00001"
        assert before[name][data] != after[name][data]
        loaded = policy_loader.load(str(written(after[name], tmp_path / name)))
        assert loaded.get_train_step() == fresh.weights().version == len(rollouts)
        theirs, ours = loaded.variables(), getattr(fresh._agent, name).variables()
        for mine, read in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.numpy(), read.numpy())
    expected = greedy_actions(fresh._agent.policy, observation)
    np.testing.assert_array_equal(greedy_actions(policy_loader.load(str(tmp_path / "policy")), observation), expected)
