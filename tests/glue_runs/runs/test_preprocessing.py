# SPDX-License-Identifier: Apache-2.0
from contextlib import nullcontext

import pytest
import samples
import tiny
from transformers import AutoTokenizer

from glue_runs.runs.arguments import DataArguments
from glue_runs.runs.preprocessing import model_inputs, select, tokenize
from glue_runs.runs.text_data import load_data
from glue_runs.tasks.description import resolve_labels


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(samples.write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def mrpc(glue):
    return load_data(DataArguments(task_name="mrpc", data_dir=str(glue)))


def test_rows_keep_their_order_length_and_labels(mrpc, tokenizer):
    data, description = mrpc
    inputs = tokenize(data["train"], tokenizer, description)
    assert inputs.column_names == ["label", "input_ids", "token_type_ids", "attention_mask"]
    assert inputs["label"][:] == data["train"]["label"][:]
    pairs = zip(data["train"]["sentence1"], data["train"]["sentence2"], strict=True)
    assert inputs["input_ids"][:] == [tokenizer(*pair)["input_ids"] for pair in pairs]


def test_padding_to_the_full_length_is_a_choice(mrpc, tokenizer):
    inputs = tokenize(mrpc[0]["train"], tokenizer, mrpc[1], max_length=20, pad_to_max_length=True)
    assert [len(ids) for ids in inputs["input_ids"]] == [20, 20]


def test_long_inputs_are_cut(mrpc, tokenizer):
    inputs = tokenize(mrpc[0]["train"], tokenizer, mrpc[1], max_length=7)
    assert [len(ids) for ids in inputs["input_ids"]] == [7, 7]


@pytest.mark.parametrize(("limits", "whose"), [((32, 40), "tokenizer"), ((10**30, 32), "model")])
def test_length_beyond_tokenizer_or_model_warns_and_is_lowered(mrpc, tokenizer, caplog, monkeypatch, limits, whose):
    monkeypatch.setattr(tokenizer, "model_max_length", limits[0])
    model, args = tiny.bert(max_position_embeddings=limits[1]), DataArguments(task_name="mrpc", pad_to_max_length=True)
    inputs = model_inputs({"train": mrpc[0]["train"]}, tokenizer, mrpc[1], args, model)
    assert f"max_seq_length 128 exceeds the limit of the {whose}; 32 is used" in caplog.text
    assert [len(ids) for ids in inputs["train"]["input_ids"]] == [32, 32]


def test_length_without_room_for_the_texts(mrpc, tokenizer):
    for length, fits in ((4, False), (5, True)):
        args = DataArguments(task_name="mrpc", max_seq_length=length)
        with nullcontext() if fits else pytest.raises(ValueError, match="at least 5 for two texts and the special"):
            model_inputs({"train": mrpc[0]["train"]}, tokenizer, mrpc[1], args)


def test_tokens_without_embedding(mrpc, tokenizer):
    model, args = tiny.bert(vocab_size=12), DataArguments(task_name="mrpc")
    with pytest.raises(
        ValueError, match=r"gives the id \d+, but BertForSequenceClassification has embeddings for ids be"
    ):
        model_inputs({"train": mrpc[0]["train"]}, tokenizer, mrpc[1], args, model)


def test_test_split_without_labels_has_no_label_column(mrpc, tokenizer):
    data, description = mrpc
    inputs = model_inputs(data, tokenizer, description, DataArguments(task_name="mrpc", max_seq_length=32))
    assert "label" in inputs["validation"].column_names
    assert "label" not in inputs["test"].column_names
    assert len(inputs["test"]) == len(data["test"])


def test_labels_follow_the_models_order(mrpc, tokenizer):
    data, description = mrpc
    description = resolve_labels(description, {"equivalent": 0, "not_equivalent": 1})
    inputs = model_inputs(data, tokenizer, description, DataArguments(task_name="mrpc", max_seq_length=32))
    assert inputs["train"]["label"][:] == [1 - label for label in data["train"]["label"]]


def test_first_rows_are_selected(mrpc):
    train = mrpc[0]["train"]
    assert len(select(train, 1)) == 1
    assert len(select(train, 10**6)) == len(select(train, None)) == 2
