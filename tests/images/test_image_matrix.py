# SPDX-License-Identifier: Apache-2.0
"""Each method on each kind of backbone, with images and batches of every shape."""

import pictures
import pytest
import torch
from torch.utils.data import DataLoader

BACKBONES = ("vit", "resnet", "convnext", "mobilenet_v2")
# Switches, height and width, channels, rows in a batch.
VARIANTS = {
    "accumulation": ({"gradient_accumulation_steps": 2}, (32, 32), 3, 4),
    "lam_per_sample": ({"lam_per_sample": True}, (32, 32), 3, 4),
    "roll": ({"mix_pairing": "roll"}, (32, 32), 3, 4),
    "oblong": ({}, (24, 40), 3, 4),
    "grey": ({}, (32, 32), 1, 4),
    "bf16": ({"bf16": True}, (32, 32), 3, 4),
    "one_row": ({}, (64, 64), 3, 1),
    "all": (
        {"gradient_accumulation_steps": 2, "lam_per_sample": True, "mix_pairing": "roll", "mix_share": 0.5},
        (36, 28),
        1,
        3,
    ),
}


def images(count: int, size: tuple[int, int], channels: int) -> list[dict]:
    pixels = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(0))
    return [{"pixel_values": x, "labels": row % 3} for row, x in enumerate(pixels)]


def learns(folder, name: str, method: str, variant: str) -> None:
    options, size, channels, rows = VARIANTS[variant]
    config = {"num_channels": channels, **({"image_size": size} if name == "vit" else {})}
    model = pictures.model(name, **config)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    settings = {"mix_method": method, "max_steps": 2, "per_device_train_batch_size": rows, **options}
    run = pictures.trainer(folder, name, data=images(4 * rows, size, channels), model=model, **settings)
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert len(lines) == 2
    for line in lines:
        assert line["loss"] == pytest.approx(sum(line[term] for term in run.args.loss_terms), abs=1e-5)
        assert "nonfinite_batches" not in line
    assert any(not torch.equal(p, before[key]) for key, p in model.named_parameters())
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "method"), [(BACKBONES[place % 3], method) for place, method in enumerate(pictures.METHODS)]
)
def test_each_method_takes_grey_oblong_images_with_every_switch(tmp_path, name, method):
    learns(tmp_path, name, method, "all")


@pytest.mark.slow
@pytest.mark.parametrize("method", pictures.METHODS)
@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_method_with_each_backbone_and_switch(tmp_path, name, method, variant):
    learns(tmp_path, name, method, variant)


@pytest.mark.parametrize("method", ["mixup", "puzzlemix", "logitmix_c"])
def test_batches_of_one_row_are_their_own_partners(tmp_path, method, caplog):
    learns(tmp_path, "resnet", method, "one_row")
    assert sum("each row is mixed with itself" in message for message in caplog.messages) == 1


def test_a_first_batch_of_one_row_does_not_hide_that_a_site_is_useless(tmp_path):
    """Behind the last stage of a ResNet only affine maps follow, which one row, mixed with itself, cannot show."""

    class Uneven(pictures.LogitMixTrainer):
        def get_train_dataloader(self):
            batches = [[0], [1], [2, 3, 4], [5, 6, 7]]
            return DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)

    model = pictures.model("resnet")
    plain = pictures.trainer(tmp_path, "resnet", mix_method="logitmix", mix_site="layer:-1", max_steps=2)
    run = Uneven(model, plain.args, train_dataset=images(8, (64, 64), 3))
    run.train()
    assert run.state.global_step == 2
    run = Uneven(model, plain.args, train_dataset=images(8, (64, 64), 3))
    run.args.max_steps = 4
    with pytest.raises(ValueError, match="similarity term is identically zero"):
        run.train()
    assert run.state.global_step == 2
