# SPDX-License-Identifier: Apache-2.0
"""Cards of other kinds of models: images, adapters, models without evaluation data or tokenizer."""

import card_runs
import pictures
import pytest
import tiny
import torch
from huggingface_hub import ModelCard, metadata_load
from peft import LoraConfig, get_peft_model
from transformers import BertForSequenceClassification, ViTImageProcessorPil

from logitmix_nlp.publishing.card import CardOptions, DatasetFacts


def test_a_classifier_of_images(tmp_path, monkeypatch, capsys):
    names = {0: "cat", 1: "dog", 2: "bird"}
    trainer = pictures.trainer(
        tmp_path / "vit",
        "vit",
        model=pictures.model("vit", id2label=names, label2id={name: row for row, name in names.items()}),
        mix_method="cutmix",
        max_steps=1,
        processing_class=ViTImageProcessorPil(size={"height": 16, "width": 16}),
    )
    trainer.eval_dataset = pictures.rows("vit", 36)
    trainer.card_options = CardOptions({"": DatasetFacts("Pets", split="test")}, n_resamples=50)
    trainer.train()
    trainer.save_model()
    trainer.create_model_card(license="mit")
    card = tmp_path / "vit" / "README.md"
    metadata = metadata_load(card)
    assert ModelCard.load(card).data.to_dict() == metadata
    assert (metadata["pipeline_tag"], metadata["license"]) == ("image-classification", "mit")
    (result,) = metadata["model-index"][0]["results"]
    assert result["task"] == {"type": "image-classification", "name": "Image classification"}
    assert result["dataset"] == {"name": "Pets", "type": "local-data", "split": "test"}
    text = card.read_text()
    assert "a box of each image is replaced by that of its partner" in text
    assert "base model | none: trained from scratch" in text
    monkeypatch.chdir(tmp_path / "vit")
    found = {}
    for piece in card_runs.code_of(text):
        exec(piece, found)
    assert found["logits"].shape == (1, 3)
    assert "'label': 'cat'" in capsys.readouterr().out
    found["model"].eval()
    pixels = torch.stack([row["pixel_values"] for row in pictures.rows("vit", 36)])
    with torch.no_grad():
        nll = torch.nn.functional.cross_entropy(found["model"](pixels).logits.double(), torch.arange(36) % 3).item()
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["nll"] == pytest.approx(nll, rel=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter(tmp_path):
    model = get_peft_model(tiny.bert(), LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"]))
    trainer = tiny.trainer(tmp_path / "out", tiny.rows(8), model, eval_dataset=tiny.rows(8, seed=1), max_steps=1)
    trainer.train()
    trainer.save_model()
    assert "# Model Card for Model ID" in (tmp_path / "out" / "README.md").read_text()
    trainer.create_model_card()
    trainer.save_model()  # PEFT adds to the card that it finds
    text = (tmp_path / "out" / "README.md").read_text()
    assert metadata_load(tmp_path / "out" / "README.md")["library_name"] == "peft"
    assert "An adapter that classifies texts" in text
    assert "Model Card for Model ID" not in text
    assert "No tokenizer is stored with this model" in text
    trainer.create_model_card()
    assert "Fewer than 30 rows: too few for intervals" in (tmp_path / "out" / "README.md").read_text()


def test_a_model_without_evaluation_data(tmp_path):
    trainer = tiny.trainer(tmp_path / "out", tiny.rows(8))
    trainer.create_model_card()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "There are no results: the trainer has no evaluation dataset." in text
    assert "0: this trainer took no training step" in text


def test_rows_that_were_trained_on_are_told(tmp_path):
    rows = tiny.rows(8)
    trainer = tiny.trainer(tmp_path / "out", rows, eval_dataset={"seen": rows, "new": tiny.rows(8, seed=1)})
    trainer.create_model_card(dataset_tags="ann/data", dataset=["Seen", "New"])
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count("The model was trained on these very rows") == 1
    (index,) = metadata_load(tmp_path / "out" / "README.md")["model-index"]
    splits = [result["dataset"]["split"] for result in index["results"]]
    assert splits == ["seen", "new"]


def test_a_model_from_its_own_folder_is_not_its_own_base(tmp_path):
    trainer = tiny.trainer(tmp_path / "out", tiny.rows(8), max_steps=3)
    trainer.train()
    trainer.save_model()
    (tmp_path / "out" / "README.md").write_text("---\nlicense: mit\n---\n")
    for told, expected in ((None, "base model | not known"), ("", "base model | none: trained from scratch")):
        (tmp_path / "out" / "README.md").unlink()
        again = tiny.trainer(
            tmp_path / "out", tiny.rows(8), BertForSequenceClassification.from_pretrained(tmp_path / "out")
        )
        again.card_options = CardOptions(finetuned_from=told)
        again.create_model_card()
        text = (tmp_path / "out" / "README.md").read_text()
        assert expected in text
        assert "fine-tuned from" not in text
        assert "licence" not in text
        assert ("trained from scratch" in text) == (told == "")
    trainer.create_model_card()
    assert "| max\\_steps | 3 |" in (tmp_path / "out" / "README.md").read_text()
    assert "num\\_train\\_epochs" not in (tmp_path / "out" / "README.md").read_text()
