from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

import pytest

from distpolicy.utils.named_code import why_unfit


class Base:
    pass


class Fit(Base):
    def make(self) -> Base:
        return self


def make() -> Base:
    return Fit()


@pytest.mark.parametrize("target", [Fit, make, functools.partial(make), functools.partial(Fit), Fit().make])
def test_subclasses_and_functions_of_ones_own_fit(target: Any) -> None:
    assert why_unfit(target, (Base,)) is None


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (subprocess.Popen, "is not a subclass of"),
        (dict, "is not a subclass of"),
        (subprocess.run, "is a function of Python itself"),
        (os.system, "is a function of Python itself"),
        (sys.exit, "is a function of Python itself"),
        (exec, "is a function of Python itself"),
        (functools.partial(os.system, "true"), "is a function of Python itself"),
        ("text".upper, "is a function of Python itself"),
        (3, "is not a class or a function, but of type int"),
    ],
)
def test_what_cannot_make_it_is_refused(target: Any, reason: str) -> None:
    assert str(why_unfit(target, (Base,))).startswith(reason)
