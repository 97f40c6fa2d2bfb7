# SPDX-License-Identifier: Apache-2.0
import pytest

from glue_runs.runs.recipe import RECIPE, equal_compute, folder_name, method_flags, parse_method


def test_method_without_flags():
    assert parse_method("mixup") == {"mix_method": "mixup"}


def test_flags_of_a_method_have_their_type():
    assert parse_method("logitmix/mix_site=layer:2/mix_alpha=0.4/max_steps=7/lam_per_sample=true") == {
        "max_steps": 7,
        "mix_method": "logitmix",
        "mix_site": "layer:2",
        "mix_alpha": 0.4,
        "lam_per_sample": True,
    }


def test_a_site_may_be_a_list():
    assert parse_method("logitmix/mix_site=embeddings,layer:1-3")["mix_site"] == "embeddings,layer:1-3"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lögitmix", "Unknown mix_method"),
        ("", "Unknown mix_method ''"),
        ("logitmix/", "expected FLAG=VALUE, found ''"),
        ("logitmix/mix_alpha", "expected FLAG=VALUE, found 'mix_alpha'"),
        ("logitmix/mix_alpha=", "expected FLAG=VALUE"),
        ("logitmix/mix_alhpa=3", "unknown flag 'mix_alhpa', did you mean 'mix_alpha'"),
        ("logitmix/task_name=cola", "unknown flag 'task_name'"),
        ("logitmix/mix_alpha=1/mix_alpha=2", "'mix_alpha' is given twice"),
        ("vanilla/hub_token=hf_x", "'hub_token' is no part of a method; give it to the grid"),
        ("vanilla/seed=9", "'seed' is no part of a method"),
    ],
)
def test_specifications_that_cannot_be_read(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_method(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("logitmix/mix_alpha=-1", "mix_alpha must be"),
        ("vanilla/mix_weight=1", "vanilla"),
        ("logitmix/mix_prob=2", "mix_prob"),
    ],
)
def test_methods_that_cannot_be_trained_are_refused_before_any_run(spec, message):
    with pytest.raises(ValueError, match=message):
        method_flags(spec, RECIPE)


def test_the_recipe_is_the_papers():
    flags = method_flags("logitmix", RECIPE)
    assert (flags["per_device_train_batch_size"], flags["learning_rate"]) == (8, 2e-5)
    assert (flags["max_seq_length"], flags["num_train_epochs"]) == (128, 3.0)
    assert (flags["eval_strategy"], flags["save_strategy"], flags["save_total_limit"]) == ("epoch", "epoch", 1)
    assert (flags["save_predictions"], flags["keep_weights"]) == (True, False)
    assert (flags["per_device_eval_batch_size"], flags["logging_steps"]) == (64, 50)


def test_flags_of_the_method_win_over_common_ones():
    assert method_flags("mixup/learning_rate=1e-4", RECIPE)["learning_rate"] == 1e-4


def test_equal_compute_doubles_the_epochs_for_methods_of_two_passes():
    assert equal_compute(["vanilla", "mixup", "logitmix"], RECIPE) == "vanilla/num_train_epochs=6"
    assert equal_compute(["logitmix"], {**RECIPE, "max_steps": 60}) == "vanilla/max_steps=120"


def test_equal_compute_counts_the_terms_that_are_used():
    mixed_only = "logitmix/cls_weight=0/sim_weight=0"
    with pytest.raises(ValueError, match="none of vanilla, mixup, .* costs more"):
        equal_compute(["vanilla", "mixup", mixed_only], RECIPE)
    assert equal_compute([mixed_only, "mixup/cls_weight=1"], RECIPE) == "vanilla/num_train_epochs=6"


def test_equal_compute_counts_each_methods_own_length():
    steps = {**RECIPE, "max_steps": 100}
    assert equal_compute(["logitmix/num_train_epochs=5"], RECIPE) == "vanilla/num_train_epochs=10"
    assert equal_compute(["mixup/num_train_epochs=4.5"], RECIPE) == "vanilla/num_train_epochs=4.5"
    assert equal_compute(["logitmix/per_device_train_batch_size=16"], steps) == "vanilla/max_steps=400"
    assert equal_compute(["logitmix/gradient_accumulation_steps=3"], steps) == "vanilla/max_steps=600"
    assert equal_compute(["logitmix/per_device_train_batch_size=16"], RECIPE) == "vanilla/num_train_epochs=6"
    assert equal_compute(["logitmix"], {**RECIPE, "max_steps": 600_000}) == "vanilla/max_steps=1200000"
    with pytest.raises(ValueError, match="some methods count max_steps and others epochs"):
        equal_compute(["vanilla", "logitmix/max_steps=50"], RECIPE)


def test_folder_names_differ_and_hold_no_separator():
    specs = ["logitmix", "logitmix/mix_site=layer:2", "logitmix/mix_site=layer:-1", "logitmix/mix_alpha=2"]
    names = [folder_name(spec) for spec in specs]
    assert len(set(names)) == len(names)
    assert not any(character in name for name in names for character in "/\\:")
