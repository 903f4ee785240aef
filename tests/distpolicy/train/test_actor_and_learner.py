from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from counting_env import CountingEnv

from distpolicy.agents.dqn import dqn_agent
from distpolicy.environments.tf_py_environment import TFPyEnvironment
from distpolicy.networks.q_network import QNetwork
from distpolicy.policies.fixed_py_policy import FixedPyPolicy
from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy
from distpolicy.replay_buffers.tf_uniform_replay_buffer import TFUniformReplayBuffer
from distpolicy.train import actor, interval_trigger, learner, triggers
from distpolicy.train.utils import spec_utils, strategy_utils, train_utils


def summaries(folder: Path) -> dict[str, int]:
    return {
        value.tag: event.step
        for file in folder.glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }


def test_an_actor_goes_on_where_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    env, step, seen = CountingEnv(3), train_utils.create_train_step(), []
    policy = FixedPyPolicy(np.int32(2), env.time_step_spec(), env.action_spec())
    one = actor.Actor(
        env,
        policy,
        step,
        steps_per_run=2,
        observers=[lambda made: seen.append(float(made.observation[0]))],
        metrics=actor.collect_metrics(5),
        summary_dir=tmp_path,
        summary_interval=10,
        name="collect",
    )
    for _ in range(3):
        one.run()
    assert seen == [0, 1, 2, 3, 0, 1, 2]
    assert {metric.name: float(metric.result()) for metric in one.metrics} == {
        "NumberOfEpisodes": 2,
        "EnvironmentSteps": 6,
        "AverageReturn": 6.0,
        "AverageEpisodeLength": 3.0,
    }
    assert summaries(tmp_path) == {}
    step.assign(12)
    with caplog.at_level(logging.INFO):
        one.run_and_log()
    assert set(summaries(tmp_path).values()) == {12}
    assert "collect/Metrics/AverageReturn" in summaries(tmp_path)
    assert "EnvironmentSteps = 8" in caplog.text
    one.reset()
    assert env.count == 0
    with pytest.raises(ValueError, match="PyEnvironment"):
        actor.Actor(TFPyEnvironment(env), policy, step, steps_per_run=1)  # type: ignore[arg-type]


class Program:
    def __init__(self, folder: Path, **arguments: Any) -> None:
        env = CountingEnv(4)
        observation_spec, action_spec, time_step_spec = spec_utils.get_tensor_specs(env)
        self.train_step = train_utils.create_train_step()
        with strategy_utils.get_strategy(tpu=False, use_gpu=False).scope():
            self.agent = dqn_agent.DqnAgent(
                time_step_spec,
                action_spec,
                q_network=QNetwork(observation_spec, action_spec, fc_layer_params=(4,)),
                optimizer=tf.keras.optimizers.Adam(1e-2),
                train_step_counter=self.train_step,
                jit_compile=False,
            )
        spec = spec_utils.get_collect_data_spec_from_policy_and_env(env, self.agent.collect_policy)
        assert spec == self.agent.collect_data_spec
        self.buffer = buffer = TFUniformReplayBuffer(spec, 1, 100)
        self.actor = actor.Actor(
            env,
            PyTFEagerPolicy(self.agent.collect_policy, use_tf_function=True),
            self.train_step,
            steps_per_run=8,
            observers=[lambda made: buffer.add_batch(tf.nest.map_structure(lambda leaf: leaf[np.newaxis], made))],
        )
        self.actor.run()
        self.learner = learner.Learner(
            folder, self.train_step, self.agent, lambda: buffer.as_dataset(4, num_steps=2), **arguments
        )


def test_a_learner_trains_saves_and_goes_on(tmp_path: Path) -> None:
    told: list[int] = []
    seen: list[Any] = []
    first = Program(
        tmp_path,
        triggers=[interval_trigger.IntervalTrigger(2, lambda: told.append(1))],
        checkpoint_interval=3,
        summary_interval=2,
        after_train_strategy_step_fn=lambda batch, info: seen.append((batch, info)),
    )
    for _ in range(2):
        loss = first.learner.run(iterations=2)
    assert (int(first.train_step), len(told), len(seen)) == (4, 2, 4)
    assert loss is seen[-1][1]
    assert summaries(tmp_path / "train") == {"Losses/loss": 4}
    saved = [variable.numpy() for variable in first.agent.policy.variables()]
    second = Program(tmp_path)
    assert int(second.learner.train_step_numpy) == 4
    for old, new in zip(saved, second.agent.policy.variables(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="iterations"):
        second.learner.run(0)
    with pytest.raises(ValueError, match="train_step_counter"):
        learner.Learner(tmp_path, train_utils.create_train_step(), second.agent)
    with pytest.raises(ValueError, match="iterator"):
        learner.Learner(tmp_path, second.train_step, second.agent).run()


@pytest.mark.parametrize("async_saving", [False, True])
def test_policies_are_saved_and_then_their_checkpoints(tmp_path: Path, async_saving: bool) -> None:
    program = Program(tmp_path / "run")
    trigger = triggers.PolicySavedModelTrigger(
        tmp_path / "policies",
        program.agent,
        program.train_step,
        interval=2,
        async_saving=async_saving,
        metadata_metrics={"steps": actor.collect_metrics(1)[1]},
        extra_concrete_functions=[("double", tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([])]))],
    )
    if async_saving:
        assert float(tf.saved_model.load(str(tmp_path / "policies" / "policy")).double(3.0)) == 6.0
    for name in ("policy", "greedy_policy", "collect_policy"):
        assert (tmp_path / "policies" / name / "saved_model.pb").exists()
    trigger(1)
    program.train_step.assign(3)
    trigger(program.train_step)
    if async_saving:
        trigger._saver.close()
    folders = list((tmp_path / "policies" / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["policy_checkpoint_0000000003"]


def test_an_interval_trigger_counts_from_its_last_call(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    trigger = interval_trigger.IntervalTrigger(3, lambda: calls.append(1), start=1)
    counts = []
    for value in (2, 3, 4, 5, 6, 9):
        trigger(value)
        counts.append(len(calls))
    assert counts == [0, 0, 1, 1, 1, 2]
    trigger(9, force_trigger=True)
    assert len(calls) == 2
    trigger(10, force_trigger=True)
    trigger.set_start(20)
    trigger(22)
    assert len(calls) == 3
    trigger.reset()
    trigger(4)
    assert len(calls) == 4
    interval_trigger.IntervalTrigger(0, lambda: calls.append(1))(9, force_trigger=True)
    assert len(calls) == 4
    step = train_utils.create_train_step()
    speed = triggers.StepPerSecondLogTrigger(step, interval=5)
    step.assign(10)
    with caplog.at_level(logging.INFO):
        speed(step)
    assert "Step: 10" in caplog.text
    with pytest.raises(NotImplementedError):
        strategy_utils.get_strategy(tpu=True)


@pytest.mark.slow
def test_a_learner_takes_experience_alone_and_single_steps(tmp_path: Path) -> None:
    program = Program(tmp_path / "run")
    experience, _ = next(iter(program.buffer.as_dataset(4, num_steps=2)))
    seen: list[Any] = []
    one = learner.Learner(
        tmp_path / "other",
        program.train_step,
        program.agent,
        after_train_strategy_step_fn=lambda batch, loss: seen.append(batch[1]),
        checkpoint_interval=0,
        summary_interval=1,
        direct_sampling=True,
        summary_root_dir=tmp_path / "summaries",
    )
    begun = int(one.train_step_numpy)
    one.run(2, iter([experience, experience]), parallel_iterations=1)
    assert one.single_train_step(iter([experience])).loss.shape == ()
    assert int(one.train_step_numpy) == begun + 3
    assert seen == [None, None, None]
    assert "Losses/loss" in summaries(tmp_path / "summaries" / "train")
    with pytest.raises(ValueError, match="Reverb"):
        learner.Learner(tmp_path, program.train_step, program.agent, use_reverb_v2=True)


def test_images_are_metrics_that_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    env = CountingEnv(3)
    policy = FixedPyPolicy(np.int32(2), env.time_step_spec(), env.action_spec())
    images = actor.collect_metrics(1)[1:2]
    one = actor.Actor(env, policy, train_utils.create_train_step(), steps_per_run=2, image_metrics=images)
    with caplog.at_level(logging.INFO):
        one.run_and_log()
    assert one.image_metrics == images
    assert int(images[0].result()) == 2
    assert "EnvironmentSteps" not in caplog.text
    assert one.summary_writer is None
