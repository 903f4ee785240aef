"""``distpolicy completion``: a script for a shell."""

from __future__ import annotations

from launch.commands.parsing import UsualOptions, parse
from launch.completion.arguments import CompletionArguments

_USUAL: UsualOptions = {"": ("shell",)}


def parse_completion(arguments: list[str]) -> CompletionArguments:
    """Parses ``distpolicy completion``.

    Raises:
        ConfigError: If a value is invalid.
        SystemExit: After help.
    """
    return parse(CompletionArguments, arguments, None, "completion", _USUAL)


def run_completion(arguments: list[str], start: float) -> int:
    """Runs ``distpolicy completion``; returns the exit code."""
    parsed = parse_completion(arguments)
    # Importing Gymnasium's environments, to name them, is for this command alone.
    from launch.completion.scripts import completion_script

    print(completion_script(parsed.shell), end="")
    return 0
