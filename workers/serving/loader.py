"""PolicyLoader: loads a SavedModel in TensorFlow, and makes of it what replicas serve."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distpolicy.errors import CheckpointError, ConfigError
from distpolicy.policies.policy_program import PolicyProgram
from distpolicy.utils.atomic_files import write_folder
from distpolicy.utils.compilation.litert_program import LiteRTError
from distpolicy.utils.files.private_paths import why_others_may_change
from workers.inference.policy_source import Inference
from workers.serving.batcher import batch_sizes
from workers.serving.keeper import ServedPolicy

_ATTEMPTS = 5
# A run replaces the folder within moments.
_PAUSE_S = 0.1


def check_own(folder: Path) -> None:
    """Checks that others cannot write a policy: a SavedModel is a program, which may read and write files.

    Args:
        folder: The folder of the SavedModel.

    Raises:
        ConfigError: If others can.
    """
    try:
        reasons = [why_others_may_change(path) for path in (folder, *folder.rglob("*"))]
    except OSError as error:
        raise ConfigError(f"cannot look at {folder}: {error.strerror}") from error
    if reason := next(filter(None, reasons), None):
        raise ConfigError(
            f"{reason}, and a policy may read and write files: copy {folder} to a folder of yours, or give "
            "--trust-shared if you trust them"
        )


class PolicyLoader:
    """Loads a policy for replicas, which need no TensorFlow if it can be converted.

    Args:
        folder: The folder of the SavedModel.
        inference: ``litert``, ``tf``, or ``auto`` for LiteRT if it can run the policy.
        max_batch: The most rows of a batch.
        trust_shared: Whether to load a policy although other users may write to its folder.
    """

    def __init__(self, folder: Path, inference: Inference, max_batch: int, trust_shared: bool = False) -> None:
        self._folder, self._inference, self._max_batch = folder, inference, max_batch
        self._trust_shared = trust_shared
        self._policy: Any = None
        self._builder: Any = None
        self._served: ServedPolicy | None = None
        self._identity: tuple[int, int] | None = None

    def load(self, number: int) -> ServedPolicy | None:
        """Returns the policy as it is in the folder now; None if that has not changed since the last call.

        A policy that cannot be loaded is told once.

        Args:
            number: How many policies came before it. It is the caller's: this process may be a new one.

        Raises:
            CheckpointError: If it is damaged, or another policy than before.
            ConfigError: If it is not a policy, others may write it, or LiteRT is asked for and cannot run it.
        """
        identity = _identity(self._folder)
        if identity is not None and identity == self._identity:
            return None
        files, identity = self._read()
        self._identity = identity
        with tempfile.TemporaryDirectory() as parent:
            copy = Path(parent) / "policy"
            write_folder(copy, files)
            if self._served is None:
                self._served = self._loaded(copy, files, number)
            else:
                self._served = self._renewed(copy, files, number)
        return self._served

    def _loaded(self, folder: Path, files: Mapping[str, bytes], number: int) -> ServedPolicy:
        from distpolicy.policies import policy_loader
        from distpolicy.policies.program_builder import ProgramBuilder

        self._policy = policy_loader.load(folder)
        step = self._policy.get_train_step()
        version = number if step < 0 else step
        if self._inference == "tf":
            return ServedPolicy(version, None, files, "--inference tf", number)
        try:
            self._builder = ProgramBuilder(self._policy, batch_sizes(self._max_batch))
        except LiteRTError as error:
            if self._inference == "litert":
                raise ConfigError(f"LiteRT cannot run {self._folder}: {error}; leave out --inference litert") from error
            return ServedPolicy(version, None, files, str(error), number)
        return ServedPolicy(version, self._builder.program, {}, "", number)

    def _renewed(self, folder: Path, files: Mapping[str, bytes], number: int) -> ServedPolicy:
        """Returns the policy with new values of its variables."""
        assert self._served is not None
        self._policy.update_from_checkpoint(folder)
        step = self._policy.get_train_step()
        version = number if step < 0 else step
        if self._builder is None:
            return dataclasses.replace(self._served, version=version, number=number, files=files)
        program: PolicyProgram = self._builder.program
        parameters = dataclasses.replace(program.parameters, computed=tuple(self._builder.computed_parameters()))
        values = {item.path: item.variable.numpy() for item in self._policy.named_variables()}
        program = dataclasses.replace(program, values=values, parameters=parameters)
        return dataclasses.replace(self._served, version=version, number=number, program=program)

    def _read(self) -> tuple[dict[str, bytes], tuple[int, int]]:
        """Returns the files of one state of the folder, which a run replaces from time to time."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_S)
            before = _identity(self._folder)
            if before is None:
                continue
            if not self._trust_shared:
                # A newer policy may have other modes than the first one.
                check_own(self._folder)
            try:
                files = {
                    str(path.relative_to(self._folder)): path.read_bytes()
                    for path in sorted(self._folder.rglob("*"))
                    if path.is_file()
                }
            except OSError:
                continue
            if before == _identity(self._folder):
                return files, before
        raise CheckpointError(f"{self._folder} cannot be read: it is missing, or is being replaced all the time")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Returns what differs between two states of a policy's folder; None if it is not there."""
    try:
        found = (folder / "saved_model.pb").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
