# SPDX-License-Identifier: Apache-2.0
"""What the Trainer hands to whom, and when it takes it back."""

import pytest
import tiny
import torch
from transformers import BertTokenizer, ViTImageProcessor

import logitmix_nlp.training.mixin as trainer_module
from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.mixing.mixers import pixel_scale
from logitmix_nlp.mixing.probe import probe


@pytest.fixture
def looks(monkeypatch):
    """Model, number of rows and options of every look at a model."""
    seen = []

    def spy(mixer, model, inputs, rows, sites, **options):
        seen.append((model, rows, options))
        return probe(mixer, model, inputs, rows, sites, **options)

    monkeypatch.setattr(trainer_module, "probe", spy)
    return seen


def test_outputs_of_a_training_step_are_those_of_all_its_rows(tmp_path):
    seen = []

    class Watching(LogitMixTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
            seen.append((loss.dim(), outputs.logits.shape))
            return loss

    tiny.trainer(tmp_path, tiny.rows(8), None, Watching, mix_site="layer:1", max_steps=1).train()
    assert [shape for _, shape in seen] == [(8, 3)]


def test_the_plan_ends_with_its_step(tmp_path):
    """Between the steps the model gives plain logits, even in training mode."""
    found = []

    class Watching(LogitMixTrainer):
        def training_step(self, model, inputs, *args, **kwargs):
            loss = super().training_step(model, inputs, *args, **kwargs)
            batch = {name: value for name, value in inputs.items() if name != "labels"}
            plain = tiny.bert()
            plain.load_state_dict(self.model.state_dict())
            with torch.no_grad():
                found.append((model(**batch).logits, plain(**batch).logits))
            return loss

    tiny.trainer(tmp_path, tiny.rows(8), None, Watching, mix_site="layer:1").train()
    assert len(found) == 2
    for logits, plain in found:
        torch.testing.assert_close(logits, plain)


def test_a_model_is_looked_at_once_per_kind_of_batch(tmp_path, looks):
    """Two batches of one row (the last of an epoch), four of more rows: one look at each kind, in every training."""
    run = tiny.trainer(tmp_path, tiny.rows(9), num_train_epochs=2)
    run.train()
    assert [rows for _, rows, _ in looks] == [4, 1]
    assert all(model is run.model for model, _, _ in looks)
    assert all(options == {**options, "needs_similarity": True, "needs_bends": False} for _, _, options in looks)
    run.train()
    assert len(looks) == 4


def test_what_a_method_needs_is_what_is_looked_for(tmp_path, looks):
    for method, similarity, bends in (("mixup", False, False), ("manifold_mixup", False, True)):
        tiny.trainer(tmp_path, tiny.rows(4), mix_method=method).train()
        assert looks[-1][2]["needs_similarity"] is similarity
        assert looks[-1][2]["needs_bends"] is bends
    tiny.trainer(tmp_path, tiny.rows(4), mix_method="vanilla").train()
    assert len(looks) == 2


@pytest.mark.parametrize("flag", ["is_fsdp_enabled", "is_deepspeed_enabled"])
def test_sharded_parameters_are_known_as_such(tmp_path, looks, flag):
    """One look for all batches, and methods refused that would need more than they allow."""

    class Sharded(LogitMixTrainer):
        @property
        def _sharded(self):
            return True

    tiny.trainer(tmp_path, tiny.rows(9), None, Sharded, num_train_epochs=2).train()
    assert [(rows, options["sharded"]) for _, rows, options in looks] == [(4, True)]
    for method, message in (("lamix", "would save with the model"), ("puzzlemix", "FSDP and DeepSpeed do not allow")):
        run = tiny.trainer(tmp_path, tiny.rows(4), mix_method="vanilla")
        assert not run._sharded
        setattr(run, flag, True)
        run.args.mix_method = method
        with pytest.raises(ValueError, match=message):
            run.train()


@pytest.mark.parametrize(("method", "size", "warned"), [("mixup", 1, 1), ("mixup", 4, 0), ("vanilla", 1, 0)])
def test_lone_rows_are_warned_of(tmp_path, caplog, method, size, warned):
    tiny.trainer(tmp_path, tiny.rows(4), mix_method=method, per_device_train_batch_size=size).train()
    assert sum("each row is mixed with itself" in message for message in caplog.messages) == warned


def test_pixels_are_scaled_as_the_processor_scales_them():
    means, stds = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    assert [*map(list, pixel_scale(ViTImageProcessor(image_mean=means, image_std=stds)))] == [means, stds]
    assert pixel_scale(ViTImageProcessor(image_mean=means, image_std=stds, do_normalize=False)) is None
    assert pixel_scale(BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1})) is None
    assert pixel_scale(None) is None
