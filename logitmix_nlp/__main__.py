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

if __name__ == "__main__":
    sys.exit(run_command("python -m logitmix_nlp", COMMANDS))
