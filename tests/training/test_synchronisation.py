# SPDX-License-Identifier: Apache-2.0
"""What a step asks of a device: with tensors that have a shape and no numbers, nothing can be looked at."""

from contextlib import suppress

import pictures
import pytest
import texts
import tiny
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import masking_utils

from logitmix_nlp import LogitMixTrainer


class Copies(TorchDispatchMode):
    """Copies to the device for which the host would wait."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.device.type == "meta":
            name = function.name()
            host = [x for x in args if isinstance(x, torch.Tensor) and x.device.type == "cpu" and x.dim()]
            if host and not (name == "aten::_to_copy" and kwargs.get("non_blocking")):
                self.waited.append((name, tuple(host[0].shape)))
        return result


@pytest.fixture(autouse=True)
def _masks(monkeypatch):
    """Transformers itself asks whether anything is padded, once in each forward pass."""
    ask = masking_utils._ignore_bidirectional_mask_sdpa
    monkeypatch.setattr(
        masking_utils, "_ignore_bidirectional_mask_sdpa",
        lambda mask, *args, **kwargs: (mask is None or mask.device.type != "meta") and ask(mask, *args, **kwargs),
    )  # fmt: skip


class Done(Exception):
    """The second step is through."""


class Watched(LogitMixTrainer):
    """The first step, with its looks at the model, on the CPU; the second without numbers, and no further."""

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        if self.state.global_step == 0:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        self.model.to("meta")
        if self._soft_head is not None:
            self._soft_head.linear.to("meta")
        self._label_weights = {name: x if x is None else x.to("meta") for name, x in self._label_weights.items()}
        moved = [{name: x.to("meta") for name, x in next(epoch_iterator).items()} for _ in range(num_batches)]
        self.copies = Copies()
        with self.copies:
            return super().get_batch_samples(iter(moved), num_batches, torch.device("meta"))

    def training_step(self, model, inputs, *args, **kwargs):
        if self.state.global_step == 0:
            return super().training_step(model, inputs, *args, **kwargs)
        with self.copies:
            self.compute_loss(model, inputs).backward()
        raise Done

    def watch(self):
        """What the second step waited for."""
        with suppress(Done):
            self.train()
        assert self.state.global_step == 1
        return self.copies.waited


def on_texts(output_dir, method, **options):
    args = tiny.arguments(output_dir, mix_method=method, max_steps=2, **options)
    return Watched(tiny.bert(), args, train_dataset=texts.rows(8), processing_class=texts.tokenizer())


def on_images(output_dir, method):
    args = tiny.arguments(output_dir, mix_method=method, max_steps=2)
    return Watched(pictures.model("vit"), args, train_dataset=pictures.rows("vit", 8))


TEXTS = ("vanilla", "mixup", "logitmix", "tmix", "lamix", "vwci", "confidence_penalty", "span", "ssmix", "logitmix_s")
IMAGES = ("logitmix_m", "cutmix", "logitmix_c", "lamix", "manifold_mixup")


@pytest.mark.parametrize(
    ("make", "method"), [*((on_texts, name) for name in TEXTS), *((on_images, name) for name in IMAGES)]
)
def test_a_step_waits_for_nothing(tmp_path, make, method):
    assert make(tmp_path, method).watch() == []


def test_puzzlemix_looks_at_its_masks(tmp_path):
    with pytest.raises(NotImplementedError, match="nonzero"):
        on_images(tmp_path, "puzzlemix").watch()


@pytest.mark.parametrize(
    "options",
    [{"mix_share": 0.5}, {"class_weights": [1, 2, 3]}, {"lam_per_sample": True, "mix_pairing": "roll"}],
    ids=lambda options: next(iter(options)),
)
def test_nor_with_other_settings(tmp_path, options):
    assert on_texts(tmp_path, "logitmix", mix_site="layer:1", **options).watch() == []


def test_a_step_does_not_search_the_model(tmp_path, monkeypatch):
    """Accelerate unwraps a model by going through all its modules, which takes longer than all draws."""
    unwrap, searched, steps = Accelerator.unwrap_model, [], []

    class Counting(LogitMixTrainer):
        def compute_loss(self, *args, **kwargs):
            before = len(searched)
            loss = super().compute_loss(*args, **kwargs)
            steps.append(len(searched) - before)
            return loss

    monkeypatch.setattr(Accelerator, "unwrap_model", lambda *args, **kw: searched.append(1) or unwrap(*args, **kw))
    tiny.trainer(tmp_path, tiny.rows(12), None, Counting, mix_site="layer:1").train()
    assert steps[1:] == [0, 0]
    assert searched


@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_nor_with_tags_of_tokens(tmp_path, method):
    args = tiny.arguments(tmp_path, mix_method=method, mix_site="layer:1", max_steps=2)
    data = tiny.rows(8, kind="tokens")
    run = Watched(tiny.bert(tokens=True), args, train_dataset=data, data_collator=tiny.collate)
    assert run.watch() == []
