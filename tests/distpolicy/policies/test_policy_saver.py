from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.networks.projection import TanhNormalProjection
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.policies.tf_policy import TFPolicy
from distpolicy.specs.array_spec import BoundedArraySpec
from distpolicy.specs.tensor_spec import TensorSpec
from distpolicy.trajectories.time_step import TimeStep
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer

BOX = BoundedArraySpec((2,), np.float32, [-1.0, 0.0], [1.0, 4.0], "action")

# Runs where neither distpolicy nor Keras' and TFP's classes are at hand: TensorFlow alone.
SERVE = """
import sys
sys.modules["distpolicy"] = None
import numpy as np
import tensorflow as tf
try:
    import distpolicy
except ImportError:
    pass
else:
    raise SystemExit("distpolicy could be imported")
given = np.load("inputs.npz")
outputs = {}
for name in sys.argv[1:]:
    loaded = tf.saved_model.load(name)
    step = [tf.constant(given[field]) for field in ("step_type", "reward", "discount", "observation")]
    if name == "recurrent":
        state = loaded.get_initial_state(tf.constant(len(given["reward"])))
        for _ in range(3):
            answer = loaded.action(*step, state)
            state = answer["state"]
        outputs[name + "_steps"] = state["steps"].numpy()
    else:
        assert loaded.get_initial_state(tf.constant(4)) == ()
        answer = loaded.action(*step, ())
        by_name = dict(zip(("step_type", "reward", "discount", "observation"), step))
        signed = loaded.signatures["action"](**by_name)["action"]
        np.testing.assert_array_equal(signed, answer["action"])
    outputs[name] = answer["action"].numpy()
np.savez("outputs.npz", **outputs)
"""


@pytest.fixture(scope="module")
def normalizer() -> StreamingTensorNormalizer:
    made = StreamingTensorNormalizer(TensorSpec((3,), tf.float32))
    made.update(tf.constant(np.random.default_rng(5).normal([1.0, -2.0, 0.5], [3.0, 0.5, 1.0], size=(50, 3))))
    return made


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    make_policy: Callable[..., ActorPolicy],
    make_recurrent_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    normalizer: StreamingTensorNormalizer,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Path]:
    """Actions by name before saving, what a process without distpolicy answered, and the folder of the models."""
    network = {"continuous_projection_net": TanhNormalProjection}
    policies: dict[str, TFPolicy] = {
        "discrete": GreedyPolicy(make_policy(weights_seed=1)),
        "shifted": GreedyPolicy(make_policy(BoundedArraySpec((), np.int32, -2, 1), weights_seed=1)),
        "normalized": GreedyPolicy(make_policy(BOX, weights_seed=1, observation_normalizer=normalizer)),
        "squashed": GreedyPolicy(make_policy(BOX, weights_seed=1, network=network)),
        "recurrent": make_recurrent_policy(),
    }
    step = tf.nest.map_structure(tf.constant, make_step(32))
    actions = {name: policy.action(step).action.numpy() for name, policy in policies.items() if name != "recurrent"}
    folder = tmp_path_factory.mktemp("saved")
    for name, policy in policies.items():
        PolicySaver(policy).save(folder / name)
    np.savez(folder / "inputs.npz", **make_step(32)._asdict())
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *policies], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return actions, dict(np.load(folder / "outputs.npz")), folder


@pytest.mark.parametrize("name", ["discrete", "shifted", "normalized", "squashed"])
def test_saved_policy_acts_alike_without_distpolicy(
    served: tuple[dict[str, np.ndarray], dict[str, np.ndarray], Path], name: str
) -> None:
    actions, outputs, _ = served
    expected = actions[name]
    assert len(np.unique(expected, axis=0)) > 1
    assert outputs[name].dtype == expected.dtype
    np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-6)


def test_normaliser_s_statistics_are_saved(
    served: tuple[dict[str, np.ndarray], dict[str, np.ndarray], Path],
    make_policy: Callable[..., ActorPolicy],
    make_step: Callable[..., TimeStep],
    to_tensors: Callable[[Any], Any],
) -> None:
    plain = GreedyPolicy(make_policy(BOX, weights_seed=1)).action(to_tensors(make_step(32))).action
    assert not np.allclose(served[1]["normalized"], plain, atol=1e-2)


def test_saved_recurrent_policy_has_a_usable_initial_state(
    served: tuple[dict[str, np.ndarray], dict[str, np.ndarray], Path], make_step: Callable[..., TimeStep]
) -> None:
    observation = make_step(32).observation
    np.testing.assert_array_equal(served[1]["recurrent_steps"], np.full(32, 3))
    np.testing.assert_allclose(served[1]["recurrent"], (1 + 0.5 + 0.25) * 2.0 * observation, rtol=1e-5)


def test_specs_are_written_beside_the_model(served: tuple[dict[str, np.ndarray], dict[str, np.ndarray], Path]) -> None:
    specs = json.loads((served[2] / "shifted" / "policy_specs.json").read_text())
    assert specs["action_spec"] == {"shape": [], "dtype": "int32", "minimum": -2, "maximum": 1}
    assert specs["time_step_spec"]["observation"]["shape"] == [3]
    specs = json.loads((served[2] / "recurrent" / "policy_specs.json").read_text())
    assert specs["policy_state_spec"]["steps"] == {"shape": [], "dtype": "int32"}


def test_saved_policy_that_draws_gives_log_probabilities(
    tmp_path: Path, make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep]
) -> None:
    policy = make_policy(emit_log_probability=True)
    PolicySaver(policy, batch_size=4).save(tmp_path / "policy")
    loaded = tf.saved_model.load(str(tmp_path / "policy"))
    step = make_step(4)
    drawn = [loaded.action(*map(tf.constant, step), ()) for _ in range(20)]
    assert len({answer["action"].numpy().tobytes() for answer in drawn}) > 1
    logits = policy.distribution(tf.nest.map_structure(tf.constant, step)).action.logits_parameter()
    log_probability = tf.gather(tf.nn.log_softmax(logits), drawn[0]["action"], batch_dims=1)
    np.testing.assert_allclose(drawn[0]["info"].log_probability, log_probability, rtol=1e-5)
