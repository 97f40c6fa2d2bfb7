# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs run | report | study | submission`."""

import sys

from logitmix_nlp.commands import run_command

COMMANDS = {
    "run": ("glue_runs.grid.command", "fine-tune every task with every method and seed"),
    "report": ("glue_runs.report.command", "tables and plots of all finished runs in a folder"),
    "study": ("glue_runs.study.command", "run what a study file fixes: data, methods, seeds, budgets, analysis"),
    "submission": ("glue_runs.leaderboard.command", "zip the predictions of finished runs for the GLUE leaderboard"),
}


def main() -> int:
    """Run the command that the command line names; returns its exit status."""
    return run_command("python -m glue_runs", COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
