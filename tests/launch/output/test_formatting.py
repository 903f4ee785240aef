from __future__ import annotations

import numpy as np
import pytest

from launch.output.formatting import describe_returns, show_return


@pytest.mark.parametrize(
    ("value", "text"), [(500.0, "500.0"), (-152.84, "-152.8"), (0.912345, "0.912"), (-0.5, "-0.500"), (np.nan, "nan")]
)
def test_small_returns_have_more_decimals(value: float, text: str) -> None:
    assert show_return(value) == text


def test_all_figures_of_one_set_of_returns_have_the_same_decimals() -> None:
    assert describe_returns(np.array([500.0] * 4)) == "mean return 500.0 ± 0.0 (95 %), min 500.0, max 500.0"
    assert describe_returns(np.array([0.5, 1.0])) == "mean return 0.750 ± 3.176 (95 %), min 0.500, max 1.000"
    assert describe_returns(np.array([-200.0, -1.0])).endswith("min -200.0, max -1.0")
    assert describe_returns(np.array([20.0])) == "mean return 20.0, min 20.0, max 20.0"
