# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs run | report | submission`."""

import importlib
import sys

COMMANDS = {
    "run": ("glue_runs.grid_command", "fine-tune every task with every method and seed"),
    "report": ("glue_runs.report", "tables and pictures of all finished runs in a folder"),
    "submission": ("glue_runs.leaderboard", "zip the predictions of finished runs for the GLUE leaderboard"),
}


def main() -> int:
    """Hand over to the command; 2 if there is none of that name."""
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name not in COMMANDS:
        lines = [f"  {command:<12}{help}" for command, (_, help) in COMMANDS.items()]
        print("usage: python -m glue_runs COMMAND ... (COMMAND --help shows its flags)", *lines, sep="\n",
              file=sys.stdout if name in ("-h", "--help") else sys.stderr)  # fmt: skip
        return 0 if name in ("-h", "--help") else 2
    return importlib.import_module(COMMANDS[name][0]).main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
