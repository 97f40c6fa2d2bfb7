# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp figures NAME`: the papers' figures, from computation."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from logitmix_nlp.commands import OneLineParser, one_line_errors
from logitmix_nlp.paper_figures.density import DENSITY
from logitmix_nlp.paper_figures.entropy import ENTROPY
from logitmix_nlp.paper_figures.losses import LOSSES
from logitmix_nlp.paper_figures.reliability import RELIABILITY
from logitmix_nlp.paper_figures.soft_targets import SOFT_TARGETS
from logitmix_nlp.paper_figures.spiral import SPIRAL
from logitmix_nlp.reports.folders import check_folder
from logitmix_nlp.reports.plots import STYLES
from logitmix_nlp.reports.tables import to_text

__all__ = ["main"]

FIGURES = {
    "spiral": SPIRAL,
    "entropy": ENTROPY,
    "density": DENSITY,
    "losses": LOSSES,
    "reliability": RELIABILITY,
    "soft-targets": SOFT_TARGETS,
}
FORMATS = ("png", "svg")


@one_line_errors
def main(argv: Sequence[str]) -> int:
    """Compute and draw one figure: `NAME.json` with its numbers, and `NAME-STYLE.png` and `.svg`.

    Args:
        argv (`Sequence[str]`): Name of the figure and its flags.

    Returns:
        `int`: 0; 2, after one line on stderr, if something is wrong with what was given.
    """
    print("\nWritten:", ", ".join(map(str, _make(_parse(argv)))))
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python -m logitmix_nlp figures", description="Draw the papers' figures from computation, on the CPU."
    )
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, job in FIGURES.items():
        one = names.add_parser(name, help=job.line, description=job.line, allow_abbrev=False)
        job.add_flags(one)
        one.add_argument("--output_dir", default="runs/figures", help="Where the files go. Default: runs/figures.")
        one.add_argument("--seed", type=int, default=1, help="Of everything drawn at random. Default: 1.")
        one.add_argument("--style", nargs="+", choices=list(STYLES), default=["light"], help="Looks to draw.")
    return parser.parse_args(list(argv))


def _make(options: argparse.Namespace) -> list[Path]:
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed must be at least 0 and below 2**63, got {options.seed}.")
    check_folder(options.output_dir)
    start = time.perf_counter()
    figure = FIGURES[options.name].compute(options)
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for style in options.style:
        for kind in FORMATS:
            paths.append(folder / f"{options.name}-{style}.{kind}")
            figure.draw(paths[-1], style)
    record = {
        "figure": options.name,
        "title": figure.title,
        "description": figure.description,
        "options": {name: value for name, value in vars(options).items() if name != "output_dir"},
        "versions": {"torch": torch.__version__},
        "seconds": time.perf_counter() - start,
        "numbers": figure.numbers,
    }
    paths.append(folder / f"{options.name}.json")
    paths[-1].write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(to_text(figure.table), end="")
    return paths
