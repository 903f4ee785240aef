from __future__ import annotations

import numpy as np
import tensorflow as tf

from distpolicy.typing import types


def test_every_name_is_there() -> None:
    for name in types.__all__:
        assert getattr(types, name) is not None


def test_annotations_of_programs_evaluate() -> None:
    def observe(trajectory: types.Trajectory, seed: types.Seed | None, action: types.NestedTensor) -> types.Float:
        return 0.0

    assert observe.__annotations__["seed"]
    assert isinstance(tf.constant(1.0), types.Tensor)
    assert isinstance(np.zeros(2), types.Array)
    assert isinstance(tf.TensorSpec((), tf.float32), types.Spec)
