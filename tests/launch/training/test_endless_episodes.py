"""`distpolicy train` in environments whose episodes do not end."""

from __future__ import annotations

from pathlib import Path

import pytest
from collect_runs import with_toys
from commands import QUICK, distpolicy, read_evaluations


@pytest.mark.slow
@pytest.mark.parametrize(("env", "options"), [("Endless", ()), ("EndsWhereActionsVary", ("--serial",))])
def test_the_last_evaluation_is_cut_at_the_limit_of_steps_and_says_so(
    tmp_path: Path, env: str, options: tuple[str, ...]
) -> None:
    limits = ("--total-steps", "200", "--eval-episodes", "3", "--eval-max-episode-steps", "20")
    named = ("--env", f"evaluation_envs:{env}", "--run-dir", "run")
    done = distpolicy("train", *QUICK, *named, *limits, *options, cwd=tmp_path, PYTHONPATH=with_toys())
    assert done.returncode == 0, done.stdout + done.stderr
    [told] = [line for line in done.stdout.splitlines() if "evaluation of the greedy policy" in line]
    assert "3 episodes on fresh seeds: mean return 20" in told
    assert told.endswith("3 ended at the limit of 20 steps")
    [row] = [row for row in read_evaluations(tmp_path / "run") if row["policy"] == "greedy"]
    assert (int(row["num_cut"]), float(row["length_mean"])) == (3, 20.0)
