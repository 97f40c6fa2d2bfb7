# SPDX-License-Identifier: Apache-2.0
"""The method of a run in words: its loss with the weights used, and where and how rows were mixed."""

from collections.abc import Sequence

from logitmix_nlp.functional.checks import REGRESSION
from logitmix_nlp.functional.row_loss import RowFunction
from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.publishing.card.facts import MethodFacts
from logitmix_nlp.training.arguments import LogitMixTrainingArguments
from logitmix_nlp.training.citations import bibtex, paper_name
from logitmix_nlp.training.methods import get_method
from logitmix_nlp.training.mix_settings import settings_of

__all__ = ["TERMS", "describe_method", "method_tag"]

# Logged name of a term -> its weight's field, sign and symbol in the equation, and what it is.
TERMS = {
    "loss_mix": ("mix_weight", "+", "L_mix", "{loss} of mixed rows against labels mixed with {lam} λ"),
    "loss_cls": ("cls_weight", "+", "L_cls", "{loss} of the rows as they are"),
    "loss_sim": ("sim_weight", "+", "L_sim", "{norm} between the logits of a mixture and the mixture of the logits"),
    "loss_penalty": ("penalty_weight", "−", "H", "entropy of the predictions for the rows as they are"),
    "loss_uniform": (
        "cls_weight",
        "+",
        "L_uniform",
        "divergence of the uniform distribution from the predictions of a row, weighted by the share α by which its "
        "{passes} stochastic passes disagree; L_cls has the weight 1 − α",
    ),
    "loss_soft": (
        "lamix_beta",
        "+",
        "L_soft",
        "cross-entropy of the same rows, weighted alike, to the global soft label softmax(sigmoid(W_t S)) of a second "
        "head W_t, which only training had",
    ),
}
NORMS = {"mse": "mean square distance", "l2": "Euclidean distance"}
WARMUPS = {
    "step": "plain for the first 10% of the steps",
    "grad": "plain for the first 20% of the steps, then the full loss with rising probability, always from 70%",
}
# Settings whose value has words of its own below; any other that was changed stands there by its name.
IN_WORDS = {
    "mixer", "mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "penalty_weight", "sim_norm",
    "mix_prob", "label_smoothing_factor", "mix_schedule", "mix_warmup", "lam_per_sample", "mix_lam", "label_lam",
    "mix_pairing", "mix_share", "lamix_beta", "vwci_passes",
    "puzzle_options",
}  # fmt: skip


def method_tag(name: str) -> str:
    """The Hub's tag of a method, in the Hub's spelling."""
    return name.replace("_", "-")


def describe_method(
    args: LogitMixTrainingArguments,
    sites: Sequence[str],
    kind: str,
    *,
    measured: bool,
    rescaled: bool,
    row_loss: RowFunction | None = None,
) -> MethodFacts:
    """Say what the arguments did.

    Args:
        args (`LogitMixTrainingArguments`): The arguments of the run.
        sites (`Sequence[str]`): Names of the places in the model where rows were mixed.
        kind (`str`): Problem type of the model.
        measured (`bool`): Whether ECE and OE are reported.
        rescaled (`bool`): Whether a temperature is stored.
        row_loss (`Callable`, *optional*): The user's own loss of a row.

    Returns:
        `MethodFacts`: The loss as an equation with its weights, and the choices behind it.
    """
    method, mixed = get_method(args.mix_method), args.loss_weights.needs_mixed
    weighted = [(_weight(args, name), *TERMS[name][1:]) for name in args.loss_terms]
    weighted = [term for term in weighted if term[0]]
    equation = " ".join(f"{sign} {weight:g} · {symbol}" for weight, sign, symbol, _ in weighted)
    loss = "squared error" if kind == REGRESSION else "cross-entropy"
    if row_loss is not None:
        loss = f"row_loss ({getattr(row_loss, '__name__', type(row_loss).__name__)})".replace(" (<lambda>)", "")
    lam = "the same" if args.label_lam == "mixed" else "their own"
    terms = tuple(
        (symbol, text.format(loss=loss, norm=NORMS[args.sim_norm], lam=lam, passes=args.vwci_passes))
        for _, _, symbol, text in weighted
    )
    changed = {
        name: setting for name, setting in settings_of(type(args)).items() if getattr(args, name) != setting.preset
    }
    papers = [*method.papers, *(key for setting in changed.values() for key in setting.papers)]
    papers += MIXERS[args.mixer].papers if mixed else ()
    papers += ["calibration"] * measured + ["temperature"] * rescaled
    settings = [*(_mixing(args, sites) if mixed else ()), *_smoothing(args)]
    settings += [(name, str(getattr(args, name))) for name in changed if name not in IN_WORDS]
    named = "; ".join(map(paper_name, method.papers)) or "plain fine-tuning, the baseline of every table"
    loss = f"L = {equation.lstrip('+ ')}"
    return MethodFacts(args.mix_method, named, loss, terms, tuple(settings), bibtex(papers))


def _weight(args: LogitMixTrainingArguments, name: str) -> float:
    """Weight of a term in a step that has it; β of LaMix takes its share of what has labels as targets."""
    weight = getattr(args, TERMS[name][0])
    if name == "loss_soft":
        return 1 - weight
    return weight * args.lamix_beta if name in ("loss_mix", "loss_cls") else weight


def _mixing(args: LogitMixTrainingArguments, sites: Sequence[str]) -> list[tuple[str, str]]:
    drawn = ", one drawn per step" if len(sites) > 1 else ""
    settings = [
        ("rows are mixed by", f"{args.mixer}: {MIXERS[args.mixer].words}"),
        ("where in the model", f"{', '.join(sites)}{drawn}"),
        ("λ", f"Beta(α, α) with α = {args.mix_alpha:g}, drawn for each {'row' if args.lam_per_sample else 'batch'}"),
        ("partners", args.mix_pairing),
    ]
    if args.mix_lam == "half":
        settings.append(("rows are mixed", "half and half; the λ above is that of their labels alone"))
    elif args.mix_lam == "dominant":
        settings.append(("share of the own row", "the larger of λ and 1 − λ"))
    if args.mix_lam != "half" and args.label_lam != "mixed":
        settings.append(("labels are mixed by", {"drawn": "the λ that was drawn", "half": "half"}[args.label_lam]))
    if args.mix_share < 1:
        settings.append(("share of the rows that get a mixture", f"{args.mix_share:g}; L_mix and L_sim are its means"))
    if args.mix_schedule == "alternate":
        settings.append(("clean and mixed steps", "take turns; a clean one has L_cls in place of L_mix"))
    elif args.mix_prob < 1:
        settings.append(("share of batches that are mixed", f"{args.mix_prob:g}; the others take a plain step, L_cls"))
    if args.mix_warmup != "none":
        settings.append(("warm-up", WARMUPS[args.mix_warmup]))
    return settings + [(f"PuzzleMix {name}", str(value)) for name, value in args.puzzle_settings.items()]


def _smoothing(args: LogitMixTrainingArguments) -> list[tuple[str, str]]:
    smoothing = args.label_smoothing_factor
    return [("label smoothing", f"ε = {smoothing:g}, in every cross-entropy")] if smoothing else []
