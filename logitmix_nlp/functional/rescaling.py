# SPDX-License-Identifier: Apache-2.0
r"""How to ask a model that was trained with mixup: about inputs and labels as it saw them, shrunk to their means.

Carratino, Cissé, Jenatton & Vert, [On Mixup Regularization](https://arxiv.org/abs/2006.06049), Theorem 1 and Eq. 15.
By symmetry the larger share of a mixture is the row's own: with `theta ~ Beta(alpha, alpha)` restricted to `[1/2, 1]`
and a partner `j` drawn from the `n` rows, mixup trains on `theta x_i + (1 - theta) x_j` and the same mixture of `y`.
Let `xbar`, `ybar` be the means over the training rows and `t = E theta`. Since the mean of `x_j` is `xbar`,

    theta x_i + (1 - theta) x_j = m(x_i) + delta,    m(x) = xbar + t (x - xbar),    E delta = 0,

and likewise `theta y_i + (1 - theta) y_j = ybar + t (y_i - ybar) + eps` with `E eps = 0`. Mixup thus is empirical risk
minimisation on the modified rows `(m(x_i), ybar + t (y_i - ybar))` plus noise, and what it learns is
`f(m(x)) ~ ybar + t (y - ybar)`. Solved for `y`, the prediction for a row `x` is (Eq. 15)

    g(x) = ybar + (f(m(x)) - ybar) / t = f(m(x)) / t + (1 - 1 / t) ybar.

[`rescale_inputs`] is `m`, [`rescale_logits`] is what is done to `f`. It is exact for squared loss, where `f` is the
prediction itself. With softmax, `f` stands for the logits, as in the authors' experiments; if all classes are equally
frequent, `ybar` adds the same to each and drops out, and logits divided by `t` remain: temperature scaling with a
temperature that mixup sets itself, `t` in `(1/2, 1]`.
"""

import math

import torch

__all__ = ["rescale_inputs", "rescale_logits", "truncated_beta_mean"]


def truncated_beta_mean(alpha: float) -> float:
    """Mean of `theta ~ Beta(alpha, alpha)` restricted to `[1/2, 1]`: the mean share of the larger part of a mixture.

    `E theta = 1 - I_{1/2}(alpha + 1, alpha)` with the regularised incomplete Beta function `I`. By `I_x(a + 1, b) =
    I_x(a, b) - x^a (1 - x)^b / (a B(a, b))`, `I_{1/2}(a, a) = 1/2` and the duplication formula of `Gamma`, that is
    `1/2 + Gamma(alpha + 1/2) / (2 sqrt(pi) Gamma(alpha + 1))`.

    Args:
        alpha (`float`): Shape of the Beta distribution that λ was drawn from in training, above 0.

    Returns:
        `float`: In `[1/2, 1]`: 3/4 for `alpha = 1`, towards 1 for small and towards 1/2 for large values.

    Raises:
        ValueError: If `alpha` is not a finite number above 0.
    """
    if not 0.0 < alpha < math.inf:
        raise ValueError(f"alpha must be a finite number above 0, got {alpha}.")
    if alpha < 1e5:
        ratio = math.exp(math.lgamma(alpha + 0.5) - math.lgamma(alpha + 1))
    else:  # where the difference of the two cancels
        ratio = (1 - 1 / (8 * alpha)) / math.sqrt(alpha)
    return 0.5 + ratio / (2 * math.sqrt(math.pi))


def rescale_inputs(x: torch.Tensor, mean: torch.Tensor, theta: float) -> torch.Tensor:
    """Shrink rows towards the mean of the training rows, `xbar + theta (x - xbar)`, as mixup showed them on average.

    Args:
        x (`torch.Tensor` of shape `(B, …)`): Pixels or hidden states.
        mean (`torch.Tensor`): Mean of the training rows, of the shape of one row or one that broadcasts to it, such
            as `(C, 1, 1)`.
        theta (`float`): From [`truncated_beta_mean`], in `(0, 1]`; 1 returns `x`.

    Returns:
        `torch.Tensor` of shape `(B, …)`: A new tensor, or `x` itself.

    Raises:
        ValueError: If `theta` is out of range or the shapes do not fit.
    """
    _check_theta(theta)
    try:
        center = mean.to(x).expand(x.shape[1:])
    except RuntimeError as error:
        raise ValueError(
            f"mean of shape {tuple(mean.shape)} does not fit rows of shape {tuple(x.shape[1:])}."
        ) from error
    return x if theta == 1 else torch.lerp(center, x, theta)


def rescale_logits(logits: torch.Tensor, theta: float, label_mean: torch.Tensor | None = None) -> torch.Tensor:
    """Undo the shrinking of the labels: `logits / theta + (1 - 1 / theta) ybar`.

    Args:
        logits (`torch.Tensor` of shape `(B, C)`): What the model says of inputs from [`rescale_inputs`].
        theta (`float`): From [`truncated_beta_mean`], in `(0, 1]`; 1 returns `logits`.
        label_mean (`torch.Tensor` of shape `(C,)`, *optional*): `ybar`, the share of each class among the training
            rows (of scores: their mean). If not given, classes count as equally frequent: the result is
            `logits / theta`, which differs from the equation by the same number for every class.

    Returns:
        `torch.Tensor` of shape `(B, C)`: A new tensor, or `logits` itself.

    Raises:
        ValueError: If `theta` is out of range or the shapes do not fit.
    """
    _check_theta(theta)
    if label_mean is not None and label_mean.shape != logits.shape[-1:]:
        raise ValueError(
            f"label_mean must have shape ({logits.shape[-1]},), one share per class, got {tuple(label_mean.shape)}."
        )
    if theta == 1:
        return logits
    return logits / theta if label_mean is None else torch.lerp(label_mean.to(logits), logits, 1 / theta)


def _check_theta(theta: float) -> None:
    if not 0.0 < theta <= 1.0:
        raise ValueError(f"theta must lie in (0, 1], as from truncated_beta_mean(alpha), got {theta}.")
