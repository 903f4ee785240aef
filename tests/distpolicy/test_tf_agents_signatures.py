"""The public names of TF-Agents 0.19's modules and their parameters, recorded there, against ours.

Whatever a module of TF-Agents defines is at the same place here, or in ``ABSENT``. Its parameters come in the same
order with the same names; ours may have more after them, and a default where TF-Agents has none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

from golden_registry import Namespace  # noqa: E402
from golden_signatures import describe  # noqa: E402

THEIRS: dict[str, Any] = json.loads((GOLDEN / "tf_agents_0_19.json").read_text())["signatures"]

# Names that distpolicy does not have, and why. A class stands for what is in it, too.
ABSENT: dict[str, tuple[str, ...]] = {
    "for sessions and graphs of TensorFlow 1": (
        "common.check_tf1_allowed",
        "common.function_in_tf1",
        "common.in_legacy_tf1",
        "common.initialize_uninitialized_variables",
        "common.resource_variables_enabled",
        "eager_utils.create_train_op",
        "eager_utils.create_train_step",
        "py_metric.PyMetric.summary_op",
        "py_metric.PyMetric.summary_placeholder",
        "py_metric.run_summaries",
        "tensor_spec.to_nest_placeholder",
        "tensor_spec.to_placeholder",
        "tensor_spec.to_placeholder_with_default",
    ),
    "for Reverb": (
        "train_utils.create_staleness_metrics_after_train_step_fn",
        "triggers.ReverbCheckpointTrigger",
    ),
    "for tables of variables, while replay buffers here hold NumPy arrays": (
        "episodic_replay_buffer.Episodes",
        "episodic_replay_buffer.EpisodicReplayBuffer.extend_episodes",
        "episodic_replay_buffer.EpisodicReplayBuffer.extract",
        "episodic_replay_buffer.EpisodicReplayBuffer.get_valid_ids_mask",
        "episodic_replay_buffer.StatefulEpisodicReplayBuffer.extend_episodes",
        "tf_uniform_replay_buffer.TFUniformReplayBuffer.device",
        "tf_uniform_replay_buffer.TFUniformReplayBuffer.scope",
        "tf_uniform_replay_buffer.TFUniformReplayBuffer.table_fn",
    ),
    "for agents and their training": (
        "learner.Learner.loss",
        "policy_info_updater_wrapper.PolicyInfoUpdaterWrapper.apply_value_network",
    ),
    "of TF-Agents' own workings, or of Keras 2 layers": (
        "common.assert_members_are_not_overridden",
        "common.join_scope",
        "common.set_default_tf_function_parameters",
        "dynamic_episode_driver.is_bandit_env",
        "dynamic_step_driver.is_bandit_env",
        "dynamic_unroll_layer.DynamicUnroll.updates",
        "eager_utils.has_self_cls_arg",
        "eager_utils.is_unbound",
        "greedy_policy.DeterministicWithLogProb",
        "network.create_variables",
        "network.get_state_spec",
        "policy_saver.add_batch_dim",
        "policy_saver.rename_spec_with_nest_paths",
        "q_network.validate_specs",
        "sequential.Sequential.compute_output_shape",
        "sequential.Sequential.compute_output_signature",
        "rnn_wrapper.RNNWrapper.updates",
        "sequential.Sequential.get_config",
        "squashed_outer_wrapper.SquashedOuterWrapper.updates",
        "tensor_normalizer.TensorNormalizer.map_dtype",
        "tf_py_policy.map_tensor_spec_to_dtypes_list",
    ),
}
ABSENT_NAMES = {name for names in ABSENT.values() for name in names}


def is_absent(name: str) -> bool:
    return name in ABSENT_NAMES or name.rpartition(".")[0] in ABSENT_NAMES


# Parameters that are meant to be others, and why.
DEVIATIONS: dict[str, str] = {
    "tensor_normalizer.TensorNormalizer.normalize": "None stands for the constructor's value, 5 and 0.001 by default",
    "driver.Driver.run": "the base names what its drivers take; TF-Agents' took nothing, and its drivers did",
    "rnn_wrapper.RNNWrapper.get_initial_state": "the inputs say how many rows there are, so they have no default",
    "tf_uniform_replay_buffer.TFUniformReplayBuffer.as_dataset": "it has all parameters of the base class's method",
    "tf_uniform_replay_buffer.TFUniformReplayBuffer.variables": "items are in arrays; every tf.Module has it",
    "shifted_categorical.ShiftedCategorical.cdf": "its default name is cdf; TF-Agents called it log_cdf",
}


def member_of(name: str) -> Any:
    short, *rest = name.split(".")
    member = getattr(Namespace("distpolicy"), short)
    for part in rest:
        member = getattr(member, part)
    return member


def mismatch(theirs: Any, ours: Any) -> str | None:
    """What is wrong with our parameters, or None."""
    if "property" in (theirs, ours):
        return None if theirs == ours else f"one is a property and the other is not: {theirs}, {ours}"
    names = [parameter[0] for parameter in ours]
    if names[: len(theirs)] != [parameter[0] for parameter in theirs]:
        return f"parameters {names} do not begin with {[parameter[0] for parameter in theirs]}"
    for (name, *their_default), (_, *our_default) in zip(theirs, ours, strict=False):
        if their_default and not our_default:
            return f"{name} has no default"
        if their_default and their_default != ["..."] and their_default != our_default:
            return f"the default of {name} is {our_default[0]!r}, not {their_default[0]!r}"
    if any(len(parameter) == 1 for parameter in ours[len(theirs) :]):
        return "a parameter more has no default"
    return None


# A network's call is what subclasses write, and is reached through __call__.
COMPARED = sorted(name for name in THEIRS if not is_absent(name) and not name.endswith(".call"))


@pytest.mark.parametrize("name", COMPARED)
def test_the_name_has_the_same_parameters(name: str) -> None:
    found = mismatch(THEIRS[name], describe(member_of(name)))
    assert (found is not None) == (name in DEVIATIONS), found


def test_what_is_said_to_be_absent_is_a_name_of_tf_agents_and_absent() -> None:
    for name in ABSENT_NAMES:
        assert name in THEIRS
        with pytest.raises(AttributeError):
            member_of(name)


def test_deviations_are_of_names_that_are_compared() -> None:
    assert set(DEVIATIONS) <= set(COMPARED)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ([["a"], ["b", 1]], [["b", 1], ["a"]]),
        ([["a"], ["b", 1]], [["a"]]),
        ([["a", 1]], [["a", 2]]),
        ([["a", None]], [["a"]]),
        ([["a"]], [["a"], ["more"]]),
        ([["a", "..."]], [["a"]]),
        ("property", []),
    ],
)
def test_the_comparison_sees_another_signature(theirs: Any, ours: Any) -> None:
    assert mismatch(theirs, ours) is not None


def test_more_parameters_and_defaults_are_no_mismatch() -> None:
    assert mismatch([["a"], ["b", "..."]], [["a", None], ["b", 3], ["more", None]]) is None
