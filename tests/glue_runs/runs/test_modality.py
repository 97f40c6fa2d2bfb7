# SPDX-License-Identifier: Apache-2.0
"""What texts and images do in their own way, and that both are the runs that they were before they shared a driver."""

import image_files
import pytest
import samples
import torch
from transformers import BertConfig, BertModel, ResNetConfig, ResNetModel, ViTImageProcessorPil

from glue_runs.runs.images import Images
from glue_runs.runs.job import prepare
from glue_runs.runs.record import all_values, run_record
from glue_runs.runs.texts import Texts
from glue_runs.tasks.description import DataDescription

COMMON = [
    "--use_cpu",
    "--disable_tqdm=true",
    "--dataloader_pin_memory=false",
    "--report_to=none",
    "--logging_steps=1",
    "--max_steps=4",
    "--save_predictions=true",
    "--save_steps=2",
    "--do_train",
    "--do_eval",
    "--do_predict",
    "--output_dir=out",
]
TEXTS = [
    "--max_seq_length=16",
    "--per_device_train_batch_size=2",
    "--model_name_or_path=model",
    "--data_dir=glue",
    "--task_name=cola",
    "--mix_method=logitmix",
    "--eval_strategy=epoch",
]
IMAGES = [
    "--per_device_train_batch_size=4",
    "--train_dir=im",
    "--validation_dir=im",
    "--test_dir=imt",
    "--mix_method=puzzlemix",
    "--seed=3",
]

# `run.json` of these commands as it was when each script had a driver of its own, but for the fields of Transformers
BOTH = {
    "model_revision": "main",
    "ignore_mismatched_sizes": False,
    "dataset_name": None,
    "dataset_config_name": None,
    "train_file": None,
    "label_column_name": "label",
    "max_train_samples": None,
    "mix_weight": 1.0,
    "penalty_weight": 0.0,
    "sim_norm": "mse",
    "mix_prob": 1.0,
    "mix_schedule": "random",
    "lam_per_sample": False,
    "mix_lam": "drawn",
    "label_lam": "mixed",
    "lamix_beta": 1.0,
    "lamix_detach_features": False,
    "mix_pairing": "permutation",
    "puzzle_options": None,
    "mix_warmup": "none",
    "ignore_model_loss": False,
}
RUN_OF_TEXTS = {
    "model_name_or_path": "model",
    "config_name": None,
    "tokenizer_name": None,
    "task_name": "cola",
    "data_dir": "glue",
    "text_column_names": None,
    "max_seq_length": 16,
    "pad_to_max_length": False,
    "mix_method": "logitmix",
    "mixer": "mixup",
    "mix_site": "input|embeddings",
    "mix_alpha": 3.0,
    "cls_weight": 1.0,
    "sim_weight": 1.0,
}
RUN_OF_IMAGES = {
    "model_name_or_path": None,
    "config_name": "resnet20",
    "config_overrides": "embedding_size=8,hidden_sizes=[8],depths=[1]",
    "image_size": None,
    "data_dir": None,
    "train_dir": "im",
    "train_val_split": 0.15,
    "image_column_name": "image",
    "mix_method": "puzzlemix",
    "mixer": "puzzlemix",
    "mix_site": "input",
    "mix_alpha": 1.0,
    "cls_weight": 0.0,
    "sim_weight": 0.0,
    "recipe": None,
    "crop_padding": None,
    "flip_prob": 0.5,
    "lr_milestones": None,
    "lr_decay": 0.1,
}


@pytest.mark.parametrize(
    ("modality", "flags", "own"),
    [(Texts, TEXTS, RUN_OF_TEXTS), (Images, [*image_files.TINY, *IMAGES], RUN_OF_IMAGES)],
)
def test_the_same_command_is_the_same_run_as_before(modality, flags, own):
    model_args, data_args, _, args = modality.parse([*COMMON, *flags])
    modality(model_args, data_args, args)
    record, before = run_record(all_values(model_args, data_args, args), {}), {**BOTH, **own}
    assert {name: record.get(name) for name in before} == before


def test_a_pretrained_backbone_gets_a_head_for_the_classes_of_the_data(tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])  # num_labels is 2, but there is no head
    ResNetModel(config).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    model_args, data_args, _, args = Images.parse([*COMMON, f"--model_name_or_path={tmp_path}"])
    run = Images(model_args, data_args, args)
    run.description = DataDescription((), "label", ("cat", "dog", "owl"), image_column="image")
    model, _ = run.read_pretrained(model_args)
    assert model.config.num_labels == model.classifier[-1].out_features == 3
    args.do_train = False
    with pytest.raises(ValueError, match="has no classification head .*give a fine-tuned model"):
        run.read_pretrained(model_args)
    config.architectures = None  # so that only the weights say it
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights \(classifier.1.bias, .*give a fine-tuned classifier"):
        run.read_pretrained(model_args)


def test_each_split_has_a_limit_of_its_own():
    flags = ["--max_train_samples=1", "--max_eval_samples=2", "--max_predict_samples=3"]
    model_args, data_args, _, args = Texts.parse([*COMMON, *TEXTS, *flags])
    limit = Texts(model_args, data_args, args).row_limit
    assert [limit(name) for name in ("train", "validation_matched", "test_ax")] == [1, 2, 3]


def test_a_new_head_is_drawn_from_the_seed(tmp_path):
    samples.write_model(tmp_path / "model").joinpath("model.safetensors").unlink()
    samples.write_glue(tmp_path / "glue")
    BertModel(BertConfig.from_pretrained(tmp_path / "model")).save_pretrained(tmp_path / "model")

    def head(*flags):
        folders = [f"--{name}={tmp_path / name.split('_')[0]}" for name in ("model_name_or_path", "output_dir")]
        argv = [*COMMON, *TEXTS, f"--data_dir={tmp_path / 'glue'}", *folders, *flags]
        return prepare(Texts, Texts.parse(argv)).trainer.model.classifier.weight

    first = head("--seed=1")
    assert not torch.equal(head("--seed=2"), first)
    assert torch.equal(head("--seed=1"), first)
