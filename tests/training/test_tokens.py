# SPDX-License-Identifier: Apache-2.0
"""Token classification through the trainer, beside `test_label_losses`, which has its steps against a plain loop."""

from functools import partial

import pytest
import samples
import tiny
import torch
from transformers import BertTokenizer, DataCollatorForTokenClassification

from logitmix_nlp import LogitMixTrainer, TokenMetrics
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY

NAMES = ("O", "B-x", "I-x")


def trainer(folder, model=None, count=6, **options):
    return tiny.trainer(folder, tiny.rows(count, kind="tokens"), model or tiny.bert(tokens=True), **options)


def test_a_resumed_run_ends_with_bitwise_the_same_weights(tmp_path):
    options = {
        "num_train_epochs": 2, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "train_sampling_strategy": "random", "mix_site": "layer:1", "lam_per_sample": True, "count": 22,
    }  # fmt: skip
    whole = trainer(tmp_path / "whole", tiny.bert(tokens=True, dropout=0.1), **options)
    whole.train()
    again = trainer(tmp_path / "again", tiny.bert(tokens=True, dropout=0.1, seed=3), **options)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert again.state.global_step == whole.state.global_step == 6
    assert tiny.largest_gap(tiny.learnt(whole), tiny.learnt(again)) == 0.0


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("lamix", {"mix_schedule": "random"}),
        ("vwci", {"vwci_passes": 2}),
        ("confidence_penalty", {}),
        ("manifold_mixup", {}),
        ("tmix", {"mix_site": "layer:1,layer:2"}),
        ("logitmix", {"mix_site": "layer:1", "mix_share": 0.5, "class_weights": [1, 2, 3]}),
    ],
)
def test_every_method_that_mixes_places_trains_on_tokens(tmp_path, method, more):
    """With padding on the left, which moves tags and tokens alike."""
    run = trainer(tmp_path, mix_method=method, data_collator=partial(tiny.collate, left=True), **more)
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert len(lines) == 2
    for line in lines:
        terms = [value for name, value in line.items() if name.startswith("loss_")]
        assert line["loss"] == pytest.approx(sum(terms), abs=1e-4)
        assert line["loss"] > 0


@pytest.mark.parametrize("method", ["span", "ssmix", "logitmix_s"])
def test_mixers_that_move_tokens_are_refused(tmp_path, method):
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(samples.WORDS.split())})
    run = trainer(tmp_path, trainer_class=partial(LogitMixTrainer, processing_class=tokenizer), mix_method=method)
    with pytest.raises(ValueError, match=r"moves tokens to other places .* choose mix_method='mixup'"):
        run.train()


def test_similarity_needs_more_than_the_last_layer(tmp_path):
    with pytest.raises(ValueError, match="At layer:3 the similarity term is identically zero in BertForToken"):
        trainer(tmp_path, mix_method="logitmix_m").train()


def test_a_model_of_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"labels are those of tokens.*AutoModelForTokenClassification"):
        trainer(tmp_path, tiny.bert()).train()


def test_the_loss_of_an_evaluation_is_the_mean_over_its_tags(tmp_path):
    """Batches of other numbers of tags; a temperature in the configuration divides the logits."""
    run = trainer(tmp_path, eval_dataset=tiny.rows(7, seed=1, kind="tokens"), mix_method="vanilla")
    run.compute_metrics = TokenMetrics(NAMES)
    vars(run.model.config)[TEMPERATURE_KEY] = 2.0
    batch = tiny.collate(run.eval_dataset)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = run.model.eval()(**batch).logits / 2.0
    tagged = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[tagged], labels[tagged]).item()
    found = run.evaluate()
    assert found["eval_loss"] == pytest.approx(expected, abs=1e-6)
    assert found["eval_nll"] == pytest.approx(expected, abs=1e-6)
    assert found["eval_accuracy"] == pytest.approx((logits.argmax(-1) == labels)[tagged].float().mean().item())
    assert {"eval_f1", "eval_precision", "eval_recall", "eval_ece"} <= found.keys()


class Added(LogitMixTrainer):
    """A loss of one's own on top."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        return (loss + 1.0, outputs) if return_outputs else loss + 1.0


def test_what_a_subclass_adds_stays_in_the_loss_of_an_evaluation(tmp_path):
    data = tiny.rows(7, seed=1, kind="tokens")
    losses = [trainer(tmp_path, trainer_class=cls).evaluate(data)["eval_loss"] for cls in (LogitMixTrainer, Added)]
    assert losses[1] == pytest.approx(losses[0] + 1.0, abs=1e-6)


def test_labels_of_tokens_are_counted_and_checked_as_a_column(tmp_path):
    """Rows of several lengths; balanced weights are those of the tags alone."""
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(samples.WORDS.split())})
    rows = [{"input_ids": [2, 5, 6, 3][:n], "labels": [-100, *tags]} for n, tags in ((3, [0, 0]), (4, [0, 1, 2]))]
    options = {"mix_method": "vanilla", "class_weights": "balanced", "trainer_class": LogitMixTrainer}
    collator = DataCollatorForTokenClassification(tokenizer)
    run = tiny.trainer(tmp_path, rows, tiny.bert(tokens=True), data_collator=collator, **options)
    run.train()
    assert run._label_weights["class_weights"].tolist() == pytest.approx([5 / 9, 5 / 3, 5 / 3])
    rows[1]["labels"][3] = 7
    with pytest.raises(ValueError, match=r"in \[0, 3\), or -100 for tokens without a tag, got 7"):
        tiny.trainer(tmp_path, rows, tiny.bert(tokens=True), data_collator=collator, mix_method="vanilla").train()


def test_a_collator_of_tokens_without_a_padding_token_is_named(tmp_path):
    class Bare:
        pad_token = None

    run = trainer(tmp_path, mix_method="vanilla", data_collator=DataCollatorForTokenClassification(Bare()))
    with pytest.raises(ValueError, match="Bare has no padding token"):
        run.train()
