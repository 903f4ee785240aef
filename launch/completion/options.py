"""The options of the commands, with what a shell can offer as their values."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import gymnasium
import tyro

from distpolicy.agents.agent_config import AgentConfig, agent_kinds
from distpolicy.agents.custom.config import CustomAgentConfig
from launch.commands.collect import CollectArguments
from launch.commands.doctor import DoctorArguments
from launch.commands.evaluate import EvaluateArguments
from launch.commands.export import ExportArguments
from launch.commands.serve import ServeArguments
from launch.commands.submit import SubmitArguments
from launch.commands.train import TrainArguments
from launch.commands.tune import TuneArguments
from launch.completion.arguments import CompletionArguments, Shell
from launch.config.presets import preset_names, read_preset
from launch.config.setting_names import compared_names, searched_names
from launch.reports.arguments import PlotArguments, ReportArguments, RunsArguments, WatchArguments
from launch.short_help import field_documents


class Option(typing.NamedTuple):
    """An option of a command.

    Attributes:
        name: The option as it is typed, such as ``--env``.
        about: What it does, in one sentence.
        values: The values to offer; empty if there are none to choose from.
        is_flag: Whether it takes no value.
    """

    name: str
    about: str
    values: tuple[str, ...] = ()
    is_flag: bool = False


class Command(typing.NamedTuple):
    """A command.

    Attributes:
        about: What it does, in one sentence.
        options: Its options.
        words: The words to offer after it that are not options.
    """

    about: str
    options: Sequence[Option] = ()
    words: tuple[str, ...] = ()


def commands() -> dict[str, Command]:
    """Returns all commands by name."""
    jobs = {
        "train": TrainArguments,
        "tune": TuneArguments,
        "collect": CollectArguments,
        "evaluate": EvaluateArguments,
        "doctor": DoctorArguments,
    }
    others = {
        "serve": ServeArguments,
        "export": ExportArguments,
        "report": ReportArguments,
        "plot": PlotArguments,
        "runs": RunsArguments,
        "watch": WatchArguments,
    }
    return {
        **{name: _command(kind) for name, kind in {**jobs, **others}.items()},
        "submit": _command(SubmitArguments, tuple(jobs)),
        "presets": Command("Lists the presets"),
        "envs": Command("Lists the environments that have presets"),
        "completion": _command(CompletionArguments, typing.get_args(Shell)),
    }


def _command(kind: type, words: tuple[str, ...] = ()) -> Command:
    values = {
        "--env": _env_names(),
        "--preset": tuple(preset_names()),
        "--agent": _agent_names(),
        "--search": tuple(searched_names()),
        "--by": tuple(compared_names()),
    }
    options = [item._replace(values=values.get(item.name, item.values)) for item in options_of(kind)]
    help_options = [
        Option("--help", "Shows the most used options", is_flag=True),
        Option("--help-all", "Shows all options", is_flag=True),
    ]
    return Command(_first_sentence(kind.__doc__ or ""), [*options, *help_options], words)


def options_of(kind: type, prefix: str = "") -> Iterator[Option]:
    """Yields the options of a dataclass of arguments, as tyro names them. Those of all agents are among them."""
    hints, documents = typing.get_type_hints(kind, include_extras=True), field_documents(kind)
    for item in dataclasses.fields(kind):
        hint = hints[item.name]
        inner, name = _unwrapped(hint, item.name.replace("_", "-"))
        if _is_positional(hint) or any(_unwrapped(option, "")[0] is Any for option in typing.get_args(inner)):
            continue
        if inner is AgentConfig:
            for agent, settings in agent_kinds().items():
                yield from options_of(settings, f"{agent}.")
        elif dataclasses.is_dataclass(inner):
            yield from options_of(inner, f"{prefix}{name}." if name else prefix)  # type: ignore[arg-type]
        else:
            about, is_flag = _first_sentence(documents.get(item.name, "")), inner is bool
            # A flag that is on by default is only ever turned off.
            turned = "no-" if is_flag and item.default else ""
            yield Option(f"--{prefix}{turned}{name}", about, _choices(inner), is_flag)


def _unwrapped(hint: Any, name: str) -> tuple[Any, str]:
    """Returns a field's type without its annotations, and the name that they give it."""
    named = [note.name for note in getattr(hint, "__metadata__", ()) if getattr(note, "name", None) is not None]
    inner = hint.__origin__ if typing.get_origin(hint) is typing.Annotated else hint
    return inner, named[0] if named and isinstance(named[0], str) else name


def _is_positional(hint: Any) -> bool:
    marker = tyro.conf.Positional[str].__metadata__[0]  # type: ignore[attr-defined]
    return marker in getattr(hint, "__metadata__", ())


def _choices(hint: Any) -> tuple[str, ...]:
    if typing.get_origin(hint) is Literal:
        return tuple(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(value for option in typing.get_args(hint) for value in _choices(option))
    return ()


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".")


def _agent_names() -> tuple[str, ...]:
    # An agent of the user's own is given as module:function.
    return tuple(kind for kind in agent_kinds() if kind != CustomAgentConfig.kind)


@functools.cache
def _env_names() -> tuple[str, ...]:
    """Returns the environments of Gymnasium in their newest version, and those that have presets."""
    newest: dict[str, Any] = {}
    for spec in gymnasium.registry.values():
        known = newest.get(spec.name)
        # Those whose name ends so are shells for environments of other libraries.
        if spec.namespace is None and not spec.name.endswith("Environment"):
            newest[spec.name] = spec if known is None else max(known, spec, key=lambda item: item.version or 0)
    of_presets = {preset.config.env for preset in map(read_preset, preset_names()) if preset.has_env}
    return tuple(sorted({spec.id for spec in newest.values()} | of_presets))
