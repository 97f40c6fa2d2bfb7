# SPDX-License-Identifier: Apache-2.0
"""The mixin on a `Trainer` subclass that somebody else wrote, without anything that publishes."""

import re
from pathlib import Path

import pytest
import tiny
import torch
from transformers import Trainer

from logitmix_nlp import LogitMixMixin, LogitMixTrainer
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.training import other_losses


def classes_of_the_page() -> dict:
    """The classes that docs/custom_training.md shows."""
    page = (Path(__file__).parents[2] / "docs" / "custom_training.md").read_text(encoding="utf-8")
    names = {"__name__": "page"}
    exec(re.search(r"```python\n(.*?)\n\n\nmodel =", page, flags=re.DOTALL)[1], names)
    return names


Mine = classes_of_the_page()["Mine"]


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
        assert line["classes"] == 3
        terms = line["loss_mix"] + line["loss_cls"] + line["loss_sim"]
        assert terms == pytest.approx(line["loss"], abs=2e-4)
        assert line["loss_mix"] > 0 < line["loss_sim"]


def overridden(trainer_class):
    """What the mixin has in place of methods of `Trainer`."""
    names = {name for cls in trainer_class.__mro__[:-1] for name in vars(cls) if not name.startswith("__")}
    return {name for name in names if callable(getattr(Trainer, name, None))}


def test_the_page_names_all_that_the_mixin_overrides():
    page = (Path(__file__).parents[2] / "docs" / "custom_training.md").read_text(encoding="utf-8")
    table = page.split("| method | what the mixin does in it |")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(first))) == overridden(LogitMixMixin)


def its_own(self, *args, **kwargs):
    """Calls nothing that it takes the place of."""
    return self.args.seed


@pytest.mark.parametrize("name", ["training_step", "get_batch_samples", "_inner_training_loop", "_draw"])
def test_a_class_before_the_mixin_that_drops_what_mixing_needs_is_refused(tmp_path, name):
    before = type("Before", (Mine,), {name: its_own})
    with pytest.raises(SetupError, match=rf"^{name} of Before takes .* super\(\).{name}\("):
        tiny.trainer(tmp_path, tiny.rows(4), trainer_class=before)


def calls_super(self, *args, **kwargs):
    return super(Trainer, self).training_step(*args, **kwargs)


def computes(self, model, inputs, *args):
    loss = self.compute_loss(model, inputs)
    self.accelerator.backward(loss)
    return loss.detach()


@pytest.mark.parametrize(("step", "works"), [(calls_super, True), (computes, True), (its_own, False)])
def test_a_training_step_behind_the_mixin_must_compute_a_loss(tmp_path, step, works):
    theirs = type("Theirs", (Trainer,), {"training_step": step})
    mine = type("Mine", (LogitMixMixin, theirs), {})
    if works:
        tiny.trainer(tmp_path, tiny.rows(4), trainer_class=mine)
        return
    with pytest.raises(SetupError, match="training_step of Theirs"):
        tiny.trainer(tmp_path, tiny.rows(4), trainer_class=mine)


def test_names_that_the_mixin_has_taken_are_refused(tmp_path):
    class Kept(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._term_log = []

    for theirs in (Kept, type("Theirs", (Trainer,), {"_probe": its_own})):
        mine = type("Mine", (LogitMixMixin, theirs), {})
        with pytest.raises(SetupError, match="_term_log|_probe of Theirs .* rename"):
            tiny.trainer(tmp_path, tiny.rows(4), trainer_class=mine)


def test_what_python_gives_every_class_is_no_name_of_the_mixin(monkeypatch):
    monkeypatch.setattr(other_losses, "Trainer", type("Bare", (), {}))
    assert {name for name in other_losses.own_names(LogitMixMixin) if name.startswith("__")} == set()


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


# ---- Trainers that other libraries publish ----


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_model_optimizer_trains_quantized_and_mixed(tmp_path):
    """Layers compute in int8 from the first step on, and the terms are those of mixing."""
    reason = "needs nvidia-modelopt, omegaconf and pulp"
    mtq = pytest.importorskip("modelopt.torch.quantization", reason=reason)
    trainers = pytest.importorskip("modelopt.torch.quantization.plugins.transformers_trainer", reason=reason)
    from modelopt.torch.quantization.utils import is_quantized

    class Mine(LogitMixMixin, trainers.QATTrainer):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs)

    class WithoutWord(LogitMixMixin, trainers.QATTrainer):
        pass

    with pytest.raises(SetupError, match="compute_loss of ModelOptHFTrainer would never be called"):
        tiny.trainer(tmp_path, tiny.rows(8), trainer_class=WithoutWord)
    run = tiny.trainer(tmp_path, tiny.rows(16), trainer_class=Mine, mix_site="layer:1", eval_dataset=tiny.rows(8))
    run.quant_cfg, run.quant_args = mtq.INT8_DEFAULT_CFG, trainers.QuantizationArguments(calib_size=8)
    before = [p.clone() for p in run.model.parameters()]
    run.train()
    assert is_quantized(run.model)
    lines = [line for line in run.state.log_history if "loss" in line]
    for line in lines:
        assert sum(line[name] for name in run.args.loss_terms) == pytest.approx(line["loss"], abs=2e-4)
    assert min(line["loss_sim"] for line in lines) > 0
    assert not any(torch.equal(p, old) for p, old in zip(run.model.parameters(), before, strict=True) if p.dim() > 1)
    assert run.evaluate()["eval_loss"] < 2


@pytest.mark.slow
def test_cross_encoder_trainer_is_refused(tmp_path):
    """Its losses take the model, not logits and labels."""
    trainer = pytest.importorskip("sentence_transformers.cross_encoder.trainer", reason="needs sentence-transformers")
    mine = type("Mine", (LogitMixMixin, trainer.CrossEncoderTrainer), {})
    with pytest.raises(SetupError, match="compute_loss of CrossEncoderTrainer would never be called"):
        tiny.trainer(tmp_path, tiny.rows(4), trainer_class=mine)
