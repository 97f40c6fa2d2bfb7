# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp COMMAND`."""

import sys

from logitmix_nlp.commands import run_command

COMMANDS: dict[str, tuple[str, str]] = {
    "push": ("logitmix_nlp.commands.push", "push the folder of a finished run to the Hub"),
}

if __name__ == "__main__":
    sys.exit(run_command("python -m logitmix_nlp", COMMANDS))
