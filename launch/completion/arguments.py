"""The arguments of ``distpolicy completion``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class CompletionArguments:
    """Prints a script for a shell, which completes commands, options and the names of presets, envs and agents.

    Its first line says where to keep it.
    """

    shell: tyro.conf.Positional[Shell]
    """The shell."""
