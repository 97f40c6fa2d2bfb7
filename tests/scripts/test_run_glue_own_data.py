# SPDX-License-Identifier: Apache-2.0
"""The script on the user's own rows: several labels per row, scores of every class, predictions with probabilities."""

import csv
import json
import re

import numpy as np
import pytest
import samples
from datasets import Dataset
from scipy.special import expit, softmax
from sklearn import metrics as sk

QUIET = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--max_seq_length=32", "--max_steps=2"]
WORDS = samples.WORDS.split()[5:-2]
TEXTS = [f"the {WORDS[k % 7]} {WORDS[k % 5]} {WORDS[k % 11]}" for k in range(24)]
TOPICS = [[name for place, name in enumerate(("cat", "dog", "mat")) if k % (place + 2) == 0] for k in range(24)]


@pytest.fixture
def call(run_glue, tmp_path):
    """Run the script; `call(model, *flags)` returns the exit code and the output folder."""

    def call(model, *flags, out="out"):
        given = [f"--model_name_or_path={model}", f"--output_dir={tmp_path / out}", *QUIET]
        return run_glue.main([*given, *map(str, flags)]), tmp_path / out

    return call


def jsonl(path, rows):
    return samples.write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def results(out, name="all_results"):
    return json.loads((out / f"{name}.json").read_text())


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_several_labels_per_row_end_to_end(call, tmp_path, method):
    rows = [{"text": text, "label": TOPICS[k], "ref": f"r{k}"} for k, text in enumerate(TEXTS)]
    train = jsonl(tmp_path / "train.jsonl", rows)
    test = jsonl(tmp_path / "test.jsonl", [{"text": row["text"], "ref": row["ref"]} for row in rows[:5]])
    model = samples.write_model(tmp_path / "model", num_labels=3)
    data = [f"--train_file={train}", f"--validation_file={train}", f"--test_file={test}", "--save_predictions=true"]
    code, out = call(model, *data, "--do_train", "--do_eval", "--do_predict", f"--mix_method={method}")
    assert code == 0
    config = json.loads((out / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "mat"}
    saved = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
    logits, truth = np.array(saved["logits"]), np.array(saved["label"])
    assert truth.tolist() == [[float(name in topics) for name in ("cat", "dog", "mat")] for topics in TOPICS]
    assert saved["ref"][:] == [row["ref"] for row in rows]
    assert np.array(saved["probabilities"]) == pytest.approx(expit(logits), abs=1e-6)
    found = results(out)
    for average in ("micro", "macro"):
        expected = sk.f1_score(truth, logits > 0, average=average, zero_division=0)
        assert found[f"eval_{average}_f1"] == pytest.approx(expected)
    assert found["eval_subset_accuracy"] == pytest.approx(sk.accuracy_score(truth, logits > 0))
    assert found["eval_nll"] == pytest.approx(found["eval_loss"], abs=1e-5)
    assert found["eval_brier"] == pytest.approx(((expit(logits) - truth) ** 2).mean(), abs=1e-6)
    by_label = results(out, "eval_class_results")
    assert [one["rows"] for one in by_label.values()] == truth.sum(0).tolist()
    assert found["eval_ece"] == pytest.approx(np.mean([one["ece"] for one in by_label.values()]))
    predicted = read_csv(out / "predictions.csv")
    assert [row["ref"] for row in predicted] == [row["ref"] for row in rows[:5]]
    for row in predicted:
        above = [name for name in ("cat", "dog", "mat") if float(row[f"probability_{name}"]) > 0.5]
        assert json.loads(row["prediction"]) == above
    assert "micro_f1" in (out / "README.md").read_text()


def test_a_multi_label_model_predicts_and_is_not_scored_on_other_labels(call, tmp_path, capsys):
    names = {"id2label": dict(enumerate("abc")), "label2id": {name: k for k, name in enumerate("abc")}}
    model = samples.write_model(tmp_path / "model", 3, problem_type="multi_label_classification", **names)
    rows = [{"text": text, "prediction": "old"} for text in TEXTS]
    code, out = call(model, f"--test_file={jsonl(tmp_path / 'bare.jsonl', rows)}", "--do_predict", out="bare")
    assert code == 0
    for row in read_csv(out / "predictions.csv"):
        assert row["prediction"] == "old"
        above = [name for name in "abc" if float(row[f"model_probability_{name}"]) > 0.5]
        assert json.loads(row["model_prediction"]) == above
    single = jsonl(tmp_path / "x.jsonl", [{"text": text, "label": "abc"[k % 3]} for k, text in enumerate(TEXTS)])
    assert call(model, f"--validation_file={single}", "--do_eval")[0] == 2
    assert "is trained for multi_label_classification, the labels are those of single" in capsys.readouterr().err


LISTS = {
    "ids": ([[0, 2], [1], []], ("0", "1", "2"), [[1, 0, 1], [0, 1, 0], [0, 0, 0]]),
    "switches": ([[1, 0, 1], [0, 1, 0], [0, 0, 0]], ("0", "1", "2"), [[1, 0, 1], [0, 1, 0], [0, 0, 0]]),
    "float switches": ([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], ("0", "1"), [[1, 0], [0, 1], [0, 1]]),
    "two ids in each": ([[0, 1], [1, 0], [0, 1]], ("0", "1"), [[1, 1]] * 3),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_ids_and_of_switches(call, tmp_path, case):
    lists, names, truth = LISTS[case]
    data = jsonl(tmp_path / "x.jsonl", [{"text": t, "label": one} for t, one in zip(TEXTS, lists, strict=False)])
    model = samples.write_model(tmp_path / "model", num_labels=len(names))
    flags = [f"--train_file={data}", f"--validation_file={data}", "--do_train", "--do_eval", "--save_predictions=true"]
    code, out = call(model, *flags, "--mix_method=vanilla")
    assert code == 0
    assert tuple(json.loads((out / "config.json").read_text())["label2id"]) == names
    assert np.array(Dataset.from_parquet(str(out / "eval_predictions.parquet"))["label"]).tolist() == truth


def test_a_multi_label_model_keeps_its_order(call, tmp_path):
    order = ("mat", "cat", "dog")
    names = {"id2label": dict(enumerate(order)), "label2id": {name: k for k, name in enumerate(order)}}
    model = samples.write_model(tmp_path / "model", 3, problem_type="multi_label_classification", **names)
    data = jsonl(tmp_path / "x.jsonl", [{"text": t, "label": one} for t, one in zip(TEXTS, TOPICS, strict=True)])
    code, out = call(model, f"--validation_file={data}", "--do_eval", "--save_predictions=true")
    assert code == 0
    saved = np.array(Dataset.from_parquet(str(out / "eval_predictions.parquet"))["label"])
    assert saved.tolist() == [[float(name in topics) for name in order] for topics in TOPICS]


def test_classes_are_scored_one_by_one_and_predictions_keep_what_rows_came_with(call, tmp_path):
    lines = [f"q{k},{text},{'good' if k % 3 else 'bad'},0{k}" for k, text in enumerate(TEXTS)]
    data = samples.write_text(tmp_path / "x.csv", "id,text,label,zip\n" + "\n".join(lines) + "\n")
    bare = samples.write_text(tmp_path / "t.csv", "id,text\n" + "".join(f"q{k},{t}\n" for k, t in enumerate(TEXTS)))
    files = [f"--train_file={data}", f"--validation_file={data}", f"--test_file={bare}", "--save_predictions=true"]
    code, out = call(samples.write_model(tmp_path / "model"), *files, "--do_train", "--do_eval", "--do_predict")
    assert code == 0
    saved = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
    assert saved.column_names == ["id", "zip", "idx", "label", "logits", "probabilities"]
    assert saved["zip"][:3] == ["00", "01", "02"]
    logits, labels = np.array(saved["logits"]), np.array(saved["label"])
    found, by_class = results(out), results(out, "eval_class_results")
    predicted = logits.argmax(-1)
    assert found["eval_macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert found["eval_balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert list(by_class) == ["bad", "good"]
    assert [one["accuracy"] for one in by_class.values()] == sk.recall_score(labels, predicted, average=None).tolist()
    rows = read_csv(out / "predictions.csv")
    assert list(rows[0]) == ["id", "text", "prediction", "entropy", "probability_bad", "probability_good"]
    assert [row["id"] for row in rows] == [f"q{k}" for k in range(24)]
    kept = Dataset.from_parquet(str(out / "predict_predictions.parquet"))
    assert kept.column_names == ["id", "idx", "logits", "probabilities"]
    probs = softmax(np.array(kept["logits"]), axis=-1)
    for row, prob in zip(rows, probs, strict=True):
        assert float(row["probability_good"]) == pytest.approx(prob[1], abs=1e-6)
        assert row["prediction"] == ("bad", "good")[prob.argmax()]
        assert float(row["entropy"]) == pytest.approx(-(prob * np.log(prob)).sum(), abs=1e-5)
    tsv = (out / "predictions.tsv").read_text().splitlines()
    assert tsv == ["index\tprediction", *(f"{k}\t{row['prediction']}" for k, row in enumerate(rows))]


def test_batches_that_are_not_put_together_are_scored_alike(call, tmp_path):
    data = samples.write_text(tmp_path / "x.csv", "text,label\n" + "".join(f"{t},{len(t) % 2}\n" for t in TEXTS))
    model = samples.write_model(tmp_path / "model")
    flags = [f"--validation_file={data}", "--do_eval", "--save_predictions=true", "--per_device_eval_batch_size=5"]
    _, one = call(model, *flags, out="one")
    code, other = call(model, *flags, "--eval_do_concat_batches=false", out="other")
    assert code == 0
    for name in ("accuracy", "macro_f1", "nll", "ece", "brier"):
        assert results(one)[f"eval_{name}"] == results(other)[f"eval_{name}"]
    assert (other / "eval_predictions.parquet").is_file()


ROWS = '{"text": "a cat", "label": ["x"]}\n{"text": "dull", "label": ["y"]}\n'
REFUSED = {
    "list and text": ("x.jsonl", '{"text": "a", "label": [["x"]]}\n', [], "row 1: found label [['x']], allowed are"),
    "floats": ("x.jsonl", '{"text": "a", "label": [0.3, 0.9]}\n', [], "hold floats other than 0 and 1"),
    "one label": ("x.jsonl", '{"text": "a", "label": ["x"]}\n', [], "found the labels x; two or more are needed"),
    "label of nobody": ("x.jsonl", ROWS, ['{"text": "a", "label": ["z"]}\n'], "row 1: found label 'z', allowed"),
    "columns as rows": ("x.json", '{"text": ["a"], "label": [1]}', [], "holds columns (text, label), not rows"),
    "decimal commas": ("x.csv", "text;label\na;1,5\nb;2,5\n", [], "holds numbers with a decimal comma"),
    "many texts": ("x.csv", "head,body,foot,label\na b,c d,e f,1\nb a,d c,f e,0\n", [], "with --text_column_names"),
    "other label_names": ("x.csv", "text,label\na,1\nb,0\n", ["--label_names=target"], "must begin with 'labels'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_cannot_be_used_is_one_line(call, tmp_path, capsys, case):
    name, text, more, message = REFUSED[case]
    flags = [f"--train_file={samples.write_text(tmp_path / name, text)}"]
    if more and more[0].startswith("--"):
        flags += more
    elif more:
        flags += [f"--validation_file={samples.write_text(tmp_path / 'dev.jsonl', more[0])}", "--do_eval"]
    model = samples.write_model(tmp_path / "model")
    capsys.readouterr()
    assert call(model, *flags, "--do_train")[0] == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "out" / "model.safetensors").exists()


# ---- Class weights and soft labels ----

ALL_AT_ONCE = [
    "--learning_rate=0",
    "--per_device_train_batch_size=24",
    "--mix_method=vanilla",
    "--do_train",
    "--do_eval",
]


def test_class_weights_reach_the_step_and_the_card(call, tmp_path):
    labels = ["bad" if k % 3 else "good" for k in range(24)]
    data = samples.write_text(tmp_path / "x.csv", "text,label\n" + "".join(map("{},{}\n".format, TEXTS, labels)))
    files = [f"--train_file={data}", f"--validation_file={data}", "--save_predictions=true"]
    model, losses = samples.write_model(tmp_path / "model"), {}
    for given in (["1", "2.5"], ["balanced"]):
        code, out = call(model, *files, *ALL_AT_ONCE, "--class_weights", *given, out=given[0])
        assert code == 0
        saved = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
        y = np.array(saved["label"])
        w = np.array([1, 2.5] if len(given) == 2 else [24 / (2 * 16), 24 / (2 * 8)])[y]
        nll = -np.log(np.array(saved["probabilities"]))[np.arange(24), y]
        losses[given[0]] = results(out)["train_loss"]
        assert losses[given[0]] == pytest.approx((w * nll).sum() / w.sum(), abs=1e-5)
        assert results(out)["eval_nll"] == pytest.approx(nll.mean(), abs=1e-5)
    assert losses["1"] != pytest.approx(losses["balanced"], abs=1e-3)
    assert "| class\\_weights | balanced |" in (out / "README.md").read_text()


PROBABILITIES = softmax(np.random.default_rng(0).normal(size=(24, 3)), axis=1).round(3)
CLASSES = ("sad", "happy", "angry")


@pytest.mark.parametrize("form", ["lists", "columns", "one column of ones"])
def test_soft_labels_end_to_end(call, tmp_path, form):
    soft = np.eye(3)[PROBABILITIES.argmax(1)] if form == "one column of ones" else PROBABILITIES
    names = CLASSES if form == "columns" else ("0", "1", "2")
    if form == "columns":
        lines = [",".join([text, *map(str, row)]) for text, row in zip(TEXTS, soft, strict=True)]
        data = samples.write_text(tmp_path / "x.csv", ",".join(["text", *CLASSES]) + "\n" + "\n".join(lines) + "\n")
    else:
        pairs = zip(TEXTS, soft.tolist(), strict=True)
        data = jsonl(tmp_path / "x.jsonl", [{"text": text, "label": row} for text, row in pairs])
    flags = {"lists": [], "columns": CLASSES, "one column of ones": ["label"]}[form]
    flags = ["--soft_label_columns", *flags] if flags else []
    order = {"id2label": dict(enumerate(names[::-1])), "label2id": {name: k for k, name in enumerate(names[::-1])}}
    model = samples.write_model(tmp_path / "model", 3, **order)
    test = samples.write_text(tmp_path / "t.csv", "text\n" + "\n".join(TEXTS[:5]) + "\n")
    files = [f"--train_file={data}", f"--validation_file={data}", f"--test_file={test}", "--save_predictions=true"]
    code, out = call(model, *files, *ALL_AT_ONCE, "--do_predict", *flags)
    assert code == 0
    config = json.loads((out / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert tuple(config["id2label"].values()) == names[::-1]
    saved = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
    y, p = soft[:, ::-1], np.array(saved["probabilities"])
    assert np.array(saved["label"]) == pytest.approx(y, abs=1e-6)
    nll = -(y * np.log(p)).sum(1).mean()
    found = results(out)
    assert found["train_loss"] == pytest.approx(nll, abs=1e-5)
    assert found["eval_loss"] == pytest.approx(found["eval_nll"], abs=1e-5) == pytest.approx(nll, abs=1e-5)
    assert found["eval_brier"] == pytest.approx(((p - y) ** 2).sum(1).mean(), abs=1e-5)
    assert found["eval_accuracy"] == pytest.approx((p.argmax(1) == y.argmax(1)).mean())
    assert list(results(out, "eval_class_results")) == list(names[::-1])
    assert [row["prediction"] in names for row in read_csv(out / "predictions.csv")] == [True] * 5
    assert "accuracy" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("rows", "flags", "message"),
    [
        ([[0.2, 0.8], [0.5, 0.4]], ["--soft_label_columns", "label"], r"row 2: the label is \[0.5, 0.4\]; every row"),
        ([[0.2, 0.8], [0.5, 0.4]], [], "do not sum to 1 in each row either"),
        ([0.2, 0.8], ["--soft_label_columns", "label"], "row 1: the label is 0.2; every row needs a list of prob"),
        ([[0.2, 0.8]] * 2, ["--soft_label_columns", "yes", "no"], "x.jsonl has no column 'yes' of --soft"),
    ],
)
def test_soft_labels_that_are_none_are_one_line(call, tmp_path, capsys, rows, flags, message):
    data = jsonl(tmp_path / "x.jsonl", [{"text": text, "label": row} for text, row in zip(TEXTS, rows, strict=False)])
    code, _ = call(samples.write_model(tmp_path / "model"), f"--train_file={data}", "--do_train", *flags)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert re.search(message, error)
