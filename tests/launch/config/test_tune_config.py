"""The options of a search, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from distpolicy.agents.agent_config import AgentConfig
from distpolicy.errors import ConfigError
from launch.commands.train import parse_train
from launch.commands.tune import parse_tune
from launch.config.codec import dump, from_dict, load_yaml
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig, TuneFile

RATE = ("--search", "ppo.learning-rate", "loguniform", "1e-4", "1e-2")


def test_each_search_option_is_a_setting_and_options_of_train_pass_through() -> None:
    parsed = parse_tune(
        [*RATE, "--search", "ppo.num_epochs", "choice", "4", "8", "--steps", "40k", "--collectors", "1", "--seed", "3"]
    )
    assert parsed.tune.search == {"ppo.learning-rate": "loguniform 1e-4 1e-2", "ppo.num-epochs": "choice 4 8"}
    assert (parsed.config.total_steps, parsed.config.collectors, parsed.config.seed) == (40_000, 1, 3)


def test_a_preset_is_what_the_search_begins_from() -> None:
    parsed = parse_tune(["--preset", "cartpole-dqn", "--search", "dqn.n-step", "choice", "1", "10"])
    assert parsed.config.agent.kind == "dqn"
    assert parsed.config.envs_per_collector == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to search: give --search NAME KIND VALUES"),
        (("--search",), "--search needs the name of a setting"),
        ((*RATE, *RATE), "--search ppo.learning-rate is given twice"),
        ((*RATE, "--sampls", "3"), "unknown option --sampls; did you mean --samples?"),
        ((*RATE, "--samples", "0"), "samples must be 1 or more"),
        ((*RATE, "--metric", "retrun"), "unknown metric 'retrun'; did you mean return?"),
        ((*RATE, "--metric", "eval_return_mean"), "give --eval-every, or --scheduler none"),
        ((*RATE, "--metric", "eval_return_mean", "--eval-episodes", "0"), "needs --eval-episodes above 0"),
        ((*RATE, "--scheduler", "pbt", "--samples", "3"), "pbt needs a population of 4 or more"),
        ((*RATE, "--scheduler", "pbt", "--seeds", "2"), "pbt has one seed for each trial"),
        ((*RATE, "--scheduler", "pbt", "--searcher", "optuna"), "leave --searcher at random"),
        (
            ("--search", "network.actor-units", "choice", "32", "64", "--scheduler", "pbt"),
            "pbt cannot change network.actor-units: weights of one network do not fit another",
        ),
        (
            ("--search", "rollout-steps", "choice", "32", "64", "--scheduler", "pbt"),
            "pbt cannot change rollout-steps: a checkpoint is of a run with the same workers",
        ),
        ((*RATE, "--resume", "x"), "a resumed search has its own settings: leave --search out"),
    ],
)
def test_bad_input_is_refused_in_a_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tune(list(arguments))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_offline_agents_are_compared_by_evaluations() -> None:
    train = TrainConfig(agent=AgentConfig.of_kind("bc")(), dataset=("x",))
    config = TuneConfig(search={"bc.learning-rate": "loguniform 1e-4 1e-2"})
    assert config.metric_column(train) == "eval_return_mean"
    with pytest.raises(ConfigError, match="give --eval-every"):
        config.check(train)


def test_the_file_of_a_search_holds_it_all(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = TuneFile(TuneConfig(search={"ppo.num-epochs": "choice 4 8"}, seeds=2), TrainConfig(seed=4), True, "ppo")
    (tmp_path / "tune.yaml").write_text(dump(file))
    assert from_dict(TuneFile, load_yaml(tmp_path / "tune.yaml"), "file") == file


def test_a_resumed_search_may_be_made_larger_and_be_followed(tmp_path: Path) -> None:
    file = TuneFile(TuneConfig(search={"ppo.num-epochs": "choice 4 8"}), TrainConfig(seed=4))
    (tmp_path / "tune.yaml").write_text(dump(file))
    parsed = parse_tune(["--resume", str(tmp_path), "--samples", "40", "--videos"])
    assert (parsed.tune.samples, parsed.tracking.videos, parsed.config.seed) == (40, True, 4)
    with pytest.raises(ConfigError, match="leave --seeds out"):
        parse_tune(["--resume", str(tmp_path), "--seeds", "2"])
    with pytest.raises(ConfigError, match=r"is not the folder of a search: it has no tune\.yaml"):
        parse_tune(["--resume", str(tmp_path / "other")])


def test_what_follows_a_run_is_handed_on_as_the_options_that_it_came_from() -> None:
    words = ["--wandb", "poles", "--mlflow", "sqlite:///x.db", "--profile", "--videos"]
    assert parse_train(words).tracking.options == words
    assert parse_train([]).tracking.options == []
