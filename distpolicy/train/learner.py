"""Learner: an agent that learns from a dataset, run by run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from distpolicy.agents.tf_agent import LossInfo, TFAgent
from distpolicy.errors import ConfigError
from distpolicy.train.folders import (
    COLLECT_POLICY_SAVED_MODEL_DIR,
    GREEDY_POLICY_SAVED_MODEL_DIR,
    POLICY_CHECKPOINT_DIR,
    POLICY_SAVED_MODEL_DIR,
    RAW_POLICY_SAVED_MODEL_DIR,
    TRAIN_DIR,
)
from distpolicy.train.interval_trigger import IntervalTrigger
from distpolicy.utils.checkpointer import Checkpointer
from distpolicy.utils.summaries import write_scalar

__all__ = [
    "COLLECT_POLICY_SAVED_MODEL_DIR",
    "GREEDY_POLICY_SAVED_MODEL_DIR",
    "POLICY_CHECKPOINT_DIR",
    "POLICY_SAVED_MODEL_DIR",
    "RAW_POLICY_SAVED_MODEL_DIR",
    "TRAIN_DIR",
    "Learner",
]


class Learner:
    """Takes batches from a dataset, trains the agent, and writes checkpoints and the loss.

    The newest checkpoint in ``root_dir`` is restored when the object is made.

    Args:
        root_dir: Folder of the checkpoints and of the summaries, in its folder ``train``.
        train_step: The variable that counts gradient steps: the agent's ``train_step_counter``.
        agent: The agent.
        experience_dataset_fn: Makes the dataset of ``(experience, info)``; None if ``run`` gets an iterator.
        after_train_strategy_step_fn: Called with ``((experience, info), loss_info)`` after each gradient step.
        triggers: Called with the step after each run.
        checkpoint_interval: Number of gradient steps between two checkpoints; 0 for none.
        summary_interval: Number of gradient steps between two summaries of the loss; 0 for none.
        max_checkpoints_to_keep: Number of checkpoints that are kept.
        use_kwargs_in_agent_train: Whether experience is a dict of ``agent.train``'s arguments.
        strategy: None, or what ``strategy_utils.get_strategy`` returned.
        run_optimizer_variable_init: Accepted for TF-Agents' callers: agents make their optimizers' variables.
        use_reverb_v2: Must be False.
        direct_sampling: Whether the dataset's elements are the experience alone.
        experience_dataset_options: Must be None.
        strategy_run_options: Must be None.
        summary_root_dir: Folder of the summaries, in its folder ``train``; None for ``root_dir``.

    Raises:
        ValueError: If the agent counts in another variable, the strategy has several replicas, or an argument must have
            another value.
    """

    def __init__(
        self,
        root_dir: str | os.PathLike[str],
        train_step: tf.Variable,
        agent: TFAgent,
        experience_dataset_fn: Callable[[], tf.data.Dataset] | None = None,
        after_train_strategy_step_fn: Callable[[Any, LossInfo], Any] | None = None,
        triggers: Sequence[IntervalTrigger] | None = None,
        checkpoint_interval: int = 100_000,
        summary_interval: int = 1000,
        max_checkpoints_to_keep: int = 3,
        use_kwargs_in_agent_train: bool = False,
        strategy: tf.distribute.Strategy | None = None,
        run_optimizer_variable_init: bool = True,
        use_reverb_v2: bool = False,
        direct_sampling: bool = False,
        experience_dataset_options: Any = None,
        strategy_run_options: Any = None,
        summary_root_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if agent.train_step_counter is not train_step:
            raise ConfigError("give the agent train_step_counter=train_step: the learner goes by this variable")
        if strategy is not None and strategy.num_replicas_in_sync > 1:
            raise ConfigError("a Learner has one replica; use distpolicy train --learners for several")
        if use_reverb_v2 or experience_dataset_options or strategy_run_options:
            raise ConfigError("a Learner takes neither Reverb's samples nor options of datasets and strategies")
        folder = os.path.join(os.fspath(root_dir), TRAIN_DIR)
        self._agent, self._train_step = agent, train_step
        self._after_step, self._kwargs = after_train_strategy_step_fn, use_kwargs_in_agent_train
        agent.initialize()
        self._checkpointer = Checkpointer(
            os.path.join(folder, POLICY_CHECKPOINT_DIR), max_checkpoints_to_keep, agent=agent, train_step=train_step
        )
        summary_dir = root_dir if summary_root_dir is None else summary_root_dir
        self._writer = tf.summary.create_file_writer(os.path.join(os.fspath(summary_dir), TRAIN_DIR))
        self._direct_sampling = direct_sampling
        self._loss: Any = None
        begun = int(train_step)
        self._own_triggers = [
            IntervalTrigger(checkpoint_interval, lambda: self._checkpointer.save(self._train_step), begun),
            IntervalTrigger(summary_interval, self._write_loss, begun),
        ]
        self._triggers = list(triggers or ())
        self._iterator = None if experience_dataset_fn is None else iter(experience_dataset_fn())

    @property
    def train_step_numpy(self) -> Any:
        """The number of gradient steps so far."""
        return self._train_step.numpy()

    def run(
        self, iterations: int = 1, iterator: Iterator[Any] | None = None, parallel_iterations: int = 10
    ) -> LossInfo:
        """Takes gradient steps.

        Args:
            iterations: Number of them.
            iterator: Where the batches come from; None for the dataset.
            parallel_iterations: Accepted for TF-Agents' callers: the steps are taken one after another.

        Returns:
            The loss of the last one.

        Raises:
            ValueError: If there are no iterations, or no batches to take.
        """
        iterator = self._iterator if iterator is None else iterator
        if iterator is None:
            raise ConfigError("give run() an iterator, or the constructor an experience_dataset_fn")
        if iterations < 1:
            raise ConfigError(f"iterations must be 1 or more, but is {iterations}")
        for _ in range(iterations):
            loss_info = self.single_train_step(iterator)
        self._loss = loss_info
        for trigger in (*self._own_triggers, *self._triggers):
            trigger(self._train_step)
        return loss_info

    def single_train_step(self, iterator: Iterator[Any]) -> LossInfo:
        """Takes one gradient step with the iterator's next batch, without the triggers. Returns its loss."""
        batch = next(iterator)
        experience, info = (batch, None) if self._direct_sampling else batch
        loss_info = self._agent.train(**experience) if self._kwargs else self._agent.train(experience)
        if self._after_step is not None:
            self._after_step((experience, info), loss_info)
        return loss_info

    def _write_loss(self) -> None:
        with self._writer.as_default():
            write_scalar("Losses/loss", self._loss.loss, self._train_step)
        self._writer.flush()
