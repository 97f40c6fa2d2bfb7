#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Set the finished runs of a folder side by side: one row per method, mean and standard deviation over seeds.

    python scripts/compare_methods.py runs/cifar10 --title "CIFAR-10, ResNet-20"

Reads the result.json of every run below the folder and writes report.md there: the table, and each run's command.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from glue_runs.report.method_table import check_repeats, method_table, run_metrics, uneven_settings
from glue_runs.runs.results import load_results
from logitmix_nlp.commands import refuse
from logitmix_nlp.reports.tables import to_markdown
from logitmix_nlp.training.methods import MIX_METHODS


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table; returns 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Where the runs lie.")
    parser.add_argument("--title", default="Methods", help="Caption of the table.")
    options = parser.parse_args(arguments)
    try:
        report = make_report(options.folder, options.title)
    except (ValueError, OSError) as error:
        return refuse(error)
    (options.folder / "report.md").write_text(report, encoding="utf-8")
    print(report)
    return 0


def make_report(folder: Path, title: str) -> str:
    """Table and commands as Markdown; methods in the order of `MIX_METHODS`, own names behind them."""
    runs = load_results(folder)
    tasks = sorted({run.task for run in runs})
    if len(tasks) > 1:
        raise ValueError(f"{folder} holds runs on {', '.join(tasks)}: name the folder of one of them.")
    n_bins = {int(run.config.get("n_bins", 15)) for run in runs}
    if len(n_bins) > 1:
        raise ValueError(
            f"{folder} holds runs with {' and '.join(map(str, sorted(n_bins)))} bins, which do not compare."
        )
    order = list(MIX_METHODS)
    runs.sort(key=lambda run: order.index(run.method) if run.method in order else len(order))
    methods = {run.method: [] for run in runs}
    for run in runs:
        methods[run.method].append(run_metrics(run))
    for method in methods:
        check_repeats([run for run in runs if run.method == method])
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    table = method_table(f"{title}; seeds {seeds}", methods, n_bins.pop(), uneven_settings(runs))
    commands = "\n".join(shlex.join(run.command) for run in runs)
    return f"{to_markdown(table)}\n```bash\n{commands}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
