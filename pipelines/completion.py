"""The command `completion`: what a shell needs to complete commands, flags and choices."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from headwater.pipelines.arguments import Parser, add_command
from headwater.pipelines.closing import DONE, print_json

SHELLS = ("bash", "zsh", "fish")


class Command(NamedTuple):
    """A command as it is typed: its words, what it does, its flags with their help, and choices by flag."""

    words: str
    text: str
    flags: dict[str, str]
    choices: dict[str, list[str]]


def add_commands(commands: Any, parser: Parser) -> None:
    """Adds the command; `parser` is the one whose commands are completed."""
    command = add_command(commands, "completion", _complete, "print a script that completes commands in your shell")
    command.add_argument("shell", choices=SHELLS, help="which shell")
    command.set_defaults(root=parser)


def _complete(options: argparse.Namespace) -> int:
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell](list(walk(options.root)))
    if options.json:
        print_json({"command": "completion", "exit_code": DONE, "shell": options.shell, "script": script})
    else:
        print(script, end="")
    return DONE


def walk(parser: argparse.ArgumentParser, words: str = "", text: str = "") -> Iterator[Command]:
    """The parser's own flags, then each command's."""
    flags: dict[str, str] = {}
    choices: dict[str, list[str]] = {}
    below: list[tuple[str, str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {each.dest: each.help or "" for each in action._choices_actions}
            below += [(name, texts.get(name, ""), inner) for name, inner in action.choices.items()]
            continue
        for option in action.option_strings:
            flags[option] = action.help or ""
            if option == "--set":
                choices[option] = [f"{key}=" for key in setting_keys()]
        if action.choices:
            choices[action.option_strings[-1] if action.option_strings else ""] = [str(each) for each in action.choices]
    yield Command(words, text, flags, choices)
    for name, about, inner in below:
        yield from walk(inner, f"{words} {name}".strip(), about)


@functools.cache
def setting_keys() -> list[str]:
    """The settings that a project file may have, as `--set` takes them, less those within lists and mappings."""
    from headwater.pipelines.project.describing import keys_of
    from headwater.pipelines.project.model import project_model

    keys = [key for key in keys_of(project_model()) if "[" not in key and "<" not in key]
    return [key for key in keys if "." in key or not any(other.startswith(f"{key}.") for other in keys)]


def _next_words(commands: list[Command], words: str) -> list[str]:
    depth = len(words.split())
    return [
        each.words.split()[depth]
        for each in commands
        if len(each.words.split()) == depth + 1 and each.words.split()[:depth] == words.split()
    ]


def _bash(commands: list[Command]) -> str:
    cases = []
    for each in commands:
        words = [*_next_words(commands, each.words), *each.choices.get("", []), *each.flags]
        cases.append(f'    "{each.words}") words="{" ".join(words)}" ;;')
    choices = [
        f'    "{each.words} {flag}") COMPREPLY=($(compgen -W "{" ".join(values)}" -- "$word"))'
        # The value of a setting follows at once; zsh knows no compopt.
        f"{'; compopt -o nospace 2>/dev/null' if flag == '--set' else ''}; return ;;"
        for each in commands
        for flag, values in each.choices.items()
        if flag
    ]
    known = " ".join(f'["{each.words}"]=1' for each in commands if each.words)
    return "\n".join(
        [
            "# Headwater's commands for bash: source <(headwater completion bash)",
            "_headwater() {",
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" place',
            f"  declare -A known=({known})",
            "  for ((place = 1; place < COMP_CWORD; place++)); do",
            '    local longer="${command:+$command }${COMP_WORDS[place]}"',
            '    [[ -n "${known[$longer]}" ]] && command="$longer"',
            "  done",
            '  case "$command $before" in',
            *choices,
            "  esac",
            '  case "$command" in',
            *cases,
            "  esac",
            '  COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))',
            "}",
            "complete -o filenames -F _headwater headwater",
            "",
        ]
    )


def _zsh(commands: list[Command]) -> str:
    # zsh reads bash's scripts; both complete alike.
    return "\n".join(
        [
            "# Headwater's commands for zsh: source <(headwater completion zsh)",
            "autoload -U +X compinit && compinit -u",
            "autoload -U +X bashcompinit && bashcompinit",
            _bash(commands).partition("\n")[2],
        ]
    )


def _fish(commands: list[Command]) -> str:
    lines = ["# Headwater's commands for fish: headwater completion fish | source"]
    top = _next_words(commands, "")
    for each in commands:
        words = each.words.split()
        when = (
            "__fish_use_subcommand" if not words else "; and ".join(f"__fish_seen_subcommand_from {w}" for w in words)
        )
        for name in _next_words(commands, each.words):
            inner = next(other for other in commands if other.words.split() == [*words, name])
            condition = when if words else f"not __fish_seen_subcommand_from {' '.join(top)}"
            lines.append(f"complete -c headwater -n '{condition}' -a {name} -d {_quoted(inner.text)}")
        for flag, text in each.flags.items():
            if not flag.startswith("--"):
                continue
            values = f" -x -a {_quoted(' '.join(each.choices[flag]))}" if flag in each.choices else ""
            lines.append(f"complete -c headwater -n '{when}' -l {flag[2:]}{values} -d {_quoted(text.split(' (')[0])}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
