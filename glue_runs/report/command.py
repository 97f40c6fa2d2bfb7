# SPDX-License-Identifier: Apache-2.0
"""The report of a grid of runs: `python -m glue_runs report FOLDER`."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from glue_runs.report.differences import EXPLANATION, difference_tables
from glue_runs.report.ensembles import with_ensembles
from glue_runs.report.grid import ResultGrid, load_grid
from glue_runs.report.plots import learning_plots, reliability_plots
from glue_runs.report.tables import calibration_tables, published_tables, score_table, task_table, time_table
from glue_runs.runs.results import RunResult
from glue_runs.tasks.types import OWN
from logitmix_nlp.commands import OneLineParser, refuse
from logitmix_nlp.publishing.card.facts import is_local_path
from logitmix_nlp.publishing.hub.public_text import last_part
from logitmix_nlp.reports.escaping import escape_latex
from logitmix_nlp.reports.page import Report, Section, report_to_markdown, to_html
from logitmix_nlp.reports.tables import Column, Table, csv_text, to_csv, to_latex

__all__ = ["main", "make_report", "write_report"]

FILES = ("report.html", "report.md", "report.tex", "report.csv", "results.csv")
_SAID = ("model_name_or_path", "data_dir", "task_name", "report_as", "seed", "output_dir")  # said by other means


def make_report(grid: ResultGrid, n_bootstrap: int = 1000, n_bins: int = 15, *, ensemble: bool = False) -> Report:
    """Compute everything that the report of a grid says; `ensemble` adds the averaged seeds of each method.

    Raises:
        ImportError: If matplotlib is missing.
        FileNotFoundError: If seeds are to be averaged, and a run kept no predictions.
        ValueError: If there are fewer than 100 resamples, or runs were scored with other than `n_bins` bins.
    """
    if n_bootstrap < 100:
        raise ValueError(f"--n_bootstrap must be at least 100 for a 95% interval, got {n_bootstrap}.")
    for run in grid.runs.values():
        if int(run.config.get("n_bins", 15)) != n_bins:
            raise ValueError(
                f"{run.folder} was scored with {run.config.get('n_bins', 15)} bins; give that number as --n_bins."
            )
    models = {str(run.config.get("model_name_or_path", "unknown")) for run in grid.runs.values()}
    short = {last_part(model.rstrip("/\\")) if is_local_path(model) else model for model in models}
    shown = with_ensembles(grid, n_bins) if ensemble else grid
    is_glue = any(task.name != OWN for task in grid.tasks)
    sections = (
        Section("scores", "Scores", tables=(score_table(shown),)),
        Section(
            "differences",
            "Differences",
            EXPLANATION.format(n_bootstrap),
            tables=tuple(difference_tables(grid, n_bootstrap, n_bins)),
        ),
        Section("calibration", "Calibration", tables=tuple(calibration_tables(shown, n_bins))),
        Section(
            "reliability",
            "Reliability diagrams",
            "Bins are added over the seeds. ECE and OE above a diagram are those of the added bins: errors of single "
            "seeds may cancel there, so that this ECE is at most the mean of the seeds in the table.",
            plots=tuple(reliability_plots(grid, n_bins)),
        ),
        Section(
            "learning",
            "Learning curves",
            "Mean over seeds and one standard deviation. A method's loss is the sum of its own terms on its own mixed "
            "rows, so that its height does not compare methods.",
            plots=tuple(learning_plots(grid)),
        ),
        Section("time", "Training time", tables=tuple(filter(None, [time_table(grid)]))),
        Section("published", "Published scores", tables=tuple(published_tables() if is_glue else ())),
        Section(
            "runs",
            "Runs",
            tables=(task_table(grid), _run_table(grid)),
            folded=f"{len(grid.runs)} runs",
        ),
    )
    commands = tuple(shlex.join(run.command) for run in grid.runs.values())
    return Report(
        f"{'GLUE' if is_glue else 'Own data'}: {', '.join(sorted(short))}",
        _facts(grid),
        tuple(s for s in sections if s.tables or s.plots),
        commands,
    )


def write_report(report: Report, grid: ResultGrid, output_dir: str | Path) -> list[Path]:
    """Write `report.html`, `report.md`, `report.tex`, `report.csv` and `results.csv`; equal runs give equal bytes."""
    tables = [table for section in report.sections for table in section.tables]
    texts = (to_html(report), report_to_markdown(report), _latex(report), to_csv(tables), _results_csv(grid))
    paths = [Path(output_dir) / name for name in FILES]
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def _facts(grid: ResultGrid) -> tuple[tuple[str, str], ...]:
    """What was run, as names and values."""
    runs = list(grid.runs.values())
    seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
    facts = [
        ("Runs", f"{len(runs)} finished: {len(grid.tasks)} tasks, {len(grid.methods)} methods, seeds {seeds}"),
        ("Missing", _missing(grid) or "none"),
        ("Model", _distinct(run.config.get("model_name_or_path", "not recorded") for run in runs)),
        ("Data", _distinct(map(_data, runs))),
    ]
    flags = list(dict.fromkeys(name for run in runs for name in run.config))
    values = {name: [run.config.get(name) for run in runs] for name in flags if name not in _SAID}
    common = {name: found[0] for name, found in values.items() if all(value == found[0] for value in found)}
    varied = [name for name in values if name not in common]
    packages = sorted({name for run in runs for name in run.versions})
    minutes = sum(run.metrics.get("train_runtime", 0.0) for run in runs) / 60
    facts += [
        ("Flags of all runs", " ".join(f"{name}={value}" for name, value in common.items()) or "none"),
        ("Flags set per run", ", ".join(varied) or "none"),
        *[("Warning", warning) for warning in grid.warnings],
        (
            "Versions",
            ", ".join(f"{name} {_distinct(run.versions.get(name, 'none') for run in runs)}" for name in packages),
        ),
        ("Training time", f"{minutes / 60:.1f} hours in all" if minutes >= 60 else f"{minutes:.1f} minutes in all"),
    ]
    return tuple(facts + [("Made by", shlex.join(command)) for command in grid.settings.get("commands", ())])


def _data(run: RunResult) -> str:
    """Where the rows of a run came from."""
    places = (run.config.get(name) for name in ("data_dir", "train_file", "dataset_name"))
    return next(filter(None, places), "nyu-mll/glue from the Hub")


def _missing(grid: ResultGrid) -> str:
    seeds = {}
    for task, method, seed in grid.missing:
        seeds.setdefault(f"{task} {grid.labels.get(method, method)}", []).append(str(seed))
    return "; ".join(f"{name} seed {', '.join(numbers)}" for name, numbers in seeds.items())


def _distinct(values: Iterable[object]) -> str:
    return " / ".join(dict.fromkeys(map(str, values)))


def _run_table(grid: ResultGrid) -> Table:
    """One line per run and evaluation split: score, ECE and training time."""
    kinds = (Column("score", scale=100.0), Column("ECE", decimals=3), Column("training, seconds", decimals=0))
    rows = []
    for (task, method, seed), run in grid.runs.items():
        for column in grid.columns:
            if column.task.name == task:
                keys = (f"{column.prefix}_{column.score}", f"{column.prefix}_ece", "train_runtime")
                cells = [
                    kind.number(run.metrics[key]) if key in run.metrics else None
                    for kind, key in zip(kinds, keys, strict=True)
                ]
                rows.append((f"{column.title}, {grid.labels[method]}, seed {seed}", (*cells, _folder(grid, run))))
    return Table("runs", "Finished runs", "run", (*kinds, Column("folder")), tuple(rows))


def _results_csv(grid: ResultGrid) -> str:
    names = sorted({name for run in grid.runs.values() for name in run.metrics})
    rows = [
        (run.task, run.method, run.seed, _folder(grid, run), *(run.metrics.get(name) for name in names))
        for run in grid.runs.values()
    ]
    return csv_text(("task", "method", "seed", "folder", *names), rows)


def _folder(grid: ResultGrid, run: RunResult) -> str:
    return run.folder.relative_to(grid.root).as_posix()


def _latex(report: Report) -> str:
    parts = [
        f"% {escape_latex(report.title)}\n"
        "% Needs \\usepackage[T1]{fontenc}, \\usepackage{booktabs}, \\usepackage{graphicx}.\n"
    ]
    for section in report.sections:
        if section.tables and section.name != "runs":
            texts = [escape_latex(section.text) + "\n"] if section.text else []
            parts += [*texts, *map(to_latex, section.tables)]
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of a grid; return 2, after one line on stderr, if something is wrong with what was given."""
    parser = OneLineParser(prog="python -m glue_runs report", description="Report a grid of finished runs.")
    parser.add_argument("folder", help="Folder that holds the runs.")
    parser.add_argument("--output_dir", help=f"Where {', '.join(FILES)} go. Default: the folder of the runs.")
    parser.add_argument("--n_bootstrap", type=int, default=1000, help="Resamples of each interval. Default: 1000.")
    parser.add_argument("--n_bins", type=int, default=15, help="Confidence bins that the runs were scored with.")
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="Add a row per method: the mean probabilities of its seeds, from the predictions that the runs kept.",
    )
    try:
        options = parser.parse_args(sys.argv[1:] if argv is None else argv)
        grid = load_grid(options.folder)
        report = make_report(grid, options.n_bootstrap, options.n_bins, ensemble=options.ensemble)
        paths = write_report(report, grid, options.output_dir or options.folder)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    print("Written:", ", ".join(map(str, paths)))
    return 0
