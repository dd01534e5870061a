"""`leopart completion`: a script that completes commands and options in a shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from leopart.config import (
    FIGURES,
    TASKS,
    CompareConfig,
    DemoConfig,
    ExportConfig,
    LabelConfig,
    PredictConfig,
    ReproduceConfig,
    SegmentConfig,
    TrainConfig,
    ViewConfig,
)
from leopart.errors import LeopartError
from leopart.settings import option_types, option_word

_CONFIGS: dict[str, Sequence[type]] = {
    "demo": [DemoConfig],
    "segment": [SegmentConfig],
    "predict": [PredictConfig],
    "label": [LabelConfig],
    "view": [ViewConfig],
    "train": [TrainConfig],
    "evaluate": [*TASKS.values(), CompareConfig],
    "reproduce": [ReproduceConfig],
    "figure": [*FIGURES.values()],
    "export": [ExportConfig],
}
_POSITIONAL = {"--images", "--segmenter", "--preset", "--task", "--name", "--model", "--run"}
_HELP = """\
usage: leopart completion bash|zsh|fish

Print a script that completes commands and options. For the shell that is open:
  source <(leopart completion bash)
  source <(leopart completion zsh)
  leopart completion fish | source
For every new shell, put the line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
"""
_BASH = """\
_leopart() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} options=
  case ${{COMP_WORDS[1]}} in
{cases}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [ "${{word#-}}" != "$word" ]; then
    COMPREPLY=($(compgen -W "$options --help --help-all" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _leopart leopart
"""


def main(argv: Sequence[str]) -> int:
    """Print the script.

    Raises:
        LeopartError: there is none for that shell.
    """
    if not argv or {"-h", "--help", "--help-all"} & set(argv):
        sys.stdout.write(_HELP)
        return 0 if argv else 2
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if len(argv) > 1 or argv[0] not in scripts:
        raise LeopartError(f"there is no completion for {' '.join(argv)}; there is: {', '.join(scripts)}")
    sys.stdout.write(scripts[argv[0]]())
    return 0


def options_of(command: str) -> list[str]:
    """Options of a command, of all its tasks or figures."""
    named = {
        option_word(name.rstrip("_")): None
        for config in _CONFIGS.get(command, ())
        for name in option_types(config)
    }
    positional = _POSITIONAL - ({"--name"} if command == "label" else set())
    return [
        option for option in named if option not in positional and (command, option) != ("label", "--out")
    ]


def _commands() -> dict[str, str]:
    from leopart.cli.main import COMMANDS

    return COMMANDS


def _bash() -> str:
    cases = "\n".join(
        f'    {command}) options="{" ".join(options_of(command))}" ;;' for command in _commands()
    )
    return _BASH.format(cases=cases, commands=" ".join(_commands()))


def _zsh() -> str:
    """The script of bash: zsh has what it needs once it is asked to."""
    return f"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = []
    for command, about in _commands().items():
        lines.append(f"complete -c leopart -n __fish_use_subcommand -f -a {command} -d '{about}'")
        lines += [
            f"complete -c leopart -n '__fish_seen_subcommand_from {command}' -l {option.removeprefix('--')}"
            for option in options_of(command)
        ]
    return "\n".join(lines) + "\n"
