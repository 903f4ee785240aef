"""Exports run without distpolicy, act as the policy does, and are written whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from distpolicy.agents.agent_config import LearnerOptions, agent_kinds
from distpolicy.errors import ConfigError
from distpolicy.export import formats
from distpolicy.export.check import compare
from distpolicy.export.exporter import export
from distpolicy.export.formats import FORMATS
from distpolicy.export.frozen_action import FrozenAction
from distpolicy.networks.network import Network
from distpolicy.networks.network_config import NetworkConfig
from distpolicy.networks.normal_projection_network import NormalProjectionNetwork
from distpolicy.policies.actor_policy import ActorPolicy
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.q_policy import QPolicy
from distpolicy.specs.array_spec import ArraySpec, BoundedArraySpec
from distpolicy.trajectories.environment_specs import EnvironmentSpecs
from distpolicy.trajectories.policy_step import PolicyStep
from distpolicy.trajectories.time_step import TimeStep, time_step_spec
from distpolicy.utils.sampling.tensor_draws import noise_from
from distpolicy.utils.tensor_normalizer import StreamingTensorNormalizer


class Values(Network):
    """The value of each of four actions is the sum of a row of the picture."""

    def __init__(self, spec: Any) -> None:
        super().__init__(input_tensor_spec=spec, state_spec=(), name="Values")

    def call(self, observation: Any, step_type: Any = None, network_state: Any = (), training: bool = False) -> Any:
        return tf.reduce_sum(tf.cast(observation, tf.float32), axis=[2, 3]), network_state


BOX = BoundedArraySpec((2,), np.float32, [-1, -5], [1, 5], "action")

# Runs a program by its engine alone, and shows what of ours was imported.
RUN = """
import json, sys
import numpy as np
folder, form = sys.argv[1:]
signature = json.load(open(folder + "/signature.json"))
given = dict(np.load("inputs.npz"))
given = {item["name"]: given[item["name"]].astype(item["dtype"]) for item in signature["inputs"]}
if form == "tflite":
    from ai_edge_litert.interpreter import Interpreter
    run = Interpreter(folder + "/" + signature["file"]).get_signature_runner()
    rows = [run(**{name: value[i:i + 1] for name, value in given.items()}) for i in range(len(given["observation"]))]
    rows = [{name: np.array(value) for name, value in row.items()} for row in rows]
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
elif form == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(folder + "/" + signature["file"])
    names = [item["name"] for item in signature["outputs"]]
    found = dict(zip(names, session.run(names, given)))
else:
    import tensorflow as tf
    loaded = tf.saved_model.load(folder)
    found = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in given.items()})
assert not {"distpolicy", "ray", "tf_keras"} & set(sys.modules)
np.savez("outputs.npz", **found)
"""


def run_alone(folder: Path, form: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    np.savez(folder.parent / "inputs.npz", **inputs)
    environment = {**os.environ, "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", RUN, str(folder), form]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder.parent / "outputs.npz"))


def run_program(folder: Path, form: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Runs a program by its engine in this process, which is quicker."""
    file = folder / json.loads((folder / "signature.json").read_text())["file"]
    if form == "tflite":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(file)).get_signature_runner()
        num = len(next(iter(inputs.values())))
        rows = [
            {
                name: np.array(value)
                for name, value in run(**{key: leaf[i : i + 1] for key, leaf in inputs.items()}).items()
            }
            for i in range(num)
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file))
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    loaded = tf.saved_model.load(str(folder))
    found = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


SLOW = [pytest.param(form, marks=pytest.mark.slow) for form in ("onnx", "saved_model")]


@pytest.mark.parametrize("form", ["tflite", SLOW[0]])
def test_a_recurrent_policy_takes_and_returns_its_state(
    form: str, make_recurrent_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    policy = make_recurrent_policy()
    exported = export(policy, form, tmp_path / "out")
    assert [item.role for item in exported.signature.inputs] == ["step_type", "observation", "state", "state"]
    step = make_step(5)
    step = step._replace(step_type=np.array([0, 1, 1, 0, 1], np.int32))
    random = np.random.default_rng(1)
    state = tf.nest.map_structure(
        lambda leaf: tf.constant(random.integers(1, 9, leaf.shape).astype(leaf.dtype.as_numpy_dtype)),
        policy.get_initial_state(5),
    )
    expected = policy.action(tf.nest.map_structure(tf.constant, step), state)
    names = [item.name for item in exported.signature.inputs if item.role == "state"]
    inputs = {"step_type": step.step_type, "observation": step.observation}
    inputs |= dict(zip(names, [leaf.numpy() for leaf in tf.nest.flatten(state)], strict=True))
    found = run_alone(tmp_path / "out", form, inputs)
    for item, want in zip(exported.signature.outputs, tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(found[item.name], want.numpy(), rtol=1e-5, atol=1e-5)
    document = json.loads((tmp_path / "out" / "signature.json").read_text())
    assert set(document["initial_state"]) == set(names)
    assert document["inputs"][0]["meaning"].startswith("0 at the first step")


@pytest.mark.parametrize("form", ["tflite", *SLOW])
def test_draws_follow_from_uniform_numbers_that_the_caller_gives(
    form: str, make_policy: Callable[..., ActorPolicy], make_step: Callable[..., TimeStep], tmp_path: Path
) -> None:
    normalizer = StreamingTensorNormalizer(tf.TensorSpec((3,), tf.float32))
    normalizer.update(tf.constant(np.random.default_rng(5).normal(1.0, 2.0, size=(50, 3))))
    network = {"continuous_projection_net": NormalProjectionNetwork}
    policy = make_policy(BOX, network=network, observation_normalizer=normalizer, emit_log_probability=True)
    exported = export(policy, form, tmp_path / "out")
    (noise,) = [item for item in exported.signature.inputs if item.role == "noise"]
    step = make_step(6)
    numbers = np.random.default_rng(2).random((6, noise.shape[1])).astype(np.float32)
    with noise_from(lambda seed, num: tf.constant(numbers)):
        expected = policy.action(tf.nest.map_structure(tf.constant, step), (), tf.zeros((6, 2), tf.int32))
    found = run_alone(tmp_path / "out", form, {"observation": step.observation, "noise": numbers})
    np.testing.assert_allclose(found["action"], expected.action.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["info_log_probability"], expected.info.log_probability, rtol=1e-3, atol=1e-4)
    assert exported.difference.largest < 1e-3


def test_greedy_policies_take_observations_alone(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    exported = export(GreedyPolicy(make_policy(weights_seed=1)), "tflite", tmp_path / "out", batch_size=4)
    assert [(item.name, item.shape, item.dtype) for item in exported.signature.inputs] == [
        ("observation", (4, 3), "float32")
    ]
    assert [(item.name, item.shape, item.dtype) for item in exported.signature.outputs] == [("action", (4,), "int64")]
    assert exported.difference.num_rows == 1024
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["policy.tflite", "signature.json"]


def test_a_program_that_differs_is_refused_and_nothing_is_written(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, other = (GreedyPolicy(make_policy(BOX, weights_seed=seed)) for seed in (1, 2))
    action = FrozenAction(other, 1, True)
    run = FORMATS["tflite"].runner(FORMATS["tflite"].write(action))
    with pytest.raises(ConfigError, match="the exported program differs from the policy: action by up to"):
        compare(policy, action.signature, run, 64)
    compare(other, action.signature, run, 64)

    made = FORMATS["tflite"]
    wrong = formats.Format(made.name, made.main_file, True, False, lambda _: made.write(action), made.runner)
    monkeypatch.setitem(FORMATS, "tflite", wrong)
    with pytest.raises(ConfigError, match="differs from the policy"):
        export(policy, "tflite", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_choices_that_differ_are_refused(make_policy: Callable[..., ActorPolicy]) -> None:
    policy, other = (GreedyPolicy(make_policy(weights_seed=seed)) for seed in (1, 2))
    action = FrozenAction(other, 8, True)
    run = FORMATS["tflite"].runner(FORMATS["tflite"].write(action))
    with pytest.raises(ConfigError, match=r"\d+.\d% of its choices are others"):
        compare(policy, action.signature, run, 64)


def test_an_earlier_export_is_not_written_over(make_policy: Callable[..., ActorPolicy], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(ConfigError, match="exists: choose another folder"):
        export(make_policy(), "tflite", tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


class OwnDraws(GreedyPolicy):
    """Draws by TensorFlow's generator."""

    def _action(self, time_step: TimeStep, policy_state: Any, seed: Any) -> PolicyStep:
        step = super()._action(time_step, policy_state, seed)
        return step._replace(
            action=step.action + tf.random.stateless_uniform(step.action.shape, seed[0], 0, 2, tf.int64)
        )


def test_draws_that_cannot_be_exported_are_refused_plainly(
    make_policy: Callable[..., ActorPolicy], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the policy draws"):
        export(OwnDraws(make_policy()), "tflite", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


VECTOR = BoundedArraySpec((3,), np.float32, -10, 10)
NESTED = {
    "camera": BoundedArraySpec((12, 12, 3), np.uint8, 0, 255),
    "more": {"joints": VECTOR, "kind": BoundedArraySpec((), np.int64, 0, 4)},
}
CHOICE = BoundedArraySpec((), np.int64, 0, 3)


def random_observation(spec: Any, num: int, random: np.random.Generator) -> Any:
    if isinstance(spec, dict):
        return {name: random_observation(leaf, num, random) for name, leaf in spec.items()}
    shape = (num, *spec.shape)
    if spec.dtype.kind == "f":
        return random.normal(size=shape).astype(spec.dtype)
    return random.integers(int(spec.minimum.min()), int(spec.maximum.max()) + 1, shape).astype(spec.dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "observation", "action", "network", "form"),
    [
        ("ppo", NESTED, {"gear": CHOICE, "wheel": BOX}, {}, "tflite"),
        ("ppo", NESTED, {"gear": CHOICE, "wheel": BOX}, {}, "saved_model"),
        ("ppo", VECTOR, BOX, {"continuous": "tanh_normal"}, "onnx"),
        ("dqn", NESTED, CHOICE, {}, "onnx"),
        ("c51", VECTOR, CHOICE, {}, "tflite"),
        ("sac", ArraySpec((3,), np.float64), BOX, {}, "tflite"),
        ("td3", VECTOR, BOX, {}, "saved_model"),
    ],
)
def test_agents_policies_act_alike_without_this_project(
    kind: str, observation: Any, action: Any, network: dict[str, Any], form: str, tmp_path: Path
) -> None:
    specs = EnvironmentSpecs(time_step_spec(observation), action)
    networks = NetworkConfig(**{"actor_units": (8,), **network})
    policy = agent_kinds()[kind]().make_agent(specs, networks, LearnerOptions(seed=1, jit_compile=False)).policy
    exported = export(policy, form, tmp_path / "out", num_check_rows=8)
    assert {item.role for item in exported.signature.inputs} == {"observation"}
    given = random_observation(observation, 6, np.random.default_rng(0))
    zeros = np.zeros(6, np.float32)
    step = TimeStep(np.ones(6, np.int32), zeros, zeros + 1, given)
    expected = policy.action(tf.nest.map_structure(tf.constant, step)).action
    # A program for LiteRT takes float32 for float64, as its signature says.
    pairs = zip(exported.signature.inputs, tf.nest.flatten(given), strict=True)
    found = run_program(tmp_path / "out", form, {item.name: leaf.astype(item.dtype) for item, leaf in pairs})
    outputs = [item.name for item in exported.signature.outputs if item.role == "action"]
    for name, want in zip(outputs, tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5)


def test_a_masked_choice_over_images_is_exported_with_its_mask(tmp_path: Path) -> None:
    spec = {"camera": BoundedArraySpec((4, 4, 1), np.uint8, 0, 255), "allowed": ArraySpec((4,), np.bool_)}
    network = Values(BoundedArraySpec((4, 4, 1), np.uint8, 0, 255))
    policy = GreedyPolicy(
        QPolicy(
            time_step_spec(spec),
            CHOICE,
            network,
            observation_and_action_constraint_splitter=lambda given: (given["camera"], given["allowed"]),
        )
    )
    exported = export(policy, "tflite", tmp_path / "out", num_check_rows=16)
    assert exported.difference.share_other == 0.0
    camera = np.zeros((1, 4, 4, 1), np.uint8)
    camera[0, 2] = 9
    for allowed, action in (([1, 1, 1, 1], 2), ([1, 1, 0, 1], 0), ([0, 0, 0, 1], 3)):
        inputs = {"observation_camera": camera, "observation_allowed": np.array([allowed], np.bool_)}
        assert run_program(tmp_path / "out", "tflite", inputs)["action"] == [action]
