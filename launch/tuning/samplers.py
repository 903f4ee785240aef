"""What chooses the settings of a search: chance, or Optuna's model of the trials so far."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from launch.config.search_space import Domain, SearchSpace
from launch.config.tune import TuneConfig

_MAX_ASKS = 10


class Sampler(abc.ABC):
    """Chooses settings."""

    @abc.abstractmethod
    def draw(self, sample: int) -> dict[str, Any]:
        """Returns the settings of a sample, which are valid.

        Args:
            sample: Number of the sample.

        Raises:
            ConfigError: If no valid settings are found.
        """

    def tell(self, sample: int, settings: Mapping[str, Any], score: float, turn: float = math.inf) -> None:
        """Notes what has become of settings.

        Args:
            sample: Number of the sample.
            settings: Its settings.
            score: Its score; NaN if it has none or has failed.
            turn: How far it came, as :func:`launch.tuning.results.merit` has it: a whole number if it was stopped.
        """
        return


class RandomSampler(Sampler):
    """Draws settings at random. They depend on the seed and the sample's number alone.

    Args:
        space: The searched settings.
        seed: The seed.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._seed = space, seed

    def draw(self, sample: int) -> dict[str, Any]:
        return self._space.draw(np.random.default_rng((self._seed, sample)))


class OptunaSampler(Sampler):
    """Draws settings by Optuna's tree-structured Parzen estimator (Bergstra et al., 2011).

    They depend on the seed, the sample's number and the scores that are known, so that a search that goes on draws
    no settings twice.

    Args:
        space: The searched settings.
        seed: The seed.
        mode: Whether a higher score is better, ``max``, or a lower one, ``min``.

    Raises:
        ConfigError: If Optuna is not installed.
    """

    def __init__(self, space: SearchSpace, seed: int, mode: str) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ConfigError("--searcher optuna needs Optuna: pip install 'distpolicy[tune]'") from error
        self._optuna, self._space, self._seed = optuna, space, seed
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(direction="maximize" if mode == "max" else "minimize")
        # The trials of the study that have no score yet, by the number of their sample.
        self._asked: dict[int, Any] = {}

    def draw(self, sample: int) -> dict[str, Any]:
        distributions = {name: distribution(domain) for name, domain in self._space.domains.items()}
        random = np.random.default_rng((self._seed, sample))
        self._study.sampler = self._optuna.samplers.TPESampler(seed=int(random.integers(2**32)), constant_liar=True)
        for _ in range(_MAX_ASKS):
            trial = self._study.ask(distributions)
            settings = {name: value_of(self._space.domains[name], value) for name, value in trial.params.items()}
            if not self._space.problem(settings):
                self._asked[sample] = trial
                return settings
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        # What is best by the model may not be valid, and it would be asked for again and again.
        return self._space.draw(random)

    def tell(self, sample: int, settings: Mapping[str, Any], score: float, turn: float = math.inf) -> None:
        states = self._optuna.trial.TrialState
        asked = self._asked.pop(sample, None)
        if asked is not None:
            if math.isnan(score):
                self._study.tell(asked, state=states.FAIL)
            elif math.isinf(turn):
                self._study.tell(asked, score)
            else:
                # Its sampler ranks those that were pruned below the others: by the step, and then by the score.
                asked.report(score, int(turn))
                self._study.tell(asked, state=states.PRUNED)
        elif not math.isnan(score) and self._space.holds(settings):
            self._study.add_trial(optuna_trial(self._space, settings, score, turn))


def make_sampler(config: TuneConfig, space: SearchSpace, seed: int) -> Sampler:
    """Returns the sampler that a search asks for.

    Raises:
        ConfigError: If it is not installed.
    """
    return RandomSampler(space, seed) if config.searcher == "random" else OptunaSampler(space, seed, config.mode)


def optuna_trial(space: SearchSpace, settings: Mapping[str, Any], score: float, turn: float) -> Any:
    """Returns settings and their score as a trial of Optuna's; see :meth:`Sampler.tell`."""
    import optuna

    states, is_whole = optuna.trial.TrialState, math.isinf(turn)
    return optuna.trial.create_trial(
        params={name: parameter(domain, settings[name]) for name, domain in space.domains.items()},
        distributions={name: distribution(domain) for name, domain in space.domains.items()},
        value=score,
        state=states.COMPLETE if is_whole else states.PRUNED,
        intermediate_values={} if is_whole else {int(turn): score},
    )


def distribution(domain: Domain) -> Any:
    """Returns a domain as Optuna has it. Choices are numbered, since they may be of any type."""
    from optuna import distributions

    if domain.is_choice:
        return distributions.CategoricalDistribution(tuple(range(len(domain.values))))
    low, high = domain.values
    if domain.is_whole:
        return distributions.IntDistribution(low, high, log=domain.is_log)
    return distributions.FloatDistribution(low, high, log=domain.is_log)


def parameter(domain: Domain, value: Any) -> Any:
    """Returns a setting's value as Optuna has it."""
    return domain.values.index(value) if domain.is_choice else value


def value_of(domain: Domain, value: Any) -> Any:
    """Returns the setting's value that a value of Optuna's stands for."""
    return domain.values[value] if domain.is_choice else value
