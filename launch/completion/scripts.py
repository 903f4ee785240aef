"""The completion scripts of bash, zsh and fish.

A script holds all commands, options and names, so that a shell completes a word without starting distpolicy.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping

from launch.completion.arguments import Shell
from launch.completion.options import Command, commands


def completion_script(shell: Shell) -> str:
    """Returns the script of a shell."""
    scripts: dict[Shell, Callable[[Mapping[str, Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return scripts[shell](commands())


_BASH = """\
# bash: distpolicy completion bash > ~/.local/share/bash-completion/completions/distpolicy
_distpolicy() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= item words=
  # The first one counts, as in plot runs, or the one after submit CLUSTER.
  for item in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $item in {names}) if [[ -z $command || $command == submit ]]; then command=$item; fi ;; esac
  done
  # --env=NAME comes as three words.
  if [[ $word == "=" ]]; then word=; elif [[ $before == "=" ]]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  case "$command $before" in
{values}
    *) case "$command $word" in
{options}
{words}
      " "*) words={commands} ;;
    esac ;;
  esac
  # The options and settings of agents and networks are offered once their beginning is there.
  if [[ $word != *.* ]]; then
    words=$(printf '%s\\n' $words | sed 's/\\..*/./' | sort -u)
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ ${{#COMPREPLY[@]}} == 1 && $COMPREPLY == *. ]] && compopt -o nospace
}}
complete -o default -F _distpolicy distpolicy
"""


def _bash(found: Mapping[str, Command]) -> str:
    values = [
        f"    {shlex.quote(f'{name} {option.name}')}) words={_joined(option.values)} ;;"
        for name, command in found.items()
        for option in command.options
        if option.values
    ]
    return _BASH.format(
        names="|".join(found),
        values="\n".join(values),
        options="\n".join(
            f"      {shlex.quote(f'{name} -')}*) words={_joined(item.name for item in command.options)} ;;"
            for name, command in found.items()
        ),
        words="\n".join(
            f"      {shlex.quote(f'{name} ')}*) words={_joined(command.words)} ;;" for name, command in found.items()
        ),
        commands=_joined(found),
    )


_ZSH = """\
#compdef distpolicy
# zsh: distpolicy completion zsh > _distpolicy, in a folder of $fpath
_distpolicy() {{
  local command= item
  local -a found
  # The first one counts, as in plot runs, or the one after submit CLUSTER.
  for item in ${{words[2,CURRENT-1]}}; do
    case $item in {names}) if [[ -z $command || $command == submit ]]; then command=$item; fi ;; esac
  done
  case "$command $words[CURRENT-1]" in
{values}
    *) case "$command $PREFIX" in
{options}
{words}
      " "*) found=({commands}); _describe command found; return ;;
    esac
    _files ;;
  esac
}}
if [[ $funcstack[1] == _distpolicy ]]; then _distpolicy; else compdef _distpolicy distpolicy; fi
"""


def _zsh(found: Mapping[str, Command]) -> str:
    values = [
        f"    {shlex.quote(f'{name} {option.name}')}) compadd -- {' '.join(map(shlex.quote, option.values))} ;;"
        for name, command in found.items()
        for option in command.options
        if option.values
    ]

    def described(names: Iterable[tuple[str, str]]) -> str:
        return " ".join(shlex.quote(f"{name}:{about}") for name, about in names)

    options = [
        f"      {shlex.quote(f'{name} -')}*) found=({described((item.name, item.about) for item in command.options)})"
        "; _describe -o option found; return ;;"
        for name, command in found.items()
    ]
    words = [
        f"      {shlex.quote(f'{name} ')}*) compadd -- {' '.join(command.words)} ;;"
        for name, command in found.items()
        if command.words
    ]
    return _ZSH.format(
        names="|".join(found),
        values="\n".join(values),
        options="\n".join(options),
        words="\n".join(words),
        commands=described((name, command.about) for name, command in found.items()),
    )


_FISH = "complete -c distpolicy"


def _fish(found: Mapping[str, Command]) -> str:
    lines = [
        "# fish: distpolicy completion fish > ~/.config/fish/completions/distpolicy.fish",
        f"{_FISH} -e",
    ]
    for name, command in found.items():
        about = _fish_text(command.about)
        lines.append(f"{_FISH} -f -n 'not __fish_seen_subcommand_from {' '.join(found)}' -a {name} -d {about}")
        seen = f"{_FISH} -n '__fish_seen_subcommand_from {name}'"
        if command.words:
            lines.append(f"{seen} -a {_fish_text(' '.join(command.words))}")
        for option in command.options:
            takes = (
                "" if option.is_flag else f" -x -a {_fish_text(' '.join(option.values))}" if option.values else " -r"
            )
            lines.append(f"{seen} -l {option.name.removeprefix('--')}{takes} -d {_fish_text(option.about)}")
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    """Returns a text in single quotes, in which fish reads backslashes before quotes and backslashes only."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _joined(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))
