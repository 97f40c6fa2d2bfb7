# SPDX-License-Identifier: Apache-2.0
"""A new method is one row of a table, and a new setting one field: everything else learns of them by itself."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import tiny

from glue_runs.report.method_table import METHOD_FLAGS
from glue_runs.runs.command_line import parse_flags
from glue_runs.runs.recipe import equal_compute, method_flags
from glue_runs.runs.results import deciding_flags
from logitmix_nlp import LogitMixTrainingArguments
from logitmix_nlp.functional.checks import SINGLE_LABEL
from logitmix_nlp.publishing.card.method import describe_method
from logitmix_nlp.training import citations
from logitmix_nlp.training.methods import MIX_METHODS, MixMethod
from logitmix_nlp.training.mix_settings import MixSettings, Setting, flag, settings_of

ENTRY = "@misc{toy2030toying,\n  title = {Toying},\n  author = {Toy, Ann and Other, Bo},\n  year = {2030}\n}"


def described(args):
    return describe_method(args, ["layer:1"], SINGLE_LABEL, measured=False, rescaled=False)


def test_a_method_is_one_row(tmp_path, monkeypatch):
    row = MixMethod(mix_weight=0.25, sim_weight=2.0, mix_site="layer:1", papers=("toying",))
    monkeypatch.setattr(citations, "BIBTEX", {**citations.BIBTEX, "toying": ENTRY})
    monkeypatch.setitem(MIX_METHODS, "toy", row)
    run = tiny.trainer(tmp_path, tiny.rows(4), mix_method="toy")
    run.train()
    line = run.state.log_history[0]
    assert min(line["loss_mix"], line["loss_cls"], line["loss_sim"]) > 0
    card = described(run.args)
    assert card.equation == "L = 0.25 · L_mix + 1 · L_cls + 2 · L_sim"
    assert card.paper == "Toy et al., Toying, 2030"
    assert card.citations[0] == ENTRY
    (args,) = parse_flags([LogitMixTrainingArguments], ["--output_dir=o", "--use_cpu", "--mix_method=toy"])
    assert args.sim_weight == 2.0
    common = {"num_train_epochs": 3.0}
    assert method_flags("toy/mix_alpha=0.5", common)["mix_alpha"] == 0.5
    assert equal_compute(["toy"], common) == "vanilla/num_train_epochs=6"


def test_a_setting_is_one_field(tmp_path, monkeypatch):
    monkeypatch.setattr(citations, "BIBTEX", {**citations.BIBTEX, "toying": ENTRY})

    @dataclass
    class Arguments(LogitMixTrainingArguments):
        toy: Annotated[float | None, Setting(0.5, lambda x: x > 0, "above 0", papers=("toying",))] = flag("Toys.")

    assert Arguments(str(tmp_path), use_cpu=True).toy == 0.5
    (args,) = parse_flags([Arguments], [f"--output_dir={tmp_path}", "--use_cpu", "--toy=2"])
    assert args.toy == 2.0
    with pytest.raises(ValueError, match="toy must be above 0, got -1.0"):
        Arguments(str(tmp_path), use_cpu=True, toy=-1.0)
    assert deciding_flags({"toy": 2.0, "logging_steps": 5}) == {"toy": 2.0}
    card = described(args)
    assert ("toy", "2.0") in card.settings
    assert ENTRY in card.citations
    plain = described(Arguments(str(tmp_path), use_cpu=True))
    assert "toy" not in dict(plain.settings)
    assert ENTRY not in plain.citations


def test_every_setting_of_a_method_is_a_flag_and_counts_for_the_report():
    assert settings_of(LogitMixTrainingArguments) == settings_of(MixSettings) == settings_of(MixMethod)
    assert {*settings_of(MixSettings)} < METHOD_FLAGS
