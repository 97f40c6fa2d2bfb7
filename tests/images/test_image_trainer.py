# SPDX-License-Identifier: Apache-2.0
import image_files
import pytest
import tiny
import torch
from transformers import ViTImageProcessorPil

import logitmix_nlp.images.trainer as trainer_module
from logitmix_nlp.functional.augmentation import crop_flip, normalize_pixels
from logitmix_nlp.images import ImageModelArguments, ImageTrainer, ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows
from logitmix_nlp.images.recipes import RECIPES, milestone_factor, recipe_flags
from logitmix_nlp.images.scratch import from_scratch

OVERRIDES = "embedding_size=4,hidden_sizes=[4,8],depths=[1,1],layer_type=basic"


def arguments(output_dir, **options) -> ImageTrainingArguments:
    """As [`tiny.arguments`], with plain gradient steps."""
    plain = vars(tiny.arguments(output_dir))
    names = (
        "per_device_train_batch_size", "per_device_eval_batch_size", "num_train_epochs", "learning_rate",
        "train_sampling_strategy", "dataloader_pin_memory", "disable_tqdm", "logging_steps", "save_strategy", "seed",
        "use_cpu",
    )  # fmt: skip
    settings = {name: plain[name] for name in names} | {"optim": "sgd", "crop_padding": 2, "flip_prob": 0.5}
    return ImageTrainingArguments(output_dir=str(output_dir), **{**settings, "report_to": "none", **options})


def trainer(output_dir, count=12, seed=0, rows=None, callbacks=None, **options) -> ImageTrainer:
    """A tiny ResNet on a few small images."""
    torch.manual_seed(seed)
    data = image_files.rows(count)
    args = ImageModelArguments(config_name="resnet", config_overrides=OVERRIDES, image_size=16)
    model, processor = from_scratch(args, data, image_files.NAMES)
    rows = ImageRows(data, processor) if rows is None else rows
    extras = {"train_dataset": rows, "eval_dataset": rows, "processing_class": processor, "callbacks": callbacks}
    return ImageTrainer(model, arguments(output_dir, **options), **extras)


@pytest.fixture
def crops(monkeypatch):
    """Every plan of crops that is drawn."""
    drawn, draw = [], trainer_module.sample_crop_flip

    def spy(*args, **options):
        drawn.append(draw(*args, **options))
        return drawn[-1]

    monkeypatch.setattr(trainer_module, "sample_crop_flip", spy)
    return drawn


@pytest.mark.parametrize("method", ["vanilla", "logitmix_c", "puzzlemix"])
def test_a_resumed_run_ends_with_bitwise_the_same_weights(tmp_path, method):
    settings = {
        "mix_method": method, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "max_steps": 3, "train_sampling_strategy": "random", "lr_scheduler_type": "constant", "lr_milestones": [0.5],
        "optim_args": "momentum=0.9,nesterov=true",
    }  # fmt: skip
    whole = trainer(tmp_path / "whole", 22, **settings)
    whole.train()
    again = trainer(tmp_path / "again", 22, seed=1, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    one, other = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_crops_differ_by_batch_and_not_by_what_happens_in_between(tmp_path, crops):
    trainer(tmp_path, eval_strategy="no").train()
    torch.rand(7)
    trainer(tmp_path, eval_strategy="steps", eval_steps=1, mix_method="cutmix").train()
    first, second = crops[:3], crops[3:]
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    assert not torch.equal(first[0].top, first[1].top)


def test_training_sees_cropped_and_normalised_pixels_and_evaluation_whole_ones(tmp_path, crops):
    run, seen = trainer(tmp_path, 4, mix_method="vanilla", ignore_model_loss=True), []
    run.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    run.train()
    run.predict(run.eval_dataset)
    images = torch.stack([run.train_dataset[row]["pixel_values"] for row in range(4)])
    processor = run.processing_class
    scale = (processor.image_mean, processor.image_std)
    assert images.shape[-1] == 16
    assert torch.equal(seen[0], normalize_pixels(crop_flip(images, crops[0], 2), *scale))
    assert torch.equal(seen[1], normalize_pixels(images, *scale))
    assert len(crops) == 1


def test_small_images_are_enlarged_on_the_device(tmp_path):
    torch.manual_seed(0)
    data = image_files.rows(4)
    args = ImageModelArguments(config_name="resnet20", config_overrides="hidden_sizes=[4],depths=[1]")
    model, processor = from_scratch(args, data, image_files.NAMES)
    rows = ImageRows(data, processor)
    run = ImageTrainer(model, arguments(tmp_path), eval_dataset=rows, processing_class=processor)
    pixels = torch.cat(
        [processor(image_files.picture(n % 2, n), return_tensors="pt")["pixel_values"] for n in range(4)]
    )
    with torch.no_grad():
        expected = model.eval()(pixels.float()).logits
    assert torch.allclose(torch.from_numpy(run.predict(rows).predictions), expected, atol=1e-5)


def test_the_learning_rate_falls_at_the_milestones(tmp_path):
    options = {"lr_scheduler_type": "constant", "lr_milestones": [0.5, 0.75], "learning_rate": 0.5}
    run = trainer(tmp_path, 32, max_steps=8, mix_method="vanilla", **options)
    run.train()
    rates = [line["learning_rate"] for line in run.state.log_history if "loss" in line]
    assert rates == pytest.approx([0.5] * 4 + [0.05] * 2 + [0.005] * 2)
    assert [milestone_factor(step, 300, (0.5, 0.75), 0.1) for step in (149, 150, 225)] == pytest.approx([1, 0.1, 0.01])


def test_a_recipe_fills_only_what_is_left_unset():
    assert recipe_flags("cutmix", {}) == RECIPES["cutmix"]
    assert RECIPES["cutmix"] == {  # for CIFAR, as the defaults of the code of CutMix
        "optim": "sgd", "optim_args": "momentum=0.9,nesterov=true", "learning_rate": 0.1, "weight_decay": 1e-4,
        "lr_scheduler_type": "constant", "lr_milestones": [0.5, 0.75], "lr_decay": 0.1, "max_grad_norm": 0.0,
        "per_device_train_batch_size": 128, "num_train_epochs": 300,
    }  # fmt: skip
    assert "learning_rate" not in recipe_flags("cutmix", {"learning_rate": 0.2, "seed": 1})
    rest = {"lr_scheduler_type", "lr_milestones", "lr_decay"}
    for given, gone in (
        ({"lr_scheduler_type": "constant"}, {"lr_scheduler_type"}),
        ({"lr_scheduler_type": "cosine"}, rest),
        ({"warmup_steps": 5}, rest),
        ({"warmup_steps": 0}, set()),
        ({"optim": "adamw_torch"}, {"optim", "optim_args", "learning_rate"}),
        ({"optim": "sgd"}, {"optim"}),
    ):
        assert recipe_flags("cutmix", given).keys() == RECIPES["cutmix"].keys() - gone, given
    with pytest.raises(ValueError, match="Unknown recipe 'cutmux'. Available: cutmix, bit"):
        recipe_flags("cutmux", {})


@pytest.mark.parametrize(
    ("rows", "steps", "mixing"),
    [
        (19_999, 500, {"mix_method": "vanilla"}),
        (20_000, 10_000, {"mix_method": "mixup", "mix_alpha": 0.1}),
        (499_999, 10_000, {"mix_method": "mixup", "mix_alpha": 0.1}),
        (500_000, 20_000, {"mix_method": "mixup", "mix_alpha": 0.1}),
    ],
)
def test_big_transfer_goes_by_the_size_of_the_data(rows, steps, mixing):
    flags = recipe_flags("bit", {}, rows, (95, 97))  # 9,215 of 9,216 pixels
    assert flags == {**RECIPES["bit"], "max_steps": steps, **mixing, "image_size": 128}
    assert recipe_flags("bit", {}, rows, (96, 96))["image_size"] == 384
    kept = flags.keys()
    for given, gone in (
        ({"num_train_epochs": 3}, {"max_steps"}),
        ({"max_steps": 7}, {"max_steps"}),
        ({"mix_method": "logitmix"}, {"mix_method", "mix_alpha"}),
        ({"model_name_or_path": "google/bit-50"}, {"image_size"}),
        ({"image_size": 64, "learning_rate": 0.1}, {"image_size", "learning_rate"}),
        ({"config_overrides": "image_size=64"}, {"image_size"}),
        ({"config_overrides": "depths=[1,1]"}, set()),
        ({"warmup_steps": 5}, {"lr_scheduler_type", "lr_milestones", "lr_decay"}),
    ):
        assert recipe_flags("bit", given, rows, (32, 32)).keys() == kept - gone, given
    assert recipe_flags("bit", {"do_eval": True}) == RECIPES["bit"]


def test_the_recipe_cuts_half_of_the_batches_unless_told_otherwise():
    for given, prob in (
        ({"mix_method": "cutmix"}, 0.5),
        ({"mix_method": "logitmix_c"}, 0.5),
        ({"mixer": "cutmix"}, 0.5),
        ({"mix_method": "logitmix_p"}, None),
        ({"mix_method": "cutmix", "mixer": "mixup"}, None),
        ({"mix_method": "cutmix", "mix_prob": 1.0}, None),
        ({"mix_method": "cutmix", "mix_schedule": "alternate"}, None),
    ):
        assert recipe_flags("cutmix", given).get("mix_prob") == prob, given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix_method": "mixup", "lamix_beta": 0.5, "mix_weight": 0, "sim_weight": 1}, "no step is plain: weight one"),
        ({"lr_milestones": [0.5, 1.0]}, r"lr_milestones are shares of training between 0 and 1, got \[0.5, 1.0\]"),
        ({"lr_milestones": [0.5], "lr_scheduler_type": "cosine"}, "lr_scheduler_type is 'cosine' and warmup_steps 0"),
        ({"lr_milestones": [0.5], "lr_scheduler_type": "constant", "warmup_steps": 3}, "warmup_steps 3: set"),
        ({"lr_milestones": [5.0], "lr_scheduler_type": "constant"}, r"between 0 and 1, got \[5.0\]"),
        ({"lr_milestones": [0.0]}, r"between 0 and 1, got \[0.0\]"),
        *[({"lr_decay": decay}, "lr_decay must be a finite number above 0") for decay in (0.0, float("inf"))],
        ({"crop_padding": -1}, "crop_padding must be at least 0, got -1"),
        *[({"flip_prob": prob}, rf"flip_prob must lie in \[0, 1\], got {prob}") for prob in (2.0, -0.1)],
        ({"recipe": "adam"}, "Unknown recipe 'adam'"),
    ],
)
def test_impossible_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, **options)


def test_the_ends_of_ranges_are_allowed(tmp_path):
    for prob in (0.0, 1.0):
        arguments(tmp_path, flip_prob=prob, crop_padding=0, lr_decay=2.0)


def test_what_the_trainer_needs_is_named(tmp_path):
    run = trainer(tmp_path, 4)
    with pytest.raises(TypeError, match="args must be ImageTrainingArguments, got LogitMixTrainingArguments"):
        ImageTrainer(run.model, tiny.arguments(tmp_path))
    with pytest.raises(ValueError, match="Set crop_padding and flip_prob: 4 and 0.5 are usual"):
        ImageTrainer(run.model, arguments(tmp_path, flip_prob=None))
    with pytest.raises(ValueError, match="processing_class is missing"):
        ImageTrainer(run.model, arguments(tmp_path))
    side = run.train_dataset.shape[1]
    with pytest.raises(
        ValueError, match=f"crop_padding={side} around images of {side} x {side} pixels .* below {side}"
    ):
        trainer(tmp_path, 4, crop_padding=side)
    wide = ImageRows(image_files.rows(4, size=(8, 16)), ViTImageProcessorPil(size={"height": 8, "width": 16}))
    with pytest.raises(ValueError, match="crop_padding=8 around images of 8 x 16 pixels .* below 8"):
        trainer(tmp_path, 4, rows=wide, crop_padding=8)
