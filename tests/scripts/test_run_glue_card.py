# SPDX-License-Identifier: Apache-2.0
"""The card that the script leaves beside a model."""

import json

import samples
from huggingface_hub import metadata_load

QUIET = ["--use_cpu", "--disable_tqdm", "true", "--dataloader_pin_memory", "false", "--max_seq_length", "32"]


def call(run_glue, model, out, *flags):
    return run_glue.main([f"--model_name_or_path={model}", f"--output_dir={out}", "--max_steps=2", *QUIET, *flags])


def test_results_of_both_sets_of_mnli_once_the_finished_run_is_evaluated(run_glue, glue, tmp_path):
    out, model = tmp_path / "out", samples.write_model(tmp_path / "encoder", num_labels=3)
    data = ["--task_name", "mnli", "--data_dir", str(glue), "--do_train", "--mix_method", "mixup", "--n_bins", "10"]
    assert call(run_glue, model, out, *data) == 0
    card = out / "README.md"
    assert "There are no results: the trainer has no evaluation dataset." in card.read_text()
    assert call(run_glue, model, out, *data, "--do_eval") == 0
    text, metadata = card.read_text(), metadata_load(card)
    for told in (
        "| base model | `encoder`, a local folder |",
        "These are the weights of the last step, 2.",
        "GLUE MNLI (local files), split `train`, 3 rows",
        "python -m glue_runs.runs.run --model_name_or_path=encoder --task_name=mnli --data_dir=glue",
        '{"text": "A first sentence.", "text_pair": "A second one."}',
        "truncation=True, max_length=32",
    ):
        assert told in text
    assert str(tmp_path) not in text
    assert {"generated_from_trainer", "logitmix-nlp", "mixup"} <= set(metadata["tags"])
    assert (metadata["language"], "base_model" in metadata) == (["en"], False)
    logged = json.loads((out / "all_results.json").read_text())
    for result in metadata["model-index"][0]["results"]:
        prefix = result["dataset"]["split"].replace("validation", "eval")
        for metric in result["metrics"]:
            assert metric["value"] == logged[f"{prefix}_{metric['type']}"]
    assert len(metadata["model-index"][0]["results"]) == 2
    assert metadata["model-index"][0]["results"][0]["metrics"][1]["args"] == {"n_bins": 10}


def test_weights_that_are_not_kept_have_no_card(run_glue, model, glue, tmp_path):
    data = ["--task_name", "cola", "--data_dir", str(glue), "--do_train", "--do_eval", "--keep_weights", "false"]
    assert call(run_glue, model, tmp_path / "out", *data) == 0
    assert not (tmp_path / "out" / "README.md").exists()
