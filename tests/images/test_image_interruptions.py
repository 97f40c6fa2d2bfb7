# SPDX-License-Identifier: Apache-2.0
"""Methods for images: resuming, accumulating and several processes must not change what is learnt; errors."""

import pictures
import pytest
import tiny
import torch
from ddp_methods_worker import compare

import logitmix_nlp.mixing.mixers as mixers_module
from logitmix_nlp.mixing.mixers import check_mixer

RESUMED = [("resnet", method) for method in pictures.METHODS] + [
    ("mobilenet_v2", "puzzlemix"),
    ("convnext", "logitmix_c"),
    ("vit", "logitmix_p"),
    ("swin", "logitmix_m"),
]
TRAINED_BY_TWO = (
    "mixup", "manifold_mixup", "cutmix", "puzzlemix", "logitmix_m", "logitmix_c", "logitmix_p", "lamix", "lamix_p",
    "label_smoothing", "confidence_penalty", "vwci",
)  # fmt: skip


@pytest.mark.parametrize(("name", "method"), RESUMED)
def test_a_resumed_run_ends_with_bitwise_the_same_weights(tmp_path, name, method):
    settings = {
        "mix_method": method, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "max_steps": 3, "train_sampling_strategy": "random", "optim": "adamw_torch",
        **({"lam_per_sample": True} if method == "logitmix_c" else {}),
    }  # fmt: skip
    whole = pictures.trainer(tmp_path / "whole", name, 22, **settings)
    whole.train()
    again = pictures.trainer(tmp_path / "again", name, 22, model=pictures.model(name, seed=3), **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    tiny.assert_same_learnt(whole, again)
    first = {line["step"]: line for line in whole.state.log_history if "loss" in line}
    second = {line["step"]: line for line in again.state.log_history if "loss" in line}
    assert first == second


def test_boxes_and_grids_differ_by_batch_and_not_by_what_was_drawn_before(tmp_path, monkeypatch):
    drawn = []

    def spy(draw):
        def drawing(*args, **kwargs):
            drawn.append(draw(*args, **kwargs))
            return drawn[-1]

        return drawing

    monkeypatch.setattr(mixers_module, "sample_boxes", spy(mixers_module.sample_boxes))
    for _ in range(2):
        pictures.trainer(tmp_path, "vit", 24, mix_method="cutmix").train()
        torch.rand(7)
    first, second = drawn[:6], drawn[6:]
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert len({tuple(box.flatten().tolist()) for box in first}) > 3


def test_two_processes_learn_what_one_does(tmp_path, monkeypatch):
    compare(
        tmp_path, monkeypatch.setattr, [("vit", method) for method in TRAINED_BY_TWO],
        in_sync_only=(("resnet", "logitmix_p"),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixer": "cutout"}, "mixer must be one of mixup, cutmix, puzzlemix, span, ssmix, got 'cutout'"),
        ({"mix_pairing": "flip"}, "mix_pairing must be one of permutation, roll, got 'flip'"),
        (
            {"mixer": "cutmix"},
            r"mixer='cutmix' mixes the pixels .* mix_site='input\|embeddings': set mix_site='input'",
        ),
        ({"mix_method": "puzzlemix", "mix_site": "layer:1"}, "set mix_site='input', or mixer='mixup'"),
        ({"mix_method": "cutmix", "puzzle_options": {"grid": 4}}, "no meaning for mixer='cutmix'"),
        (
            {"mix_method": "puzzlemix", "puzzle_options": {"blocks": 4}},
            "Unknown puzzle_options blocks. Available: ",
        ),
        ({"mix_method": "puzzlemix", "puzzle_options": "grid=4"}, "must be JSON"),
        ({"mix_method": "puzzlemix", "torch_compile": True}, "torch_compile does not allow"),
        ({"mix_method": "label_smoothing", "mix_weight": 1.0}, "mix_method='label_smoothing' does not mix"),
        ({"penalty_weight": -1.0}, "penalty_weight must be finite and at least 0, got -1.0"),
    ],
)
def test_impossible_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, **options)


@pytest.mark.parametrize("method", ["cutmix", "logitmix_p"])
def test_pixels_of_text_are_refused(tmp_path, method):
    message = "mixes pixels of images, but BertForSequenceClassification takes input_ids: choose mix_method='mixup'"
    with pytest.raises(ValueError, match=message):
        tiny.trainer(tmp_path, tiny.rows(4), mix_method=method)
    with pytest.raises(ValueError, match="FSDP and DeepSpeed do not allow"):
        check_mixer("puzzlemix", pictures.model("vit"), None, sharded=True)


def test_a_penalty_needs_classes(tmp_path):
    with pytest.raises(ValueError, match="penalty_weight=0.1 has no meaning for regression"):
        tiny.trainer(
            tmp_path, tiny.rows(4, kind="regression"), tiny.bert(num_labels=1), mix_method="confidence_penalty"
        )


def test_a_drawn_site_before_affine_maps_only_is_refused(tmp_path):
    with pytest.raises(ValueError, match="behind layer:3 of ResNetForImageClassification only affine maps follow"):
        pictures.trainer(tmp_path, "resnet", 4, mix_method="manifold_mixup", mix_site="input,layer:2-3").train()
