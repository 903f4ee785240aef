"""The name that was meant, of names that do not exist."""

from __future__ import annotations

import pytest

from distpolicy.utils.suggestions import did_you_mean, most_similar, suggestion


@pytest.mark.parametrize(
    ("given", "names", "meant"),
    [
        ("CartPloe-v1", ["Acrobot-v1", "CartPole-v1"], "CartPole-v1"),
        ("PPO", ["impala", "ppo"], "ppo"),
        ("agent", ["make_env", "make_agent"], "make_agent"),
        ("--envs", ["--env", "--envs-per-collector"], "--envs-per-collector"),
    ],
)
def test_the_similar_name_is_meant(given: str, names: list[str], meant: str) -> None:
    assert most_similar(given, names) == meant
    assert did_you_mean(given, names) == suggestion(meant) == f"; did you mean {meant}?"


def test_what_is_like_nothing_gets_no_suggestion() -> None:
    assert did_you_mean("--no-such-thing", ["--env", "--collectors"]) == suggestion(None) == ""
