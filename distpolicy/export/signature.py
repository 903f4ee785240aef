"""Signature: the inputs and outputs of an exported policy."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["observation", "step_type", "reward", "discount", "state", "noise", "action", "info"]

SIGNATURE_FILE = "signature.json"

_TOLD = {
    "step_type": "0 at the first step of an episode, 1 at the others, 2 at the last",
    "noise": "independent uniform numbers in (0, 1), new ones in each call",
}


@dataclass(frozen=True)
class ExportedTensor:
    """An input or an output.

    Attributes:
        name: Its name in the program.
        role: What it is.
        path: Its path among the leaves of its role, such as ``/camera``; empty for a single leaf.
        shape: Its shape; None for a batch of any size.
        dtype: Name of its dtype.
    """

    name: str
    role: Role
    path: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of an exported policy.

    Attributes:
        inputs: What the action depends on, in the program's order.
        outputs: The action, the next state and the info, in the program's order.
        initial_state: The state before an episode of one row, by the name of the input.
    """

    inputs: tuple[ExportedTensor, ...]
    outputs: tuple[ExportedTensor, ...]
    initial_state: dict[str, Any]

    def document(self, **more: Any) -> bytes:
        """Returns the content of the file beside the program, as JSON.

        Args:
            more: Further entries.
        """

        def entry(tensor: ExportedTensor) -> dict[str, Any]:
            found = {**dataclasses.asdict(tensor), "shape": [-1 if size is None else size for size in tensor.shape]}
            return {**found, "meaning": _TOLD[tensor.role]} if tensor.role in _TOLD else found

        content = {
            **more,
            "inputs": [entry(tensor) for tensor in self.inputs],
            "outputs": [entry(tensor) for tensor in self.outputs],
            "initial_state": self.initial_state,
        }
        return (json.dumps(content, indent=2) + "\n").encode()
