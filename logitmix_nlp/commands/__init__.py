# SPDX-License-Identifier: Apache-2.0
"""Commands of `python -m logitmix_nlp`, one module each; how a name finds its module, and how errors are shown."""

import argparse
import functools
import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["OneLineErrors", "OneLineParser", "one_line_errors", "refuse", "run_command"]

logger = logging.getLogger(__name__)


class OneLineErrors:
    """For an `ArgumentParser`: what is wrong with a flag is a `ValueError`, as all else that is wrong."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, which has many lines, and ending the process."""
        raise ValueError(f"{message}; --help lists all flags.")


class OneLineParser(OneLineErrors, argparse.ArgumentParser):
    """The parser of a command."""


def refuse(error: Exception) -> int:
    """Say what is wrong with what the user gave in one line on stderr; returns the exit status 2."""
    logger.debug("Where the error came from:", exc_info=True)
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Decorate a command: what is wrong with its flags, data or model is [`refuse`]d, without a traceback."""

    @functools.wraps(main)
    def command(*args: Any, **kwargs: Any) -> int:
        try:
            return main(*args, **kwargs)
        except (ValueError, OSError, ImportError) as error:
            return refuse(error)

    return command


def run_command(program: str, commands: dict[str, tuple[str, str]]) -> int:
    """Hand the rest of the command line over to the command it names.

    Args:
        program (`str`): What the user typed before it, as in `python -m logitmix_nlp`.
        commands (`dict[str, tuple[str, str]]`): Name to module with a `main(argv) -> int`, and one line of help.

    Returns:
        `int`: Exit status: that of the command, 2 if there is none of that name, 130 after Ctrl-C.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name not in commands:
        lines = [f"  {command:<12}{line}" for command, (_, line) in commands.items()]
        wanted = name in ("-h", "--help")
        head = f"usage: {program} COMMAND ... (COMMAND --help shows its flags)"
        print(head, *lines, sep="\n", file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    try:
        return importlib.import_module(commands[name][0]).main(sys.argv[2:])
    except KeyboardInterrupt:
        return 130
