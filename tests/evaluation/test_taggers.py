# SPDX-License-Identifier: Apache-2.0
"""Taggers of words in the commands: evaluate, calibrate, predict, and the pipeline that knows their temperature."""

import json
import re

import numpy as np
import pytest
import samples
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertTokenizer, pipeline

from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.calibration.pipelines import CalibratedTokenClassificationPipeline
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.commands import calibrate, evaluate, predict
from logitmix_nlp.functional import ensemble_scores
from logitmix_nlp.functional.entities import count_entities, entity_scores

TAGS = ("B-x", "I-x", "O")
WORDS = samples.WORDS.split()[5:16]
SENTENCES = [[WORDS[(3 * k + n * n) % len(WORDS)] for n in range(1 + k % 6)] for k in range(30)]
SENTENCES[3].insert(1, "\u200b")  # nothing to the tokenizer: a word without a token
MARKS = [[TAGS[(k + len(word) + n) % 3] for n, word in enumerate(row)] for k, row in enumerate(SENTENCES)]
QUIET = ["--no_pictures", "--n_bootstrap=0", "--batch_size=7", "--device=cpu"]


def tagger(folder, seed=0):
    names = {"id2label": dict(enumerate(TAGS)), "label2id": {name: k for k, name in enumerate(TAGS)}}
    tiny.bert(tokens=True, layers=2, seed=seed, **names).save_pretrained(folder)
    BertTokenizer(vocab={token: k for k, token in enumerate(samples.WORDS.split())}).save_pretrained(folder)
    return folder


def conll(path, marks):
    sentences = zip(SENTENCES, marks, strict=True)
    blocks = ["\n".join(f"{word}\t{tag}" for word, tag in zip(*pair, strict=True)) for pair in sentences]
    return samples.write_text(path, "\n\n".join(blocks) + "\n")


@pytest.fixture
def data(tmp_path):
    return conll(tmp_path / "dev.conll", MARKS)


def seen_words(folder, cut=4):
    """Logits of the words that have a token, sentence by sentence, one sentence at a time; and their tags."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    logits, tags = [], []
    for words, marks in zip(SENTENCES, MARKS, strict=True):
        places = [place for place, word in enumerate(words) if word in WORDS][:cut]
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *(words[place] for place in places), "[SEP]"])
        with torch.no_grad():
            logits.append(model(input_ids=torch.tensor([ids])).logits[0, 1:-1])
        tags.append([marks[place] for place in places])
    return logits, tags


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_words_are_scored_as_one_by_one(tmp_path, data, caplog):
    """Six tokens hold four words, so that some are cut; one word has no token."""
    model, out = tagger(tmp_path / "model"), tmp_path / "out"
    assert evaluate.main([str(model), f"--data={data}", "--max_seq_length=6", f"--output_dir={out}", *QUIET]) == 0
    logits, tags = seen_words(model)
    flat, labels = torch.cat(logits), torch.tensor([TAGS.index(tag) for row in tags for tag in row])
    (figures,) = report(out)["figures"].values()
    expected = calibration_metrics(flat.numpy(), labels.numpy(), 15)
    predicted = [[TAGS[k] for k in row.argmax(-1).tolist()] for row in logits]
    expected |= entity_scores(count_entities(predicted, tags))
    assert {name: figures[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert report(out)["words"] == len(labels)
    assert f"{sum(map(len, SENTENCES)) - len(labels)} words of {data} without a token left out" in caplog.text


def test_a_temperature_is_fitted_to_words_and_applied_everywhere(tmp_path, capsys):
    """Two of three words have the tag that is predicted."""
    model = tagger(tmp_path / "model")
    classes = [iter(row.argmax(-1).tolist()) for row in seen_words(model, cut=100)[0]]
    marks = [
        [TAGS[(next(found) + (k + n) % 3 // 2) % 3] if word in WORDS else "O" for n, word in enumerate(words)]
        for k, (words, found) in enumerate(zip(SENTENCES, classes, strict=True))
    ]
    data = conll(tmp_path / "dev.conll", marks)
    assert calibrate.main([str(model), f"--data={data}", "--device=cpu"]) == 0
    logits, _ = seen_words(model, cut=100)
    pairs = [pair for both in zip(SENTENCES, marks, strict=True) for pair in zip(*both, strict=True)]
    labels = np.array([TAGS.index(tag) for word, tag in pairs if word in WORDS])
    expected = TemperatureScaler().fit(torch.cat(logits), labels).temperature
    stored = json.loads((model / "config.json").read_text())[TEMPERATURE_KEY]
    assert stored == pytest.approx(expected, rel=1e-4)
    assert f"On the {len(labels)} words of" in capsys.readouterr().out
    out = tmp_path / "p.parquet"
    assert predict.main([str(model), f"--data={data}", f"--output_file={out}", "--device=cpu"]) == 0
    rows = Dataset.from_parquet(str(out))
    assert rows["tokens"][:] == SENTENCES
    probabilities = [torch.softmax(row / stored, -1) for row in logits]
    for words, found, confidence, wanted in zip(
        SENTENCES, rows["prediction"], rows["probability_O"], probabilities, strict=True
    ):
        has = [place for place, word in enumerate(words) if word in WORDS]
        assert [found[place] for place in has] == [TAGS[k] for k in wanted.argmax(-1).tolist()]
        assert [confidence[place] for place in has] == pytest.approx(wanted[:, 2].tolist(), abs=1e-5)
        assert [found[place] for place in range(len(words)) if place not in has] == [None] * (len(words) - len(has))
    options = {"model": str(model), "device": "cpu", "ignore_labels": []}
    tag = pipeline("token-classification", pipeline_class=CalibratedTokenClassificationPipeline, **options)
    found = [one["score"] for one in tag(" ".join(SENTENCES[5]))]
    assert found == pytest.approx(probabilities[5].max(-1).values.tolist(), abs=1e-5)


def test_the_mean_of_two_taggers(tmp_path, data):
    models = [tagger(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    out = tmp_path / "out"
    assert evaluate.main([*map(str, models), f"--data={data}", f"--output_dir={out}", *QUIET]) == 0
    both = torch.stack([torch.cat(seen_words(model, cut=100)[0]) for model in models])
    labels = np.array([TAGS.index(tag) for row in seen_words(models[0], cut=100)[1] for tag in row])
    expected = calibration_metrics(ensemble_scores(both).log_probs.numpy(), labels, 15)
    figures = report(out)["figures"]["mean of 2 models, as trained"]
    assert {name: figures[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--noise"], "--noise is for classifiers of whole texts or images; .* classifies words"),
        (["--mc_dropout=3"], "--mc_dropout is for classifiers of whole texts"),
        (["--label_column_name=pos"], "has no column pos of tags; .* out of: tokens, ner_tags"),
    ],
)
def test_what_is_not_for_taggers_is_said(tmp_path, data, capsys, flags, message):
    assert evaluate.main([str(tagger(tmp_path / "model")), f"--data={data}", *QUIET, *flags]) == 2
    assert re.search(message, capsys.readouterr().err)
