"""The arguments of ``distpolicy completion``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class CompletionArguments:
    """Prints a script for a shell, which completes commands, options and names of presets, envs, agents and settings.

    Its first line says where to keep it.
    """

    shell: tyro.conf.Positional[Shell]
    """The shell."""
