# SPDX-License-Identifier: Apache-2.0
"""Trainings on a GPU, which this machine may not have: `make gpu` runs them."""

import pytest
import texts
import tiny
import torch
from test_switches import first_step, terms
from transformers import masking_utils

from logitmix_nlp import LogitMixTrainer

pytestmark = pytest.mark.gpu
METHODS = ("vanilla", "mixup", "logitmix", "tmix", "lamix", "vwci", "span", "ssmix")


class Strict(LogitMixTrainer):
    """From the second step on, whatever makes the host wait for the GPU is an error."""

    def training_step(self, *args, **kwargs):
        torch.cuda.set_sync_debug_mode("error" if self.state.global_step else 0)
        try:
            return super().training_step(*args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode(0)


@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_gpu(tmp_path, method, monkeypatch):
    """But for Transformers' own question in SDPA whether anything is padded."""
    monkeypatch.setattr(masking_utils, "_ignore_bidirectional_mask_sdpa", lambda *args, **kwargs: False)
    args = tiny.arguments(tmp_path, mix_method=method, max_steps=4, use_cpu=False, logging_nan_inf_filter=False)
    run = Strict(tiny.bert(), args, train_dataset=texts.rows(16), processing_class=texts.tokenizer())
    run.train()
    assert run.state.global_step == 4
    assert next(run.model.parameters()).is_cuda


@pytest.mark.parametrize("options", [{}, {"dataloader_pin_memory": True, "dataloader_num_workers": 1}], ids=str)
def test_a_step_is_that_of_the_cpu(tmp_path, options):
    line, gradients = first_step(tmp_path, use_cpu=True)
    other, found = first_step(tmp_path, use_cpu=False, **options)
    assert terms(other) == pytest.approx(terms(line), abs=1e-4)
    assert tiny.largest_gap(gradients, found) < 1e-4


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_16_bits_come_near_and_stay_finite(tmp_path, dtype):
    line, _ = first_step(tmp_path, use_cpu=False)
    other, _ = first_step(tmp_path, use_cpu=False, **{dtype: True})
    assert terms(other) == pytest.approx(terms(line), rel=0.03, abs=2e-3)
    assert "nonfinite_batches" not in other


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, in its own code
def test_the_default_back_end_of_the_compiler(tmp_path):
    torch._dynamo.reset()
    line, gradients = first_step(tmp_path, use_cpu=False)
    other, found = first_step(tmp_path, use_cpu=False, torch_compile=True)
    assert terms(other) == pytest.approx(terms(line), abs=1e-4)
    assert tiny.largest_gap(gradients, {name.removeprefix("_orig_mod."): g for name, g in found.items()}) < 1e-4
