# SPDX-License-Identifier: Apache-2.0
"""A report of any kind, and the page it becomes: one HTML file that needs no network, or Markdown."""

import base64
import importlib.resources
import io
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from logitmix_nlp.reports.escaping import escape_markdown, fenced
from logitmix_nlp.reports.tables import Table, to_markdown

__all__ = ["Plot", "Report", "Section", "report_to_markdown", "to_html"]

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Plot:
    """One plot, drawn as SVG when it is asked for.

    Args:
        caption (`str`): Heading.
        title (`str`): What it shows, in words.
        draw (`Callable`): Called with a stream, `file_format`, `style` and, for narrow screens, `max_columns=1`.
        width (`int`): Width in CSS pixels at which it is best read.
        narrow (`bool`): Whether it has panels side by side, which narrow screens show below each other.
        dark (`bool`): Whether it is drawn on a dark ground too, for readers who prefer that.
    """

    caption: str
    title: str
    draw: Callable[..., None]
    width: int
    narrow: bool = True
    dark: bool = False

    def svg(self, style: str = "light", **options: object) -> bytes:
        """The plot in one style."""
        stream = io.BytesIO()
        self.draw(stream, file_format="svg", style=style, **options)
        return stream.getvalue()

    def forms(self) -> list[tuple[str, str]]:
        """Media query and `data:` address of each form, in the order in which a browser tries them; "" fits always."""
        screens = [("(max-width: 40rem)", {"max_columns": 1})] * self.narrow + [("", {})]
        styles = [("(prefers-color-scheme: dark)", "dark")] * self.dark + [("", "light")]
        return [
            (" and ".join(filter(None, (screen, ground))), _data_uri(self.svg(style, **options)))
            for screen, options in screens
            for ground, style in styles
        ]


@dataclass(frozen=True)
class Section:
    """One part of a report: a heading, sentences, tables and plots.

    Args:
        name (`str`): Short name: letters, digits, `_`.
        title (`str`): Heading.
        text (`str`): Sentences below it.
        tables (`tuple` of `Table`): Tables, then
        plots (`tuple` of `Plot`): plots.
        folded (`str`): Line to click on for the tables and plots; they are shown at once if it is empty.
    """

    name: str
    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    folded: str = ""


@dataclass(frozen=True)
class Report:
    """All that a report says, whatever file it is written to.

    Args:
        title (`str`): Heading.
        facts (`tuple` of pairs): What was run: name and value.
        sections (`tuple` of `Section`): Tables and plots.
        commands (`tuple` of `str`): Command lines, one per run.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    commands: tuple[str, ...] = ()


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def to_html(report: Report) -> str:
    """The report as one page without other files: light and dark, down to the width of a phone."""
    source = importlib.resources.files("logitmix_nlp.reports").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(report=report) + "\n"


def report_to_markdown(report: Report) -> str:
    """Facts, tables and command lines of the report, without its plots."""
    parts = [f"# {escape_markdown(report.title)}\n"]
    parts.append(
        "\n".join(f"- {escape_markdown(name)}: {escape_markdown(value)}" for name, value in report.facts) + "\n"
    )
    for section in report.sections:
        if section.tables:
            texts = [escape_markdown(section.text) + "\n"] if section.text else []
            parts += [f"## {escape_markdown(section.title)}\n", *texts, *map(to_markdown, section.tables)]
    if report.commands:
        commands = "\n".join(report.commands)
        parts.append(f"## Commands\n\n{fenced(commands, 'bash')}\n")
    return "\n".join(parts)
