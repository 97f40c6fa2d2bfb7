# SPDX-License-Identifier: Apache-2.0
"""The script for tags, end to end on a tiny model: CoNLL files in, scores, predictions and a card out."""

import json
import re

import numpy as np
import pytest
import samples
from datasets import Dataset
from hub_runs import TOKEN
from test_run_image_classification import load
from transformers import AutoModelForTokenClassification, AutoTokenizer

from glue_runs.runs.tokens import Tokens
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.functional.entities import count_entities, entity_scores

QUIET = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--report_to=none", "--max_steps=2"]
WORDS = samples.WORDS.split()[5:-2]
TAGS = ("O", "B-animal", "I-animal", "B-place")
SENTENCES = [[WORDS[(3 * k + n * n) % len(WORDS)] for n in range(1 + k % 5)] for k in range(24)]
MARKS = [[TAGS[(k + len(word) + n) % 4] for n, word in enumerate(row)] for k, row in enumerate(SENTENCES)]

script = load("run_ner")


def conll(path, sentences=SENTENCES, marks=MARKS):
    rows = zip(sentences, marks, strict=True) if marks else ((row, None) for row in sentences)
    lines = [
        [word if tags is None else f"{word}\t{tags[n]}" for n, word in enumerate(words)] + [""] for words, tags in rows
    ]
    return samples.write_text(path, "\n".join(line for group in lines for line in group) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of training, evaluation and prediction; its folder, and the flags of data and model."""
    root = tmp_path_factory.mktemp("ner")
    model = samples.write_model(root / "model", num_labels=2)
    data = [f"--{name}_file={conll(root / f'{name}.conll')}" for name in ("train", "validation")]
    data += [f"--test_file={conll(root / 'test.conll', marks=None)}"]
    flags = [f"--model_name_or_path={model}", *data, *QUIET, "--mix_method=logitmix", "--save_predictions=true"]
    out = root / "out"
    flags += [f"--output_dir={out}", "--do_train", "--do_eval", "--do_predict", "--max_seq_length=6"]
    assert script.main(flags) == 0
    return out, flags


def results(out, name="all_results"):
    return json.loads((out / f"{name}.json").read_text())


def test_scores_are_those_of_the_words_the_model_saw(run):
    """Of six tokens, two are special, so that the fifth word of a sentence is cut."""
    out, _ = run
    saved, found = Dataset.from_parquet(str(out / "eval_predictions.parquet")), results(out)
    names = list(json.loads((out / "config.json").read_text())["label2id"])
    logits, labels = np.array(saved["logits"]), np.array(saved["label"])
    seen = [(row[:4], tags[:4]) for row, tags in zip(SENTENCES, MARKS, strict=True)]
    assert saved["word"][:] == [word for row, _ in seen for word in row]
    assert [names[k] for k in labels] == [tag for _, tags in seen for tag in tags]
    predicted, truth, rows = logits.argmax(-1), [tags for _, tags in seen], []
    for _, tags in seen:
        rows.append([names[k] for k in predicted[: len(tags)]])
        predicted = predicted[len(tags) :]
    scores = entity_scores(count_entities(rows, truth))
    assert {name: found[f"eval_{name}"] for name in scores} == pytest.approx(scores)
    assert found["eval_accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    assert found["eval_nll"] == pytest.approx(found["eval_loss"], abs=1e-5)
    assert {"eval_ece", "eval_oe", "eval_brier"} <= found.keys()
    assert set(results(out, "eval_class_results")) == set(TAGS)


def test_untagged_sentences_are_predicted_word_by_word_and_not_scored(run):
    out, _ = run
    rows = read_data_file(out / "predictions.conll")
    assert rows["tokens"][:] == SENTENCES
    assert all(tags[4:] in ([], ["O"]) for tags in rows["ner_tags"])
    lines = (out / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("sentence,word,prediction,entropy,probability_")
    assert len(lines) == 1 + sum(min(len(row), 4) for row in SENTENCES)
    assert lines[1].split(",")[2] == rows["ner_tags"][0][0]
    figures = {name for name in results(out) if name.startswith("predict_")}
    assert not figures & {"predict_loss", "predict_f1", "predict_accuracy", "predict_ece"}


def test_the_card_and_the_model_are_of_tokens(run, monkeypatch, capsys):
    out, _ = run
    monkeypatch.chdir(out)
    card = (out / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card
    assert 'pipeline("token-classification", model=".", aggregation_strategy="simple")' in card
    assert "| F1 |" in card
    assert "layer:0" in card  # of two layers, the one before the last: behind that L_sim would be zero
    assert type(AutoModelForTokenClassification.from_pretrained(out)).__name__ == "BertForTokenClassification"
    for snippet in re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL):
        exec(snippet, {})
    assert "[CLS]" in capsys.readouterr().out


def test_model_and_card_arrive_on_the_hub_and_no_words(server, run, tmp_path):
    flags = [flag for flag in run[1] if not flag.startswith("--output")]
    hub = ["--push_to_hub", "--hub_model_id=me/tiny", f"--hub_token={TOKEN}"]
    assert script.main([*flags, f"--output_dir={tmp_path / 'out'}", *hub]) == 0
    files = server.repository("me/tiny").files
    assert {"model.safetensors", "README.md", "tokenizer.json", "result.json"} <= files.keys()
    assert not any(name.endswith((".conll", ".csv", ".parquet")) for name in files)
    assert b"pipeline_tag: token-classification" in files["README.md"]


def test_a_finished_run_is_evaluated_again_and_a_model_alone(run, capsys):
    out, flags = run
    before = results(out)["eval_f1"]
    assert script.main(flags) == 0
    alone = [f"--model_name_or_path={out}", flags[2].replace("train", "validation"), *QUIET, "--do_eval"]
    assert script.main([*alone, "--max_seq_length=6", f"--output_dir={out.parent / 'alone'}"]) == 0
    assert results(out)["eval_f1"] == before == results(out.parent / "alone")["eval_f1"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task_name=cola"], "unknown argument '--task_name=cola'"),
        (["--train_file=x.conll", "--dataset_name=y"], "Give exactly one source of data: --dataset_name, or --train"),
        (["--metric_for_best_model=eval_x", "--eval_strategy=steps"], "which are: loss, precision, recall, f1, acc"),
        (["--mix_method=span"], "mixer='span' moves tokens to other places of a text"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(run, tmp_path, capsys, flags, message):
    given = [flag for flag in run[1] if not flag.startswith(("--output", "--test", "--mix"))]
    given = [flag for flag in given if flag != "--do_predict"]
    assert script.main([*given, f"--output_dir={tmp_path / 'x'}", *flags]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        (["\u200d"], ["O"], "x.jsonl holds no word that has a token of the model's tokenizer"),
        (["the", "cat"], [1, -100], "x.jsonl: column 'ner_tags' holds -100, which marks pieces of words"),
    ],
)
def test_words_that_cannot_be_scored_are_refused_before_training(run, tmp_path, capsys, words, tags, message):
    path = samples.write_text(tmp_path / "x.jsonl", json.dumps({"tokens": words, "ner_tags": tags}))
    given = [flag for flag in run[1] if not flag.startswith(("--output", "--test", "--validation", "--do_predict"))]
    if -100 in tags:
        given = [flag for flag in given if not flag.startswith("--train_file")] + [f"--train_file={path}"]
    assert script.main([*given, f"--output_dir={tmp_path / 'out'}", f"--validation_file={path}"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("method", ["logitmix", "logitmix_m"])
def test_logitmix_takes_the_layer_before_the_last_where_no_site_is_named(run, tmp_path, method):
    given = [flag for flag in run[1] if not flag.startswith(("--output", "--test", "--mix", "--do_predict"))]
    given += [f"--mix_method={method}", f"--output_dir={tmp_path}"]
    assert Tokens.parse(given)[-1].mix_site == "layer:-2"
    assert Tokens.parse([*given, "--mix_site=embeddings"])[-1].mix_site == "embeddings"


@pytest.mark.parametrize(
    ("method", "site"), [("manifold_mixup", "input|embeddings,layer:0-1"), ("tmix", "layer:7/12,layer:9/12")]
)
def test_sites_that_are_of_use_to_words_stay_with_a_similarity_term(run, tmp_path, method, site):
    given = [flag for flag in run[1] if not flag.startswith(("--output", "--test", "--mix", "--do_predict"))]
    flags = [f"--mix_method={method}", "--sim_weight=1", f"--output_dir={tmp_path}"]
    assert Tokens.parse([*given, *flags])[-1].mix_site == site


def test_tmix_leaves_out_the_last_layer_where_no_site_is_named(run, tmp_path):
    given = [flag for flag in run[1] if not flag.startswith(("--output", "--test", "--mix", "--do_predict"))]
    settings = Tokens.parse([*given, "--mix_method=tmix", f"--output_dir={tmp_path}"])[-1]
    assert settings.mix_site == "layer:7/12,layer:9/12"


def test_a_tokenizer_that_tells_words_by_spaces_puts_one_before_each(tmp_path):
    from transformers import RobertaTokenizer

    from logitmix_nlp.training.tokenizers import load_word_tokenizer, word_starts

    vocabulary = {token: k for k, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcĠ"])}
    RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    tokenizer = load_word_tokenizer(str(tmp_path))
    batch = tokenizer([["ab", "c"]], is_split_into_words=True)
    assert tokenizer.convert_ids_to_tokens(batch["input_ids"][0]) == ["<s>", *"Ġab", *"Ġc", "</s>"]
    assert word_starts(batch, 0) == {1: 0, 4: 1}
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).add_prefix_space
