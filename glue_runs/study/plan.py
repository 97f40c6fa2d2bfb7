# SPDX-License-Identifier: Apache-2.0
"""The file of a study, read and checked, and the runs that it asks for, in their order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from glue_runs.runs.command_line import suggestion
from glue_runs.runs.recipe import folder_name, method_flags
from logitmix_nlp.whole_files import write_json

__all__ = [
    "CHOICE", "PLAN_NAME", "RESULT_NAME", "Rows", "Study", "StudyRun", "chosen_rates", "plan_block", "plan_digest",
    "read_study", "write_plan",
]  # fmt: skip

PLAN_NAME, RESULT_NAME = "plan.json", "result.json"
CHOICE = "choose"
KEYS = ("title", "model", "max_seq_length", "flags", "evaluation", "regimes", "methods", "tasks", "blocks", "analysis")
BLOCK_KEYS = ("tasks", "regimes", "methods", "seeds")
CHOICE_KEYS = ("task", "regime", "method", "seed", "learning_rates")
METHOD_KEYS = ("spec", "epochs")
Rows = Mapping[str, Mapping[str, Any]]  # one row of metrics by the digest of its plan, see `glue_runs.study.rows`


@dataclass(frozen=True)
class Study:
    """A study as its file has it.

    Args:
        path (`Path`): The file.
        values (`dict`): Its content: `model`, `max_seq_length`, `flags` common to all runs, `evaluation`, and by name
            `regimes`, `methods` and `tasks`; `blocks`, a list of what to run; `analysis`.
    """

    path: Path
    values: dict[str, Any]

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """What to run, in order."""
        return self.values["blocks"]


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Args:
        folder (`Path`): Where it goes.
        plan (`dict`): All that decides its metrics, as JSON has it.
    """

    folder: Path
    plan: dict[str, Any]

    @property
    def name(self) -> str:
        """Short name for progress and error lists."""
        return "{task}, {regime}, {method}, {learning_rate:g}, seed {seed}".format(**self.plan)

    @property
    def digest(self) -> str:
        """Short name of the plan: runs of equal digests do the same."""
        return plan_digest(self.plan)

    @property
    def finished(self) -> bool:
        """Whether the folder holds the result of this very plan."""
        return (kept := self.result()) is not None and kept["plan"] == self.plan

    def result(self) -> dict[str, Any] | None:
        """What the folder holds, see [`glue_runs.study.run.execute`]; `None` if no run is finished there."""
        path = self.folder / RESULT_NAME
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def plan_digest(plan: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for a plan."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:12]


def read_study(path: str | Path) -> Study:
    """Read the file of a study, YAML or JSON, and check it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is missing or unknown, a block names something that is not defined, or a method cannot be
            trained.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected the keys {', '.join(KEYS)}.")
    _check_keys(path, values, KEYS)
    chosen = set()
    for block in values["blocks"]:
        if CHOICE in block:
            _check_keys(f"{path}: {CHOICE}", block[CHOICE], CHOICE_KEYS)
            choice = block[CHOICE]
            _check_block(path, values, [choice["task"]], [choice["regime"]], [choice["method"]])
            chosen.add(choice["task"])
        else:
            _check_keys(f"{path}: block", block, BLOCK_KEYS)
            _check_block(path, values, block["tasks"], block["regimes"], block["methods"])
            early = [task for task in block["tasks"] if task not in chosen]
            if early:
                raise ValueError(f"{path}: a block runs {early[0]} before one that chooses its learning rate.")
    for name, method in values["methods"].items():
        _check_keys(f"{path}: method {name}", method, METHOD_KEYS)
        method_flags(method["spec"], values["flags"])
    return Study(path, values)


def plan_block(study: Study, block: Mapping[str, Any], output_dir: str | Path, rows: Rows) -> list[StudyRun]:
    """The runs of one block, seed by seed, so that a study that is cut short holds complete seeds.

    Args:
        study (`Study`): The study.
        block (`Mapping`): One of its blocks.
        output_dir (`str` or `Path`): Folder of the runs.
        rows (`Mapping`): Rows of the finished runs, for the choices that the block needs.

    Returns:
        `list[StudyRun]`: The runs.

    Raises:
        ValueError: If the learning rate of a task is not chosen yet.
    """
    if CHOICE in block:
        return _choice_runs(study, block[CHOICE], output_dir)
    rates = chosen_rates(study, rows)
    waiting = [task for task in block["tasks"] if task not in rates]
    if waiting:
        raise ValueError(f"{study.path}: the learning rate of {waiting[0]} is not chosen: its choice is not finished.")
    return [
        _run(study, output_dir, task, regime, method, rates[task], seed)
        for seed in block["seeds"]
        for task in block["tasks"]
        for regime in block["regimes"]
        for method in block["methods"]
    ]


def chosen_rates(study: Study, rows: Rows) -> dict[str, float]:
    """The learning rate of each task whose choice is made: best validation score; of equal ones, lower validation NLL.

    Args:
        study (`Study`): The study.
        rows (`Mapping`): Rows of the finished runs.

    Returns:
        `dict[str, float]`: By task; a task whose choice is not finished is left out.
    """
    rates = {}
    for choice in (block[CHOICE] for block in study.blocks if CHOICE in block):
        wanted = {name: choice[name] for name in ("task", "regime", "method", "seed")}
        made = [row for row in rows.values() if wanted.items() <= row.items()]
        made = [row for row in made if row["learning_rate"] in choice["learning_rates"]]
        if {row["learning_rate"] for row in made} == set(choice["learning_rates"]):
            best = max(made, key=lambda row: (row["validation_score"], -row["validation_nll"]))
            rates[choice["task"]] = best["learning_rate"]
    return rates


def write_plan(run: StudyRun, data_dir: str | Path) -> None:
    """Write the plan of a run into its folder, for the process that will execute it."""
    write_json(run.folder / PLAN_NAME, {"data_dir": str(Path(data_dir).resolve()), "plan": run.plan})


def _choice_runs(study: Study, choice: Mapping[str, Any], output_dir: str | Path) -> list[StudyRun]:
    place = [choice[name] for name in ("task", "regime", "method")]
    return [_run(study, output_dir, *place, rate, choice["seed"]) for rate in choice["learning_rates"]]


def _run(
    study: Study, output_dir: str | Path, task: str, regime: str, method: str, rate: float, seed: int
) -> StudyRun:
    values = study.values
    record = values["tasks"][task]
    epochs = record["epochs"][regime] * values["methods"][method].get("epochs", 1)
    common = {**values["flags"], "learning_rate": rate, "num_train_epochs": epochs}
    plan = {
        "task": task, "regime": regime, "method": method, "learning_rate": rate, "seed": seed, "epochs": epochs,
        "spec": values["methods"][method]["spec"],
        "model": values["model"], "max_seq_length": values["max_seq_length"], "evaluation": values["evaluation"],
        "data": {name: value for name, value in record.items() if name != "epochs"},
        "rows": values["regimes"][regime],
        "flags": method_flags(values["methods"][method]["spec"], common),
    }  # fmt: skip
    plan = json.loads(json.dumps(plan))
    folder = Path(output_dir).resolve() / task / folder_name(regime) / folder_name(method) / f"{rate:g}"
    return StudyRun(folder / f"seed-{seed}", plan)


def _check_keys(where: str | Path, values: Mapping[str, Any], known: Sequence[str]) -> None:
    optional = ("epochs",)
    for name in values:
        if name not in known:
            raise ValueError(f"{where}: unknown key {name!r}{suggestion(name, known)}; allowed: {', '.join(known)}.")
    missing = [name for name in known if name not in values and name not in optional]
    if missing:
        raise ValueError(f"{where}: the key {missing[0]!r} is missing.")


def _check_block(
    path: Path, values: Mapping[str, Any], tasks: Sequence[str], regimes: Sequence[str], methods: Sequence[str]
) -> None:
    for kind, names in (("tasks", tasks), ("regimes", regimes), ("methods", methods)):
        for name in names:
            if name not in values[kind]:
                raise ValueError(f"{path}: {name!r} is none of the {kind}: {', '.join(map(str, values[kind]))}.")
    for task in tasks:
        for regime in regimes:
            if regime not in values["tasks"][task]["epochs"]:
                raise ValueError(f"{path}: task {task} has no epochs for {regime!r}.")
