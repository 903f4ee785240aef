"""Records what the agents of TF-Agents 0.19 learn in the agent cases, into agents_0_19.json beside this file.

Run it in the environment that ``record_tf_agents.py`` names::

    python tests/golden/record_agents.py [name ...]

With names, only the cases that begin with one of them are run, and printed instead of written.

Draws are made the means of their distributions, since two libraries do not draw the same numbers.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import agent_cases_recurrent  # noqa: F401  It registers its cases.
import tensorflow as tf
import tensorflow_probability as tfp
import tf_agents
from agent_cases import AGENT_CASES, AGENT_MODULES, module
from golden_registry import Namespace
from golden_signatures import describe

TARGET = Path(__file__).with_name("agents_0_19.json")


def main() -> None:
    _draw_means()
    wanted, namespace = tuple(sys.argv[1:]), Namespace("tf_agents")
    found = {
        name: AGENT_CASES[name](namespace) for name in sorted(AGENT_CASES) if not wanted or name.startswith(wanted)
    }
    if wanted:
        sys.stdout.write(_lines(found))
        return
    parts = {"signatures": _signatures(namespace), "cases": found}
    text = "".join(f',\n"{name}": {_lines(part)}' for name, part in parts.items())
    versions = {"tf_agents": tf_agents.__version__, "tensorflow": tf.__version__}
    TARGET.write_text(f'{{"versions": {json.dumps(versions)}{text}}}\n')


def _signatures(namespace: Namespace) -> dict[str, Any]:
    """The parameters of the classes that the modules define, and of their public methods."""
    found = {}
    for name in sorted(AGENT_MODULES):
        place = module(namespace, name)
        for kind in vars(place).values():
            if not inspect.isclass(kind) or kind.__module__ != place.__name__ or kind.__name__.startswith("_"):
                continue
            found[f"{name}.{kind.__name__}"] = describe(kind)
            for method, value in vars(kind).items():
                if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    found[f"{name}.{kind.__name__}.{method}"] = describe(value)
    return found


def _draw_means() -> None:
    """Makes draws of normal distributions their means, and uniform ones the centres of their ranges."""

    def means(self: Any, sample_shape: Any = (), seed: Any = None, name: str = "sample") -> tf.Tensor:
        mean = self.mean()
        return tf.broadcast_to(mean, tf.concat([tf.reshape(tf.cast(sample_shape, tf.int32), [-1]), tf.shape(mean)], 0))

    def centres(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = tf.float32, **more: Any) -> tf.Tensor:
        return tf.zeros(shape, dtype) + tf.cast((minval + maxval) / 2.0, dtype)

    for kind in (tfp.distributions.Normal, tfp.distributions.MultivariateNormalDiag):
        kind.sample = means
    tf.random.uniform = centres


def _lines(part: dict[str, Any]) -> str:
    """A JSON object with one line an entry, so that a change of one is a change of one line."""
    entries = (f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in part.items())
    return "{\n" + ",\n".join(entries) + "\n}"


if __name__ == "__main__":
    main()
