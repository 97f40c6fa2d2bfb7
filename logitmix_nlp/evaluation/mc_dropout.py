# SPDX-License-Identifier: Apache-2.0
"""MC dropout: the average over random networks, as a model that knows a little better what it does not know."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.ensembles import EnsembleScores, ensemble_scores
from logitmix_nlp.mixing.model_modes import evaluation_mode, inputs_of
from logitmix_nlp.mixing.outputs import logits_of

__all__ = ["mc_dropout_logits"]

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
