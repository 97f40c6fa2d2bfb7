# SPDX-License-Identifier: Apache-2.0
"""The file of a study, read and checked, and the runs that it asks for, in their order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from glue_runs.command_line import suggestion
from glue_runs.recipe import folder_name, method_flags
from logitmix_nlp.whole_files import write_json

__all__ = ["CHOICE", "RESULT_NAME", "Study", "StudyRun", "chosen_rate", "plan_block", "read_study", "write_plan"]

PLAN_NAME, RESULT_NAME = "plan.json", "result.json"
CHOICE = "choose"
KEYS = ("title", "model", "max_seq_length", "flags", "evaluation", "regimes", "methods", "tasks", "blocks", "analysis")
BLOCK_KEYS = ("tasks", "regimes", "methods", "seeds")
CHOICE_KEYS = ("task", "regime", "method", "seed", "learning_rates")
METHOD_KEYS = ("spec", "epochs")


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

    def choice(self, task: str) -> dict[str, Any]:
        """The choice of a task's learning rate; a `ValueError` if no block makes one."""
        for block in self.blocks:
            if CHOICE in block and block[CHOICE]["task"] == task:
                return block[CHOICE]
        raise ValueError(f"{self.path}: no block chooses the learning rate of {task}; add one before its first runs.")


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Args:
        folder (`Path`): Where it goes.
        plan (`dict`): All that decides its figures, as JSON has it.
    """

    folder: Path
    plan: dict[str, Any]

    @property
    def name(self) -> str:
        """Short name for progress and error lists."""
        return "{task}, {regime}, {method}, {learning_rate:g}, seed {seed}".format(**self.plan)

    @property
    def finished(self) -> bool:
        """Whether the folder holds the result of this very plan."""
        return (found := self.result()) is not None and found["plan"] == self.plan

    def result(self) -> dict[str, Any] | None:
        """What the run found, see [`glue_runs.study.run`]; `None` if it is not finished."""
        path = self.folder / RESULT_NAME
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


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
    for block in values["blocks"]:
        if CHOICE in block:
            _check_keys(f"{path}: {CHOICE}", block[CHOICE], CHOICE_KEYS)
            choice = block[CHOICE]
            _check_block(path, values, [choice["task"]], [choice["regime"]], [choice["method"]])
        else:
            _check_keys(f"{path}: block", block, BLOCK_KEYS)
            _check_block(path, values, block["tasks"], block["regimes"], block["methods"])
    for name, method in values["methods"].items():
        _check_keys(f"{path}: method {name}", method, METHOD_KEYS)
        method_flags(method["spec"], values["flags"])
    return Study(path, values)


def plan_block(study: Study, block: Mapping[str, Any], output_dir: str | Path) -> list[StudyRun]:
    """The runs of one block, seed by seed, so that a study that is cut short holds complete seeds.

    Args:
        study (`Study`): The study.
        block (`Mapping`): One of its blocks.
        output_dir (`str` or `Path`): Folder of the study; the results of the choices that the block needs lie in it.

    Returns:
        `list[StudyRun]`: The runs.

    Raises:
        ValueError: If the learning rate of a task is not chosen yet.
    """
    if CHOICE in block:
        return _choice_runs(study, block[CHOICE], output_dir)
    rates = {task: chosen_rate(study, task, output_dir) for task in block["tasks"]}
    return [
        _run(study, output_dir, task, regime, method, rates[task], seed)
        for seed in block["seeds"]
        for task in block["tasks"]
        for regime in block["regimes"]
        for method in block["methods"]
    ]


def chosen_rate(study: Study, task: str, output_dir: str | Path) -> float:
    """The learning rate of the best validation score; of equal ones that of the lower validation NLL.

    Raises:
        ValueError: If a run of the choice is not finished.
    """
    runs = _choice_runs(study, study.choice(task), output_dir)
    waiting = [run.name for run in runs if not run.finished]
    if waiting:
        raise ValueError(f"the learning rate of {task} is not chosen yet: {waiting[0]} is not finished.")
    found = [(run.result()["validation"], run.plan["learning_rate"]) for run in runs]
    return max(found, key=lambda pair: (pair[0]["score"], -pair[0]["nll"]))[1]


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
