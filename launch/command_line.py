"""The arguments of the commands, and their parsers."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.agents.custom.config import CustomAgentConfig
from distpolicy.errors import ConfigError
from launch.config.cluster import DoctorConfig, SubmitConfig
from launch.config.collect import CollectConfig, load_collect_config
from launch.config.evaluate import EvaluateConfig
from launch.config.presets import load_preset, preset_for
from launch.config.run_specs import with_env_of_dataset
from launch.config.seal import check_names_of_code
from launch.config.serve import PolicyChoice, ServeConfig
from launch.config.tracking import TrackingConfig
from launch.config.train import DEFAULT_AGENT, TrainConfig, load_train_config
from launch.config.tune import TuneConfig, load_tune_file
from launch.option_values import REGISTRY, absolute_path
from launch.output.run_directory import policy_folder
from launch.output.seeds_folder import holds_seeds, settings_to_resume
from launch.reports.arguments import PlotArguments, ReportArguments, RunsArguments, WatchArguments
from launch.short_help import Choice, short_help
from launch.suggestions import did_you_mean
from workers.datasets.files import CONFIG_FILE, file_beside_shards

_T = TypeVar("_T")
Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class TrainArguments:
    """Trains a policy and writes a run directory: config, checkpoints, policy, metrics and report."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    agent: str = DEFAULT_AGENT
    """The algorithm: ppo, impala, appo, reinforce; dqn, c51, sac, td3, ddpg, with replay; bc, marwil, iql, cql, from
    --dataset; or module:function for a function of yours that makes a TFAgent. The options that begin with its name are
    its settings (--ppo.learning-rate); for your own function, use --custom.kwargs."""
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
    """Number of runs: one for this seed, and one for each of the seeds after it, with one report of all. The run
    directory then holds a run directory for each."""
    seeds_at_once: int = 1
    """Number of the runs of --seeds that go on at the same time. On one machine they share its CPUs."""
    tracking: Annotated[TrackingConfig, tyro.conf.arg(name="")] = field(default_factory=TrackingConfig)
    dry_run: bool = False
    """Show which actors would run on which nodes, and start nothing."""
    serial: bool = False
    """Run everything in this process, without Ray, as for a debugger. What is learned is the same to the byte."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class TuneArguments:
    """Searches for better settings on Ray Tune: many training runs, the bad ones ended early. Writes a folder with a
    run directory for each trial, a table, the best settings and a picture of what mattered. All options of train
    are options of the trials; --steps is --total-steps.
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    tune: Annotated[TuneConfig, tyro.conf.arg(name="")] = field(default_factory=TuneConfig)
    agent: str = DEFAULT_AGENT
    """The algorithm, as for distpolicy train."""
    preset: str | None = None
    """Settings to begin from, as for distpolicy train."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """File with the settings to begin from, such as the config.yaml of a run."""
    out: Path | None = None
    """Folder to make; runs/ENV-tune-TIME by default."""
    resume: Path | None = None
    """Folder of a search to go on with, after Ctrl-C, a crash, or to add trials by a larger --samples."""
    tracking: Annotated[TrackingConfig, tyro.conf.arg(name="")] = field(default_factory=TrackingConfig)
    serial: bool = False
    """Run each trial in one process, with one CPU. It starts faster, and suits small environments."""
    debug: bool = False
    """Show tracebacks and the workers' output."""


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


@dataclass(frozen=True)
class EvaluateArguments:
    """Plays whole episodes on fresh seeds. Shows mean return with its interval and lengths, and makes videos."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel with --env."""
    config: Annotated[EvaluateConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluateConfig)
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class ServeArguments:
    """Serves a policy over HTTP and gRPC on Ray Serve, until Ctrl-C. Requests that come together are one batch."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel."""
    config: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class ExportArguments:
    """Writes a policy as a program that runs without distpolicy, after a comparison with it on random observations."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PATH")]
    """Run directory, or the folder of a SavedModel."""
    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Folder to write: the program, and signature.json with the names, shapes and dtypes of its inputs and outputs."""
    to: Literal["tflite", "onnx", "saved_model"]
    """For LiteRT, for ONNX Runtime, or for TensorFlow alone and TensorFlow Serving."""
    policy: PolicyChoice = "newest"
    """Which of a run's policies: the newest, or the best of its evaluations."""
    stochastic: bool = False
    """Export the policy that draws its actions (collect_policy). It takes uniform numbers as an input."""
    batch_size: int | None = None
    """Number of rows. None: any, or 1 for tflite."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, but is {self.batch_size}")


@dataclass(frozen=True)
class DoctorArguments:
    """Checks every node of a cluster and prints a line for each. The exit code is 0 if all checks passed, else 1."""

    config: Annotated[DoctorConfig, tyro.conf.arg(name="")] = field(default_factory=DoctorConfig)
    debug: bool = False
    """Show tracebacks and the workers' output."""


@dataclass(frozen=True)
class SubmitArguments:
    """Runs a command on a cluster as a Ray job. Its output is shown here, and Ctrl-C stops it.

    The command (train, collect, evaluate or doctor) and its options follow after the cluster. Its paths are paths on
    the head node; relative ones begin at the home directory.
    """

    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CLUSTER")]
    """The cluster: its cluster file, the http address of its dashboard, HOST:PORT of its head, or auto."""
    config: Annotated[SubmitConfig, tyro.conf.arg(name="")] = field(default_factory=SubmitConfig)
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class CompletionArguments:
    """Prints a script for a shell, which completes commands, options and the names of presets, envs and agents.

    Its first line says where to keep it.
    """

    shell: tyro.conf.Positional[Shell]
    """The shell."""


def parse_train(arguments: list[str]) -> TrainArguments:
    """Parses ``distpolicy train``: the settings of a preset, a file or a resumed run, changed by the command line.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    arguments = _with_range(arguments)
    known = _known(arguments, "--preset", "--env", "--resume", "--agent", "--config")
    if known.resume is not None and known.config is None:
        if known.preset is not None:
            raise ConfigError("--preset and --resume exclude each other: a resumed run has its own settings")
        file = settings_to_resume(absolute_path(known.resume))
        base = load_train_config(file)
        check_names_of_code(file, base, _given(arguments))
        if known.agent not in (None, agent_name(base.agent)):
            raise ConfigError(
                f"--resume goes on with the agent of the run, {agent_name(base.agent)}: leave --agent out"
            )
    else:
        base = _new_settings(known, arguments)
    defaults = TrainArguments(config=_with_named_agent(base), agent=agent_name(base.agent))
    parsed = _parse(TrainArguments, arguments, defaults, "train")
    config = TrainConfig(**_fields(parsed.config))
    if config.is_offline and config.dataset and known.config is None and known.resume is None and known.env is None:
        given = _given(arguments)
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


def _new_settings(known: argparse.Namespace, arguments: list[str]) -> TrainConfig:
    """Returns the settings that a new run begins from: those of a file, of a preset, or the defaults."""
    if known.config is None:
        return _beginning(known.preset, known.env, known.agent)
    if known.preset is not None or known.resume is not None:
        other = "--preset" if known.resume is None else "--resume"
        raise ConfigError(f"--config and {other} exclude each other: a run begins from the settings of one")
    file = absolute_path(known.config)
    written = load_train_config(file)
    check_names_of_code(file, written, _given(arguments))
    return _chosen(written, known.env, known.agent)


def parse_tune(arguments: list[str]) -> TuneArguments:
    """Parses ``distpolicy tune``: as ``distpolicy train``, with the searched settings.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    arguments = ["--total-steps" if text == "--steps" else text for text in _with_range(_with_search(arguments))]
    known = _known(arguments, "--preset", "--env", "--resume", "--agent", "--config")
    tune = TuneConfig()
    if known.resume is None:
        base = _new_settings(known, arguments)
    else:
        more = _given(arguments) - {"resume", "samples", "concurrent", "debug", "no-debug"}
        if more and not {"help-all"} & more:
            raise ConfigError(
                f"a resumed search has its own settings: leave --{min(more)} out; --samples and --concurrent may change"
            )
        file = load_tune_file(absolute_path(known.resume) / "tune.yaml")
        base, tune = file.train, file.tune
    defaults = TuneArguments(config=_with_named_agent(base), tune=tune, agent=agent_name(base.agent))
    parsed = _parse(TuneArguments, arguments, defaults, "tune")
    parsed = dataclasses.replace(parsed, config=TrainConfig(**_fields(parsed.config)))
    if parsed.resume is not None and parsed.out is not None:
        raise ConfigError("--out and --resume exclude each other: a resumed search stays in its folder")
    parsed.tune.check(parsed.config)
    return parsed


def _with_search(arguments: list[str]) -> list[str]:
    """Joins what follows each ``--search`` to one option, as pairs of a name and a text: ``NAME "choice 4 8"``."""
    found: list[str] = []
    pairs: list[str] = []
    rest = list(arguments)
    while rest:
        text = rest.pop(0)
        if text != "--search":
            found.append(text)
            continue
        words = list(itertools.takewhile(lambda word: not word.startswith("--"), rest))
        rest = rest[len(words) :]
        if not words:
            raise ConfigError("--search needs the name of a setting, a kind and values: NAME loguniform 1e-4 1e-2")
        name = words[0].replace("_", "-")
        if name in pairs[::2]:
            raise ConfigError(f"--search {name} is given twice: give all its values at once")
        pairs += [name, " ".join(words[1:])]
    return [*found, "--search", *pairs] if pairs else found


def agent_name(agent: AgentConfig) -> str:
    """Returns the value of ``--agent`` for an algorithm: its kind, or ``module:function``."""
    return agent.name if isinstance(agent, CustomAgentConfig) else agent.kind


def _beginning(preset: str | None, env: str | None, agent: str | None) -> TrainConfig:
    """Returns a new run's settings before the command line changes them."""
    name = preset or preset_for(env, DEFAULT_AGENT if agent is None else _agent_settings(agent).kind)
    return _chosen(TrainConfig() if name is None else load_preset(name), env, agent)


def _chosen(base: TrainConfig, env: str | None, agent: str | None) -> TrainConfig:
    """Returns settings with another environment or agent, if one is given. Another agent has its own defaults."""
    if agent is not None and agent_name(base.agent) != agent:
        base = dataclasses.replace(base, agent=_agent_settings(agent))
    return base if env is None else dataclasses.replace(base, env=env)


def _agent_settings(name: str) -> AgentConfig:
    return CustomAgentConfig(factory=name) if ":" in name else AgentConfig.of_kind(name)()


def _with_named_agent(config: TrainConfig) -> TrainConfig:
    """Returns the config as a subclass in which the agent's options begin with the algorithm's name: ``--ppo.…``."""
    named: Any = Annotated[type(config.agent), tyro.conf.arg(name=config.agent.kind)]
    kind = dataclasses.make_dataclass(
        "TrainConfig", [("agent", named, field(default=config.agent))], bases=(TrainConfig,), frozen=True
    )
    return kind(**_fields(config))


def _fields(config: TrainConfig) -> dict[str, Any]:
    return {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainConfig)}


def parse_collect(arguments: list[str]) -> CollectArguments:
    """Parses ``distpolicy collect``: the defaults, a file's or a dataset's settings, changed by the command line.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    known = _known(arguments, "--resume", "--config", "--steps", "--episodes")
    base = CollectConfig()
    if known.config is not None:
        if known.resume is not None:
            raise ConfigError("--config and --resume exclude each other: a dataset has its own settings")
        file = absolute_path(known.config)
        base = load_collect_config(file)
        check_names_of_code(file, base, _given(arguments))
        if known.steps is not None or known.episodes is not None:
            base = dataclasses.replace(base, steps=None, episodes=None)  # One overrides the other.
    elif known.resume is not None:
        file = file_beside_shards(absolute_path(known.resume), CONFIG_FILE)
        base = load_collect_config(file)
        check_names_of_code(file, base, _given(arguments))
    parsed = _parse(CollectArguments, arguments, CollectArguments(config=base), "collect")
    policy = absolute_path(parsed.config.policy)
    if known.resume is not None and parsed.stochastic:
        raise ConfigError("--stochastic and --resume exclude each other: a dataset keeps its policy")
    if (policy.is_dir() or parsed.stochastic) and known.resume is None:
        chosen = str(policy_folder(policy, parsed.stochastic))
        parsed = dataclasses.replace(parsed, config=dataclasses.replace(parsed.config, policy=chosen))
    if (parsed.out is None) == (parsed.resume is None):
        raise ConfigError("give either --out for a new dataset or --resume for one to go on with")
    return parsed


def parse_evaluate(arguments: list[str]) -> EvaluateArguments:
    """Parses ``distpolicy evaluate``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = _parse(EvaluateArguments, arguments, None, "evaluate")
    # A policy without a folder, such as random, keeps its name.
    source = absolute_path(parsed.source)
    return dataclasses.replace(parsed, source=str(source)) if source.exists() else parsed


def parse_serve(arguments: list[str]) -> ServeArguments:
    """Parses ``distpolicy serve``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = _parse(ServeArguments, arguments, None, "serve")
    return dataclasses.replace(parsed, source=Path(absolute_path(str(parsed.source))))


def parse_export(arguments: list[str]) -> ExportArguments:
    """Parses ``distpolicy export``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    parsed = _parse(ExportArguments, arguments, None, "export")
    source, folder = (Path(absolute_path(str(path))) for path in (parsed.source, parsed.folder))
    return dataclasses.replace(parsed, source=source, folder=folder)


def parse_doctor(arguments: list[str]) -> DoctorArguments:
    """Parses ``distpolicy doctor``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(DoctorArguments, arguments, None, "doctor")


def parse_completion(arguments: list[str]) -> CompletionArguments:
    """Parses ``distpolicy completion``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(CompletionArguments, arguments, None, "completion")


def parse_report(arguments: list[str]) -> ReportArguments:
    """Parses ``distpolicy report``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(ReportArguments, arguments, None, "report")


def parse_plot(arguments: list[str]) -> PlotArguments:
    """Parses ``distpolicy plot``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(PlotArguments, arguments, None, "plot")


def parse_runs(arguments: list[str]) -> RunsArguments:
    """Parses ``distpolicy runs``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(RunsArguments, arguments, None, "runs")


def parse_watch(arguments: list[str]) -> WatchArguments:
    """Parses ``distpolicy watch``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return _parse(WatchArguments, arguments, None, "watch")


# The commands that can be submitted, with the parsers that check their arguments.
_JOB_COMMANDS: dict[str, Callable[[list[str]], Any]] = {
    "train": parse_train,
    "tune": parse_tune,
    "collect": parse_collect,
    "evaluate": parse_evaluate,
    "doctor": parse_doctor,
}


def parse_submit(arguments: list[str]) -> tuple[SubmitArguments, list[str]]:
    """Parses ``distpolicy submit``.

    Returns:
        Its arguments, and the job's command line without the program.

    Raises:
        ConfigError: If a value is invalid, also in the job's command line.
        SystemExit: After help.
    """
    split = next((index for index, text in enumerate(arguments) if text in _JOB_COMMANDS), len(arguments))
    parsed = _parse(SubmitArguments, arguments[:split], None, "submit")
    command = arguments[split:]
    if not command:
        raise ConfigError(f"submit needs a command after {parsed.target}: {', '.join(_JOB_COMMANDS)}")
    known = _known(command[1:], "--resume", "--config")
    if known.resume is None and known.config is None:
        _JOB_COMMANDS[command[0]](command[1:])  # A run to resume is on the head node, and so are its settings.
    return parsed, command


def _with_range(arguments: list[str]) -> list[str]:
    """Replaces ``--collectors MIN:MAX`` by the two options that it stands for."""
    found: list[str] = []
    for text in itertools.chain.from_iterable(
        text.split("=", 1) if text.startswith("--collectors=") else [text] for text in arguments
    ):
        least, colon, most = text.partition(":")
        if colon and found and found[-1] == "--collectors":
            found += [most, "--min-collectors", least]
        else:
            found.append(text)
    return found


def _given(arguments: list[str]) -> set[str]:
    """Returns the names of the options that are given."""
    return {text[2:].partition("=")[0] for text in arguments if text.startswith("--")}


def _known(arguments: list[str], *options: str) -> argparse.Namespace:
    """Returns the values of some options before all are parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in options:
        parser.add_argument(option)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error


# The options of the short help by their titles. An option is named by its place in the command's arguments.
_COMMON: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
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
            "config.eval_episodes",
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
    },
    "tune": {
        "what is searched": (
            "tune.search",
            "tune.metric",
            "tune.mode",
        ),
        "how": (
            "tune.samples",
            "tune.scheduler",
            "tune.searcher",
            "tune.seeds",
            "tune.concurrent",
            "serial",
        ),
        "what is learned": (
            "config.env",
            "preset",
            "agent",
            "config.total_steps",
            "config.seed",
        ),
        "what runs": (
            "config.collectors",
            "config.envs_per_collector",
            "config.address",
        ),
        "output": ("out", "resume", "config_file"),
        "tracing": ("debug",),
    },
    "collect": {
        "what is collected": (
            "config.env",
            "config.env_kwargs",
            "config.wrappers",
            "config.policy",
            "stochastic",
            "config.seed",
        ),
        "how much": ("config.steps", "config.episodes"),
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
    },
    "evaluate": {
        "": ("source",),
        "episodes": (
            "config.episodes",
            "config.stochastic",
            "config.num_envs",
            "config.seed",
            "config.video",
            "config.json",
        ),
        "environment": ("config.env", "config.env_kwargs", "config.wrappers", "config.inference"),
        "tracing": ("debug",),
    },
    "serve": {
        "": ("source",),
        "the policy": ("config.policy", "config.stochastic", "config.follow", "config.inference"),
        "where": ("config.host", "config.port", "config.grpc_port", "config.token_file"),
        "what runs": ("config.replicas", "config.gpus_per_replica", "config.max_batch", "config.address"),
        "state of recurrent policies": ("config.state", "config.max_sessions", "config.session_idle_s"),
        "tracing": ("debug",),
    },
    "export": {
        "": ("source", "folder"),
        "the policy": ("to", "policy", "stochastic", "batch_size"),
        "tracing": ("debug",),
    },
    "doctor": {
        "what is checked": ("config.address", "config.nodes", "config.cpus", "config.gpus", "config.deadline_s"),
        "tracing": ("debug",),
    },
    "completion": {"": ("shell",)},
    "report": {"": ("runs",), "output": ("out",), "tracing": ("debug",)},
    "plot": {"": ("runs",), "what is compared": ("by",), "output": ("out",), "tracing": ("debug",)},
    "runs": {"": ("runs_folder",), "output": ("json",), "tracing": ("debug",)},
    "watch": {"": ("run",), "what is shown": ("every_s", "once"), "tracing": ("debug",)},
    "submit": {
        "": ("target",),
        "the job": ("config.working_dir", "config.no_wait", "config.stop_timeout_s"),
        "tracing": ("debug",),
    },
}


def _short_help(kind: type, defaults: Any, command: str) -> str:
    """Returns the help on the most used options."""
    groups = {}
    for title, places in _COMMON[command].items():
        if title == "the algorithm":
            agent = defaults.config.agent
            title = f"the algorithm (more: --{agent.kind}.… and --network.…)"
            places = tuple(f"config.agent.{name}" for name in agent.common)
        groups[title] = [_choice(kind, defaults, place) for place in places]
    return short_help(command, " ".join((kind.__doc__ or "").split()), groups)


def _choice(kind: type, defaults: Any, place: str) -> Choice:
    *path, name = place.split(".")
    owner, value = kind, defaults
    for part in path:
        value = None if value is None else getattr(value, part)
        owner = type(value) if value is not None else typing.get_type_hints(owner)[part]
    prefix = f"{value.kind}." if isinstance(value, AgentConfig) else ""
    default = getattr(value, name, None)
    if value is None:
        default = next(item.default for item in dataclasses.fields(owner) if item.name == name)
    option = {
        "source": "RUN",
        "runs": "RUN...",
        "run": "RUN",
        "runs_folder": "FOLDER",
        "every_s": "--every",
        "target": "CLUSTER",
        "shell": "SHELL",
        "folder": "OUT",
        "deadline_s": "--deadline",
        "config_file": "--config",
    }.get(name)
    return Choice(option or f"--{prefix}{name.replace('_', '-')}", owner, name, default)


def _parse(kind: type[_T], arguments: list[str], defaults: _T | None, command: str) -> _T:
    """Parses the arguments with tyro; turns its boxes of several lines into one-line errors."""
    if {"-h", "--help"} & set(arguments):
        print(_short_help(kind, defaults, command), end="")
        raise SystemExit(0)
    arguments = ["--help" if text == "--help-all" else text for text in arguments]
    output = io.StringIO()
    given: Any = {} if defaults is None else {"default": defaults}
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(kind, args=arguments, prog=f"distpolicy {command}", registry=REGISTRY, **given)
    except SystemExit as end:
        if not end.code:
            raise
        lines = [line.strip("│ ") for line in output.getvalue().splitlines()[1:]]
        message = " ".join(itertools.takewhile(lambda line: not line.startswith(("─", "╰")), lines))
        if message.startswith("Unrecognized options"):
            message = _unknown_options(message, _option_names(kind, given))
        raise ConfigError(f"{message} (distpolicy {command} --help lists the options)") from None


def _option_names(kind: Any, given: dict[str, Any]) -> list[str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], registry=REGISTRY, **given)
    return re.findall(r"^\W*(--[a-z][\w.-]*)", output.getvalue(), re.MULTILINE)


def _unknown_options(message: str, names: list[str]) -> str:
    """Returns tyro's message on options that do not exist, with the ones that were meant."""
    unknown = [text.split("=")[0] for text in message.partition(": ")[2].split(", ")]
    unknown = [text for text in unknown if text.startswith("--")]
    if not unknown:
        return message
    return "unknown option" + ", ".join(f" {text}{did_you_mean(text, names)}" for text in unknown)
