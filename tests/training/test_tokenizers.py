# SPDX-License-Identifier: Apache-2.0
"""Folders without a usable tokenizer are refused alike by training and evaluation; GPT-2 gets the padding it lacks."""

import json

import pytest
import samples
import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2Tokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from glue_runs.runs.run import main as run_glue
from logitmix_nlp.commands import evaluate, predict
from logitmix_nlp.training.tokenizers import check_vocabulary, set_padding

FLAGS = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--max_seq_length=16"]
ROWS = "text,label\na cat sat,good\ndull,bad\nthe dog ran on it,good\nnot a fine mat,bad\nit was dull,bad\n"


def byte_tokenizer(**options) -> GPT2Tokenizer:
    """GPT-2's tokenizer of single bytes, which has no padding token."""
    letters = [*(chr(code) for code in range(33, 127)), "Ġ", "<|endoftext|>"]
    return GPT2Tokenizer(vocab={letter: place for place, letter in enumerate(letters)}, merges=[], **options)


@pytest.fixture
def gpt2(tmp_path):
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(model_max_length=40)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=40, num_labels=2, initializer_range=0.2,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    assert (tokenizer.pad_token, config.pad_token_id) == (None, None)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    return tmp_path / "gpt2"


@pytest.fixture
def rows(tmp_path):
    return samples.write_text(tmp_path / "rows.csv", ROWS)


def without_tokenizer(folder):
    for pattern in ("token*", "vocab*", "special*", "merges*"):
        for path in folder.glob(pattern):
            path.unlink()
    return folder


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("stage", ["--do_train", "--do_eval"])
def test_a_folder_without_its_tokenizer_is_refused(tmp_path, gpt2, rows, capsys, family, stage):
    model = without_tokenizer(gpt2 if family == "gpt2" else samples.write_model(tmp_path / "bert"))
    flags = [f"--model_name_or_path={model}", f"--output_dir={tmp_path / 'out'}", f"--train_file={rows}"]
    capsys.readouterr()
    assert run_glue([*flags, f"--validation_file={rows}", stage, *FLAGS]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{model} holds no tokenizer with a vocabulary" in line
    assert evaluate.main([str(model), "--data", str(rows)]) == 2
    assert line in capsys.readouterr().err


def test_a_tokenizer_that_cannot_be_read_is_named(tmp_path, rows, capsys):
    model = samples.write_model(tmp_path / "bert")
    samples.write_text(model / "tokenizer.json", '{"version": "1.0", "model": {"type": "WordPiece"}}')
    flags = [f"--model_name_or_path={model}", f"--output_dir={tmp_path / 'out'}", f"--train_file={rows}"]
    assert run_glue([*flags, "--do_train", *FLAGS]) == 2
    assert f"error: {model} holds no tokenizer that can be read (" in capsys.readouterr().err


def test_what_is_a_vocabulary():
    check_vocabulary(byte_tokenizer(), "gpt2")
    only_special = byte_tokenizer()
    only_special.add_special_tokens({"additional_special_tokens": [chr(code) for code in range(33, 127)] + ["Ġ"]})
    with pytest.raises(ValueError, match="holds no tokenizer with a vocabulary"):
        check_vocabulary(only_special, "gpt2")


@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_gpt2_trains_evaluates_and_predicts(tmp_path, gpt2, rows, method):
    out = tmp_path / "out"
    flags = [f"--model_name_or_path={gpt2}", f"--output_dir={out}", f"--mix_method={method}", "--max_steps=1"]
    data = [f"--train_file={rows}", f"--validation_file={rows}", f"--test_file={rows}", "--save_predictions=true"]
    assert run_glue([*flags, *data, "--do_train", "--do_eval", "--do_predict", *FLAGS]) == 0
    model = AutoModelForSequenceClassification.from_pretrained(out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.pad_token == tokenizer.eos_token
    assert model.config.pad_token_id == tokenizer.eos_token_id
    texts = [line.split(",")[0] for line in ROWS.splitlines()[1:]]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    assert batch["attention_mask"].sum(1).tolist() == lengths
    with torch.no_grad():
        alone = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
        assert (model(**batch).logits - alone).abs().max() < 1e-5
    assert json.loads((out / "all_results.json").read_text())["eval_samples"] == 5
    report = ["--no_pictures", "--n_bootstrap=0", f"--output_dir={tmp_path / 'e'}"]
    assert evaluate.main([str(out), "--data", str(rows), *report]) == 0
    assert predict.main([str(out), "--data", str(rows), "--output_file", str(tmp_path / "p.jsonl")]) == 0
    found = [json.loads(line)["probability_bad"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert found == pytest.approx(alone.softmax(-1)[:, model.config.label2id["bad"]].tolist(), abs=1e-5)
    accuracy = json.loads((tmp_path / "e" / "report.json").read_text())["figures"]["as trained"]["accuracy"]["value"]
    assert accuracy == json.loads((out / "all_results.json").read_text())["eval_accuracy"]


def test_the_last_token_is_pooled_where_texts_end_in_the_end_token():
    """A tokenizer that ends each text in `</s>`: padding with it would hide the very token that is pooled."""
    tokenizer = tokenizer_with_end()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_labels=3, initializer_range=0.3, pad_token_id=None,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config).eval()
    texts = ["a cat sat on it", "dull", "not fine"]
    with torch.no_grad():
        expected = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
        set_padding(tokenizer, model, "llama")
        found = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    assert tokenizer.pad_token != tokenizer.eos_token
    assert (found - expected).abs().max() < 1e-5


def tokenizer_with_end():
    words = ["<s>", "</s>", "<unk>", *samples.WORDS.split()[5:]]
    found = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_padding_that_is_there_is_kept():
    tokenizer, model = byte_tokenizer(pad_token="!"), tiny.bert(pad_token_id=None)
    set_padding(tokenizer, model, "x")
    assert (tokenizer.pad_token, model.config.pad_token_id) == ("!", 0)
    tokenizer, model = byte_tokenizer(), tiny.bert(pad_token_id=3)
    set_padding(tokenizer, model, "x")
    assert (tokenizer.pad_token, model.config.pad_token_id) == ("$", 3)
    bare = tokenizer_with_end()
    bare.bos_token = bare.eos_token = bare.unk_token = None
    with pytest.raises(ValueError, match="x: its tokenizer has no padding token, and no other that could stand in"):
        set_padding(bare, tiny.bert(pad_token_id=None), "x")


@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_a_bare_trainer_refuses_a_tokenizer_that_cannot_pad(tmp_path, gpt2, method):
    model = AutoModelForSequenceClassification.from_pretrained(gpt2)
    tokenizer = AutoTokenizer.from_pretrained(gpt2)
    data = [{**tokenizer(text), "label": place % 2} for place, text in enumerate(("a cat", "dull", "it ran", "the"))]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = tiny.trainer(
        tmp_path, data, model, data_collator=DataCollatorWithPadding(tokenizer), mix_method=method, logging_steps=1
    )
    with pytest.raises(ValueError, match=r"no padding token: set tokenizer.pad_token \(to tokenizer.eos_token, say\)"):
        run.train()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(ValueError, match="padding token"):
        run.train()  # the model does not know it: nothing told the trainer
    model.config.pad_token_id = tokenizer.pad_token_id
    run.train()
    assert run.state.global_step == 1
