"""The command line: the main pipeline on a user's own data, each component alone, and what looks after their settings.

Results go to stdout and progress to stderr. A command that is in a module of its own has `add_commands` there, and one line
in `_parser`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from headwater.components.common import last_words, local_beam, logs
from headwater.components.common.ending import ended_cleanly
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.version import VERSION
from headwater.pipelines import (
    accepting,
    asking,
    awaiting,
    completion,
    maintenance,
    projects,
    running,
    schemas,
    steps,
    submit,
)
from headwater.pipelines.arguments import DATA_ROOT, Parser, parse
from headwater.pipelines.closing import DONE, FAILED, NOT_BLESSED, name_of, print_json

__all__ = ["DATA_ROOT", "DONE", "FAILED", "INTERRUPTED", "NOT_BLESSED", "main"]

INTERRUPTED = 130
"""Exit code: the user pressed Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: those of the command line; by default this process's own, which is then the command's alone.

    Returns:
      `DONE`; `NOT_BLESSED` when the data must not go on, like a linter; `FAILED` for a wrong setting or input; `INTERRUPTED`.
    """
    # Functions that settings name lie where the user works.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    if arguments is None:
        local_beam.claim_process()
    parser = _parser()
    options = parse(parser, arguments)
    if not hasattr(options, "command"):
        print(parser.format_help(), end="")
        return DONE
    try:
        logs.set_form()
        with ended_cleanly():
            return options.command(options)
    except HeadwaterError as error:
        code = getattr(error, "code", FAILED)
        print(f"error: {error}", file=sys.stderr)
        last_words.leave(str(error))
        if options.json:
            print_json({"command": name_of(options), "exit_code": code, "error": str(error)})
        return code
    except KeyboardInterrupt:
        print("error: interrupted; nothing is left half-written, so run it again", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who read the output has seen enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="headwater",
        description="Collects data, measures it, and stops bad data before it trains a model",
    )
    parser.add_argument("--version", action="version", version=f"headwater {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    projects.add_commands(commands)
    running.add_commands(commands)
    steps.add_commands(commands)
    asking.add_commands(commands)
    schemas.add_commands(commands)
    steps.add_verdict_commands(commands)
    accepting.add_commands(commands)
    submit.add_commands(commands)
    awaiting.add_commands(commands)
    maintenance.add_commands(commands, DATA_ROOT)
    completion.add_commands(commands, parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
