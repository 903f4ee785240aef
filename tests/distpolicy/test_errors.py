from __future__ import annotations

import pickle

import pytest

from distpolicy import errors


@pytest.mark.parametrize("name", ["ConfigError", "SpecMismatchError", "StaleWeightsError"])
def test_errors_of_bad_values_are_value_errors_too(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, ValueError)
    assert issubclass(error, errors.DistPolicyError)


def test_crash_says_where_it_happened_and_survives_a_pickle() -> None:
    error = errors.EnvironmentCrashedError("step raised", collector=1, slot=0, step=17, seed=5, traceback="Traceback …")
    assert str(error) == "step raised (collector 1, env slot 0, step 17, seed 5)"
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert isinstance(copy, errors.DistPolicyError)
    assert isinstance(copy, RuntimeError)


def test_crash_leaves_out_what_is_not_known() -> None:
    assert str(errors.EnvironmentCrashedError("reset raised")) == "reset raised"
    assert str(errors.EnvironmentCrashedError("reset raised", slot=3)) == "reset raised (env slot 3)"
