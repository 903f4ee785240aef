"""Triggers: what a Learner does every so many gradient steps."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.agents.tf_agent import TFAgent
from distpolicy.policies.async_policy_saver import AsyncPolicySaver
from distpolicy.policies.greedy_policy import GreedyPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.train.folders import (
    COLLECT_POLICY_SAVED_MODEL_DIR,
    GREEDY_POLICY_SAVED_MODEL_DIR,
    POLICY_CHECKPOINT_DIR,
    RAW_POLICY_SAVED_MODEL_DIR,
)
from distpolicy.train.interval_trigger import IntervalTrigger

# TF-Agents' name for the number of env steps among ``metadata_metrics``.
ENV_STEP_METADATA_KEY = "env_step"

_logger = logging.getLogger(__name__)


class PolicySavedModelTrigger(IntervalTrigger):
    """Saves an agent's policies as SavedModels at once, and a checkpoint of the policy every so many steps.

    Args:
        saved_model_dir: The folder.
        agent: The agent.
        train_step: The variable that counts gradient steps.
        interval: Number of steps between two checkpoints.
        async_saving: Whether checkpoints are written in the background.
        metadata_metrics: Metrics by name, whose values are saved with the policy.
        start: The step that the first interval begins with.
        extra_concrete_functions: Pairs of a name and a ``tf.function`` that the SavedModels have, too.
        batch_size: The batch size of the saved functions; None for any.
        use_nest_path_signatures: Whether the names of inputs are paths.
        save_greedy_policy: Whether the greedy policy is saved, too.
        save_collect_policy: Whether the collect policy is saved, too.
        input_fn_and_spec: See :class:`distpolicy.policies.policy_saver.PolicySaver`.
    """

    def __init__(
        self,
        saved_model_dir: str | os.PathLike[str],
        agent: TFAgent,
        train_step: tf.Variable,
        interval: int,
        async_saving: bool = False,
        metadata_metrics: Mapping[str, Any] | None = None,
        start: int = 0,
        extra_concrete_functions: Sequence[tuple[str, Any]] | None = None,
        batch_size: int | None = None,
        use_nest_path_signatures: bool = True,
        save_greedy_policy: bool = True,
        save_collect_policy: bool = True,
        input_fn_and_spec: tuple[Any, Any] | None = None,
    ) -> None:
        folder = os.fspath(saved_model_dir)
        self._metrics = dict(metadata_metrics or {})
        self._metadata = {name: tf.Variable(tf.cast(item.result(), tf.float32)) for name, item in self._metrics.items()}

        def saver_of(policy: Any) -> PolicySaver:
            made = PolicySaver(
                policy,
                batch_size=batch_size,
                use_nest_path_signatures=use_nest_path_signatures,
                train_step=train_step,
                input_fn_and_spec=input_fn_and_spec,
                metadata=self._metadata or None,
            )
            for name, function in extra_concrete_functions or ():
                made.register_concrete_function(name, function)
            return made

        saver = saver_of(agent.policy)
        saver.save(os.path.join(folder, RAW_POLICY_SAVED_MODEL_DIR))
        if save_greedy_policy:
            saver_of(GreedyPolicy(agent.policy)).save(os.path.join(folder, GREEDY_POLICY_SAVED_MODEL_DIR))
        if save_collect_policy:
            saver_of(agent.collect_policy).save(os.path.join(folder, COLLECT_POLICY_SAVED_MODEL_DIR))
        self._saver: Any = AsyncPolicySaver(saver) if async_saving else saver
        self._train_step = train_step
        self._checkpoint_dir = os.path.join(folder, POLICY_CHECKPOINT_DIR)
        super().__init__(interval, self._save, start)

    def _save(self) -> None:
        for name, metric in self._metrics.items():
            self._metadata[name].assign(tf.cast(metric.result(), tf.float32))
        name = f"policy_checkpoint_{int(self._train_step):010d}"
        self._saver.save_checkpoint(os.path.join(self._checkpoint_dir, name))


class StepPerSecondLogTrigger(IntervalTrigger):
    """Logs the number of gradient steps a second.

    Args:
        train_step: The variable that counts gradient steps.
        interval: Number of steps between two lines.
        log_to_terminal: Whether it is logged.
    """

    def __init__(self, train_step: tf.Variable, interval: int, log_to_terminal: bool = True) -> None:
        self._train_step, self._logs = train_step, log_to_terminal
        self._last_step, self._last_time_s = int(train_step), time.monotonic()
        super().__init__(interval, self._log)

    def _log(self) -> None:
        step, now_s = int(self._train_step), time.monotonic()
        rate = (step - self._last_step) / max(now_s - self._last_time_s, 1e-9)
        self._last_step, self._last_time_s = step, now_s
        if self._logs:
            _logger.info("Step: %d, %.3f steps/sec", step, rate)
