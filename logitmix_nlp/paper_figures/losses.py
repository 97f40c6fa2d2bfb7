# SPDX-License-Identifier: Apache-2.0
"""Loss terms over the steps of finished runs, from the log that the Trainer leaves."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME

from logitmix_nlp.functional.mixing_loss import LOSS_TERMS
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.predictions import named_paths
from logitmix_nlp.reports.plots import CurvePanel, learning_curves
from logitmix_nlp.reports.plots.curves import Curve, mean_curve
from logitmix_nlp.training.checkpoints import numbered_checkpoints
from logitmix_nlp.whole_files import read_object

__all__ = ["LOSSES", "find_logs", "loss_curves", "read_log"]

TOTAL = "loss"


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Log of one run.

    Args:
        path (`str` or `Path`): `trainer_state.json`, a folder that holds it, or one with checkpoints that do.

    Returns:
        `list[dict[str, float]]`: One dictionary per log line, each with `step` and `epoch`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is no log of a Trainer.
    """
    place = Path(path)
    if place.is_dir() and not (place / TRAINER_STATE_NAME).is_file():
        logs = [folder / TRAINER_STATE_NAME for folder in numbered_checkpoints(place)]
        place = next((log for log in logs if _is_log(log)), None)
        if place is None:
            raise FileNotFoundError(f"{path} has no {TRAINER_STATE_NAME}, neither in it nor in a checkpoint.")
    if place.is_dir():
        place = place / TRAINER_STATE_NAME
    try:
        history = json.loads(place.read_text(encoding="utf-8"))["log_history"]
        return [dict(line) for line in history]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place} is no log of a Trainer ({type(error).__name__}: {error}).") from error


def _is_log(path: Path) -> bool:
    """Whether the state of a checkpoint was written to its end."""
    try:
        return bool(read_object(path))
    except (OSError, ValueError):
        return False


def find_logs(path: str | Path) -> dict[str, list[list[dict[str, float]]]]:
    """Logs of all runs in a folder, those of several seeds together.

    Runs in folders `seed-1`, `seed-2`, ... of one folder, as a grid of runs leaves them, are seeds of one run.

    Args:
        path (`str` or `Path`): See [`read_log`], or a folder with runs at any depth.

    Returns:
        `dict`: Place of each run, relative to `path` (empty for that of `path` itself), and its logs.

    Raises:
        FileNotFoundError: If there is no log.
        ValueError: If a file is no log of a Trainer.
    """
    root = Path(path)
    try:
        return {"": [read_log(root)]}
    except FileNotFoundError:
        if not root.is_dir():
            raise FileNotFoundError(f"{path} is neither a folder nor a {TRAINER_STATE_NAME}.") from None
    logs: dict[str, list[list[dict[str, float]]]] = {}
    for state in sorted(root.rglob(TRAINER_STATE_NAME)):
        run = state.parent
        if run.name.startswith("checkpoint-"):
            continue
        group = run.parent if run.name.startswith("seed-") else run
        logs.setdefault("" if group == root else group.relative_to(root).as_posix(), []).append(read_log(state))
    if not logs:
        raise FileNotFoundError(f"{path}: no {TRAINER_STATE_NAME} in or below this folder.")
    return logs


def loss_curves(logs: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Curve]:
    """Loss and its weighted terms by step, averaged over seeds; terms that are zero throughout are left out.

    Args:
        logs (`Sequence`): Log of each seed, from [`read_log`].

    Returns:
        `dict[str, Curve]`: `loss` and those of `loss_mix`, `loss_cls`, `loss_sim` and the others that were logged.

    Raises:
        ValueError: If fewer than two steps were logged.
    """
    curves = {}
    for name in (TOTAL, *LOSS_TERMS):
        series = [{line["step"]: line[name] for line in log if TOTAL in line and name in line} for log in logs]
        curve = mean_curve([line for line in series if line])
        if curve is not None and curve.mean.any():
            curves[name] = curve
    if not curves:
        raise ValueError("fewer than two training losses were logged: train longer, or with smaller logging_steps.")
    return curves


def _losses_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="[NAME=]RUN", help="Folder of one run or of many, or a trainer_state.json."
    )


def _losses(options: argparse.Namespace) -> Figure:
    panels, numbers, lines = [], {}, []
    inputs = named_paths(options.runs)
    for given, path in inputs.items():
        for place, logs in find_logs(path).items():
            name = place if place and options.runs == [str(path)] else "/".join(filter(None, (given, place)))
            curves = loss_curves(logs)
            terms = {term: curve for term, curve in curves.items() if term != TOTAL}
            shown = terms if len(terms) == 1 else curves  # a single term is the loss
            seeds = f", {len(logs)} seeds" if len(logs) > 1 else ""
            panels.append(CurvePanel(name + seeds, "step", "loss (weights applied)", shown))
            numbers[name] = {
                term: {"step": curve.x.tolist(), "mean": curve.mean.tolist()} for term, curve in curves.items()
            }
            lines += [(f"{name}: {term}", [float(c.mean[0]), float(c.mean[-1])]) for term, c in curves.items()]
    title = "Training loss and its weighted terms"
    names = [TOTAL, *LOSS_TERMS]
    description = f"{title}, by step, of {', '.join(numbers)}."
    table = number_table("losses", title, "run", ["first", "last"], lines)
    return Figure(
        title,
        description,
        numbers,
        table,
        lambda path, style: learning_curves(panels, path, title, names=names, max_columns=3, style=style),
    )


LOSSES = FigureJob("loss terms of finished runs by step", _losses_flags, _losses)
