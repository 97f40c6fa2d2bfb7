# SPDX-License-Identifier: Apache-2.0
"""Training methods by the names their papers use: each is one row of settings for the same loss."""

from dataclasses import asdict, dataclass, replace

from logitmix_nlp.training.mix_settings import SCHEDULES, MixSettings, settings_of

__all__ = [
    "MIX_METHODS",
    "LossWeights",
    "MixMethod",
    "get_method",
    "mixing_needs",
    "mixing_probability",
    "step_weights",
    "warmup_probability",
]


@dataclass(frozen=True)
class LossWeights:
    """Weights of `L = w_mix * L_mix + w_cls * L_cls + w_sim * L_sim` (LogitMix, Eq. 3), each at least 0.

    `penalty_weight` is that of the confidence penalty, which is subtracted from it.
    """

    mix_weight: float
    cls_weight: float
    sim_weight: float
    penalty_weight: float = 0.0

    @property
    def needs_mixed(self) -> bool:
        """Whether any weighted term looks at mixed rows."""
        return bool(self.mix_weight or self.sim_weight)

    @property
    def needs_clean(self) -> bool:
        """Whether any weighted term looks at unmixed rows."""
        return bool(self.cls_weight or self.sim_weight or self.penalty_weight)

    def as_dict(self) -> dict[str, float]:
        """Return the weights as keyword arguments of [`functional.mixing_loss_parts`]."""
        return asdict(self)


@dataclass
class MixMethod(MixSettings):
    """What a method's paper uses; `LogitMixTrainingArguments` takes it wherever the user set nothing.

    Args:
        papers (`tuple` of `str`): Entries of `BIBTEX` that describe its loss; those of its mixer and other settings
            are cited with it.
    """

    papers: tuple[str, ...] = ()

    def __post_init__(self):
        """Take the preset of every setting that the row leaves out."""
        for name, setting in settings_of(type(self)).items():
            if getattr(self, name) is None:
                setattr(self, name, setting.preset)

    @property
    def mixes(self) -> bool:
        """Whether the method is about mixed rows."""
        return bool(self.mix_weight or self.sim_weight)


MIXED = {"mix_weight": 1.0, "cls_weight": 0.0}
LOGITMIX = {"mix_weight": 1.0, "cls_weight": 1.0, "papers": ("logitmix",)}
CUT = {"mixer": "cutmix", "mix_alpha": 1.0, "mix_site": "input"}
PUZZLE = {"mixer": "puzzlemix", "mix_alpha": 1.0, "mix_site": "input"}
SALIENT = {"mixer": "ssmix", "mix_site": "input"}
LAMIX = {
    **MIXED, "lam_per_sample": True, "mix_lam": "half", "label_lam": "drawn", "mix_schedule": "alternate",
    "papers": ("lamix",),
}  # fmt: skip
MIX_METHODS = {
    "vanilla": MixMethod(),
    "mixup": MixMethod(**MIXED, papers=("mixup_transformer",)),
    # The site that docs/results/text finds best for texts, by its rule (e); the paper's is that of logitmix_m.
    "logitmix": MixMethod(**LOGITMIX, sim_weight=1.0, mix_site="input|embeddings"),
    "logitmix_m": MixMethod(**LOGITMIX, sim_weight=1.0),
    "logitmix_c": MixMethod(**LOGITMIX, sim_weight=0.1, **CUT),
    "logitmix_p": MixMethod(**LOGITMIX, sim_weight=0.5, **PUZZLE),
    "manifold_mixup": MixMethod(
        **MIXED, mix_alpha=2.0, mix_site="input|embeddings,layer:0-1", papers=("manifold_mixup",)
    ),
    "cutmix": MixMethod(**MIXED, **CUT, papers=("cutmix",)),
    "puzzlemix": MixMethod(**MIXED, **PUZZLE, papers=("puzzlemix",)),
    "span": MixMethod(**MIXED, mixer="span", mix_alpha=1.0, mix_site="input", papers=("cutmix",)),
    "ssmix": MixMethod(mix_weight=0.5, cls_weight=0.5, **SALIENT, papers=("ssmix",)),
    "logitmix_s": MixMethod(**LOGITMIX, sim_weight=0.5, **SALIENT),
    "tmix": MixMethod(
        **MIXED, mix_alpha=16.0, mix_lam="dominant", mix_site="layer:7/12,layer:9/12,layer:12/12", papers=("tmix",)
    ),
    "lamix": MixMethod(**LAMIX, mix_alpha=1.0, lamix_beta=0.5),
    "lamix_p": MixMethod(**LAMIX, **PUZZLE),
    "label_smoothing": MixMethod(label_smoothing_factor=0.1, papers=("label_smoothing",)),
    "vwci": MixMethod(vwci_passes=5, papers=("vwci",)),
    "confidence_penalty": MixMethod(penalty_weight=0.1, papers=("confidence_penalty",)),
}


def get_method(name: str) -> MixMethod:
    """Look a method up by name.

    Raises:
        ValueError: If there is no such method; the message lists those that exist.
    """
    if name not in MIX_METHODS:
        raise ValueError(f"Unknown mix_method {name!r}. Available: {', '.join(MIX_METHODS)}.")
    return MIX_METHODS[name]


def warmup_probability(kind: str, progress: float) -> float:
    """Probability `q` that the full loss is used at this point of training (warm-up of the LogitMix authors' code).

    Args:
        kind (`str`): `"none"`: always 1. `"step"`: 0 for the first 10% of training, then 1. `"grad"`: 0 until 20%,
            rising linearly to 1 at 70%, then 1 (their rule for one learning-rate segment).
        progress (`float`): Share of the optimizer steps done, in `[0, 1]`.

    Returns:
        `float`: In `[0, 1]`.

    Raises:
        ValueError: If `kind` is unknown.
    """
    if kind == "none":
        return 1.0
    if kind == "step":
        return float(progress >= 0.1)
    if kind == "grad":
        return min(max((progress - 0.2) / 0.5, 0.0), 1.0)
    raise ValueError(f"Unknown mix_warmup {kind!r}. Available: none, step, grad.")


def mixing_probability(schedule: str, mix_prob: float, step: int) -> float:
    """Probability that a batch of this optimizer step is mixed.

    Args:
        schedule (`str`): `"random"`: always `mix_prob`. `"alternate"`: clean and mixed steps take turns, clean first
            (LaMix, Sec. 2.4); 0 or 1.
        mix_prob (`float`): Probability that a batch is mixed, in `[0, 1]`.
        step (`int`): Optimizer steps done so far, at least 0.

    Returns:
        `float`: In `[0, 1]`.

    Raises:
        ValueError: If `schedule` is unknown.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"mix_schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}.")
    return mix_prob if schedule == "random" else float(step % 2)


def step_weights(
    weights: LossWeights, *, mix_prob: float, warmup: float, mix_draw: float, warmup_draw: float
) -> LossWeights:
    """Weights of one batch, after the coin flips of `mix_prob` and the warm-up (LogitMix authors' code).

    A batch that is not mixed takes a plain step, `L_cls` with weight 1. A mixed batch before the end of the warm-up
    keeps only `L_mix` unless its draw falls below `warmup`. A confidence penalty stays in each of them.

    Args:
        weights (`LossWeights`): Weights of the method.
        mix_prob (`float`): Probability that the batch is mixed, see [`mixing_probability`].
        warmup (`float`): Output of [`warmup_probability`].
        mix_draw (`float`): Uniform draw in `[0, 1)` that decides on mixing.
        warmup_draw (`float`): Uniform draw in `[0, 1)` that decides on the full loss.

    Returns:
        `LossWeights`: What to use for this batch.
    """
    if not weights.needs_mixed:
        return weights
    if warmup == 0.0 or mix_draw >= mix_prob:
        return replace(weights, mix_weight=0.0, cls_weight=1.0, sim_weight=0.0)
    if warmup_draw >= warmup and weights.mix_weight:
        return replace(weights, cls_weight=0.0, sim_weight=0.0)
    return weights


def mixing_needs(weights: LossWeights, warmup: str) -> dict[str, object]:
    """What mixed batches need in a training with this warm-up, as keyword arguments of [`mixing.probe.probe`].

    Args:
        weights (`LossWeights`): Weights of the method.
        warmup (`str`): As in [`warmup_probability`]; without the full loss, mixed rows may run alone.

    Returns:
        `dict`: `needs_similarity` and `keeps`.
    """
    draws = {0.0, float(warmup != "none")}
    steps = [step_weights(weights, mix_prob=1.0, warmup=0.5, mix_draw=0.0, warmup_draw=draw) for draw in draws]
    return {"needs_similarity": weights.sim_weight > 0, "keeps": {step.needs_clean for step in steps}}
