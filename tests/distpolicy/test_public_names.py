from __future__ import annotations

import pytest

import distpolicy


def test_every_public_name_is_there_and_comes_from_its_module() -> None:
    for name in distpolicy.__all__:
        assert getattr(distpolicy, name).__name__ == name
        assert getattr(distpolicy, name).__module__.startswith("distpolicy.")
        assert name in dir(distpolicy)


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_policy"):
        _ = distpolicy.no_such_policy
