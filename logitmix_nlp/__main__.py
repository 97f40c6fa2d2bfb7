# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp COMMAND`."""

import sys

from logitmix_nlp.commands import run_command

COMMANDS = {
    "evaluate": ("logitmix_nlp.commands.evaluate", "one report on how right and how honest a classifier is"),
    "calibrate": ("logitmix_nlp.commands.calibrate", "fit a temperature and store it with the model"),
    "predict": ("logitmix_nlp.commands.predict", "class and probabilities of every row of a file"),
    "figures": ("logitmix_nlp.commands.figures", "the papers' figures from computation"),
    "push": ("logitmix_nlp.commands.push", "push the folder of a finished run to the Hub"),
}


def main() -> int:
    """Run the command that the command line names; returns its exit status."""
    return run_command("python -m logitmix_nlp", COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
