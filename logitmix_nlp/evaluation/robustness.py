# SPDX-License-Identifier: Apache-2.0
"""MC dropout, and inputs a model was not trained on: adversarial pixels, noise, random tokens, misspelt words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.word_noise import perturb_words
from logitmix_nlp.functional.checks import SINGLE_LABEL, check_images, check_label_values, check_targets
from logitmix_nlp.functional.ensembles import EnsembleScores, ensemble_scores
from logitmix_nlp.functional.ood import ood_metrics
from logitmix_nlp.functional.puzzlemix import perturb
from logitmix_nlp.mixing.model_modes import evaluation_mode, inputs_of
from logitmix_nlp.mixing.outputs import logits_of

__all__ = [
    "fgsm", "fgsm_batches", "gaussian_noise_images", "mc_dropout_logits", "noise_batches", "ood_table",
    "perturb_words", "perturbed_rows", "random_token_texts",
]  # fmt: skip


DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@torch.no_grad()
def mc_dropout_logits(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    passes: int = 20,
    generator: torch.Generator | None = None,
) -> EnsembleScores:
    """Predict several times with dropout left on, and average the probabilities.

    This is MC dropout of [Gal & Ghahramani, 2016](https://arxiv.org/abs/1506.02142), Sec. 4, at `passes` times
    the cost of plain prediction.

    Only dropout modules are put into training mode: batch normalisation keeps its statistics, and drop path stays
    off. So does the dropout of attention weights in most Transformers models, which goes by the mode of the attention
    module. Modes and the global random state are given back.

    Args:
        model (`nn.Module`): A classifier with at least one dropout module of a probability above 0.
        batches (`Iterable[Mapping[str, Any]]`): Keyword arguments of the model, read once; `labels` are left out.
        passes (`int`): Random networks per batch, at least 1; 10 to 50 are usual.
        generator (`torch.Generator`, *optional*): Seeds the masks, on the CPU; torch's global one if not given. The
            same seed and batches give the same scores on the same kind of device.

    Returns:
        `EnsembleScores`: Of all rows in order, float64 on the CPU. `log_probs` are the scores to use as logits.

    Raises:
        ValueError: If no dropout is active, or none that the model calls; `passes < 1`; or there are no batches.
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1, got {passes}.")
    dropouts = [module for module in model.modules() if isinstance(module, DROPOUTS) and module.p > 0]
    if not dropouts:
        raise ValueError(
            f"{type(model).__name__} has no dropout module with a probability above 0, so all passes would be alike: "
            "use its plain logits, or load it with dropout, such as hidden_dropout_prob=0.1 or classifier_dropout=0.1."
        )
    seed = int(torch.randint(2**62, (), generator=generator))
    scores, alike = [], passes > 1
    with evaluation_mode(model) as device, torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for module in dropouts:
            module.training = True
        for inputs in inputs_of(batches, device):
            members = torch.stack([logits_of(model(**inputs), model).float() for _ in range(passes)])
            alike = alike and bool((members == members[0]).all())
            scores.append([part.cpu() for part in ensemble_scores(members)])
    if alike:
        raise ValueError(
            f"All {passes} passes of {type(model).__name__} are alike: it calls none of its {len(dropouts)} dropout "
            "modules (that of attention weights is used in training mode only). Use its plain logits, or load it "
            "with hidden_dropout_prob=0.1 or classifier_dropout=0.1."
        )
    return EnsembleScores(*(torch.cat(parts) for parts in zip(*scores, strict=True)))


def fgsm(
    model: nn.Module,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> torch.Tensor:
    """Move every pixel by `epsilon` to where the loss rises: `x + epsilon * sign(dJ / dx)`.

    This is the fast gradient sign method ([Goodfellow et al., 2015](https://arxiv.org/abs/1412.6572), Sec. 4), with
    the cross-entropy of the clean rows as `J`. The model is asked in evaluation mode and gets its modes back; no
    gradient is left on its parameters.

    Args:
        model (`nn.Module`): Image classifier, called with `pixel_values` alone.
        pixel_values (`torch.Tensor` of shape `(B, C, H, W)`): Images as the model sees them; not written to.
        labels (`torch.Tensor` of shape `(B,)`): True classes.
        epsilon (`float`): Largest change of a pixel, in `[0, 1]`, in units of pixels in `[0, 1]`; 8/255 is common.
        mean (`Sequence[float]` of length `C`, *optional*): What the image processor subtracts from pixels in `[0, 1]`
            (`image_mean`); 0 if not given.
        std (`Sequence[float]` of length `C`, *optional*): What it then divides by (`image_std`); 1 if not given.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: As the model sees them, their pixels kept in `[0, 1]`.

    Raises:
        TypeError: If the images are no floating point numbers.
        ValueError: If `epsilon` is out of range, shapes or labels do not fit, or the pixels lie outside `[0, 1]` with
            this `mean` and `std`.
    """
    if not 0.0 <= epsilon <= 1.0:
        raise ValueError(f"epsilon must lie in [0, 1], in units of pixels in [0, 1] (8/255, say), got {epsilon}.")
    check_images(pixel_values)
    shift, scale = (_per_channel(numbers, pixel_values, default) for numbers, default in ((mean, 0.0), (std, 1.0)))
    if not (scale > 0).all():
        raise ValueError(f"Every entry of std must be above 0, got {std}.")
    low, high = (pixel_values * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)).aminmax()
    if not (low >= -0.01 and high <= 1.01):
        raise ValueError(
            f"With mean={mean} and std={std} the pixels lie in [{low:.3g}, {high:.3g}], not in [0, 1]: give "
            "image_mean and image_std of the image processor."
        )
    with evaluation_mode(model) as device, torch.inference_mode(False), torch.enable_grad():
        images = pixel_values.detach().to(device, copy=True).requires_grad_()
        logits = logits_of(model(pixel_values=images), model)
        labels = labels.to(logits.device, copy=True)
        check_targets(logits, labels, SINGLE_LABEL)
        check_label_values(labels, logits.shape[-1])
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels, reduction="sum"), images)
    return perturb(pixel_values.detach(), epsilon * gradient.sign().to(pixel_values.device), shift, scale)


def gaussian_noise_images(
    n: int,
    size: tuple[int, int, int],
    generator: torch.Generator | None = None,
    *,
    mean: float = 0.0,
    std: float = 1.0,
) -> torch.Tensor:
    """Draw images of independent Gaussian pixels.

    They are the random noise of [Thulasidasan et al., 2019](https://arxiv.org/abs/1905.11001).

    Args:
        n (`int`): How many, at least 1.
        size (`tuple[int, int, int]`): Channels, height and width.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU; the global one if not given.
        mean (`float`): Of a pixel, in the units the model sees. 0 and 1 are those of training images if the processor
            takes off their mean and divides by their standard deviation.
        std (`float`): Its standard deviation, above 0.

    Returns:
        `torch.Tensor` of shape `(n, C, H, W)`: Float32 `pixel_values`, on the CPU; not limited to pixels in `[0, 1]`.

    Raises:
        ValueError: If a number is out of range.
    """
    if n < 1 or len(size) != 3 or min(size) < 1:
        raise ValueError(f"Expected n >= 1 and a size (channels, height, width), got n={n} and size={size}.")
    if not 0.0 < std < float("inf") or not -float("inf") < mean < float("inf"):
        raise ValueError(f"mean must be finite, and std finite and above 0, got {mean} and {std}.")
    return torch.randn(n, *size, generator=generator).mul_(std).add_(mean)


def random_token_texts(
    n: int, length: int, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator | None = None
) -> list[str]:
    """Draw texts of independent, equally frequent tokens: for a text classifier what noise images are for others.

    They are texts, so that they take the same way through the tokenizer, with its special tokens and cut, as any
    other. The tokens read back may differ from those drawn where pieces grow together, so `length` is approximate.

    Args:
        n (`int`): How many, at least 1.
        length (`int`): Tokens drawn for each, at least 1; take the mean length of the real texts.
        tokenizer (`PreTrainedTokenizerBase`): Whose vocabulary is drawn from; special tokens are left out.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU; the global one if not given.

    Returns:
        `list[str]`: The texts.

    Raises:
        ValueError: If a number is out of range, or all tokens are special.
    """
    if n < 1 or length < 1:
        raise ValueError(f"n and length must be at least 1, got {n} and {length}.")
    tokens = torch.tensor(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)))
    if not len(tokens):
        raise ValueError("Every token of this tokenizer is a special one: there is nothing to draw from.")
    draws = tokens[torch.randint(len(tokens), (n, length), generator=generator)]
    return tokenizer.batch_decode(draws, skip_special_tokens=False)


def ood_table(in_logits: torch.Tensor, out_logits: Mapping[str, torch.Tensor]) -> list[dict[str, str | int | float]]:
    """One line per set of rows from outside, as in the table of Thulasidasan et al. (2019) for a model of STL-10.

    Args:
        in_logits (`torch.Tensor` of shape `(N, C)`): Logits of rows from inside the distribution.
        out_logits (`Mapping[str, torch.Tensor]`): Name of each set, such as `"Gaussian noise"`, with its logits of
            shape `(K, C)`.

    Returns:
        `list[dict]`: First the line of the rows inside (`data`, `rows`, `confidence` in `[0, 1]`, `entropy` in nats),
        then one per set in the order given, with `auroc` and `fpr95` of the confidence in `[0, 1]`, too. Put
        the lines of several models (plain, MC dropout, mixup) under each other for their table.

    Raises:
        ValueError: If no set is given; see [`ood_metrics`].
    """
    if not out_logits:
        raise ValueError("No rows from outside: give at least one set of logits by name.")
    lines: list[dict[str, str | int | float]] = []
    for name, logits in out_logits.items():
        metrics = {key: value.item() for key, value in ood_metrics(in_logits, logits).items()}
        if not lines:
            lines.append(_line("in", "in distribution", len(in_logits), metrics))
        ranks = {"auroc": metrics["auroc_confidence"], "fpr95": metrics["fpr95_confidence"]}
        lines.append({**_line("out", name, len(logits), metrics), **ranks})
    return lines


def _line(side: str, name: str, rows: int, metrics: dict[str, float]) -> dict[str, str | int | float]:
    numbers = {"confidence": metrics[f"{side}_confidence"], "entropy": metrics[f"{side}_entropy"]}
    return {"data": name, "rows": rows, **numbers}


def _per_channel(numbers: Sequence[float] | None, images: torch.Tensor, default: float) -> torch.Tensor:
    channels = images.shape[1]
    numbers = [default] * channels if numbers is None else [float(number) for number in numbers]
    if len(numbers) != channels:
        raise ValueError(f"Expected one number for each of {channels} channels, got {numbers}.")
    return images.new_tensor(numbers)


def noise_batches(classifier: Classifier, rows: Rows, batch_size: int, seed: int) -> tuple[str, list[dict[str, Any]]]:
    """Name and batches of as many rows of noise as there are rows.

    Gaussian pixels of their size, or texts of random tokens of their mean length.
    """
    generator = torch.Generator().manual_seed(seed)
    if not classifier.is_text:
        size = tuple(classifier.inputs(rows.inputs[:1])["pixel_values"].shape[1:])
        noise = gaussian_noise_images(len(rows), size, generator)
        return "Gaussian noise", [{"pixel_values": images} for images in noise.split(batch_size)]
    columns = [
        random_token_texts(len(rows), _mean_length(classifier, column), classifier.processor, generator)
        for column in zip(*rows.inputs, strict=True)
    ]
    return "random tokens", list(classifier.batches(list(zip(*columns, strict=True)), batch_size))


def perturbed_rows(rows: Rows, rate: float, seed: int) -> Rows:
    """The texts with a share of their words changed; labels stay. See [`perturb_words`]."""
    return replace(rows, inputs=perturb_words(rows.inputs, rate, torch.Generator().manual_seed(seed)))


def fgsm_batches(
    classifier: Classifier, rows: Rows, epsilon: float, batch_size: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of images, each moved by `epsilon` to where the loss of its label rises. See [`fgsm`]."""
    labels, start = torch.as_tensor(rows.labels), 0
    for batch in classifier.batches(rows.inputs, batch_size):
        images = batch["pixel_values"]
        piece = labels[start : start + len(images)]
        yield {"pixel_values": fgsm(classifier.model, images, piece, epsilon, **classifier.pixel_statistics())}
        start += len(images)


def _mean_length(classifier: Classifier, texts: tuple[str, ...]) -> int:
    """Tokens of a text on the average, those cut off and special ones left out."""
    limit = {"truncation": classifier.max_length is not None, "max_length": classifier.max_length}
    pieces = classifier.processor(list(texts), add_special_tokens=False, **limit)["input_ids"]
    return max(1, round(sum(map(len, pieces)) / len(pieces)))
