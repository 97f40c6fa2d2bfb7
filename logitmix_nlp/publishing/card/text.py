# SPDX-License-Identifier: Apache-2.0
"""The facts of a card for people: the Markdown body of `README.md`, with code that runs as it stands."""

import importlib.resources
import json
import math
import re

from jinja2 import Environment, StrictUndefined

from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from logitmix_nlp.publishing.card.facts import HERE, CardFacts, DatasetFacts, EvaluationFacts, Figure, data_title
from logitmix_nlp.publishing.card.results import MIN_ROWS, figure_title, task_name
from logitmix_nlp.reports.escaping import escape_markdown, fenced
from logitmix_nlp.reports.tables import interval_words

__all__ = ["body", "snippets"]

TEMPLATE = "README.md.jinja"
_WHERE = '# Run this in the folder of this card, or put the path of that folder in the place of ".".\n'
_IMAGE = 'image = Image.new("RGB", (224, 224))  # yours: Image.open("picture.png").convert("RGB")'
MEANINGS = {
    "ece": "ECE: mean gap between confidence (probability of the predicted class) and accuracy, over bins of equal "
    "width; 0 is perfect.",
    "oe": "OE: the part of it that is over-confident, weighted with the confidence; 0 is perfect.",
    "nll": "NLL: mean of −log p(true class), in nats; smaller is better.",
    "brier": "Brier score: mean of Σ (p − [true])², between 0 and 2; smaller is better.",
}


def body(facts: CardFacts, diagram: bool) -> str:
    """Write out a card without its header.

    Args:
        facts (`CardFacts`): What is known.
        diagram (`bool`): Whether `figures/reliability.png` lies beside the card.

    Returns:
        `str`: Markdown with marked sections, see [`sections`].
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= {
        "alt": lambda text: re.sub(r"[\[\]\n]", " ", text),
        "code": _code,
        "count": _count,
        "data": _data,
        "fenced": _fenced,
        "interval": _interval,
        "md": escape_markdown,
        "number": _number,
        "title": figure_title,
    }
    template = environment.from_string(
        importlib.resources.files("logitmix_nlp.publishing.card").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    image = facts.task == "image-classification"
    return template.render(
        facts=facts,
        summary=_summary(facts),
        task=task_name(facts),
        regression=facts.kind == REGRESSION,
        labels=_labels(facts.labels),
        notes=_notes(facts),
        diagram=_diagram_text(facts) if diagram else "",
        processor_word="image processor" if image else "tokenizer",
        snippets={} if facts.processor is None else snippets(facts),
        versions=", ".join(f"{name} {version}" for name, version in facts.versions),
        limits=_limits(facts),
    ).rstrip("\n") + "\n"  # fmt: skip


def _code(text: str) -> str:
    """Inline code; text that code cannot show alike everywhere, in tables too, is escaped instead."""
    text = " ".join(text.split())
    return f"`{text}`" if text and not re.search(r"[`|<>]", text) else escape_markdown(text)


def _fenced(text: str, language: str) -> str:
    """A block of code in which our own marks are broken up."""
    return fenced(text.replace("<!--", "<! --"), language)


def _data(data: DatasetFacts) -> str:
    name = escape_markdown(data.name)
    name = f"[{name}](https://huggingface.co/datasets/{data.hub_id})" if data.hub_id else name
    return f"{name}, split {_code(data.split)}" if data.split else name


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    return f"{value:.4f}".replace("-", "−")


def _interval(figure: Figure) -> str:
    return "–" if figure.low is None else " ".join(interval_words(figure.value, figure.low, figure.high, _number))


def _labels(names: tuple[str, ...], most: int = 20) -> str:
    shown = ", ".join(_code(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more, {len(names)} in all"


def _summary(facts: CardFacts) -> str:
    what = "predicts a score for" if facts.kind == REGRESSION else "classifies"
    objects = "images" if facts.task == "image-classification" else "pairs of texts" if facts.text_pair else "texts"
    kind = "An adapter that" if facts.adapter else "A model that"
    base = escape_markdown(facts.base_model) if facts.base_model else _code(facts.base_name or "")
    start = f", fine-tuned from {base}" if base else ", trained from scratch" if facts.base_known else ", trained"
    names = " and ".join(escape_markdown(data.name) for data in facts.training_data)
    trained = f" on {names}" if names else ""
    return f"{kind} {what} {objects}{start}{trained} with {_code(facts.method.name)}."


def _notes(facts: CardFacts) -> list[str]:
    names = [figure.name for evaluation in facts.evaluations for figure in evaluation.figures]
    notes = [meaning for name, meaning in MEANINGS.items() if name in names]
    counts = sorted({evaluation.n_resamples for evaluation in facts.evaluations} - {0})
    if counts:
        how = "percentile bootstrap over rows" + (", basic and cut at 0 for ECE and OE" if "ece" in names else "")
        notes.append(
            f"Intervals: {how}, {' or '.join(f'{count:,}' for count in counts)} resamples. They say how much the "
            "choice of evaluation rows may matter, not how much another seed would. Where every resample gave the "
            "same value, there is none."
        )
    if any(evaluation.rows < MIN_ROWS for evaluation in facts.evaluations):
        notes.append(f"Fewer than {MIN_ROWS} rows: too few for intervals and for a reliability diagram.")
    if facts.temperature is not None:
        notes.append(
            "All of this is about logits divided by the temperature below, which Transformers does not do by itself."
        )
    if facts.selected_by is not None:
        notes.append(
            f"These weights were chosen by `{facts.selected_by}`; if that was measured on the same rows, the figures "
            "are a little too good."
        )
    return notes


def _diagram_text(facts: CardFacts) -> str:
    parts = [
        f"{data_title(e.dataset)}: ECE {_number(e.bins.calibration_error().item())}, OE "
        f"{_number(e.bins.overconfidence().item())}, mean confidence {_number(_mean_confidence(e))}, accuracy "
        f"{_number((e.bins.correct.sum() / e.bins.count.sum()).item())}"
        for e in facts.evaluations
        if e.bins is not None
    ]
    return f"Reliability diagram, accuracy in each bin of confidence. {'; '.join(parts)}."


def _mean_confidence(evaluation: EvaluationFacts) -> float:
    return (evaluation.bins.confidence.sum() / evaluation.bins.count.sum()).item()


def _limits(facts: CardFacts) -> list[str]:
    limits = []
    if facts.kind == SINGLE_LABEL and facts.evaluations:
        limits.append(
            "Accuracy and calibration were measured on the rows above only. On texts or images of another kind the "
            "model may be wrong and sure of it; measure again on your own data before you rely on its confidence."
        )
    elif facts.evaluations:
        limits.append("The scores above hold for rows of the same kind only; measure again on your own data.")
    else:
        limits.append("Nothing was measured: neither how often the model is right nor what its confidence is worth.")
    if facts.kind != SINGLE_LABEL:
        limits.append("Calibration was not measured: ECE and its relatives are for classifiers of one label per row.")
    limits.append(
        "Not measured: robustness to changed inputs, inputs from outside the training distribution, and differences "
        "between groups of people."
    )
    limits.append("One training run: how much the results vary between random seeds was not measured.")
    if facts.base_name:
        limits.append("What the base model learnt, its biases too, is still in this one.")
    return limits


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
