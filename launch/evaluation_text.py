"""An evaluation in a line."""

from __future__ import annotations

import math

import numpy as np

from workers.evaluator import EvaluationResult


def describe_evaluation(result: EvaluationResult) -> str:
    """The mean of an evaluation's returns with its 95 % interval, in a line."""
    returns = np.asarray(result.returns)
    half = 1.96 * float(returns.std(ddof=1)) / math.sqrt(returns.size) if returns.size > 1 else math.nan
    return (
        f"evaluation: {returns.size} episodes on fresh seeds: mean return {returns.mean():.1f} "
        f"± {half:.1f} (95 %), min {returns.min():.1f}, max {returns.max():.1f}"
    )
