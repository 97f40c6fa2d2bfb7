# SPDX-License-Identifier: Apache-2.0
"""Stock pipelines whose probabilities know the temperature that is stored with the model."""

from typing import Any

from transformers import ImageClassificationPipeline, TextClassificationPipeline, TokenClassificationPipeline

from logitmix_nlp.calibration.stored_temperature import calibrated_logits

__all__ = [
    "CalibratedImageClassificationPipeline",
    "CalibratedTextClassificationPipeline",
    "CalibratedTokenClassificationPipeline",
]


class CalibratedTextClassificationPipeline(TextClassificationPipeline):
    """`pipeline("text-classification", model, pipeline_class=...)` with `softmax(logits / T)` as scores.

    Labels, their order and every argument are those of the stock class.

    Raises:
        ValueError: See [`stored_temperature`].
    """

    def postprocess(self, model_outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the logits by the stored temperature, then do as the stock pipeline does."""
        return super().postprocess(_calibrated(self.model, model_outputs), *args, **kwargs)


class CalibratedTokenClassificationPipeline(TokenClassificationPipeline):
    """`pipeline("token-classification", model, pipeline_class=...)` with scores of `softmax(logits / T)`.

    Entities, their order and every argument are those of the stock class.

    Raises:
        ValueError: See [`stored_temperature`].
    """

    def postprocess(self, all_outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the logits of each piece of text by the stored temperature, then do as the stock pipeline does."""
        return super().postprocess([_calibrated(self.model, one) for one in all_outputs], *args, **kwargs)


class CalibratedImageClassificationPipeline(ImageClassificationPipeline):
    """`pipeline("image-classification", model, pipeline_class=...)` with `softmax(logits / T)` as scores.

    Labels, their order and every argument are those of the stock class.

    Raises:
        ValueError: See [`stored_temperature`].
    """

    def postprocess(self, model_outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the logits by the stored temperature, then do as the stock pipeline does."""
        return super().postprocess(_calibrated(self.model, model_outputs), *args, **kwargs)


def _calibrated(model: Any, outputs: Any) -> Any:
    outputs = type(outputs)(outputs)
    outputs["logits"] = calibrated_logits(model, outputs["logits"])
    return outputs
