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

__all__ = ["Picture", "Report", "Section", "drawn_picture", "report_to_markdown", "svg_bytes", "to_html"]

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Picture:
    """One picture as SVG.

    Args:
        caption (`str`): Heading.
        title (`str`): What it shows, in words.
        svg (`bytes`): The picture.
        width (`int`): Width in CSS pixels at which it is best read.
        dark_svg (`bytes`, *optional*): The same on a dark ground, for readers who prefer that.
        narrow (`Picture`, *optional*): The same for a narrow screen, with its panels below each other.
    """

    caption: str
    title: str
    svg: bytes
    width: int
    dark_svg: bytes | None = None
    narrow: "Picture | None" = None

    @property
    def data_uri(self) -> str:
        """The picture as the address of an image, so that a page needs no other file."""
        return _data_uri(self.svg)

    @property
    def dark_data_uri(self) -> str:
        """The same of the dark picture; empty if there is none."""
        return "" if self.dark_svg is None else _data_uri(self.dark_svg)


@dataclass(frozen=True)
class Section:
    """One part of a report: a heading, sentences, tables and pictures.

    Args:
        name (`str`): Short name: letters, digits, `_`.
        title (`str`): Heading.
        text (`str`): Sentences below it.
        tables (`tuple` of `Table`): Tables, then
        pictures (`tuple` of `Picture`): pictures.
        folded (`str`): Line to click on for the tables and pictures; they are shown at once if it is empty.
    """

    name: str
    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folded: str = ""


@dataclass(frozen=True)
class Report:
    """All that a report says, whatever file it is written to.

    Args:
        title (`str`): Heading.
        facts (`tuple` of pairs): What was run: name and value.
        sections (`tuple` of `Section`): Tables and pictures.
        commands (`tuple` of `str`): Command lines, one per run.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    commands: tuple[str, ...] = ()


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def svg_bytes(draw: Callable[[io.BytesIO], None]) -> bytes:
    """What a drawing function writes into the stream that it is given."""
    stream = io.BytesIO()
    draw(stream)
    return stream.getvalue()


def drawn_picture(
    caption: str, title: str, draw: Callable[..., None], width: int, *, narrow: bool = True, dark: bool = False
) -> Picture:
    """A picture from a function that draws it.

    Args:
        caption (`str`): Heading.
        title (`str`): What it shows, in words.
        draw (`Callable`): Called with a stream, `file_format`, `style` and, for narrow screens, `max_columns=1`.
        width (`int`): Width in CSS pixels at which it is best read.
        narrow (`bool`): Whether it has panels side by side, which narrow screens show below each other.
        dark (`bool`): Whether to draw it on a dark ground too.

    Returns:
        `Picture`: In all its forms.
    """

    def svg(**options: object) -> bytes:
        return svg_bytes(lambda stream: draw(stream, file_format="svg", **options))

    def both(**options: object) -> tuple[bytes, bytes | None]:
        return svg(style="light", **options), svg(style="dark", **options) if dark else None

    (light, on_dark), below = both(), both(max_columns=1) if narrow else None
    return Picture(caption, title, light, width, on_dark, below and Picture(caption, title, below[0], width, below[1]))


def to_html(report: Report) -> str:
    """The report as one page without other files: light and dark, down to the width of a phone."""
    source = importlib.resources.files("logitmix_nlp.reports").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(report=report) + "\n"


def report_to_markdown(report: Report) -> str:
    """Facts, tables and command lines of the report, without its pictures."""
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
