# SPDX-License-Identifier: Apache-2.0
"""The mixin on a `Trainer` subclass that somebody else wrote, without anything that publishes."""

import pytest
import tiny
import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from logitmix_nlp import LogitMixMixin, LogitMixTrainer


class TheirTrainer(Trainer):
    """Overrides what people override: the log, the training rows, the optimizer and the evaluation."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lines, self.evaluations = [], 0

    def log(self, logs, *args, **kwargs):
        self.lines.append({**logs, "mine": 1.0})
        super().log({**logs, "mine": 1.0}, *args, **kwargs)

    def get_train_dataloader(self):
        return self.accelerator.prepare(DataLoader(self.train_dataset, batch_size=4, collate_fn=self.data_collator))

    def create_optimizer(self, *args, **kwargs):
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.args.learning_rate)
        return self.optimizer

    def evaluate(self, *args, **kwargs):
        self.evaluations += 1
        return super().evaluate(*args, **kwargs)


class Mine(LogitMixMixin, TheirTrainer):
    """What a user writes."""


class Bare(LogitMixMixin, Trainer):
    """The mixin on the stock class."""


SETTINGS = {"mix_method": "logitmix", "mix_site": "layer:1"}


def run(tmp_path, trainer_class, **settings):
    data = tiny.rows(24)
    one = tiny.trainer(
        tmp_path,
        data,
        trainer_class=trainer_class,
        eval_dataset=data[:8],
        eval_strategy="epoch",
        **SETTINGS,
        **settings,
    )
    one.train()
    return one


def test_what_the_other_class_overrides_stays(tmp_path):
    mine = run(tmp_path, Mine)
    assert type(mine.optimizer.optimizer) is torch.optim.SGD
    assert mine.evaluations == 1
    losses = [line for line in mine.lines if "loss" in line]
    assert len(losses) == 6
    for line in losses:
        assert line["mine"] == 1.0
        terms = line["loss_mix"] + line["loss_cls"] + line["loss_sim"]
        assert terms == pytest.approx(line["loss"], abs=2e-4)
        assert line["loss_mix"] > 0 < line["loss_sim"]


def test_mixing_is_that_of_the_full_trainer(tmp_path):
    bare, full = run(tmp_path / "bare", Bare), run(tmp_path / "full", LogitMixTrainer)
    assert tiny.largest_gap(tiny.learnt(bare), tiny.learnt(full)) == 0.0


def test_it_resumes_bitwise(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2}
    whole = run(tmp_path / "whole", Bare, **saving)
    data = tiny.rows(24)
    again = tiny.trainer(
        tmp_path / "whole",
        data,
        trainer_class=Bare,
        eval_dataset=data[:8],
        eval_strategy="epoch",
        **SETTINGS,
        **saving,
    )
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-8"))
    assert tiny.largest_gap(tiny.learnt(whole), tiny.learnt(again)) == 0.0


def test_the_mixin_knows_nothing_of_cards_and_pushes():
    names = {name for base in LogitMixMixin.__mro__ for name in vars(base)}
    assert names.isdisjoint({"create_model_card", "push_to_hub", "card_options", "init_hf_repo", "push_error"})


def test_what_cannot_be_trained_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="layer:99"):
        tiny.trainer(tmp_path, tiny.rows(4), mix_method="logitmix", mix_site="layer:99")
