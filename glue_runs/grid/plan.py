# SPDX-License-Identifier: Apache-2.0
"""Many runs: every task with every method and seed, each in a folder of its own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import filelock

from glue_runs.runs.arguments import DataArguments
from glue_runs.runs.command_line import given_flags, to_flags
from glue_runs.runs.content import DATA_PLACES
from glue_runs.runs.recipe import PAPER_SITE, RECIPE, equal_compute, folder_name, method_flags
from glue_runs.runs.record import FLAGS_NAME, PROGRESS_NAME, without_secrets
from glue_runs.runs.results import GRID_NAME, is_finished, read_grid, with_site
from glue_runs.runs.texts import Texts
from glue_runs.tasks.glue import PAPER_TASKS, get_task
from glue_runs.tasks.types import OWN
from logitmix_nlp.publishing.hub.secrets import without_credentials
from logitmix_nlp.reports.folders import check_folder
from logitmix_nlp.training.model_folders import check_model_name
from logitmix_nlp.whole_files import write_json

__all__ = ["GridArguments", "PlannedRun", "plan_runs", "write_grid", "write_plan"]

EQUAL_COMPUTE = "vanilla, equal compute"
_FIXED = ("task_name", "output_dir", "seed", "mix_method", "report_as", "model_name_or_path", "data_dir")


@dataclass
class GridArguments:
    """Which runs; every flag of `scripts/run_glue.py` may follow and holds for all of them."""

    model: str = field(metadata={"help": "Folder of a pretrained model, or its name on the Hub."})
    output_dir: str = field(metadata={"help": "Folder of the grid; each run gets TASK/METHOD/seed-N in it."})
    tasks: list[str] | None = field(
        default=None,
        metadata={
            "help": "GLUE tasks. Default: the eight of the paper, or your own data if --train_file or --dataset_name "
            "follows."
        },
    )
    methods: list[str] = field(
        default_factory=lambda: ["vanilla", "mixup", "logitmix"],
        metadata={"help": "Methods, each with its own flags if need be: logitmix/mix_site=layer:2/mix_alpha=0.4"},
    )
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5], metadata={"help": "Random seeds."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of GLUE files. Default: nyu-mll/glue."})
    equal_compute: bool = field(
        default=False,
        metadata={"help": "Whether to add vanilla trained on as many examples as the costliest method sees."},
    )
    executor: str = field(default="local", metadata={"help": "Where runs are executed: local or ray."})
    workers: int = field(default=1, metadata={"help": "Runs at a time (local). GPUs are shared out in turn."})
    ray_address: str | None = field(
        default=None, metadata={"help": "Address of a Ray cluster, or auto. Default: start one on this machine."}
    )
    cpus_per_run: int = field(default=1, metadata={"help": "CPU cores that Ray reserves for a run."})
    gpus_per_run: float = field(
        default=0.0, metadata={"help": "GPUs that Ray reserves for a run; 0.25 shares one, 0 hides them."}
    )

    def __post_init__(self):
        if self.tasks is not None:
            self.tasks = [get_task(task).name for task in self.tasks]
            for task in self.tasks:
                get_task(task).split("train")
        for name in ("tasks", "methods", "seeds"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) < len(values)):
                raise ValueError(f"--{name} takes one value or several different ones, got: {values}.")
        check_folder(self.output_dir)
        check_model_name(self.model)
        if self.executor not in ("local", "ray"):
            raise ValueError(f"--executor must be local or ray, got {self.executor!r}.")
        if self.workers < 1 or self.cpus_per_run < 1 or not 0 <= self.gpus_per_run < float("inf"):
            raise ValueError("--workers and --cpus_per_run must be at least 1, --gpus_per_run at least 0.")


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid.

    Args:
        task (`str`): GLUE task, or `own`.
        method (`str`): Method specification.
        seed (`int`): Random seed.
        folder (`Path`): Where the run goes.
        flags (`dict`): All flags of the run.
    """

    task: str
    method: str
    seed: int
    folder: Path
    flags: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether the folder holds the result of a run with these flags, see [`runs.results.is_finished`]."""
        return is_finished(self.folder, self.flags)

    @property
    def name(self) -> str:
        """Short name for progress and error lists."""
        return f"{self.task} {self.method} seed {self.seed}"


def plan_runs(args: GridArguments, rest: Sequence[str] = ()) -> list[PlannedRun]:
    """All runs of a grid, seed by seed, so that a grid that is cut short holds complete seeds.

    Args:
        args (`GridArguments`): Tasks, methods and seeds.
        rest (`Sequence[str]`): Flags of `run_glue.py` that hold for all runs; they override the recipe.

    Returns:
        `list[PlannedRun]`: The runs, those of `--equal_compute` included.

    Raises:
        ValueError: If a flag is unknown, belongs to the grid, or a method cannot be trained with these flags.
    """
    given = given_flags(Texts.arguments, rest)
    for name in given:
        if name in _FIXED:
            raise ValueError(f"--{name} is set by the grid; use --tasks, --methods, --seeds, --model, --output_dir.")
        if name not in without_secrets(given):
            raise ValueError(
                f"--{name} would be written to disk; log in with `hf auth login` or set HF_TOKEN instead."
            )
    sources = [f"--{name}" for name in ("train_file", "dataset_name") if name in given]
    if sources and (args.tasks or args.data_dir):
        glue = "--tasks" if args.tasks else "--data_dir"
        raise ValueError(f"{sources[0]} is data of your own, {glue} of GLUE: give one of them, a grid for each.")
    tasks = [OWN] if sources else args.tasks or PAPER_TASKS
    common = {**RECIPE, **given, **{name: _place(given[name]) for name in DATA_PLACES if name in given}}
    if "train_file" in given and common["do_eval"] and "validation_file" not in given:
        raise ValueError("--train_file needs --validation_file, or --do_eval false: a grid evaluates its runs.")
    known = {field.name for field in fields(DataArguments)}
    first = None if sources else tasks[0]
    DataArguments(task_name=first, **{name: value for name, value in common.items() if name in known})
    runs = []
    for seed in args.seeds:
        for task in tasks:
            for method in all_methods(args, common):
                folder = Path(args.output_dir).resolve() / task / folder_name(method) / f"seed-{seed}"
                where = {"model_name_or_path": _place(args.model)}
                if task != OWN:
                    where |= {"task_name": task, "data_dir": _place(args.data_dir)}
                how = {"report_as": method, "seed": seed, "output_dir": str(folder)}
                flags = with_site({**where, **method_flags(method, common), **how}, PAPER_SITE)
                flags = given_flags(Texts.arguments, to_flags(flags))  # of the type and in the order of the result's
                runs.append(PlannedRun(task, method, seed, folder, flags))
    return runs


def _place(name: str | None) -> str | None:
    """A local folder by its absolute path, which holds wherever the run is executed; a name on the Hub as it is."""
    return os.path.abspath(name) if name is not None and Path(name).exists() else name


def all_methods(args: GridArguments, common: dict[str, Any]) -> list[str]:
    """The methods of the grid, with the baseline of `--equal_compute` behind the first."""
    if not args.equal_compute:
        return args.methods
    baseline = equal_compute(args.methods, common)
    return list(dict.fromkeys([args.methods[0], baseline, *args.methods[1:]]))


def write_plan(run: PlannedRun) -> None:
    """Write the flags of a run into its folder, for the process that will run it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / PROGRESS_NAME).unlink(missing_ok=True)
    write_json(run.folder / FLAGS_NAME, run.flags)


def write_grid(args: GridArguments, runs: Sequence[PlannedRun], command: Sequence[str]) -> None:
    """Write `grid.json`, which gives a report its order and names; what earlier grids left in the folder stays."""
    path = Path(args.output_dir) / GRID_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    methods = list(dict.fromkeys(run.method for run in runs))
    labels = {method: EQUAL_COMPUTE for method in methods if method not in args.methods}
    tasks = list(dict.fromkeys(run.task for run in runs))
    new = {"tasks": tasks, "methods": methods, "seeds": args.seeds, "commands": [list(command)]}
    with filelock.FileLock(path.with_name(path.name + ".lock")):
        before = read_grid(path)
        for name, values in new.items():
            new[name] = before.get(name, []) + [value for value in values if value not in before.get(name, [])]
        write_json(path, without_credentials({**new, "labels": {**before.get("labels", {}), **labels}}))
