# SPDX-License-Identifier: Apache-2.0
"""Which columns are read as text: found by name, then by content, the same in training and evaluation."""

import json
import logging
from types import SimpleNamespace

import pytest
import samples
from datasets import Dataset

from glue_runs.runs.run import main as run_glue
from logitmix_nlp.commands import calibrate, evaluate
from logitmix_nlp.evaluation.data.columns import guess_text_columns, stored_columns

WORDS = samples.WORDS.split()[5:-2]
LABELS = [("good", "bad")[place % 2] for place in range(40)]
TEXTS = [f"the {WORDS[place % 7]} {WORDS[place % 5]} {WORDS[place % 11]} sat" for place in range(40)]
OTHER = [f"it was {WORDS[place % 9]} {WORDS[place % 4]} not {WORDS[place % 13]}" for place in range(40)]
IDS = [f"x{place:03}" for place in range(40)]
DATES = [f"2024-05-{1 + place % 28:02}" for place in range(40)]
AUTHORS = [f"{WORDS[place % 7]} {WORDS[place % 11]}".title() for place in range(40)]
SOURCES = [("web shop", "mail")[place % 2] for place in range(40)]
PLACES = [f"{place} the street" for place in range(40)]

FOUND = {
    "id,text,label": ({"id": IDS, "text": TEXTS}, ("text",)),
    "date,author,text,label": ({"date": DATES, "author": AUTHORS, "text": TEXTS}, ("text",)),
    "text,source,label": ({"text": TEXTS, "source": SOURCES}, ("text",)),
    "camel case": ({"postId": IDS, "reviewText": TEXTS, "title": OTHER}, ("reviewText",)),
    "known pair": ({"premise": TEXTS, "gold_label_text": SOURCES, "hypothesis": OTHER}, ("premise", "hypothesis")),
    "sentence1 and sentence2": ({"sentence2": OTHER, "sentence1_parse": TEXTS, "sentence1": TEXTS},
                                ("sentence1", "sentence2")),
    "numbered pair": ({"id": IDS, "text2": OTHER, "text1": TEXTS, "remark": PLACES}, ("text1", "text2")),
    "lettered pair": ({"partB": OTHER, "remark": PLACES, "partA": TEXTS}, ("partA", "partB")),
    "ids by content": ({"ref": IDS, "words": TEXTS}, ("words",)),
    "dates by content": ({"on": DATES, "words": TEXTS}, ("words",)),
    "few values": ({"shop": SOURCES, "words": TEXTS}, ("words",)),
    "numbers": ({"n": [str(place) for place in range(40)], "words": TEXTS}, ("words",)),
    "two texts": ({"head": TEXTS, "body": OTHER}, ("head", "body")),
    "the only strings": ({"source": SOURCES}, ("source",)),
    "no spaces, but no ids": ({"words": ["很好的电影", "太差了", "还可以"] * 13 + ["好"]}, ("words",)),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_text_columns_are_found(case, caplog):
    columns, texts = FOUND[case]
    data = Dataset.from_dict({**columns, "label": LABELS})
    with caplog.at_level(logging.INFO, logger="logitmix_nlp"):
        assert guess_text_columns(data, "label", "x.csv") == texts
    assert f"x.csv: texts from {' and '.join(map(repr, texts))}" in caplog.text


MEANINGS = """id ids idx index uid guid uuid key hash url uri link path file filename date time datetime timestamp day
    month year created updated author user username name email source language lang locale split category topic type
    domain genre country city label labels target class tag tags rating score version license status gender parse"""
TEXT_NAMES = """text texts sentence sentences review comment tweet post message document utterance content passage
    paragraph statement"""
PAIRS = """sentence1 sentence2, premise hypothesis, question sentence, question context, question answer,
    question passage, query passage, query document, text text_pair"""


def guessed(**columns):
    return guess_text_columns(Dataset.from_dict({**columns, "y": LABELS}), "y", "x.csv")


def test_names_that_tell_texts_from_the_rest():
    for name in MEANINGS.split():
        assert guessed(**{name: TEXTS, "words": OTHER}) == ("words",), name
    for name in TEXT_NAMES.split():
        assert guessed(**{"words": OTHER, f"my_{name}": TEXTS}) == (f"my_{name}",), name
    for pair in PAIRS.split(","):
        first, second = pair.split()
        assert guessed(**{second: TEXTS, "review": PLACES, first: OTHER}) == (first, second)


AMBIGUOUS = {"three texts": {"head": TEXTS, "body": OTHER, "where": PLACES}, "none": {"ref": IDS, "source": SOURCES}}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_stays_ambiguous_is_asked_for(case):
    columns = AMBIGUOUS[case]
    data = Dataset.from_dict({**columns, "label": LABELS})
    message = f"x.csv has several columns that may be the text: {', '.join(columns)}; name one, or .* --ood_text"
    with pytest.raises(ValueError, match=message):
        guess_text_columns(data, "label", "x.csv", "--ood_text_column_names")


def test_what_looks_like_ids_is_used_with_a_warning_if_it_is_all_there_is(caplog):
    assert guess_text_columns(Dataset.from_dict({"word": IDS, "label": LABELS}), "label", "x.csv") == ("word",)
    assert "column 'word' looks like ids and is used as text" in caplog.text


def csv(path, columns):
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    return samples.write_text(path, "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Fine-tuned on the columns `body` and `remark` of a file."""
    tmp_path = tmp_path_factory.mktemp("trained")
    data = csv(tmp_path / "x.csv", {"remark": OTHER, "body": TEXTS, "label": LABELS})
    flags = [f"--model_name_or_path={samples.write_model(tmp_path / 'model')}", f"--output_dir={tmp_path / 'out'}"]
    flags += ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--max_seq_length=32"]
    flags += [f"--train_file={data}", "--text_column_names", "body", "remark", "--mix_method=vanilla", "--max_steps=1"]
    assert run_glue([*flags, "--do_train"]) == 0
    return SimpleNamespace(folder=tmp_path / "out", data=data, flags=flags[2:6])


def test_the_model_remembers_what_it_was_trained_on(trained, tmp_path, capsys):
    config = json.loads((trained.folder / "config.json").read_text())
    assert config["data_columns"] == {"text": ["body", "remark"], "image": None, "label": "label"}
    report = ["--no_pictures", "--n_bootstrap=0", f"--output_dir={tmp_path / 'report'}"]
    assert evaluate.main([str(trained.folder), "--data", str(trained.data), *report]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["columns"]["text"] == ["body", "remark"]
    assert "texts from 'body' and 'remark', as in training" in capsys.readouterr().err
    flags = [f"--model_name_or_path={trained.folder}", f"--output_dir={tmp_path / 'again'}", *trained.flags]
    assert run_glue([*flags, f"--validation_file={trained.data}", "--do_eval"]) == 0
    scores = json.loads((tmp_path / "again" / "all_results.json").read_text())
    for name in ("accuracy", "nll", "ece"):
        assert found["figures"]["as trained"][name]["value"] == pytest.approx(scores[f"eval_{name}"], abs=1e-5)
    assert calibrate.main([str(trained.folder), "--data", str(trained.data), "--dry_run"]) == 0
    assert "texts from 'body' and 'remark', as in training" in capsys.readouterr().err


def test_other_columns_than_in_training_are_said_and_flags_win(trained, tmp_path, capsys):
    other = csv(tmp_path / "o.csv", {"text": TEXTS, "label": LABELS})
    report = ["--no_pictures", "--n_bootstrap=0", f"--output_dir={tmp_path / 'report'}"]
    assert evaluate.main([str(trained.folder), "--data", str(other), *report]) == 0
    said = capsys.readouterr().err
    assert f"WARNING: {other} lacks the text of training, 'body' and 'remark'." in said
    assert f"{other}: texts from 'text'" in said
    argv = [str(trained.folder), "--data", str(trained.data), "--text_column_names", "remark", *report]
    assert evaluate.main(argv) == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["columns"]["text"] == ["remark"]


BROKEN = [
    {"text": "body"}, ["text", "image", "label"], {"text": "body", "image": None, "label": None},
    {"text": ["body", 3], "image": None, "label": None}, {"text": ["body"], "image": 3, "label": None},
    {"text": ["body"], "image": None, "label": 3},
]  # fmt: skip


@pytest.mark.parametrize("memory", BROKEN)
def test_a_broken_memory_is_refused(memory):
    message = "data_columns of the model's configuration names no columns: .*; remove it"
    with pytest.raises(ValueError, match=message):
        stored_columns(SimpleNamespace(data_columns=memory))
