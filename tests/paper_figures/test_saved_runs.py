# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import run_samples
import torch
from transformers import EvalPrediction

from logitmix_nlp.paper_figures.losses import find_logs, loss_curves, read_log
from logitmix_nlp.paper_figures.predictions import EpochLogits, named_paths, read_epochs, read_predictions


def write_log(folder, losses, **terms):
    """Trainer's state: the loss and, for each term, its share of it, every tenth step."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"step": 10 * (n + 1), "loss": loss, **{name: share * loss for name, share in terms.items()}}
        for n, loss in enumerate(losses)
    ]
    lines.append({"step": 10 * len(losses), "eval_loss": 9.0})
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": lines, "global_step": 10 * len(losses)}))
    return lines


def test_log_of_a_run_a_file_and_a_checkpoint(tmp_path):
    lines = write_log(tmp_path / "run", [2.0, 1.0])
    assert read_log(tmp_path / "run") == read_log(tmp_path / "run" / "trainer_state.json") == lines
    for step, losses in ((2, [3.0, 2.0]), (10, [3.0, 1.0])):
        last = write_log(tmp_path / "broken" / f"checkpoint-{step}", losses)
    assert read_log(tmp_path / "broken") == last
    with pytest.raises(FileNotFoundError, match=r"has no trainer_state.json, neither in it nor in a checkpoint"):
        read_log(tmp_path)
    (tmp_path / "trainer_state.json").write_text("[]")
    with pytest.raises(ValueError, match="is no log of a Trainer"):
        read_log(tmp_path)


def test_runs_below_a_folder_with_their_seeds(tmp_path):
    for seed in (1, 2):
        write_log(tmp_path / "rte" / "mixup" / f"seed-{seed}", [2.0 * seed, 1.0])
    write_log(tmp_path / "other", [1.0, 1.0])
    write_log(tmp_path / "other" / "checkpoint-10", [1.0, 1.0])
    found = find_logs(tmp_path)
    assert {name: len(logs) for name, logs in found.items()} == {"other": 1, "rte/mixup": 2}
    assert {name: len(logs) for name, logs in find_logs(tmp_path / "rte" / "mixup").items()} == {"": 2}
    assert list(find_logs(tmp_path / "other")) == [""]
    with pytest.raises(FileNotFoundError, match="neither a folder nor"):
        find_logs(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="in or below this folder"):
        find_logs(tmp_path / "empty")


def test_curves_are_means_over_seeds_without_terms_of_zero(tmp_path):
    logs = [write_log(tmp_path / str(s), [2.0 * s, 1.0], loss_mix=0.75, loss_cls=0.25, loss_sim=0.0) for s in (1, 2)]
    curves = loss_curves(logs)
    assert list(curves) == ["loss", "loss_mix", "loss_cls"]
    assert curves["loss"].mean.tolist() == [3.0, 1.0]
    assert curves["loss_mix"].mean.tolist() == [2.25, 0.75]
    assert curves["loss_cls"].std.tolist() == pytest.approx([0.25 * 2**0.5, 0.0])
    assert loss_curves(logs[:1])["loss"].x.tolist() == [10, 20]
    with pytest.raises(ValueError, match="fewer than two training losses"):
        loss_curves([[{"step": 1, "loss": 1.0}]])


def test_predictions_of_arrays_and_of_a_run(tmp_path):
    labels, logits = run_samples.sample_predictions("rte", 12, 1, 2.0)
    run_samples.save_predictions(tmp_path / "eval_predictions.parquet", range(12), labels, logits)
    np.savez(tmp_path / "a.npz", logits=logits, labels=labels)
    for path in ("eval_predictions.parquet", "a.npz"):
        scores, classes, are_logits = read_predictions(tmp_path / path)
        assert are_logits
        np.testing.assert_array_equal(scores, logits)
        np.testing.assert_array_equal(classes, labels)
    np.savez(tmp_path / "probs.npz", probs=torch.from_numpy(logits).softmax(-1).numpy(), labels=labels)
    scores, _, are_logits = read_predictions(tmp_path / "probs.npz")
    assert scores.sum(-1).numpy() == pytest.approx(1)
    assert not are_logits


def test_files_that_hold_no_predictions(tmp_path):
    np.savez(tmp_path / "a.npz", logits=np.ones((2, 2)))
    with pytest.raises(
        ValueError, match=r"expected arrays 'logits' \(or 'probs'\) and 'labels', found logits \(2, 2\)"
    ):
        read_predictions(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"of shape \(epochs, rows, classes\)"):
        read_epochs(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", logits=np.array([{}]), labels=np.ones(1))
    with pytest.raises(ValueError, match="no .npz file of arrays of numbers"):
        read_predictions(tmp_path / "b.npz")
    for name in ("c.npz", "c.parquet"):
        (tmp_path / name).write_text("text")
        with pytest.raises(ValueError, match=r"neither an .npz file|no Parquet file"):
            read_predictions(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            read_predictions(tmp_path / f"no-{name}")


def test_logits_of_each_evaluation(tmp_path):
    keeper = EpochLogits(lambda prediction: {"rows": float(len(prediction.label_ids))})
    for epoch in (1.0, 2.0):
        assert keeper(EvalPrediction(epoch * np.eye(3), np.arange(3))) == {"rows": 3.0}
    assert EpochLogits()(EvalPrediction(np.eye(3), np.arange(3))) == {}
    keeper.save(tmp_path / "run.npz")
    found = read_epochs(tmp_path / "run.npz")
    assert found.epochs == (1.0, 2.0)
    torch.testing.assert_close(found.logits, torch.stack([torch.eye(3), 2 * torch.eye(3)]).double())
    keeper.save(tmp_path / "run.npz", [0.5, 1])
    assert read_epochs(tmp_path / "run.npz").epochs == (0.5, 1.0)
    with pytest.raises(ValueError, match="epochs must hold 2 numbers, one per evaluation, got 1"):
        keeper.save(tmp_path / "run.npz", [1])
    keeper(EvalPrediction(np.eye(2), np.arange(2)))
    for broken in (keeper, EpochLogits()):
        with pytest.raises(ValueError, match="Expected evaluations of the same rows"):
            broken.save(tmp_path / "run.npz")


def test_names_of_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = named_paths(["a=x/y.npz", "x/z.npz", "runs/seed-1/eval_predictions.parquet", "trainer_state.json"])
    assert list(names) == ["a", "z", "seed-1", tmp_path.name]
    assert str(names["a"]) == "x/y.npz"
    with pytest.raises(ValueError, match="Two inputs are named 'z'"):
        named_paths(["x/z.npz", "y/z.npz"])
