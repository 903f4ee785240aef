"""The tiles and tables of a page, as HTML. All texts are escaped: they come from files of runs."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from launch.config.codec import dump_values
from launch.config.common import counted
from launch.config.flat_settings import flat
from launch.output.intervals import interval
from launch.reports.groups import Group
from launch.reports.run_data import RunData, number
from launch.reports.text import count, lasted, machine, moment, returned, with_interval

# Rows of a table of faults.
_MAX_FAULTS = 60

# Values of a setting in which runs of a group differ.
_MAX_VALUES = 3


def tile(name: str, value: str, more: str = "") -> str:
    """Returns a tile: a key number with its name and a remark."""
    remark = f"<div class=more>{html.escape(more)}</div>" if more else ""
    return (
        f"<div class=tile><div class=name>{html.escape(name)}</div>"
        f"<div class=value>{html.escape(value)}</div>{remark}</div>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Returns a table.

    Args:
        head: The titles of the columns.
        rows: The texts of the cells.
        numbers: The columns that hold numbers, which stand at the right.
    """
    kinds = [" class=n" if index in numbers else "" for index in range(len(head))]
    titles = "".join(f"<th{kind}>{html.escape(text)}</th>" for kind, text in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{html.escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"


def tiles_of_run(run: RunData) -> str:
    """Returns the key numbers of a run."""
    found = [_return_tile(run)]
    budget = run.config.get("total_steps")
    steps, seconds = run.num_steps, run.train_s
    found.append(tile(run.step_unit.capitalize(), count(steps), f"of at most {budget:,}" if budget else ""))
    found.append(tile("Training", lasted(seconds), _whole_time(run)))
    if steps and seconds:
        rate = _env_rate(run)
        found.append(
            tile("Mean speed", f"{steps / seconds:,.0f} /s", f"environments alone: {rate:,.0f} /s" if rate else "")
        )
    if not run.is_offline:
        length = run.last("episode_length")
        found.append(tile("Episodes", count(run.last("episodes")), f"last length: {count(length)}" if length else ""))
    lag = run.config.get("max_policy_lag", 0)
    found.append(tile("Updates", count(run.last("update")), f"policy lag at most {lag}" if lag else ""))
    restarts = len(run.record.get("starts") or [None]) - 1
    if run.faults or restarts:
        lost = sum(number(row, "env_steps_lost") for row in run.faults)
        more = [f"{count(lost)} env steps lost"] if run.faults else []
        if replay_lost := run.last("replay_lost"):
            more.append(f"{count(replay_lost)} transitions of the replay buffer lost")
        more += [f"resumed {counted(restarts, 'time')}"] if restarts else []
        found.append(tile("Faults", str(len(run.faults)), ", ".join(more)))
    return f"<div class=tiles>{''.join(found)}</div>"


def _return_tile(run: RunData) -> str:
    target = run.target_return
    more = f"target {target:g}" if target is not None else ""
    if rows := [row for row in run.evaluations if row["policy"] == "greedy"] or run.evaluations:
        row = rows[-1]
        mean, half = number(row, "return_mean"), number(row, "return_half")
        interval_text = "" if math.isnan(half) else f"± {with_interval(mean, half).partition(' ± ')[2]} (95 %)"
        return tile("Return, evaluated", returned(mean), ", ".join(filter(None, (interval_text, more))))
    if (value := run.last("eval_return_mean")) is not None:
        return tile("Return, evaluated", returned(value), more)
    if run.is_offline:
        return tile("Return, evaluated", "-", ", ".join(filter(None, ("no evaluation yet", more))))
    return tile("Return of the last 100 episodes", returned(run.last("return_mean_100")), more)


def _whole_time(run: RunData) -> str:
    """Returns what a command took in all; "" if the run was resumed, or its process may have done other things."""
    starts, end = run.record.get("starts") or [], run.record.get("end") or {}
    if len(starts) != 1 or not str(starts[0].get("command", "")).startswith("distpolicy "):
        return ""
    begun = starts[0].get("process_time")
    return "" if begun is None or "time" not in end else f"{lasted(end['time'] - begun)} from the command on"


def _env_rate(run: RunData) -> float:
    """Returns the steps a second of the environments alone, over the whole run; 0 if it is not known."""
    env_s = float(np.nansum(run.column("env_s")))
    return (run.last("env_steps") or 0.0) / env_s if env_s > 0 and not run.is_offline else 0.0


def evaluations(run: RunData) -> str:
    """Returns the last evaluation of each policy, and the best of each if there were several; empty if none."""
    rows = []
    for policy in dict.fromkeys(row["policy"] for row in run.evaluations):
        of_policy = [row for row in run.evaluations if row["policy"] == policy]
        # The last one of those that are equally good.
        best = max(reversed(of_policy), key=lambda row: np.nan_to_num(number(row, "return_mean"), nan=-np.inf))
        chosen = {"last": of_policy[-1]} | ({"best": best} if best is not of_policy[-1] else {})
        for which, row in chosen.items():
            rows.append(
                [
                    f"{policy}, {which}" if len(of_policy) > 1 else policy,
                    count(number(row, "steps")),
                    count(number(row, "episodes")),
                    with_interval(number(row, "return_mean"), number(row, "return_half")),
                    returned(number(row, "return_min")),
                    returned(number(row, "return_max")),
                    count(number(row, "length_mean")),
                    count(number(row, "num_cut")),
                ]
            )
    head = ("policy", f"after {run.step_unit}", "episodes", "mean return (95 %)", "lowest", "highest", "length", "cut")
    return table(head, rows, range(1, len(head))) if rows else ""


def faults(runs: Sequence[RunData]) -> str:
    """Returns the faults and restarts of runs; empty if there were none. Of very many, those in the middle are left
    out."""
    is_single = len(runs) == 1
    shown = [[*([] if is_single else [run.name]), lasted(row[0]), *row[1:]] for run in runs for row in _faults(run)]
    head = [*([] if is_single else ["run"]), "after", "what", "why", "env steps lost", "back after"]
    if len(shown) > _MAX_FAULTS:
        half = _MAX_FAULTS // 2
        middle = [""] * (len(head) - 3) + [f"{len(shown) - 2 * half:,} more, in faults.csv", "", ""]
        shown = [*shown[:half], middle, *shown[-half:]]
    return table(head, shown, (len(head) - 2, len(head) - 1)) if shown else ""


def _faults(run: RunData) -> list[tuple[float, str, str, str, str]]:
    """Returns the faults and restarts of a run in their order: after which time, what, why, env steps lost, back
    after."""
    rows = [
        (
            number(row, "train_s"),
            row.get("what", ""),
            row.get("reason", ""),
            count(number(row, "env_steps_lost")),
            lasted(number(row, "recovery_s")),
        )
        for row in run.faults
    ]
    for start in (run.record.get("starts") or [])[1:]:
        why = f"resumed on {moment(start.get('time'))}{_changes(start)}"
        rows.append((float(start.get("train_s", 0)), "the run", why, "-", "-"))
    return sorted(rows, key=lambda row: np.nan_to_num(row[0]))


def _changes(start: Mapping[str, Any]) -> str:
    """Returns which settings a start of a run has changed; empty if none."""
    changed = start.get("changed") or {}
    found = [f"{name} {_plain_value(now)} instead of {_plain_value(before)}" for name, (before, now) in changed.items()]
    return f" with {', '.join(found)}" if found else ""


def configuration(runs: Sequence[RunData]) -> str:
    """Returns the settings of a run, or of the runs of a group, that differ from the preset, and all settings.

    Where the runs of a group differ, their values are shown. Their seeds do not count as changed.
    """
    is_single = len(runs) == 1
    settings = [flat(run.config) for run in runs]
    presets: list[Mapping[str, Any]] = [run.record.get("changed") or {} for run in runs]
    changed = [name for name in dict.fromkeys(name for one in presets for name in one) if is_single or name != "seed"]
    names = list(dict.fromkeys(str(run.record.get("preset") or "default") for run in runs))
    parts = []
    if changed:
        title = names[0] if names == ["default"] else f"preset {_each(names)}"
        rows = []
        for name in changed:
            now = [_plain_value(one.get(name, "-")) for one in settings]
            # A run that has not changed a setting has its preset's value.
            before = [_plain_value(one.get(name, value)) for one, value in zip(presets, now, strict=True)]
            rows.append((name, _each(now), _each(before)))
        parts.append(changes(("changed", "this run" if is_single else "these runs", title), rows))
    elif names != ["default"]:
        parts.append(f"<p class=note>As in the preset {html.escape(_each(names))}.</p>")
    parts.append(
        f"<details style='margin-top:10px'><summary>All settings</summary><pre>"
        f"{html.escape(dump_values(_of_all([run.config for run in runs])))}</pre></details>"
    )
    return "".join(parts)


def _of_all(values: Sequence[Any]) -> Any:
    """Returns a setting of several runs, or their settings by names: as it is if they agree, else each value."""
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, Mapping) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _of_all([value.get(name, "-") for value in values]) for name in names}
    return _each([_plain_value(value) for value in values])


def _each(texts: Sequence[str]) -> str:
    """Returns the texts that differ, or, if there are many, that they do."""
    found = list(dict.fromkeys(texts))
    return ", ".join(found) if len(found) <= _MAX_VALUES else "differs"


def changes(head: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]) -> str:
    """Returns a table of settings that are not as before: the name, the value now and the one before."""
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join(
        f"<tr class=changed><td class=key>{html.escape(key)}</td><td class=value>{html.escape(now)}</td>"
        f"<td class=value style='font-weight:400;color:var(--muted)'>{html.escape(before)}</td></tr>"
        for key, now, before in rows
    )
    return f"<div class=scroll><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"


def _plain_value(value: Any) -> str:
    """Returns a setting's value as its option has it."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def origin(run: RunData) -> str:
    """Returns when, by which command, with which versions and on which machine a run was made; empty if unknown."""
    starts = run.record.get("starts") or []
    if not starts:
        return ""
    start, end = starts[-1], run.record.get("end") or {}
    rows = [("began", moment(starts[0].get("time")))]
    if len(starts) > 1:
        rows.append(("resumed", moment(start.get("time"))))
    if end:
        rows.append(("ended", f"{moment(end.get('time'))}, {run.state}"))
    if end.get("error"):
        rows.append(("error", str(end["error"])))
    if end.get("warm_up_s"):
        rows.append(("compiling the update", lasted(end["warm_up_s"])))
    if memory := end.get("peak_memory_bytes"):
        rows.append(("peak memory", ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in memory.items())))
    rows.append(("machine", machine(start)))
    rows.append(("versions", _versions(start)))
    rows.append(("run directory", str(run.path)))
    return f"{_facts(rows)}{_commands([run])}"


def origins(runs: Sequence[RunData]) -> str:
    """Returns when, by which commands, with which versions and on which machines several runs were made; empty if
    unknown."""
    starts = [start for run in runs for start in run.record.get("starts") or []]
    if not starts:
        return ""
    begun = [start["time"] for start in starts if "time" in start]
    ended = [end["time"] for run in runs if "time" in (end := run.record.get("end") or {})]
    rows = [("began", moment(min(begun, default=None)))]
    if len(ended) == len(runs):
        rows.append(("ended", moment(max(ended))))
    rows += [("machine", text) for text in dict.fromkeys(map(machine, starts))]
    rows += [("versions", text) for text in dict.fromkeys(map(_versions, starts))]
    return f"{_facts(rows)}{_commands(runs)}"


def _versions(start: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {text}" for name, text in (start.get("versions") or {}).items())


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{body}</table>"


def _commands(runs: Sequence[RunData]) -> str:
    """Returns the commands that have made runs, each once."""
    starts = [start for run in runs for start in run.record.get("starts") or []]
    commands = dict.fromkeys(str(start.get("command", "")) for start in starts)
    return f"<pre>{html.escape(chr(10).join(commands))}</pre>"


def groups_table(groups: Sequence[Group]) -> str:
    """Returns a table of groups: the mean of the last returns of their runs, with the 95 % interval."""
    rows = []
    for group in groups:
        last = [value for run in group.runs if (value := run.last("return_mean_100")) is not None]
        evaluated = [value for run in group.runs if (value := run.last("eval_return_mean")) is not None]
        steps = [run.num_steps or 0.0 for run in group.runs]
        seconds = [run.train_s or 0.0 for run in group.runs]
        solved = sum(run.state == "solved" for run in group.runs)
        rows.append(
            (
                group.name,
                str(len(group.runs)),
                # Runs of one seed and the same settings repeat each other: their interval says nothing about seeds.
                str(len({run.seed for run in group.runs})),
                str(solved),
                with_interval(*interval(last)) if last else "-",
                with_interval(*interval(evaluated)) if evaluated else "-",
                count(float(np.mean(steps))),
                lasted(float(np.mean(seconds))),
            )
        )
    head = ("group", "runs", "seeds", "solved", "last return (95 %)", "evaluated (95 %)", "steps", "training")
    return table(head, rows, range(1, len(head)))


def runs_table(groups: Sequence[Group]) -> str:
    """Returns a table of all runs."""
    rows = [
        (
            run.name,
            group.name,
            str(run.seed),
            run.state,
            returned(run.last("return_mean_100")),
            returned(run.last("eval_return_mean")),
            count(run.num_steps),
            lasted(run.train_s),
            str(len(run.faults)),
        )
        for group in groups
        for run in group.runs
    ]
    head = ("run", "group", "seed", "state", "last return", "evaluated", "steps", "training", "faults")
    return table(head, rows, (2, 4, 5, 6, 7, 8))
