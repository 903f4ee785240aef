"""``distpolicy train``: trains a policy, or one for each of several seeds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError
from launch.cluster.authentication import use_token_at
from launch.commands.parsing import UsualOptions, given_options, known_options, parse, with_env_kwargs_of
from launch.commands.training_options import (
    agent_name,
    new_settings,
    preset_of_settings,
    train_fields,
    with_named_agent,
    with_range,
)
from launch.config.run_specs import with_env_of_dataset
from launch.config.seal import check_names_of_code
from launch.config.tracking import TrackingConfig
from launch.config.train import DEFAULT_AGENT, TrainConfig, load_train_config
from launch.option_values import absolute_path
from launch.output.run_directory import RunDirectory
from launch.output.seeds_folder import holds_seeds, settings_to_resume
from launch.output.shown_paths import PathsConsole
from launch.process_end import EXIT_FAILURE


@dataclass(frozen=True)
class TrainArguments:
    """Trains a policy and writes a run directory: config, checkpoints, policy, metrics and report."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    agent: str = DEFAULT_AGENT
    """The algorithm: ppo, impala, appo, reinforce; dqn, c51, r2d2, sac, td3, ddpg, with replay; bc, marwil, iql, cql,
    from --dataset; or module:function for a function of yours that makes a TFAgent. The options that begin with its
    name are its settings (--ppo.learning-rate); for your own function, use --custom.kwargs."""
    preset: str | None = None
    """Settings to begin from. By default those of the env's own preset, such as lunarlander-ppo for LunarLander-v3, or
    of the general one, such as ppo. distpolicy presets lists them, those for recurrent policies too."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File with the settings to begin from, such as the config.yaml of another run. Options given beside it override
    it."""
    run_dir: Path | None = None
    """Run directory to make; runs/ENV-TIME by default."""
    resume: Path | None = None
    """Run directory of a run to continue, with its own settings unless others are given; or a folder that --seeds has
    made."""
    seeds: int | None = None
    """Number of runs, with the seeds from --seed on, and one report. The run directory then holds a run directory for
    each."""
    seeds_at_once: int = 1
    """Number of the runs of --seeds that go on at the same time. On one machine they share its CPUs."""
    tracking: Annotated[TrackingConfig, tyro.conf.arg(name="")] = field(default_factory=TrackingConfig)
    dry_run: bool = False
    """Show which actors would run on which nodes, and start nothing."""
    serial: bool = False
    """Run everything in this process, without Ray, as for a debugger. What is learned is the same to the byte."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


_USUAL: UsualOptions = {
    "what is learned": (
        "config.env",
        "config.env_kwargs",
        "config.wrappers",
        "preset",
        "agent",
        "config.dataset",
    ),
    "how long": (
        "config.total_steps",
        "config.target_return",
        "config.seed",
        "seeds",
        "config.eval_every",
    ),
    "the algorithm": (),
    "what runs": (
        "config.collectors",
        "config.envs_per_collector",
        "config.rollout_steps",
        "config.vectorization",
        "config.learners",
        "config.max_policy_lag",
        "config.address",
    ),
    "output": ("run_dir", "resume", "config_file", "config.checkpoint_every"),
    "trying and tracing": ("dry_run", "debug"),
}


def parse_train(arguments: list[str]) -> TrainArguments:
    """Parses ``distpolicy train``: the settings of a preset, a file or a resumed run, changed by the command line.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    arguments = with_range(arguments)
    known = known_options(arguments, "--preset", "--env", "--resume", "--agent", "--config")
    if known.resume is not None and known.config is None:
        if known.preset is not None:
            raise ConfigError("--preset and --resume exclude each other: a resumed run has its own settings")
        file = settings_to_resume(absolute_path(known.resume))
        base = load_train_config(file)
        check_names_of_code(file, base, given_options(arguments))
        if known.agent not in (None, agent_name(base.agent)):
            raise ConfigError(
                f"--resume goes on with the agent of the run, {agent_name(base.agent)}: leave --agent out"
            )
    else:
        base = new_settings(known, arguments)
    defaults = TrainArguments(config=with_named_agent(base), agent=agent_name(base.agent))
    parsed = parse(TrainArguments, arguments, defaults, "train", _USUAL)
    config = with_env_kwargs_of(base, TrainConfig(**train_fields(parsed.config)))
    if config.is_offline and config.dataset and known.config is None and known.resume is None and known.env is None:
        given = given_options(arguments)
        config = with_env_of_dataset(config, "env-kwargs" in given, "wrappers" in given)
    parsed = dataclasses.replace(parsed, config=config)
    if parsed.resume is not None and parsed.run_dir is not None:
        raise ConfigError("--run-dir and --resume exclude each other: a resumed run stays in its directory")
    return _checked_seeds(parsed, config != base)


def _checked_seeds(parsed: TrainArguments, has_changed: bool) -> TrainArguments:
    """Refuses options on seeds that mean nothing."""
    resumes_seeds = parsed.resume is not None and holds_seeds(absolute_path(str(parsed.resume)))
    if resumes_seeds and has_changed:
        raise ConfigError("the runs of --seeds go on with their own settings: leave the other options out")
    if parsed.resume is not None and not resumes_seeds and parsed.seeds is not None:
        raise ConfigError("--seeds begins new runs: leave --resume out, or give it the folder that --seeds has made")
    if parsed.seeds is None and not resumes_seeds and parsed.seeds_at_once != 1:
        raise ConfigError("--seeds-at-once is for several runs: give --seeds as well")
    for name, value in (("--seeds", parsed.seeds), ("--seeds-at-once", parsed.seeds_at_once)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be 1 or more, but is {value}")
    return parsed


def run_train(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy train``; returns the exit code."""
    parsed = parse_train(arguments)
    use_token_at(parsed.config.address)
    from launch.child_processes import started_processes_ended

    if parsed.dry_run:
        from launch.cluster.dry_run import dry_run_training

        with started_processes_ended():
            return 0 if dry_run_training(parsed.config, PathsConsole()) else EXIT_FAILURE
    if parsed.seeds is not None or (parsed.resume is not None and holds_seeds(parsed.resume)):
        return _train_seeds(parsed)
    # Importing Ray takes a second, which help and bad input should not wait for.
    from launch.signals import handled, interrupt
    from launch.training.console import ConsoleObserver
    from launch.training.followers import make_followers
    from launch.training.run import TrainingRun

    console = PathsConsole()
    observers = [ConsoleObserver(console, start), *make_followers(parsed.tracking, console.print)]
    with (
        started_processes_ended(),
        handled(interrupt),
        TrainingRun(
            parsed.config,
            observers,
            parsed.run_dir,
            parsed.resume,
            debug=parsed.debug,
            serial=parsed.serial,
            preset=preset_of_settings(parsed.preset, parsed.config_file),
        ) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        console.print(run.describe())
        run.run()
    return 0


def _train_seeds(parsed: TrainArguments) -> int:
    from launch.child_processes import started_processes_ended
    from launch.config.run_specs import check_agent_is_there, run_specs
    from launch.seed_runs import SeedRuns
    from launch.signals import handled, interrupt

    options = [name for name, on in (("--serial", parsed.serial), ("--debug", parsed.debug)) if on]
    options += parsed.tracking.options
    config = None if parsed.resume is not None else parsed.config
    if config is not None:
        # Once, rather than in each run.
        check_agent_is_there(config)
        run_specs(config, config.environment_factory)
    folder = parsed.resume or parsed.run_dir or RunDirectory.create(None, f"{parsed.config.env}-seeds").path
    preset = preset_of_settings(parsed.preset, parsed.config_file)
    with started_processes_ended(), handled(interrupt):
        runs = SeedRuns(folder, config, parsed.seeds, parsed.seeds_at_once, PathsConsole(), options, preset)
        return runs.run()
