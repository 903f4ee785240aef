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
    assert (parsed.tune.steps, parsed.config.collectors, parsed.config.seed) == (40_000, 1, 3)


def test_steps_are_those_of_a_trial_and_the_run_after_the_search_keeps_its_own() -> None:
    preset = parse_train([]).config.total_steps
    short = parse_tune([*RATE, "--steps", "40k"])
    assert (short.tune.trial_steps(short.config), short.config.total_steps) == (40_000, preset)
    both = parse_tune([*RATE, "--steps", "40k", "--total-steps", "90k"])
    assert (both.tune.trial_steps(both.config), both.config.total_steps) == (40_000, 90_000)
    whole = parse_tune([*RATE, "--total-steps", "90k"])
    assert (whole.tune.trial_steps(whole.config), whole.config.total_steps) == (90_000, 90_000)


# With 2 x 32 environments and 32 steps of each, five updates are 10,240 steps.
@pytest.mark.parametrize(
    ("steps", "looks", "note"),
    [
        (180_000, (20_000, 60_000), ""),
        (60_000, (10_240, 30_720), "asha first looks at trials after 10,240 of 60,000 env steps"),
        (30_000, (10_240,), "asha first looks at trials after 10,240 of 30,000 env steps"),
        (
            10_000,
            (),
            "asha ends no trial early: a score says little about settings before 10,240 env steps,",
        ),
    ],
)
def test_asha_looks_at_no_trial_before_it_has_learned_and_says_so(
    steps: int, looks: tuple[int, ...], note: str
) -> None:
    parsed = parse_tune([*RATE, "--steps", str(steps)])
    assert parsed.tune.looks(parsed.config) == looks
    told = parsed.tune.note(parsed.config)
    assert told.startswith(note) if note else told == ""
    assert not parse_tune([*RATE, "--steps", str(steps), "--scheduler", "none"]).tune.note(parsed.config)


def test_the_largest_batches_that_are_searched_decide_when_all_trials_are_compared() -> None:
    words = ["--search", "rollout-steps", "choice", "16", "64", "--search", "envs-per-collector", "int", "8", "16"]
    parsed = parse_tune([*RATE, *words, "--steps", "90k"])
    assert parsed.tune.looks(parsed.config) == (20_480, 61_440)


def test_steps_before_the_first_gradient_step_do_not_count_as_learning() -> None:
    words = ["--preset", "sac", "--env", "Pendulum-v1", "--search", "sac.learning-rate", "loguniform", "1e-4", "1e-2"]
    parsed = parse_tune([*words, "--steps", "60k"])
    starts = parsed.config.agent.learning_starts  # type: ignore[attr-defined]
    first, *_ = parsed.tune.looks(parsed.config)
    assert 2 * starts < first < 3 * starts
    assert f"after {first:,} of 60,000 env steps" in parsed.tune.note(parsed.config)


def test_a_population_exchanges_nothing_before_it_has_learned_unless_told_to() -> None:
    words = [*RATE, "--scheduler", "pbt", "--samples", "4", "--steps"]
    for steps, every, note in (
        (160_000, 20_000, ""),
        (40_000, 10_240, "pbt exchanges checkpoints every 10,240 of 40,000 env steps"),
        (8_000, 10_240, "pbt exchanges no checkpoints: a score says little"),
    ):
        parsed = parse_tune([*words, str(steps)])
        assert parsed.tune.exchange_steps(parsed.config) == every
        told = parsed.tune.note(parsed.config)
        assert told.startswith(note) if note else told == ""
    parsed = parse_tune([*words, "40000", "--perturb-every", "4000"])
    assert (parsed.tune.exchange_steps(parsed.config), parsed.tune.note(parsed.config)) == (4000, "")


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
        ((*RATE, "--steps", "0"), "steps must be 1 or more"),
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
    text = dump(file)
    assert "  steps: null\n" in text
    (tmp_path / "tune.yaml").write_text(text.replace("  steps: null\n", ""))
    parsed = parse_tune(["--resume", str(tmp_path), "--samples", "40", "--videos"])
    assert (parsed.tune.samples, parsed.tracking.videos, parsed.config.seed) == (40, True, 4)
    # A search that was begun before trials had steps of their own.
    assert parsed.tune.trial_steps(parsed.config) == parsed.config.total_steps
    for option in ("seeds", "steps", "total-steps"):
        with pytest.raises(ConfigError, match=f"leave --{option} out"):
            parse_tune(["--resume", str(tmp_path), f"--{option}", "2"])
    with pytest.raises(ConfigError, match=r"is not the folder of a search: it has no tune\.yaml"):
        parse_tune(["--resume", str(tmp_path / "other")])


def test_what_follows_a_run_is_handed_on_as_the_options_that_it_came_from() -> None:
    words = ["--wandb", "poles", "--mlflow", "sqlite:///x.db", "--profile", "--videos"]
    assert parse_train(words).tracking.options == words
    assert parse_train([]).tracking.options == []
