"""An evaluation in a line."""

from __future__ import annotations

import numpy as np

from launch.return_text import describe_returns
from workers.evaluator import EvaluationResult


def describe_evaluation(result: EvaluationResult) -> str:
    """The mean of an evaluation's returns with its 95 % interval, in a line."""
    returns = np.asarray(result.returns)
    return f"evaluation: {returns.size} episodes on fresh seeds: {describe_returns(returns)}"
