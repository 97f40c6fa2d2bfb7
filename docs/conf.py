# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes the site: `make docs`. Warnings are errors, and a page loads nothing from elsewhere."""

import importlib
import inspect
import re
import shutil
import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from pictures import draw  # noqa: E402

INTRODUCTION = (
    "Flags of the scripts and fields of `LogitMixTrainingArguments`, beside those of `TrainingArguments`. A setting "
    "without a default takes that of `mix_method`; what you set wins. Made from the code."
)
SHARED = {"label_smoothing_factor"}  # a stock setting that methods set, too

project = "LogitMix"
author = "The logitmix-nlp developers"
copyright = "The logitmix-nlp developers, Apache-2.0"  # noqa: A001
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build", "results/*/rows", "results/text/reading.md", "**.ipynb_checkpoints"]
nitpicky = True
html_theme = "furo"
html_title = "LogitMix"
html_static_path = ["_static"]
html_css_files = ["wide_tables.css"]
html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "auto"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give types with their shapes and ranges
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Types as docstrings write them ("`torch.Tensor` of shape ...") are prose, not references.
nitpick_ignore_regex = [(r"py:.*", r".*")]

PLACES = [
    "logitmix_nlp", "logitmix_nlp.functional", "logitmix_nlp.training.methods", "logitmix_nlp.mixing.sites",
    "logitmix_nlp.calibration", "logitmix_nlp.evaluation", "logitmix_nlp.publishing", "glue_runs", "transformers",
]  # fmt: skip


def resolve(name: str, module: str) -> str | None:
    """Full name of what a docstring of this module calls `name`, or `None` if there is no such thing."""
    for place in [module, *PLACES]:
        parts = f"{place}.{name}".split(".")
        for split in range(len(parts) - 1, 0, -1):
            try:
                value = importlib.import_module(".".join(parts[:split]))
                for part in parts[split:]:
                    value = getattr(value, part)
            except (ImportError, AttributeError):
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                return f"{value.__module__}.{value.__qualname__}"
            return ".".join(parts)
    return None


def markdown_to_rest(app, what, name, obj, options, lines):
    """Turn the Markdown of docstrings (`code`, [`reference`]) into reStructuredText; refuse dead references."""
    module = name if what == "module" else getattr(obj, "__module__", None) or name.rpartition(".")[0]

    def reference(match: re.Match) -> str:
        target = resolve(match[1].removesuffix("()"), module)
        if target is None and what in ("method", "property", "class"):
            target = resolve(f"{name.split('.')[-2 if what != 'class' else -1]}.{match[1]}", module)
        if target is None:
            sphinx_warning(f"docstring of {name}: nothing is called {match[1]!r}")
        return f":py:obj:`{match[1]} <{target}>`"

    text = "\n".join(lines)
    text = re.sub(r"\[`([^`]+)`\]", reference, text)
    text = re.sub(r"(?<![`:\w>])`([^`<\n]+(?:\n[^`<\n]+)?)`(?!`)", r"``\1``", text)
    text = text.replace("*optional*", "optional")
    lines[:] = text.split("\n")


def sphinx_warning(text: str) -> None:
    """Say what is wrong through Sphinx, which `-W` makes an error."""
    from sphinx.util import logging

    logging.getLogger(__name__).warning(text)


def write_settings(app) -> None:
    """Write the page of all settings from the fields of the arguments."""
    from transformers import TrainingArguments

    from logitmix_nlp import LogitMixTrainingArguments
    from logitmix_nlp.training.methods import MIX_METHODS

    stock = {field.name for field in fields(TrainingArguments)}
    own = [field for field in fields(LogitMixTrainingArguments) if field.name not in stock - SHARED]
    lines = ["# Settings", "", INTRODUCTION, "", "| setting | default | meaning |", "|---|---|---|"]
    for field in own:
        meaning = field.metadata["help"].replace("%%", "%").replace("|", "\\|")
        default = "the method's" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{field.name}` | {default} | {meaning} |")
    names = [field.name for field in own if all(hasattr(row, field.name) for row in MIX_METHODS.values())]
    lines += ["", "## What each method sets", "", f"| setting | {' | '.join(f'`{name}`' for name in MIX_METHODS)} |"]
    lines += ["|" + "---|" * (1 + len(MIX_METHODS))]
    for name in names:
        values = [str(getattr(row, name)).replace("|", "\\|") for row in MIX_METHODS.values()]
        lines.append(f"| `{name}` | {' | '.join(values)} |")
    page = Path(app.srcdir) / "settings.md"
    text = "\n".join(lines) + "\n"
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def copy_plots(app, failure) -> None:
    """Put the plots of the results where their pages look for them: Sphinx follows no `<picture>`."""
    for path in Path(app.srcdir).glob("results/*/*.svg"):
        shutil.copy(path, Path(app.outdir) / path.relative_to(app.srcdir))


def setup(app):
    """Let docstrings keep the Markdown of Transformers, and make the pages and pictures that come from code."""
    app.connect("autodoc-process-docstring", markdown_to_rest, priority=100)
    app.connect("builder-inited", write_settings)
    app.connect("build-finished", copy_plots)
    draw(Path(__file__).parent / "_static")
