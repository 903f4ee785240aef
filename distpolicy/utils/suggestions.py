"""Suggestions for names that do not exist: of options, commands, agents, environments, functions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Names of options that other libraries use, and the end of ours.
_OTHER_NAMES = {
    "lr": "learning-rate",
    "gamma": "discount",
    "lambda": "gae-lambda",
    "workers": "collectors",
    "num-workers": "collectors",
    "num-env-runners": "collectors",
    "num-envs": "envs-per-collector",
    "n-envs": "envs-per-collector",
    "timesteps": "total-steps",
    "total-timesteps": "total-steps",
    "steps": "total-steps",
    "epochs": "num-epochs",
    "output": "out",
    "log-dir": "run-dir",
    "ent-coef": "entropy-weight",
    "vf-coef": "value-loss-weight",
    "max-grad-norm": "max-gradient-norm",
}
_CUTOFF = 0.6


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """Returns ``; did you mean NAME?`` for the most similar name, or an empty text; see :func:`most_similar`."""
    return suggestion(most_similar(given, names))


def suggestion(name: str | None) -> str:
    """Returns ``; did you mean NAME?`` as the end of an error; an empty text for None."""
    return "" if name is None else f"; did you mean {name}?"


def most_similar(given: str, names: Iterable[str]) -> str | None:
    """Returns the name that was meant; None if none is similar.

    A name also fits if it ends with the given one behind its group: ``--ppo.learning-rate`` for ``--learning-rate``; or
    has the given words in it: ``--envs-per-collector`` for ``--envs``.

    Args:
        given: What was given.
        names: The names that there are.
    """
    names = list(names)
    ending = _ending(given)
    ends = {name: _ending(name) for name in reversed(names)}
    for wanted in (ending, _OTHER_NAMES.get(ending)):
        exact = [name for name, end in ends.items() if end == wanted]
        if exact:
            return exact[-1]
    close = difflib.get_close_matches(given, names, 1, _CUTOFF)
    # A short option is similar to few long ones, so its words decide.
    begun = [name for name, end in ends.items() if f"{end}-".startswith(f"{ending}-") or f"-{ending}-" in f"-{end}-"]
    begun = begun or [name for name, end in ends.items() if f"-{ending}".endswith(f"-{end}")]
    if begun:
        return begun[-1]
    near = difflib.get_close_matches(ending, ends.values(), 1, 0.7)
    if near and not close:
        return next(name for name in names if ends[name] == near[0])
    return close[0] if close else None


def _ending(name: str) -> str:
    return name.lstrip("-").rpartition(".")[2].replace("_", "-").lower()
