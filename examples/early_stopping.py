"""Ends a run that makes no more progress, and adds a metric of its own: an observer of a dozen lines.

python examples/early_stopping.py [PATIENCE]
"""

import math
import sys
from collections.abc import Mapping

from launch import ObservedRun, TrainConfig, TrainingObserver, TrainingRun, UpdateResult


class EarlyStopping(TrainingObserver):
    """Stops a run whose mean return has not risen for some updates.

    Args:
        patience: How many updates.
    """

    metrics = ("updates_without_progress",)  # a column of metrics.csv, and a chart in TensorBoard

    def __init__(self, patience: int) -> None:
        self.patience, self.best, self.best_update = patience, -math.inf, 0

    def on_start(self, run: ObservedRun) -> None:
        self.run = run

    def measure(self, result: UpdateResult) -> Mapping[str, float]:
        mean_return = result.metrics.get("return_mean_100", -math.inf)
        if mean_return > self.best:
            self.best, self.best_update = mean_return, result.totals.updates
        return {"updates_without_progress": result.totals.updates - self.best_update}

    def on_update(self, result: UpdateResult) -> None:
        if result.metrics["updates_without_progress"] >= self.patience:
            self.run.stop()


patience = int(sys.argv[1]) if len(sys.argv) > 1 else 20
with TrainingRun(TrainConfig(env="CartPole-v1"), observers=[EarlyStopping(patience)]) as run:
    totals = run.run()
    print(f"stopped after {totals.updates} updates and {totals.env_steps:,} env steps: {run.directory.path}")
