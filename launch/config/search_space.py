"""SearchSpace: the settings that a search changes, and the values that each may have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distpolicy.errors import ConfigError
from distpolicy.utils.suggestions import did_you_mean
from launch.config.setting_names import (
    is_number,
    is_numeric,
    is_whole,
    setting_hints,
    setting_name,
    setting_value,
    with_settings,
)
from launch.config.train import TrainConfig

# Population based training multiplies a number by one of these (Jaderberg et al., 2017).
_FACTORS = (0.8, 1.25)
_DRAWN_ANEW = 0.25
_MAX_DRAWS = 100

_KINDS = {
    "uniform": "uniform LOW HIGH",
    "loguniform": "loguniform LOW HIGH",
    "int": "int LOW HIGH",
    "logint": "logint LOW HIGH",
    "choice": "choice VALUE VALUE ...",
}


@dataclass(frozen=True)
class Domain:
    """The values that a setting may have.

    Attributes:
        kind: ``uniform``, ``loguniform``, ``int``, ``logint`` (both ends included) or ``choice``.
        values: The lowest and the highest value, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    @property
    def is_choice(self) -> bool:
        """Whether the values are listed one by one."""
        return self.kind == "choice"

    @property
    def is_whole(self) -> bool:
        """Whether the values are a range of whole numbers."""
        return self.kind in ("int", "logint")

    @property
    def is_log(self) -> bool:
        """Whether values of each size are equally likely."""
        return self.kind.startswith("log")

    def draw(self, random: np.random.Generator) -> Any:
        """Returns a value at random."""
        if self.is_choice:
            return self.values[int(random.integers(len(self.values)))]
        low, high = (float(value) for value in self.values)
        if self.is_whole:  # Each whole number has the same share of the range.
            low, high = low - 0.5, high + 0.5
        value = math.exp(random.uniform(math.log(low), math.log(high))) if self.is_log else random.uniform(low, high)
        return self._within(value)

    def perturbed(self, value: Any, random: np.random.Generator) -> Any:
        """Returns a value near another one: the next choice, or a number some times larger or smaller."""
        if not self.holds(value) or random.random() < _DRAWN_ANEW:
            return self.draw(random)
        if self.is_choice:
            place = self.values.index(value) + int(random.choice((-1, 1)))
            return self.values[min(max(place, 0), len(self.values) - 1)]
        changed = value * float(random.choice(_FACTORS))
        if self.is_whole and round(changed) == value:
            changed = value + (1 if changed > value else -1)
        return self._within(changed)

    def holds(self, value: Any) -> bool:
        """Returns True if a value is one of these."""
        if self.is_choice:
            return value in self.values
        return is_numeric(value) and self.values[0] <= value <= self.values[1]

    def _within(self, value: float) -> float | int:
        low, high = self.values
        value = min(max(value, low), high)
        # Four digits are enough to tell settings apart, and can be typed.
        return round(value) if self.is_whole else min(max(float(f"{value:.4g}"), float(low)), float(high))


class SearchSpace:
    """The settings that a search changes, in the order in which they were given.

    Args:
        search: The domain of each setting as text, such as ``loguniform 1e-4 1e-2``, by the name of its option.
        config: The settings that the search begins from.

    Raises:
        ConfigError: If a setting or a domain is unknown, or a value in a domain is never valid.
    """

    def __init__(self, search: Mapping[str, Any], config: TrainConfig) -> None:
        self._config = config
        self.domains: dict[str, Domain] = {}
        for text, domain in search.items():
            name = setting_name(text, config)
            if name in self.domains:
                raise ConfigError(f"--search {name} is given twice: give all its values at once")
            self.domains[name] = _domain(name, str(domain), setting_hints(config)[name])
        for name, domain_ in self.domains.items():
            for value in domain_.values:
                self._check_end(name, value)
            if len(domain_.values) < 2:
                raise ConfigError(f"--search {name} choice needs two values or more")

    @property
    def largest_update(self) -> int:
        """The most steps that an update of a trial may have."""
        config = self._config
        if config.is_offline:
            return config.steps_per_update
        sizes = {
            "collectors": config.collectors,
            "envs-per-collector": config.envs_per_collector,
            "rollout-steps": config.rollout_steps,
        }
        return math.prod(
            max(size, *self.domains[name].values) if name in self.domains else size for name, size in sizes.items()
        )

    def draw(self, random: np.random.Generator) -> dict[str, Any]:
        """Returns values at random that fit together.

        Raises:
            ConfigError: If none are found.
        """
        return self._valid(lambda: {name: domain.draw(random) for name, domain in self.domains.items()})

    def perturbed(self, settings: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
        """Returns values near others that fit together."""
        return self._valid(
            lambda: {name: domain.perturbed(settings[name], random) for name, domain in self.domains.items()}
        )

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Returns True if all values are in their domains."""
        return all(domain.holds(settings[name]) for name, domain in self.domains.items())

    def problem(self, settings: Mapping[str, Any]) -> str:
        """Returns why values are not valid together; empty if they are."""
        try:
            with_settings(self._config, settings)
        except ConfigError as error:
            return str(error)
        return ""

    def _valid(self, draw: Any) -> dict[str, Any]:
        problem = ""
        for _ in range(_MAX_DRAWS):
            settings = draw()
            problem = self.problem(settings)
            if not problem:
                return settings
        raise ConfigError(f"{_MAX_DRAWS} draws of the searched settings in a row were not valid; the last: {problem}")

    def _check_end(self, name: str, value: Any) -> None:
        """Checks that a value is valid with the settings as they are, or with some values of the other settings."""
        first = self.problem({name: value})
        if not first:
            return
        random = np.random.default_rng(0)
        for _ in range(_MAX_DRAWS if len(self.domains) > 1 else 0):
            others = {other: domain.draw(random) for other, domain in self.domains.items()}
            if not self.problem({**others, name: value}):
                return
        raise ConfigError(f"--search {name} has the value {value}, which is not valid: {first}")


def _domain(name: str, text: str, hint: Any) -> Domain:
    ways = "; ".join(_KINDS.values())
    if not text.split():
        raise ConfigError(f"--search {name} has no values: give {ways}")
    kind, *words = text.split()
    if kind not in _KINDS:
        raise ConfigError(
            f"--search {name} has the unknown kind {kind!r}{did_you_mean(kind, _KINDS)}; there are {ways}"
        )
    if kind == "choice":
        try:
            values = tuple(setting_value(word, hint) for word in words)
        except ValueError as error:
            raise ConfigError(f"--search {name} choice has a value that cannot be read: {error}") from error
        for place, value in enumerate(values):
            if value in values[:place]:
                raise ConfigError(f"--search {name} choice has the value {words[place]} twice")
        return Domain(kind, values)
    if not is_number(hint):
        raise ConfigError(f"{name} is not a number: write --search {name} choice VALUE VALUE ...")
    low, high = _range(name, _KINDS[kind], words)
    domain = Domain(kind, (low, high))
    if domain.is_log and low <= 0:
        raise ConfigError(f"--search {name} {kind} needs values above 0, but begins at {low:g}")
    if domain.is_whole:
        if not (low.is_integer() and high.is_integer()):
            raise ConfigError(f"--search {name} {kind} needs whole numbers, but got {' '.join(words)}")
        return Domain(kind, (int(low), int(high)))
    if is_whole(hint):
        raise ConfigError(f"{name} is a whole number: write --search {name} {'log' * domain.is_log}int LOW HIGH")
    return domain


def _range(name: str, usage: str, words: list[str]) -> tuple[float, float]:
    try:
        low, high = (float(word) for word in words)
    except ValueError as error:
        raise ConfigError(f"--search {name} is written {usage}, but got {' '.join(words) or 'no values'}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"--search {name} needs a lowest value and a higher one, but got {' '.join(words)}")
    return low, high
