"""``distpolicy collect``: runs a policy, and keeps the data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from distpolicy.errors import ConfigError
from launch.cluster.authentication import use_token_at
from launch.commands.parsing import UsualOptions, given_options, known_options, parse, with_env_kwargs_of
from launch.config.collect import CollectConfig, load_collect_config
from launch.config.seal import check_names_of_code
from launch.option_values import absolute_path
from launch.output.run_directory import policy_folder
from launch.output.shown_paths import PathsConsole
from launch.process_end import EXIT_FAILURE
from workers.datasets.files import CONFIG_FILE, file_beside_shards


@dataclass(frozen=True)
class CollectArguments:
    """Runs a policy in many envs on many collectors, and keeps the data as Parquet."""

    config: Annotated[CollectConfig, tyro.conf.arg(name="")]
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File with the settings to begin from, such as the config.yaml of another dataset. Options given beside it
    override it."""
    out: Path | None = None
    """Folder of a new dataset."""
    resume: Path | None = None
    """Dataset to continue, after Ctrl-C or a crash, or to add to by a larger --steps or --episodes."""
    stochastic: bool = False
    """Let a run's policy draw its actions, as in training (its collect_policy), instead of the greedy one."""
    dry_run: bool = False
    """Show which actors would run on which nodes, and start nothing."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


_USUAL: UsualOptions = {
    "what is collected": (
        "config.env",
        "config.env_kwargs",
        "config.wrappers",
        "config.policy",
        "stochastic",
        "config.seed",
    ),
    "how much": ("config.steps", "config.episodes", "config.max_episode_steps"),
    "what runs": (
        "config.collectors",
        "config.num_envs",
        "config.rollout_steps",
        "config.vectorization",
        "config.inference",
        "config.env_groups",
        "config.address",
    ),
    "output": ("out", "resume", "config_file", "config.rows_per_shard", "config.compression"),
    "trying and tracing": ("dry_run", "debug"),
}


def parse_collect(arguments: list[str]) -> CollectArguments:
    """Parses ``distpolicy collect``: the defaults, a file's or a dataset's settings, changed by the command line.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    known = known_options(arguments, "--resume", "--config", "--steps", "--episodes")
    base = CollectConfig()
    if known.config is not None:
        if known.resume is not None:
            raise ConfigError("--config and --resume exclude each other: a dataset has its own settings")
        file = absolute_path(known.config)
        base = load_collect_config(file)
        check_names_of_code(file, base, given_options(arguments))
        if known.steps is not None or known.episodes is not None:
            base = dataclasses.replace(base, steps=None, episodes=None)  # One overrides the other.
    elif known.resume is not None:
        file = file_beside_shards(absolute_path(known.resume), CONFIG_FILE)
        if not file.is_file():
            raise ConfigError(
                f"{file.parent} is not a dataset to go on with: it has no {file.name}, which distpolicy collect --out "
                "writes"
            )
        base = load_collect_config(file)
        check_names_of_code(file, base, given_options(arguments))
    parsed = parse(CollectArguments, arguments, CollectArguments(config=base), "collect", _USUAL)
    parsed = dataclasses.replace(parsed, config=with_env_kwargs_of(base, parsed.config))
    policy = absolute_path(parsed.config.policy)
    if known.resume is not None and parsed.stochastic:
        raise ConfigError("--stochastic and --resume exclude each other: a dataset keeps its policy")
    if (policy.is_dir() or parsed.stochastic) and known.resume is None:
        chosen = str(policy_folder(policy, parsed.stochastic))
        parsed = dataclasses.replace(parsed, config=dataclasses.replace(parsed.config, policy=chosen))
    if (parsed.out is None) == (parsed.resume is None):
        raise ConfigError("give either --out for a new dataset or --resume for one to go on with")
    return parsed


def run_collect(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy collect``; returns the exit code."""
    parsed = parse_collect(arguments)
    use_token_at(parsed.config.address)
    from launch.child_processes import started_processes_ended

    if parsed.dry_run:
        from launch.cluster.dry_run import dry_run_collecting

        with started_processes_ended():
            return 0 if dry_run_collecting(parsed.config, PathsConsole()) else EXIT_FAILURE
    from launch.collection.console import ConsoleObserver
    from launch.collection.run import CollectionRun
    from launch.signals import handled, interrupt

    folder = parsed.out or parsed.resume
    assert folder is not None
    observer = ConsoleObserver(PathsConsole(), start)
    with (
        started_processes_ended(),
        handled(interrupt),
        CollectionRun(parsed.config, folder, [observer], parsed.resume is not None, debug=parsed.debug) as run,
        handled(interrupt),  # Again: Ray, which is there by now, has set its own handler of SIGTERM.
    ):
        run.run()
    return 0
