"""TrainingRun: a training run from Python, from its config to its run directory."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, get_args

import gymnasium as gym

from distpolicy.agents.custom.config import AgentValue, CustomAgentConfig
from distpolicy.errors import ConfigError, DistPolicyError
from distpolicy.utils.compilation.compile_cache import warn_if_others_may_change_it
from distpolicy.utils.memory import peak_memory_bytes
from launch.cluster import session
from launch.cluster.placement import training_actors
from launch.config.run_specs import check_agent_is_there, describe_data, run_specs
from launch.config.seal import check_names_of_code
from launch.config.train import TrainConfig, load_train_config
from launch.output.folder_lock import used_alone
from launch.output.run_directory import RunDirectory, check_free
from launch.output.writable import check_writable
from launch.training.checkpoint_store import Checkpoint, CheckpointStore
from launch.training.exported_policy import ExportedPolicies, load_policy, policy_from_files
from launch.training.observer import Observers, RunAbandoned, RunEnd, TrainingObserver
from launch.training.run_files import Report, run_files
from launch.training.totals import TrainingTotals, UpdateResult
from launch.training.trainer import Trainer
from launch.training.workers import TrainingWorkers
from workers.collection.evaluator import EvaluatedPolicy, EvaluationResult
from workers.environments.factory import EnvironmentFactory
from workers.pickled_callable import PickledCallable

if TYPE_CHECKING:
    from distpolicy.agents.tf_agent import TFAgent
    from distpolicy.policies.py_tf_eager_policy import PyTFEagerPolicy


class TrainingRun:
    """A training run on Ray, which writes a run directory. It prints nothing and does not handle signals.

    ::

        with TrainingRun(TrainConfig(env="CartPole-v1", target_return=475.0)) as run:
            for result in run:  # or run.run()
                print(result.totals.env_steps, result.metrics.get("return_mean_100"))
            step = run.policy.action(time_step)

    The constructor checks its arguments, starts Ray or joins a cluster, and returns. The workers start when something
    needs them first, usually the first update. They stay until :meth:`close`.

    However the run ends, its directory holds checkpoints, metrics and the report. An error ends the run at once. An
    interrupt (``KeyboardInterrupt``) ends it, too, after a last checkpoint if possible. After a ``break``, the next
    ``for`` continues the run. If the run is closed instead, it ends as after :meth:`stop`, without the final
    evaluation. A run that is still open when the program ends is interrupted.

    Args:
        config: The settings; None for the resumed run's settings, or the defaults.
        observers: Observers to call after those that write the run directory.
        run_dir: The run directory to make; None for one under ``runs/``.
        resume: The run directory of a run to continue, instead of a new one.
        env: A class or function that returns a Gymnasium environment, instead of the one that ``config.env`` names. It
            may be defined anywhere, in a script or a notebook as well, and is called with ``config.env_kwargs``.
        agent: A function that makes a TFAgent, instead of ``config.agent``; see
            :class:`distpolicy.agents.custom.config.CustomAgentConfig` for its arguments. It may be defined anywhere as
            well.
        replay: Settings of the replay buffer of ``agent``, by name; see
            :class:`distpolicy.agents.experience_config.Replay`. Agents such as DqnAgent have one anyway.
        debug: Whether to show the workers' output.
        serial: Whether everything runs in this process, without Ray, as for a debugger. The learned bytes are those of
            a run on Ray. Faults are not survived: an environment that ends its process ends this one.
        preset: Name of the preset that the settings come from, whose values the report compares them with; None for the
            one that ``distpolicy train`` takes by itself for the environment and the agent.
        reports: Whether the report is written; ``distpolicy report`` can write it later.

    Raises:
        ConfigError: If the input is invalid; nothing was written then.
        CheckpointError: If there is no checkpoint to resume from, or all of them are damaged.
        DistPolicyError: If Ray does not start.
    """

    def __init__(
        self,
        config: TrainConfig | None = None,
        observers: Sequence[TrainingObserver] = (),
        run_dir: str | Path | None = None,
        resume: str | Path | None = None,
        env: Callable[..., gym.Env] | None = None,
        agent: Callable[..., TFAgent] | None = None,
        replay: Mapping[str, AgentValue] | None = None,
        debug: bool = False,
        serial: bool = False,
        preset: str | None = None,
        reports: bool = True,
    ) -> None:
        if resume is not None and run_dir is not None:
            raise ConfigError("run_dir and resume exclude each other: a resumed run stays in its directory")
        before = None if resume is None else RunDirectory.open(Path(resume))
        new = None if run_dir is None else Path(run_dir)
        self._config, self._factory = _settings(config, before, env, agent)
        code = None if agent is None else PickledCallable.of(agent, "agent", "a TFAgent")
        if code is not None:
            self._config = dataclasses.replace(self._config, agent=_own_agent(self._config, code.name, replay))
        elif replay is not None:
            raise ConfigError("replay is for an agent of your own: give agent, or set the options of config.agent")
        else:
            check_agent_is_there(self._config)
        # Before an environment is made, and before Ray starts.
        if new is not None:
            check_free(new)
        check_writable((before.path if before else new) or Path("runs"))
        specs = run_specs(self._config, self._factory, in_this_process=serial)
        report = Report(reports)
        self._observers = Observers([*run_files(report, Observers(observers).metrics, preset), *observers])
        # The checkpoint that the first learner begins with; None for a new run.
        self._start_from = None if before is None else self._checkpoint_to_resume(before)
        self._generation = 0 if self._start_from is None else self._start_from.generation + 1
        self._is_serial = serial
        self._has_started = self._is_training = self._has_ended = self._is_closed = False
        self._failure: BaseException | None = None
        self._final_policy: PyTFEagerPolicy | None = None
        if self._config.jit_compile and self._config.compile_cache:
            # The learner is often on this machine, and what it warns of is not shown.
            with contextlib.suppress(OSError):
                warn_if_others_may_change_it()
        with contextlib.ExitStack() as resources:
            # Last, so that the workers end while the report's picture is made.
            resources.callback(report.close)
            # Given back when the run has ended, even if it is not closed.
            self._lock = resources.enter_context(contextlib.ExitStack())
            if known := new if before is None else before.path:
                self._lock.enter_context(used_alone(known))
            if serial:
                _check_serial(self._config)
            else:
                actors = functools.partial(training_actors, self._config)
                connection = session.connected(self._config.address, actors, debug, self._observers.on_preparing)
                resources.enter_context(connection)
            self._workers = TrainingWorkers(self._config, self._factory, specs, self._generation, code, serial)
            self._directory = before or RunDirectory.create(new, self._config.env)
            if known is None:
                self._lock.enter_context(used_alone(self._directory.path))
            self._trainer = self._make_trainer()
            resources.callback(self._trainer.close)
            self._updates = self._trainer.updates()
            self._resources = resources.pop_all()
        self._end_with_the_program()

    def _make_trainer(self) -> Trainer:
        workers, start = self._workers, self._start_from
        checkpoints = CheckpointStore(
            self._directory.checkpoints, self._config.keep_checkpoints, lambda: workers.newest_generation
        )
        if start is not None:
            checkpoints.go_on_from(start)
        return Trainer(
            self._config,
            workers.pool,
            workers.learners,
            workers.next_generation,
            checkpoints,
            self._observers,
            None if start is None else start.totals,
            ExportedPolicies(self._directory),
            workers.server,
        )

    def _checkpoint_to_resume(self, directory: RunDirectory) -> Checkpoint:
        found = CheckpointStore(directory.checkpoints, self._config.keep_checkpoints).latest_to_resume()
        for error in found.refused:
            self._observers.on_damaged_checkpoint(error, found.path)
        if found.totals.solved or found.totals.steps >= self._config.total_steps:
            raise ConfigError(
                f"{directory.path} is complete ({self._config.count(found.totals.steps)}"
                f"{', solved' if found.totals.solved else ''}): nothing to resume"
            )
        return found

    @property
    def config(self) -> TrainConfig:
        """The settings."""
        return self._config

    @property
    def directory(self) -> RunDirectory:
        """The run directory; the files are there once the workers are up."""
        return self._directory

    @property
    def totals(self) -> TrainingTotals:
        """The run's totals so far."""
        return self._trainer.totals

    def train_s_at(self, clock_s: float) -> float:
        """Returns the seconds of training up to a clock time of this start, over all starts of the run."""
        return self._trainer.train_s_at(clock_s)

    @property
    def generation(self) -> int:
        """Higher than the generations of all workers of earlier starts; 0 for a new run."""
        return self._generation

    @property
    def warm_up_s(self) -> float:
        """Seconds that compiling the update took. Reading it starts the workers."""
        self._start()
        return self._trainer.warm_up_s()

    def describe(self) -> str:
        """Returns the environment or the data, and the workers, in one line."""
        return f"{describe_data(self._config, self._factory)}; {self._learners}"

    @property
    def _learners(self) -> str:
        config = self._config
        if self._is_serial:
            return "all in this process"
        if config.learners == 1:
            return f"learner on {'GPU' if self._workers.learner_has_gpu else 'CPU (no GPU in this Ray)'}"
        where = "a GPU each" if self._workers.learner_has_gpu else "CPUs (not a GPU for each in this Ray)"
        return f"{config.learners} learners on {where}"

    def __iter__(self) -> Iterator[UpdateResult]:
        return self

    def __next__(self) -> UpdateResult:
        """Trains until the next update is done.

        Raises:
            DistPolicyError: If the run fails.
        """
        if not self._has_ended or self._failure is not None:
            try:
                self._start()
                result = next(self._updates, None)
                if result is not None:
                    return result
                self._finish(evaluates=self._config.eval_episodes > 0)
            except BaseException as error:
                self._end(error, save=isinstance(error, KeyboardInterrupt))
                raise
        raise StopIteration

    def run(self) -> TrainingTotals:
        """Trains to the end.

        Returns:
            The run's totals.

        Raises:
            DistPolicyError: If the run fails.
        """
        try:
            for _ in self:
                pass
        except BaseException as error:
            # An interrupt may come between two updates, too.
            self._end(error, save=True)
            raise
        return self.totals

    def stop(self) -> None:
        """Ends the run after the updates that are under way, as if it were finished then."""
        self._trainer.stop()

    @property
    def policy(self) -> PyTFEagerPolicy:
        """The greedy policy with the newest weights, on NumPy arrays. Imports TensorFlow.

        ``run.policy.action(time_step)`` takes a time step of one environment, without a batch dimension. After the end
        of the run, the policy is read from the run directory; this also works after :meth:`close`.

        Raises:
            CheckpointError: If the run is over and has left no policy.
        """
        if not (self._has_ended or self._is_closed):
            self._start()
            return policy_from_files(self._trainer.export_policies()["policy"])
        if self._final_policy is None:
            self._final_policy = load_policy(self._directory.policy)
        return self._final_policy

    def evaluate(self, num_episodes: int, policy: EvaluatedPolicy = "greedy") -> EvaluationResult:
        """Plays whole episodes with the newest weights, on seeds that training does not use.

        Args:
            num_episodes: Number of episodes.
            policy: ``greedy``, or ``stochastic`` for the policy that draws its actions as in rollouts.

        Raises:
            ConfigError: If an argument is invalid.
            DistPolicyError: If the run is closed, or its workers fail.
        """
        if num_episodes < 1:
            raise ConfigError(f"num_episodes must be 1 or more, but is {num_episodes}")
        if policy not in get_args(EvaluatedPolicy):
            raise ConfigError(f"policy must be greedy or stochastic, but is {policy!r}")
        if not self._config.uses_collectors:
            raise ConfigError("this run has no collectors to evaluate on: set eval_episodes above 0")
        self._start()
        (result,) = self._trainer.evaluate(num_episodes, (policy,), is_last=self._has_ended)
        if not self._has_ended:
            self._observers.on_evaluation(result, self.totals)
        return result

    def start_profile(self) -> None:
        """Begins a profile of the learner by TensorFlow, as ``--profile`` does."""
        self._trainer.get(self._trainer.learners.start_profile())

    def stop_profile(self) -> dict[str, bytes]:
        """Ends the profile; returns its files by path."""
        return self._trainer.get(self._trainer.learners.stop_profile())

    def close(self) -> None:
        """Ends the run, its workers and Ray, if the run has started it; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self._close_at_exit)
        try:
            if not self._has_started:
                self._directory.remove_if_empty()
            elif not self._has_ended:
                self._end_early()
        finally:
            self._resources.close()

    def abandon(self) -> None:
        """Ends the run at once: without a last checkpoint, and without its policies. What was written stays."""
        self._end(RunAbandoned("the run was abandoned"), save=False)
        self.close()

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._end(error, save=True)
        finally:
            self.close()

    def _start(self) -> None:
        """Starts the workers, unless they run already."""
        if self._failure is not None:
            raise DistPolicyError(f"the run was ended by {type(self._failure).__name__}: {self._failure}")
        if self._is_closed:
            raise DistPolicyError("the run is closed")
        if self._has_started:
            return
        self._has_started = True
        start, self._start_from = self._start_from, None
        self._observers.on_preparing(self._preparing())
        self._trainer.start(start)
        if self._config.uses_collectors and (note := self._workers.collectors_note()):
            self._observers.on_preparing(note)
        self._observers.on_preparing("compiling the update")
        self._is_training = True
        self._observers.on_start(self)
        # Once more: Python calls the last one first. Libraries that the workers have loaded into this process tear
        # themselves down at the exit, too, and the policy's export needs them.
        self._end_with_the_program()

    def _end_with_the_program(self) -> None:
        """Lets Python end the run at its exit, before all that has asked for that until now."""
        atexit.unregister(self._close_at_exit)
        atexit.register(self._close_at_exit)

    def _close_at_exit(self) -> None:
        """Ends a run that its program has left open, as an interrupt does."""
        try:
            self._end(KeyboardInterrupt("the program ended"), save=True)
        finally:
            self.close()

    def _preparing(self) -> str:
        """Returns which workers are made."""
        config = self._config
        collectors = config.describe_collectors() if config.uses_collectors else ""
        if self._is_serial:
            return f"making {collectors} and the learner in this process" if collectors else "making the learner here"
        if not collectors:
            return "starting the learner"
        return session.describe_starting(collectors, config.least_collectors)

    def _finish(self, evaluates: bool) -> None:
        """Evaluates the policies, and tells the observers that the run is over."""
        self._observers.on_trained(self.totals)
        evaluations = self._trainer.evaluate_at_end() if evaluates else []
        for result in evaluations:
            self._observers.on_evaluation(result, self.totals)
        memory = {"driver": peak_memory_bytes(), **self._trainer.peak_memory_bytes()}
        end = RunEnd(self.totals, None, self.totals, evaluations, memory, self._workers.pool.open_faults)
        self._has_ended = True
        self._observers.on_end(end)
        self._lock.close()

    def _end_early(self) -> None:
        self.stop()
        try:
            for _ in self._updates:
                pass
            self._finish(evaluates=False)
        except BaseException as error:
            self._end(error, save=False)
            raise

    def _end(self, error: BaseException, save: bool) -> None:
        """Ends the run because of an error, unless it has ended already.

        Args:
            error: The error.
            save: Whether to save a checkpoint; the trainer must be intact.
        """
        if self._has_ended:
            return
        self._has_ended, self._failure = True, error
        if not self._is_training:
            self._directory.remove_if_empty()
            return
        newest, failure = None, None
        if save:
            try:
                self._observers.on_interrupt()
                newest = self._trainer.interrupt()
            except DistPolicyError as problem:
                failure = problem
                with contextlib.suppress(DistPolicyError):
                    newest = self._trainer.saved_totals()
        # The error that ended the run is raised, not one of an observer.
        with contextlib.suppress(Exception):
            self._observers.on_end(RunEnd(self.totals, error, newest, open_faults=self._workers.pool.open_faults))
        self._lock.close()
        if failure is not None:
            raise failure from error


def _settings(
    config: TrainConfig | None,
    resumed: RunDirectory | None,
    env: Callable[..., gym.Env] | None,
    agent: Callable[..., TFAgent] | None,
) -> tuple[TrainConfig, EnvironmentFactory]:
    """Returns the config of a run, completed where it is None, and the factory of its environments."""
    if config is None and resumed is None:
        config = TrainConfig()
    elif config is None:
        assert resumed is not None
        config = load_train_config(resumed.config_file)
        given = (() if env is None else ("env",)) + (() if agent is None else ("agent", "custom.folder"))
        check_names_of_code(resumed.config_file, config, given)
    if env is None:
        return config, config.environment_factory
    factory = config.environment_factory.with_callable(env)
    return dataclasses.replace(config, env=factory.env_id), factory


def _own_agent(config: TrainConfig, name: str, replay: Mapping[str, AgentValue] | None) -> CustomAgentConfig:
    """Returns the settings of the caller's agent; a resumed run's are kept."""
    before = config.agent if isinstance(config.agent, CustomAgentConfig) else CustomAgentConfig(name)
    replay = before.replay if replay is None else dict(replay)
    return CustomAgentConfig(name, before.kwargs, replay)


def _check_serial(config: TrainConfig) -> None:
    if config.learners > 1:
        raise ConfigError(f"a serial run has one learner, but learners is {config.learners}: set it to 1")
    if config.inference == "server":
        raise ConfigError("a serial run has no inference server: leave --inference at collectors")
    if config.address is not None:
        raise ConfigError(f"a serial run is in one process, but address is {config.address}: leave one of them out")
