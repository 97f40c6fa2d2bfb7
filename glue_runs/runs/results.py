# SPDX-License-Identifier: Apache-2.0
"""What a finished run leaves in its folder, and how all of them are found again."""

import importlib.metadata
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch

from glue_runs.runs.content import MODEL_PLACES, differences, digests
from glue_runs.runs.recipe import PAPER_SITE
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.types import OWN
from logitmix_nlp.publishing.hub.secrets import without_credentials
from logitmix_nlp.training.methods import get_method
from logitmix_nlp.training.neutral_arguments import is_neutral
from logitmix_nlp.whole_files import read_object, write_json

__all__ = [
    "RunResult",
    "check_finite",
    "deciding_flags",
    "installed_versions",
    "is_finished",
    "load_results",
    "read_grid",
    "read_result",
    "with_site",
    "write_result",
]

RESULT_NAME, GRID_NAME = "result.json", "grid.json"
STATE_NAME = "trainer_state.json"
_MORE = {"do_eval": False, "do_predict": False, "save_predictions": False, "keep_weights": True}
NUMBER, TEXTS = (int, float), {str: str}
OF_A_RESULT = {
    "task": (str, "a name"), "method": (str, "a name"), "seed": (int, "a whole number"),
    "metrics": ({str: NUMBER}, "a number for each metric"), "config": (dict, "flags by name"),
    "command": ([str], "a list of words"), "versions": (TEXTS, "texts by name"), "seconds": (NUMBER, "a number"),
    "content": (TEXTS, "texts by name"),
}  # fmt: skip
OF_A_GRID = {
    "tasks": ([str], "a list of names"), "methods": ([str], "a list of names"),
    "seeds": ([int], "a list of whole numbers"), "commands": ([[str]], "a list of lists of words"),
    "labels": (TEXTS, "names by method"),
}  # fmt: skip
_PACKAGES = ("logitmix-nlp", "transformers", "datasets", "accelerate", "torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Args:
        task (`str`): GLUE task.
        method (`str`): Method specification, see [`glue_runs.runs.recipe.parse_method`].
        seed (`int`): Random seed.
        metrics (`dict`): All metrics of `all_results.json`, such as `eval_matthews_correlation` and `eval_ece`.
        config (`dict`): The flags that were given, without tokens.
        command (`list` of `str`): Command line that repeats the run.
        versions (`dict`): Versions of Python and of the packages that decide what is computed.
        seconds (`float`): Wall-clock time of the run's last process.
        folder (`Path`, *optional*): Where the run lies; not written to the file.
        content (`dict`): What its data and model held, from [`glue_runs.runs.content.digests`].
    """

    task: str
    method: str
    seed: int
    metrics: dict[str, float]
    config: dict[str, Any]
    command: list[str]
    versions: dict[str, str]
    seconds: float
    folder: Path | None = None
    content: dict[str, str] = field(default_factory=dict)

    def predictions(self, prefix: str = "eval") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row ids `(N,)`, labels `(N,)` and logits `(N, C)` of one evaluation split.

        Args:
            prefix (`str`): `eval`, or `eval_matched` and `eval_mismatched` for MNLI.

        Raises:
            FileNotFoundError: If the run kept no predictions.
        """
        path = self.folder / f"{prefix}_predictions.parquet"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: repeat the run with --save_predictions true.")
        rows = parquet.read_table(path)
        return rows["idx"].to_numpy(), rows["label"].to_numpy(), np.stack(rows["logits"].to_numpy())

    def log_history(self) -> list[dict[str, float]]:
        """What the `Trainer` logged, one dictionary per entry; each holds `step` and `epoch`.

        Raises:
            FileNotFoundError: If the run left no log.
            ValueError: If the file is damaged; says where and why.
        """
        path = self.folder / STATE_NAME
        values = read_object(path)
        rows = values.get("log_history")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} is damaged: its log_history is no list of entries.")
        for number, row in enumerate(rows, start=1):
            drawn = [name for name in row if name.startswith(("loss", "eval"))]
            for name in ("step", "epoch", *drawn):
                if not isinstance(row.get(name), (int, float)):
                    raise ValueError(f"{path} is damaged: entry {number} of log_history has no number as {name}.")
        return rows


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what is computed, and the device."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"  # run from a checkout on the path
    versions["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return versions


def write_result(folder: str | Path, result: RunResult) -> None:
    """Write `result.json`, the last file of a run, without passwords in addresses; it appears whole or not at all.

    Args:
        folder (`str` or `Path`): Folder of the run.
        result (`RunResult`): What to write.
    """
    path = Path(folder) / RESULT_NAME
    values = asdict(replace(result, folder=None))
    del values["folder"]
    write_json(path, without_credentials(values))


def read_result(folder: str | Path) -> RunResult:
    """The result in a run's folder.

    Raises:
        FileNotFoundError: If the run is not finished.
        ValueError: If the file is no result of this package.
    """
    path = Path(folder) / RESULT_NAME
    try:
        values = without_credentials(read_object(path))
        _check(values, OF_A_RESULT)
        result = RunResult(**{**values, "folder": Path(folder)})
        # Results from before the default of logitmix changed do not name its site.
        config = with_site(result.config, PAPER_SITE)
        named = [] if config == result.config else [f"--mix_site={PAPER_SITE}"]
        return replace(result, config=config, command=[*result.command, *named])
    except (ValueError, TypeError) as error:
        said = str(error).removeprefix(f"{path} is damaged: ")
        raise ValueError(
            f"{path}: not the result of a run ({said.rstrip('.')}); delete it if it is one, else keep it elsewhere."
        ) from error


def read_grid(path: str | Path) -> dict[str, Any]:
    """What `grid.json` holds, nothing if there is none.

    Raises:
        ValueError: If it is damaged, or names a task that is none of GLUE; says where and why.
    """
    try:
        values = without_credentials(read_object(path))
        _check(values, OF_A_GRID)
        for task in values.get("tasks", []):
            if task != OWN:
                get_task(task)
        return values
    except FileNotFoundError:
        return {}
    except ValueError as error:
        said = str(error).removeprefix(f"{path} is damaged: ")
        raise ValueError(f"{path}: {said.rstrip('.')}; fix it, or delete it: it only orders a report.") from error


def _check(values: Mapping[str, Any], kinds: Mapping[str, tuple[Any, str]]) -> None:
    """Refuse values that are not of the kinds given by name, each with its words; see [`_fits`]."""
    for name, (kind, words) in kinds.items():
        value = values.get(name)
        if isinstance(kind, dict) and isinstance(value, dict):
            named = {f"{name}.{key}": item for key, item in value.items()}
            _check(named, dict.fromkeys(named, (kind[str], words)))
        elif name in values and not _fits(value, kind):
            raise ValueError(f"{name} is {value!r:.80}, expected {words}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, or a list of values that are of one: `[type]`."""
    if isinstance(kind, list):
        return isinstance(value, list) and all(_fits(item, kind[0]) for item in value)
    return not isinstance(kind, dict) and isinstance(value, kind) and not isinstance(value, bool)


def is_finished(folder: str | Path, flags: Mapping[str, Any]) -> bool:
    """Whether a folder holds the result of a run with these flags, or of one that did more.

    Flags that change nothing in the result (logging, workers, where files lie) are not compared, but what data and
    models on this disk hold; an unreadable result counts as none.

    Args:
        folder (`str` or `Path`): Folder of the run.
        flags (`Mapping[str, Any]`): Flags of the run wanted.
    """
    try:
        result = read_result(folder)
    except (FileNotFoundError, ValueError):
        return False
    config, flags = result.config, with_site(without_credentials(dict(flags)), get_method("logitmix").mix_site)
    before, now = deciding_flags(config), deciding_flags(flags)
    unset = dict.fromkeys({**before, **now})
    content = digests(flags, [name for name in result.content if name not in MODEL_PLACES])
    return not differences({**unset, **before}, {**unset, **now}, result.content, content) and all(
        config.get(name, default) or not flags.get(name, default) for name, default in _MORE.items()
    )


def with_site(flags: Mapping[str, Any], site: str) -> dict[str, Any]:
    """The flags of a run; those of `logitmix` say where it mixes, at `site` if they did not."""
    return {**({"mix_site": site} if flags.get("mix_method", "logitmix") == "logitmix" else {}), **flags}


def deciding_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a run that decide its result: none that [`neutral_arguments`] names, none of more to do."""
    return {name: value for name, value in flags.items() if name not in _MORE and not is_neutral(name, flags)}


def check_finite(run: RunResult) -> None:
    """Refuse a run whose metrics are not all finite: its training diverged, and no mean may hide it."""
    for name, value in run.metrics.items():
        if not math.isfinite(value):
            raise ValueError(
                f"{run.folder / RESULT_NAME}: {name} is {value}: did the training diverge? Repeat the run with other "
                "flags, or keep it elsewhere."
            )


def load_results(root: str | Path) -> list[RunResult]:
    """All finished runs below a folder, sorted by task, method and seed.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no finished run.
    """
    results = [read_result(path.parent) for path in Path(root).rglob(RESULT_NAME)]
    if not results:
        raise FileNotFoundError(f"{root}: no finished run ({RESULT_NAME}) in or below this folder.")
    return sorted(results, key=lambda result: (result.task, result.method, result.seed))
