# SPDX-License-Identifier: Apache-2.0
"""Calibration after training: one temperature, or a scale and a bias per class, fitted to held-out logits."""

import logging
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax

from logitmix_nlp.functional import expected_calibration_error
from logitmix_nlp.functional.predictions import checked_predictions

__all__ = ["TemperatureScaler", "VectorScaler"]

N_BINS = 15
logger = logging.getLogger(__name__)


class TemperatureScaler:
    """Divide all logits by one temperature `T` (Guo et al., 2017, Sec. 4.2). Predictions, and accuracy, stay.

    `T` minimises the NLL of held-out rows. The NLL is convex in `1 / T`, so `log T` is found as the root of its
    slope, between bounds: there is one optimum, no step size and no start to choose, and the NLL of the rows is
    never above that of `T = 1`.

    Example:
        `scaler = TemperatureScaler().fit(val_logits, val_labels)`, then `scaler.transform(test_logits)`.

    Args:
        temperature (`float`): Above 1 makes a model less sure, below 1 surer.
        report (`dict[str, Any]`, *optional*): What [`fit`] found: `nll_before`, `nll_after` (nats), `ece_before`,
            `ece_after` (15 bins), `rows`, and `at_bound`, whether the optimum lies outside the bounds.
    """

    def __init__(self, temperature: float = 1.0, report: dict[str, Any] | None = None):
        if not (np.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be finite and above 0, got {temperature}.")
        self.temperature = float(temperature)
        self.report = report

    def fit(
        self, logits, labels, min_temperature: float = 0.01, max_temperature: float = 100.0
    ) -> "TemperatureScaler":
        """Set the temperature to the one of the smallest NLL.

        Args:
            logits (`np.ndarray` or `torch.Tensor` of shape `(N, C)`): Logits of held-out rows, not probabilities.
            labels (`np.ndarray` or `torch.Tensor` of shape `(N,)`): True classes, of two kinds at least.
            min_temperature (`float`): Lower bound, in `(0, 1]`. Taken, with a warning, if every row is predicted
                rightly: the NLL then falls all the way to `T = 0`.
            max_temperature (`float`): Upper bound, at least 1. Taken, with a warning, if the logits say less about
                the labels than chance.

        Returns:
            `TemperatureScaler`: Itself, with `temperature` and `report` set.

        Raises:
            ValueError: On NaN or infinite logits, shapes that do not fit, labels out of range, labels of one class
                only, or bounds that do not hold 1.
        """
        if not 0 < min_temperature <= 1 <= max_temperature < np.inf:
            raise ValueError(f"The bounds must hold 1, got [{min_temperature}, {max_temperature}].")
        logits, labels = _checked(logits, labels)
        ends = -np.log([max_temperature, min_temperature])
        slopes = [_slope(end, logits, labels) for end in ends]
        all_right = bool((_true(logits, labels) >= logits.max(1)).all())
        at_bound = all_right or slopes[1] <= 0 or slopes[0] >= 0
        if at_bound:
            log_inverse = ends[1] if all_right or slopes[1] <= 0 else ends[0]
        else:
            log_inverse = brentq(_slope, *ends, args=(logits, labels), xtol=1e-13, rtol=1e-13)
        if _nll(logits * np.exp(log_inverse), labels) >= _nll(logits, labels):
            log_inverse, at_bound = 0.0, False
        self.temperature = float(np.exp(-log_inverse))
        if at_bound:
            logger.warning(_why_at_bound(self.temperature, log_inverse > 0))
        self.report = _report(logits, logits / self.temperature, labels, at_bound)
        return self

    def transform(self, logits):
        """Logits divided by the temperature, of the type given; softmax makes them probabilities."""
        return logits / self.temperature

    def to_dict(self) -> dict[str, Any]:
        """Everything needed to make the scaler again, as JSON takes it."""
        return {"method": "temperature", "temperature": self.temperature, "report": self.report}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "TemperatureScaler":
        """Make a scaler from what [`to_dict`] returned."""
        _check_method(state, "temperature")
        return cls(state["temperature"], state["report"])


class VectorScaler:
    """Scale and shift logits class by class, `w_c * z_c + b_c` (Guo et al., 2017, Sec. 4.2). Predictions may change.

    `w` and `b` minimise the NLL of held-out rows by L-BFGS-B with its analytic gradient. The NLL is convex in both.

    Args:
        scale (`np.ndarray` of shape `(C,)`, *optional*): `w`; set by [`fit`].
        bias (`np.ndarray` of shape `(C,)`, *optional*): `b`, of mean 0 (softmax does not see it); set by [`fit`].
        report (`dict[str, Any]`, *optional*): See [`TemperatureScaler`].
    """

    def __init__(self, scale=None, bias=None, report: dict[str, Any] | None = None):
        if (scale is None) != (bias is None) or np.shape(scale) != np.shape(bias) or np.ndim(scale) > 1:
            raise ValueError(f"Give scale and bias of one length, or neither; got {scale} and {bias}.")
        self.scale = None if scale is None else np.asarray(scale, dtype=np.float64)
        self.bias = None if bias is None else np.asarray(bias, dtype=np.float64)
        self.report = report

    def fit(self, logits, labels, max_scale: float = 100.0, max_bias: float = 100.0) -> "VectorScaler":
        """Set scales and biases to those of the smallest NLL.

        Args:
            logits (`np.ndarray` or `torch.Tensor` of shape `(N, C)`): Logits of held-out rows, not probabilities.
            labels (`np.ndarray` or `torch.Tensor` of shape `(N,)`): True classes; every class must occur.
            max_scale (`float`): Scales lie in `[0, max_scale]`, so that a larger logit never lowers its class.
            max_bias (`float`): Biases lie in `[-max_bias, max_bias]` before their mean is taken off. An optimum at a
                bound (rows that can be separated perfectly) is taken with a warning.

        Returns:
            `VectorScaler`: Itself, with `scale`, `bias` and `report` set.

        Raises:
            ValueError: As [`TemperatureScaler.fit`]; and if a class has no row, or a bound is too small.
        """
        if max_scale < 1 or max_bias <= 0:
            raise ValueError(f"max_scale must be at least 1 and max_bias above 0, got {max_scale} and {max_bias}.")
        logits, labels = _checked(logits, labels)
        classes = logits.shape[1]
        missing = sorted(set(range(classes)) - set(labels.tolist()))
        if missing:
            raise ValueError(
                f"No rows of class {missing[0]}: its bias is undetermined. Use TemperatureScaler instead."
            )
        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        bounds = [(0, max_scale)] * classes + [(-max_bias, max_bias)] * classes
        options = {"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9}
        optimum = minimize(
            vector_nll, start, args=(logits, labels), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).x
        if vector_nll(optimum, logits, labels)[0] > vector_nll(start, logits, labels)[0]:
            optimum = start
        self.scale, bias = optimum[:classes], optimum[classes:]
        at_bound = bool((self.scale >= max_scale).any() or (np.abs(bias) >= max_bias).any())
        self.bias = bias - bias.mean()
        if at_bound:
            logger.warning(
                "The NLL of the held-out rows falls beyond the bounds of the scales or biases, which were taken: "
                "hold out more rows, or use TemperatureScaler."
            )
        self.report = _report(logits, self.transform(logits), labels, at_bound)
        return self

    def transform(self, logits):
        """Logits scaled and shifted, of the type and dtype given."""
        if self.scale is None:
            raise ValueError("This VectorScaler holds no scales yet: call fit first.")
        if logits.shape[-1] != len(self.scale):
            raise ValueError(f"Fitted to {len(self.scale)} classes, got logits of shape {tuple(logits.shape)}.")
        if isinstance(logits, torch.Tensor):
            return logits * torch.as_tensor(self.scale).to(logits) + torch.as_tensor(self.bias).to(logits)
        return logits * self.scale.astype(logits.dtype) + self.bias.astype(logits.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Everything needed to make the scaler again, as JSON takes it."""
        if self.scale is None:
            raise ValueError("This VectorScaler holds no scales yet: call fit first.")
        return {"method": "vector", "scale": self.scale.tolist(), "bias": self.bias.tolist(), "report": self.report}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "VectorScaler":
        """Make a scaler from what [`to_dict`] returned."""
        _check_method(state, "vector")
        return cls(state["scale"], state["bias"], state["report"])


def vector_nll(parameters: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """NLL of vector-scaled logits and its gradient.

    Args:
        parameters (`np.ndarray` of shape `(2 * C,)`): Scales, then biases.
        logits (`np.ndarray` of shape `(N, C)`): Logits, float64.
        labels (`np.ndarray` of shape `(N,)`): True classes.

    Returns:
        `tuple[float, np.ndarray]`: Nats per row, and the gradient, of the shape of `parameters`.
    """
    scale, bias = np.split(parameters, 2)
    scaled = logits * scale + bias
    residual = softmax(scaled, axis=1)
    residual[np.arange(len(labels)), labels] -= 1
    return _nll(scaled, labels), np.concatenate([(residual * logits).mean(0), residual.mean(0)])


def _slope(log_inverse: float, logits: np.ndarray, labels: np.ndarray) -> float:
    """Derivative of the NLL by `1 / T` at `log(1 / T)`: the mean logit under the model less the true one."""
    probs = softmax(logits * np.exp(log_inverse), axis=1)
    return float(((probs * logits).sum(1) - _true(logits, labels)).mean())


def _true(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return logits[np.arange(len(labels)), labels]


def _nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-_true(log_softmax(logits, axis=1), labels).mean())


def _report(before: np.ndarray, after: np.ndarray, labels: np.ndarray, at_bound: bool) -> dict[str, Any]:
    ece = [expected_calibration_error(scores, labels, N_BINS, from_logits=True).item() for scores in (before, after)]
    return {
        "nll_before": _nll(before, labels),
        "nll_after": _nll(after, labels),
        "ece_before": ece[0],
        "ece_after": ece[1],
        "rows": len(labels),
        "at_bound": at_bound,
    }


def _why_at_bound(temperature: float, low: bool) -> str:
    if low:
        return (
            f"Every held-out row is predicted rightly, or nearly so, and the NLL falls below T={temperature:.4g}, the "
            "bound taken: hold out more rows, or keep T=1."
        )
    return (
        f"The logits say no more about the labels than chance, and the NLL falls above T={temperature:.4g}, the bound "
        "taken: check that logits and labels belong together."
    )


def _check_method(state: dict[str, Any], method: str) -> None:
    if state.get("method") != method:
        raise ValueError(f'Expected a state of method "{method}", got {state.get("method")!r}.')


def _checked(logits, labels) -> tuple[np.ndarray, np.ndarray]:
    logits, labels, _ = checked_predictions(logits, labels, from_logits=True)
    logits, labels = logits.double().cpu().numpy(), labels.cpu().numpy()
    if logits.min() >= 0 and np.allclose(logits.sum(1), 1, atol=1e-2):
        raise ValueError("The rows are probabilities: pass the logits before softmax, which rounding has not cut off.")
    if (labels == labels[0]).all():
        raise ValueError(f"All {len(labels)} labels are of class {labels[0]}: a scaler needs rows of two at least.")
    return logits, labels
