# SPDX-License-Identifier: Apache-2.0
"""What a finished run leaves in its folder, and how all of them are found again."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch

from glue_runs.content import DATA_PLACES, MODEL_PLACES, differing_content, digests, same_place
from logitmix_nlp.hub.secrets import without_credentials
from logitmix_nlp.neutral_arguments import is_neutral
from logitmix_nlp.whole_files import write_json

__all__ = [
    "RunResult",
    "deciding_flags",
    "installed_versions",
    "is_finished",
    "load_results",
    "read_result",
    "write_result",
]

RESULT_NAME, GRID_NAME = "result.json", "grid.json"
STATE_NAME = "trainer_state.json"
_MORE = {"do_eval": False, "do_predict": False, "save_predictions": False, "keep_weights": True}
_PACKAGES = ("logitmix-nlp", "transformers", "datasets", "accelerate", "torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    Args:
        task (`str`): GLUE task.
        method (`str`): Method specification, see [`glue_runs.recipe.parse_method`].
        seed (`int`): Random seed.
        metrics (`dict`): All figures of `all_results.json`, such as `eval_matthews_correlation` and `eval_ece`.
        config (`dict`): The flags that were given, without tokens.
        command (`list` of `str`): Command line that repeats the run.
        versions (`dict`): Versions of Python and of the packages that decide what is computed.
        seconds (`float`): Wall-clock time of the run's last process.
        folder (`Path`, *optional*): Where the run lies; not written to the file.
        content (`dict`): What its data and model held, from [`glue_runs.content.digests`].
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
        """What the `Trainer` logged, one dictionary per entry; each holds `step` and `epoch`."""
        return json.loads((self.folder / STATE_NAME).read_text(encoding="utf-8"))["log_history"]


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
        values = without_credentials(json.loads(path.read_text(encoding="utf-8")))
        return RunResult(**values, folder=Path(folder))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: not the result of a run ({error}); delete it if it is one, else keep it elsewhere."
        ) from error


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
    found = result.config
    replaced, told = differing_content(
        result.content, digests(flags, [name for name in result.content if name not in MODEL_PLACES])
    )
    flags = without_credentials(dict(flags))
    names = {*deciding_flags(found), *deciding_flags(flags)} - told
    return (
        not replaced
        and all(_same(name, found.get(name), flags.get(name)) for name in names)
        and all(found.get(name, default) or not flags.get(name, default) for name, default in _MORE.items())
    )


def deciding_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a run that decide its result: none that [`neutral_arguments`] names, none of more to do."""
    return {name: value for name, value in flags.items() if name not in _MORE and not is_neutral(name, flags)}


def _same(name: str, found: Any, wanted: Any) -> bool:
    return same_place(found, wanted) if name in (*MODEL_PLACES, *DATA_PLACES) else found == wanted


def load_results(root: str | Path) -> list[RunResult]:
    """All finished runs below a folder, sorted by task, method and seed.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no finished run.
    """
    found = [read_result(path.parent) for path in Path(root).rglob(RESULT_NAME)]
    if not found:
        raise FileNotFoundError(f"{root}: no finished run ({RESULT_NAME}) in or below this folder.")
    return sorted(found, key=lambda result: (result.task, result.method, result.seed))
