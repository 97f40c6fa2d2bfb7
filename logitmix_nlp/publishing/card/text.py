# SPDX-License-Identifier: Apache-2.0
"""The facts of a card for people: the Markdown body of `README.md`, made from a template."""

import importlib.resources
import json
import math
import re

from jinja2 import Environment, StrictUndefined

from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from logitmix_nlp.publishing.card.facts import CardFacts, DatasetFacts, EvaluationFacts, Metric, data_title
from logitmix_nlp.publishing.card.results import MIN_ROWS, metric_title, task_name
from logitmix_nlp.reports.escaping import escape_markdown, fenced
from logitmix_nlp.reports.tables import interval_words

__all__ = ["body"]

TEMPLATE = "README.md.jinja"


def body(facts: CardFacts, diagram: bool) -> str:
    """Write out a card without its header, as Markdown with marked sections.

    Args:
        facts (`CardFacts`): What is known.
        diagram (`bool`): Whether `figures/reliability.png` lies beside the card.
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
        "quoted": lambda text: json.dumps(text, ensure_ascii=False),
        "title": metric_title,
    }
    template = environment.from_string(
        importlib.resources.files("logitmix_nlp.publishing.card").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    return template.render(
        facts=facts,
        task=task_name(facts),
        image=facts.task == "image-classification",
        tokens=facts.task == "token-classification",
        regression=facts.kind == REGRESSION,
        single_label=facts.kind == SINGLE_LABEL,
        multi_label=facts.kind == MULTI_LABEL,
        measured={metric.name for evaluation in facts.evaluations for metric in evaluation.metrics},
        resamples=sorted({evaluation.n_resamples for evaluation in facts.evaluations} - {0}),
        min_rows=MIN_ROWS,
        diagram=_diagram_text(facts) if diagram else "",
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


def _interval(metric: Metric) -> str:
    return "–" if metric.low is None else " ".join(interval_words(metric.value, metric.low, metric.high, _number))


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
