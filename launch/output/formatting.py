"""Returns and evaluations as text."""

from __future__ import annotations

import numpy as np

from launch.config.common import counted
from launch.output.intervals import interval
from workers.collection.evaluator import EvaluationResult


def show_return(value: float, scale: float | None = None) -> str:
    """Returns a return as text, with one decimal, or with three where returns are small.

    Args:
        value: The return.
        scale: The size of the returns that it is shown with; None for its own.
    """
    size = abs(value if scale is None else scale)
    return f"{value:.1f}" if not size < 10.0 else f"{value:.3f}"


def describe_returns(returns: np.ndarray) -> str:
    """Returns mean with 95 % interval, minimum and maximum as text, of returns ``[N]`` of one or more episodes.

    One episode has no interval.
    """
    half = interval(returns).half
    scale = float(np.abs(returns).max())
    mean, half_text, low, high = (
        show_return(float(value), scale) for value in (returns.mean(), half, returns.min(), returns.max())
    )
    spread = f" ± {half_text} (95 %)" if len(returns) > 1 else ""
    return f"mean return {mean}{spread}, min {low}, max {high}"


def describe_evaluation(result: EvaluationResult, policy: str = "") -> str:
    """Describes an evaluation in one line: the policy, and the mean of its returns with the 95 % interval.

    Args:
        result: The evaluation.
        policy: What the policy is, in a word; empty for what the result says.
    """
    returns = np.asarray(result.returns)
    num_cut, num_repeated = result.num_cut, result.num_repeated
    notes = [f"{name} {value:.4g}" for name, value in result.info_means.items()]
    if num_cut:
        notes.append(f"{num_cut} ended at the limit of {max(result.lengths):,} steps")
    if num_repeated:
        notes.append(f"{num_repeated} played again because their environment failed")
    more = f"; {', '.join(notes)}" if notes else ""
    return (
        f"evaluation of the {policy or result.policy} policy: {counted(returns.size, 'episode')} on fresh seeds: "
        f"{describe_returns(returns)}{more}"
    )
