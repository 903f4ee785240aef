from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distpolicy.policies.async_policy_saver import AsyncPolicySaver
from distpolicy.policies.fixed_policy import FixedPolicy
from distpolicy.policies.policy_saver import PolicySaver
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec
from distpolicy.trajectories import time_step as ts


class Gated:
    """A saver that waits for its gate, and remembers what it saved in which thread."""

    def __init__(self) -> None:
        self.gate, self.saved, self.threads = threading.Event(), [], set()

    def save(self, folder: Any) -> None:
        self.gate.wait(10)
        if folder == "bad":
            raise OSError("disk")
        self.threads.add(threading.get_ident())
        self.saved.append(folder)

    def save_checkpoint(self, folder: Any) -> None:
        self.save(f"checkpoint {folder}")


def test_a_save_runs_in_the_background_and_others_are_skipped() -> None:
    inner = Gated()
    saver = AsyncPolicySaver(inner)  # type: ignore[arg-type]
    saver.save("one")
    saver.save("two")
    saver.save_checkpoint("three")
    assert inner.saved == []
    inner.gate.set()
    saver.flush()
    assert inner.saved == ["one"]
    assert inner.threads != {threading.get_ident()}
    saver.save_checkpoint("four", blocking=True)
    assert inner.saved == ["one", "checkpoint four"]
    saver.save("five")
    saver.save("six", blocking=True)
    assert inner.saved[2:] == ["five", "six"]
    assert saver.gate is inner.gate
    saver.close()
    with pytest.raises(ValueError, match="closed"):
        saver.save("seven")


def test_the_error_of_a_save_is_raised_later() -> None:
    inner = Gated()
    inner.gate.set()
    saver = AsyncPolicySaver(inner)  # type: ignore[arg-type]
    saver.save("bad")
    with pytest.raises(OSError, match="disk"):
        saver.flush()
    saver.save("good", blocking=True)
    saver.close()


def test_a_policy_is_saved(tmp_path: Path) -> None:
    policy = FixedPolicy(
        np.int32(1), ts.time_step_spec(TensorSpec((1,), "float32")), BoundedTensorSpec((), "int32", 0, 1)
    )
    saver = AsyncPolicySaver(PolicySaver(policy))
    saver.save(tmp_path / "policy")
    saver.close()
    assert (tmp_path / "policy" / "saved_model.pb").exists()
