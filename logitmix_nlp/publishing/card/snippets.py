# SPDX-License-Identifier: Apache-2.0
"""Code that uses a model, for its card. Each piece runs as it stands; a test does that."""

import json

from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION
from logitmix_nlp.publishing.card.facts import HERE, CardFacts

__all__ = ["snippets"]

_WHERE = '# Run this in the folder of this card, or put the path of that folder in the place of ".".\n'
_IMAGE = 'image = Image.new("RGB", (224, 224))  # yours: Image.open("picture.png").convert("RGB")'


def snippets(facts: CardFacts) -> dict[str, str]:
    """How to use a model with `pipeline`, step by step, and with its temperature.

    Args:
        facts (`CardFacts`): What is known about the model; `processor` must not be `None`.

    Returns:
        `dict[str, str]`: Python code by name: `pipeline`, `model` and `temperature`, which goes on from `model`.
    """
    image = facts.task == "image-classification"
    where = _WHERE if facts.repo_id == HERE else ""
    return {
        "pipeline": where + (_image_pipeline(facts) if image else _text_pipeline(facts)),
        "model": where + (_image_model(facts) if image else _text_model(facts)),
        "temperature": "probabilities = (logits / model.config.calibration_temperature).softmax(-1)\n"
        "print(dict(zip(model.config.id2label.values(), probabilities[0].tolist())))",
    }


def _text_pipeline(facts: CardFacts) -> str:
    given = '{"text": "A first sentence.", "text_pair": "A second one."}' if facts.text_pair else '"A sentence."'
    options = "truncation=True" + (f", max_length={facts.max_length}" if facts.max_length else "")
    own = f", tokenizer={_quoted(facts.processor)}" if facts.processor != facts.repo_id else ""
    what = "" if facts.kind == REGRESSION else "top_k=None, "
    comment = "the score" if facts.kind == REGRESSION else "all classes, the most probable one first"
    return "\n".join(
        [
            "from transformers import pipeline",
            "",
            f'classifier = pipeline("text-classification", model={_quoted(facts.repo_id)}{own})',
            f"# {comment}:",
            f"print(classifier({given}, {what}{options}))",
        ]
    )


def _text_model(facts: CardFacts) -> str:
    given = '"A first sentence.", "A second one."' if facts.text_pair else '"A sentence."'
    options = "truncation=True" + (f", max_length={facts.max_length}" if facts.max_length else "")
    return "\n".join(
        [
            "import torch",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
            "",
            f"tokenizer = AutoTokenizer.from_pretrained({_quoted(facts.processor)})",
            f"model = AutoModelForSequenceClassification.from_pretrained({_quoted(facts.repo_id)})",
            f'inputs = tokenizer({given}, {options}, return_tensors="pt")',
            *_logits(facts),
        ]
    )


def _image_pipeline(facts: CardFacts) -> str:
    own = f", image_processor={_quoted(facts.processor)}" if facts.processor != facts.repo_id else ""
    return "\n".join(
        [
            "from PIL import Image",
            "from transformers import pipeline",
            "",
            f'classifier = pipeline("image-classification", model={_quoted(facts.repo_id)}{own})',
            _IMAGE,
            "print(classifier(image))",
        ]
    )


def _image_model(facts: CardFacts) -> str:
    return "\n".join(
        [
            "import torch",
            "from PIL import Image",
            "from transformers import AutoImageProcessor, AutoModelForImageClassification",
            "",
            f"processor = AutoImageProcessor.from_pretrained({_quoted(facts.processor)})",
            f"model = AutoModelForImageClassification.from_pretrained({_quoted(facts.repo_id)})",
            _IMAGE,
            'inputs = processor(image, return_tensors="pt")',
            *_logits(facts),
        ]
    )


def _logits(facts: CardFacts) -> list[str]:
    lines = ["with torch.inference_mode():", "    logits = model(**inputs).logits"]
    if facts.kind == REGRESSION:
        return [*lines, "print(logits[0, 0].item())"]
    function = "sigmoid()" if facts.kind == MULTI_LABEL else "softmax(-1)"
    show = "print(dict(zip(model.config.id2label.values(), probabilities[0].tolist())))"
    return [*lines, f"probabilities = logits.{function}", show]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
