# SPDX-License-Identifier: Apache-2.0
import pytest

from logitmix_nlp.training.methods import (
    MIX_METHODS,
    LossWeights,
    mixing_needs,
    mixing_probability,
    step_weights,
    warmup_probability,
)

FULL = LossWeights(1.0, 1.0, 0.5)
PLAIN = LossWeights(0.0, 1.0, 0.0)


def choose(weights=FULL, mix_prob=1.0, warmup=1.0, mix_draw=0.5, warmup_draw=0.5):
    return step_weights(weights, mix_prob=mix_prob, warmup=warmup, mix_draw=mix_draw, warmup_draw=warmup_draw)


def test_presets_are_the_papers():
    weights = {name: (row.mix_weight, row.cls_weight, row.sim_weight) for name, row in MIX_METHODS.items()}
    assert weights["vanilla"] == (0, 1, 0)  # Table 1, "Vanilla": L_cls
    assert weights["mixup"] == (1, 0, 0)  # Table 1, "Mixup": L_mix
    assert weights["logitmix"] == (1, 1, 1)  # Sec. 5.4: "we set w_sim to 1 for LogitMix_m"
    assert weights["logitmix_m"] == weights["logitmix"]
    assert weights["logitmix_c"] == (1, 1, 0.1)  # Sec. 5.4: "0.1 for LogitMix_c and 0.5 for LogitMix_p"
    assert weights["logitmix_p"] == (1, 1, 0.5)
    assert weights["ssmix"] == (0.5, 0.5, 0)  # the authors' code: the mean of the losses of clean and of mixed rows
    assert weights["logitmix_s"] == weights["logitmix_p"]
    for name in ("cutmix", "span", "tmix", "puzzlemix", "manifold_mixup"):
        assert weights[name] == (1, 0, 0)
    assert {name: row.mix_alpha for name, row in MIX_METHODS.items() if row.mixer != "mixup"} == {
        "cutmix": 1.0, "logitmix_c": 1.0, "puzzlemix": 1.0, "logitmix_p": 1.0, "lamix_p": 1.0,
        "span": 1.0, "ssmix": 3.0, "logitmix_s": 3.0,
    }  # fmt: skip
    assert {name: row.mixes for name, row in MIX_METHODS.items() if not row.mixes} == {
        "vanilla": False, "label_smoothing": False, "vwci": False, "confidence_penalty": False,
    }  # fmt: skip
    for name, beta in {"lamix": 0.5, "lamix_p": 1.0}.items():  # "set as 0.5" in Sec. 3.1, "1.0" in Sec. 3.2
        row = MIX_METHODS[name]
        assert weights[name] == (1, 0, 0)
        assert row.lamix_beta == beta
        assert (row.mix_alpha, row.lam_per_sample) == (1.0, True)  # Sec. 3.1: λ "sampled uniformly between [0,1]"
        assert (row.mix_lam, row.label_lam) == ("half", "drawn")  # Eq. 4 and 5; Eq. 10
        assert row.mix_schedule == "alternate"  # Sec. 2.4: "alternatively feed samples"
    assert {row.lamix_beta for name, row in MIX_METHODS.items() if name != "lamix"} == {1.0}
    assert MIX_METHODS["label_smoothing"].label_smoothing_factor == 0.1
    assert MIX_METHODS["confidence_penalty"].penalty_weight == 0.1
    assert MIX_METHODS["logitmix"].mix_alpha == 3.0  # Sec. 5.5: "alpha = 3 as the default value"


def test_every_preset_says_how_where_and_how_much_it_mixes():
    """Mixer, α, site, probability: as docs/methods has them."""
    own, pixels = "input|layer:-1", "input"
    assert {name: (row.mixer, row.mix_alpha, row.mix_site, row.mix_prob) for name, row in MIX_METHODS.items()} == {
        "vanilla": ("mixup", 3.0, own, 1.0),
        "mixup": ("mixup", 3.0, own, 1.0),
        "logitmix": ("mixup", 3.0, "input|embeddings", 1.0),
        "logitmix_m": ("mixup", 3.0, own, 1.0),
        "logitmix_c": ("cutmix", 1.0, pixels, 1.0),
        "logitmix_p": ("puzzlemix", 1.0, pixels, 1.0),
        "manifold_mixup": ("mixup", 2.0, "input|embeddings,layer:0-1", 1.0),
        "cutmix": ("cutmix", 1.0, pixels, 1.0),
        "puzzlemix": ("puzzlemix", 1.0, pixels, 1.0),
        "span": ("span", 1.0, pixels, 1.0),
        "ssmix": ("ssmix", 3.0, pixels, 1.0),
        "logitmix_s": ("ssmix", 3.0, pixels, 1.0),
        "tmix": ("mixup", 16.0, "layer:7/12,layer:9/12,layer:12/12", 1.0),
        "lamix": ("mixup", 1.0, own, 1.0),
        "lamix_p": ("puzzlemix", 1.0, pixels, 1.0),
        "label_smoothing": ("mixup", 3.0, own, 1.0),
        "vwci": ("mixup", 3.0, own, 1.0),
        "confidence_penalty": ("mixup", 3.0, own, 1.0),
    }
    assert {name: row.papers for name, row in MIX_METHODS.items() if row.papers != (name,)} == {
        "vanilla": (), "mixup": ("mixup_transformer",), "span": ("cutmix",), "lamix_p": ("lamix",),
        **{f"logitmix_{kind}": ("logitmix",) for kind in "mcps"},
    }  # fmt: skip
    apart = {name for name, row in MIX_METHODS.items() if row.lam_per_sample or row.mix_schedule != "random"}
    assert apart == {"lamix", "lamix_p"} == {name for name, row in MIX_METHODS.items() if row.mix_lam == "half"}
    assert {name for name, row in MIX_METHODS.items() if row.mix_lam == "dominant"} == {"tmix"}
    assert {name for name, row in MIX_METHODS.items() if row.label_lam != "mixed"} == apart
    assert {name for name, row in MIX_METHODS.items() if row.label_smoothing_factor} == {"label_smoothing"}
    assert {name for name, row in MIX_METHODS.items() if row.penalty_weight} == {"confidence_penalty"}


def test_warm_up_follows_its_schedule():
    assert [warmup_probability("none", p) for p in (0.0, 1.0)] == [1.0, 1.0]
    assert [warmup_probability("step", p) for p in (0.0, 0.099, 0.1, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    expected = [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [warmup_probability("grad", p) for p in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx(expected)


def test_coin_flips_choose_between_full_mixed_and_plain_steps():
    assert choose() == FULL
    assert choose(mix_prob=0.5, mix_draw=0.49) == FULL
    assert choose(mix_prob=0.5, mix_draw=0.5) == PLAIN
    assert choose(mix_prob=0.0, mix_draw=0.0) == PLAIN
    assert choose(warmup=0.0) == PLAIN
    assert choose(warmup=0.4, warmup_draw=0.39) == FULL
    assert choose(warmup=0.4, warmup_draw=0.4) == LossWeights(1.0, 0.0, 0.0)
    similar = LossWeights(0.0, 1.0, 0.5)
    assert choose(similar, warmup=0.4) == similar  # nothing would be left of it


def test_schedules_decide_which_steps_mix():
    assert [mixing_probability("random", 0.3, step) for step in range(3)] == [0.3] * 3
    assert [mixing_probability("alternate", 1.0, step) for step in range(5)] == [0.0, 1.0, 0.0, 1.0, 0.0]
    clean, mixed = (choose(LossWeights(1.0, 0.0, 0.0), mix_prob=p, mix_draw=0.999) for p in (0.0, 1.0))
    assert (clean, mixed) == (PLAIN, LossWeights(1.0, 0.0, 0.0))


def test_a_penalty_stays_in_every_step():
    weights = LossWeights(1.0, 1.0, 0.5, 0.2)
    assert choose(weights, mix_prob=0.0) == LossWeights(0.0, 1.0, 0.0, 0.2)
    assert choose(weights, warmup=0.4) == LossWeights(1.0, 0.0, 0.0, 0.2)


def test_without_mixing_there_is_nothing_to_choose():
    assert choose(LossWeights(0.0, 2.0, 0.0), mix_prob=0.0, warmup=0.0) == LossWeights(0.0, 2.0, 0.0)


def test_needs_follow_from_weights():
    assert (FULL.needs_mixed, FULL.needs_clean) == (True, True)
    assert (PLAIN.needs_mixed, PLAIN.needs_clean) == (False, True)
    mixup = LossWeights(1.0, 0.0, 0.0)
    assert (mixup.needs_mixed, mixup.needs_clean) == (True, False)


@pytest.mark.parametrize(
    ("weights", "warmup", "similarity", "keeps"),
    [
        (FULL, "none", True, {True}),
        (FULL, "grad", True, {True, False}),
        (LossWeights(1.0, 0.0, 0.0), "step", False, {False}),
        (LossWeights(1.0, 0.0, 0.0, 0.1), "none", False, {True}),
        (LossWeights(0.0, 0.0, 0.5), "step", True, {True}),
    ],
)
def test_a_warm_up_may_run_mixed_rows_alone(weights, warmup, similarity, keeps):
    assert mixing_needs(weights, warmup) == {"needs_similarity": similarity, "keeps": keeps}
