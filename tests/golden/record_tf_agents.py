"""Records what TF-Agents 0.19 answers to the golden cases, into tf_agents_0_19.json beside this file.

Run it in an environment of its own, once for each change of the cases::

    pip install 'tf-agents==0.19.0' 'tensorflow==2.15.*' 'tensorflow-probability==0.23.*' 'gym==0.23.0'
    python tests/golden/record_tf_agents.py [name ...]

With names, only the cases that begin with one of them are run, and printed instead of written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_agents
from golden_cases import CASES
from golden_encoding import encode
from golden_registry import Namespace
from golden_signatures import signatures

TARGET = Path(__file__).with_name("tf_agents_0_19.json")


def main() -> None:
    wanted = tuple(sys.argv[1:])
    namespace, outcomes = Namespace("tf_agents"), {}
    for name in sorted(CASES):
        if not wanted or name.startswith(wanted):
            outcomes[name] = encode(CASES[name](namespace))
    if wanted:
        sys.stdout.write(_lines(outcomes))
        return
    versions = {"tf_agents": tf_agents.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    parts = {"signatures": signatures(namespace), "cases": outcomes}
    text = "".join(f',\n"{name}": {_lines(part)}' for name, part in parts.items())
    TARGET.write_text(f'{{"versions": {json.dumps(versions)}{text}}}\n')


def _lines(part: dict[str, Any]) -> str:
    """A JSON object with one line an entry, so that a change of one is a change of one line."""
    entries = (f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in part.items())
    return "{\n" + ",\n".join(entries) + "\n}"


if __name__ == "__main__":
    main()
