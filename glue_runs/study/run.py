# SPDX-License-Identifier: Apache-2.0
"""One run of a study in a process of its own: train, keep the logits of every set, compute the metrics."""

import hashlib
import importlib.resources
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, set_seed

from glue_runs.grid.worker import run_as_worker, run_once
from glue_runs.runs.results import installed_versions
from glue_runs.study.data import TaskRows, load_task, training_rows
from glue_runs.study.metrics import run_metrics, validation_metrics
from glue_runs.study.plan import RESULT_NAME
from glue_runs.study.rows import LOGITS_NAME
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.commands import refuse
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.word_noise import perturb_words
from logitmix_nlp.whole_files import write_json, write_whole

__all__ = ["evaluation_sets", "execute", "main", "ordered_logits", "train"]

SPELLING = ("swap_letters", "drop_letter", "neighbour_key")


def main(plan_file: Path) -> int:
    """Execute the run whose plan lies in the file, unless another process is at it or it is finished.

    The exit status is 2, after one line on stderr, if something is wrong with the data or the plan.
    """
    folder, task = plan_file.parent, json.loads(plan_file.read_text(encoding="utf-8"))

    def finished() -> bool:
        path = folder / RESULT_NAME
        return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["plan"] == task["plan"]

    def body() -> int:
        try:
            execute(folder, task["plan"], task["data_dir"])
        except (ValueError, OSError, ImportError) as error:
            return refuse(error)
        return 0

    return run_once(folder, finished, body)


def execute(folder: Path, plan: Mapping[str, Any], data_dir: str | Path) -> dict[str, Any]:
    """Train, predict every set, compute all metrics; `logits.npz`, then `result.json` appear whole or not at all.

    Args:
        folder (`Path`): Folder of the run.
        plan (`Mapping`): What to do, see [`glue_runs.study.plan`].
        data_dir (`str` or `Path`): Folder that the paths of the data are relative to.

    Returns:
        `dict[str, Any]`: The result: `plan`, `classes`, `rows` of each set, `validation` and `test` metrics,
        `train_seconds` and `seconds` of processor time, `digest` of all logits, and `versions`.

    Raises:
        ValueError: If the data do not fit the plan, or a logit is NaN or infinite: training has diverged.
    """
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    rows = load_task(plan["data"], data_dir)
    classifier, train_rows, train_seconds = train(plan, rows)
    sets = evaluation_sets(plan, rows)
    logits = {
        name: ordered_logits(classifier, texts, plan["evaluation"]["batch_size"]) for name, (texts, _) in sets.items()
    }
    labels = {name: np.array(ids) for name, (_, ids) in sets.items() if ids is not None}
    metrics = run_metrics(logits, labels, plan["data"]["score"], plan["evaluation"]["n_bins"])
    result = {
        "plan": plan,
        "classes": len(rows.classes),
        "rows": {"train": train_rows, **{name: len(texts) for name, (texts, _) in sets.items()}},
        "validation": validation_metrics(logits["validation"], labels["validation"], plan["data"]["score"]),
        "test": metrics,
        "train_seconds": train_seconds,
        "seconds": time.process_time(),
        "digest": hashlib.sha256(b"".join(logits[name].tobytes() for name in sorted(logits))).hexdigest()[:16],
        "versions": installed_versions(),
    }
    kept = io.BytesIO()
    np.savez_compressed(kept, **logits, **{f"{name}_labels": ids for name, ids in labels.items()})
    write_whole(folder / LOGITS_NAME, kept.getvalue())
    write_json(folder / RESULT_NAME, result)
    return result


def train(plan: Mapping[str, Any], rows: TaskRows) -> tuple[Classifier, int, float]:
    """Fine-tune as the plan says: the classifier, number of training rows, processor seconds; writes no weights."""
    path = model_path(plan["model"])
    tokenizer = AutoTokenizer.from_pretrained(path)
    set_seed(plan["seed"])
    model = AutoModelForSequenceClassification.from_pretrained(
        path, id2label=dict(enumerate(rows.classes)), label2id={name: place for place, name in enumerate(rows.classes)}
    )
    classifier = Classifier(str(path), model, tokenizer, is_text=True, max_length=plan["max_seq_length"])
    texts, labels = training_rows(rows, plan["rows"], plan["seed"])
    columns = [list(column) for column in zip(*texts, strict=True)]
    inputs = tokenizer(*columns, truncation=True, max_length=plan["max_seq_length"])
    with tempfile.TemporaryDirectory() as folder:
        args = LogitMixTrainingArguments(
            output_dir=folder, seed=plan["seed"], save_strategy="no", logging_strategy="no", report_to="none",
            disable_tqdm=True, dataloader_pin_memory=torch.cuda.is_available(), **plan["flags"],
        )  # fmt: skip
        trainer = LogitMixTrainer(
            model,
            args,
            train_dataset=Dataset.from_dict({**inputs, "labels": labels}),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
        )
        start = time.process_time()
        trainer.train()
    return classifier, len(labels), time.process_time() - start


def model_path(name: str) -> str | Path:
    """Folder of a model: `PACKAGE:FOLDER` of an installed package; other names, folders or on the Hub, as they are."""
    package, colon, folder = name.partition(":")
    return Path(str(importlib.resources.files(package))) / folder if colon else name


def evaluation_sets(
    plan: Mapping[str, Any], rows: TaskRows
) -> dict[str, tuple[list[tuple[str, ...]], list[int] | None]]:
    """Texts and class ids of every set that is predicted.

    Args:
        plan (`Mapping`): `evaluation` says how many test rows are misspelt (all if there are fewer), the share of
            their words, and the seed.
        rows (`TaskRows`): Data of the task.

    Returns:
        `dict`: `validation`, `test`, `misspelt` (some test rows, drawn once for all runs), and, without class ids,
        `outside` if the task has one.
    """
    options = plan["evaluation"]
    generator = torch.Generator().manual_seed(options["noise_seed"])
    places = torch.randperm(len(rows.test.texts), generator=generator)[: options["noise_rows"]].sort().values.tolist()
    some = rows.test.pick(places)
    misspelt = perturb_words(some.texts, options["noise_rate"], generator, SPELLING)
    sets = {
        "validation": (rows.validation.texts, rows.ids(rows.validation)),
        "test": (rows.test.texts, rows.ids(rows.test)),
        "misspelt": (misspelt, rows.ids(some)),
    }
    return {**sets, "outside": (rows.outside, None)} if rows.outside else sets


def ordered_logits(classifier: Classifier, texts: Sequence[tuple[str, ...]], batch_size: int) -> np.ndarray:
    """Float32 logits `(N, C)` of texts in their order; texts of similar length are computed together."""
    order = np.argsort([sum(map(len, row)) for row in texts], kind="stable")
    by_length = classifier.logits(classifier.batches([texts[place] for place in order], batch_size)).numpy()
    logits = np.empty_like(by_length)
    logits[order] = by_length
    return logits


if __name__ == "__main__":
    run_as_worker(main)
