# SPDX-License-Identifier: Apache-2.0
"""One table model, and what it looks like in Markdown, LaTeX and CSV."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from logitmix_nlp.reports.escaping import escape_csv, escape_latex, escape_markdown

__all__ = [
    "Cell",
    "Column",
    "Estimate",
    "Table",
    "csv_text",
    "estimate",
    "interval_words",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
]

MISSING, NO_INTERVAL = "–", "no interval"
CSV_HEADER = ("table", "row", "column", "mean", "std", "n", "low", "high")


class Estimate(NamedTuple):
    """A value, perhaps estimated from several seeds.

    Args:
        mean (`float`): Mean over the seeds.
        std (`float`, *optional*): Sample standard deviation over the seeds (divisor `n - 1`); `None` for one seed.
        n (`int`, *optional*): Number of seeds; `None` if it is not known.
        low (`float`, *optional*): Lower end of the 95% interval; `None` if there is none.
        high (`float`, *optional*): Its upper end.
    """

    mean: float
    std: float | None = None
    n: int | None = 1
    low: float | None = None
    high: float | None = None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and sample standard deviation of one value per seed, at least one."""
    values = np.asarray(values, dtype=np.float64)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Estimate(float(values.mean()), std, len(values))


@dataclass(frozen=True)
class Column:
    """One column of values.

    Args:
        title (`str`): Its heading.
        best (`str`, *optional*): `"max"` or `"min"`: which value is set in bold; `None` marks none.
        scale (`float`): What values are multiplied by before they are printed.
        decimals (`int`): Digits behind the point.
        signed (`bool`): Whether a plus sign is printed.
        interval (`bool`): Whether the interval stands beside a value, not the standard deviation.
    """

    title: str
    best: str | None = None
    scale: float = 1.0
    decimals: int = 2
    signed: bool = False
    interval: bool = False

    def number(self, value: float) -> str:
        """A value as it is printed, with a true minus sign."""
        text = f"{value * self.scale:{'+' if self.signed else ''}.{self.decimals}f}"
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", "−")


@dataclass(frozen=True)
class Cell:
    """What is printed in one place: a main text, more in small print, and whether it stands out."""

    text: str
    details: tuple[str, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns.

    Args:
        name (`str`): Short name: letters, digits, `_`.
        title (`str`): Caption.
        head (`str`): Heading of the first column, which names the rows.
        columns (`tuple` of `Column`): The other columns.
        rows (`tuple` of pairs): Name of each row and its values: an `Estimate`, a text, or `None` if it is missing.
        notes (`tuple` of `str`): Sentences below the table.
    """

    name: str
    title: str
    head: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Estimate | str | None, ...]], ...]
    notes: tuple[str, ...] = ()

    def cells(self) -> list[tuple[str, list[Cell]]]:
        """The rows as they are printed. Values that print alike share the mark of the best one.

        An interval that excludes 0 is set in bold. The number of seeds stands in the cell where it is not the
        table's most frequent one.
        """
        best, seeds = [self._best(place) for place in range(len(self.columns))], self.usual_seeds()
        return [
            (name, [_cell(*triple, seeds) for triple in zip(values, self.columns, best, strict=True)])
            for name, values in self.rows
        ]

    def usual_seeds(self) -> int | None:
        """The most frequent number of seeds, the larger one of two; `None` without values."""
        values = [value for _, row in self.rows for value in row if isinstance(value, Estimate)]
        counts = Counter(value.n for value in values if value.n is not None)
        return max(counts, key=lambda n: (counts[n], n), default=None)

    def _best(self, place: int) -> str | None:
        column = self.columns[place]
        means = [row[place].mean for _, row in self.rows if isinstance(row[place], Estimate)]
        if column.best is None or len(means) < 2:
            return None
        return column.number({"max": max, "min": min}[column.best](means))


def _cell(value: Estimate | str | None, column: Column, best: str | None, seeds: int | None) -> Cell:
    if not isinstance(value, Estimate):
        return Cell(MISSING if value is None else value)
    text, details = column.number(value.mean), []
    ends = () if value.low is None else (column.number(value.low), column.number(value.high))
    if column.interval:
        details += interval_words(value.mean, value.low, value.high, column.number) if ends else [NO_INTERVAL]
    elif value.std is not None:
        details.append(f"± {value.std * column.scale:.{column.decimals}f}")
    if value.n not in (seeds, None):
        details.append(f"(n={value.n})")
    excludes_zero = column.interval and bool(ends) and ends[0][0] == ends[1][0] in ("+", "−")
    return Cell(text, tuple(details), bold=excludes_zero or text == best)


def interval_words(value: float, low: float, high: float, show: Callable[[float], str]) -> list[str]:
    """What stands beside a value: its interval and, where the value as it is printed lies outside, that it does.

    Args:
        value (`float`): The value.
        low (`float`): Lower end of its interval.
        high (`float`): Upper end.
        show (`Callable`): Prints a number.

    Returns:
        `list[str]`: One or two texts.
    """
    ends = show(low), show(high)
    outside = (value < low and show(value) != ends[0]) or (value > high and show(value) != ends[1])
    return [f"[{ends[0]}, {ends[1]}]"] + ["(excludes the value)"] * outside


def to_text(table: Table) -> str:
    """The table with its title and notes as plain text in columns, for a terminal."""
    head = [table.head, *(column.title for column in table.columns)]
    body = [[name, *(" ".join([cell.text, *cell.details]) for cell in cells)] for name, cells in table.cells()]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [table.title, ""]
    for name, *texts in (head, ["-" * width for width in widths], *body):
        cells = [text.rjust(width) for text, width in zip(texts, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, *([""] if table.notes else []), *table.notes]) + "\n"


def to_markdown(table: Table) -> str:
    """The table with its title and notes as GitHub-flavoured Markdown."""
    head = [escape_markdown(text) for text in (table.head, *(column.title for column in table.columns))]
    body = [[escape_markdown(name), *map(_markdown_cell, cells)] for name, cells in table.cells()]
    ruled = [head, ["---", *(["---:"] * len(table.columns))], *body]
    lines = [f"**{escape_markdown(table.title)}**", "", *(f"| {' | '.join(row)} |" for row in ruled)]
    notes = ["", *(f"- {escape_markdown(note)}" for note in table.notes)] if table.notes else []
    return "\n".join(lines + notes) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = f"**{escape_markdown(cell.text)}**" if cell.bold else escape_markdown(cell.text)
    return " ".join([text, *map(escape_markdown, cell.details)])


def to_latex(table: Table) -> str:
    """The table as a LaTeX float; needs the packages `booktabs`, `graphicx` and, for T1, `fontenc`."""
    head = [escape_latex(text) for text in (table.head, *(column.title for column in table.columns))]
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for name, cells in table.cells():
        lines.append(" & ".join([escape_latex(name), *map(_latex_cell, cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip\footnotesize {escape_latex(' '.join(table.notes))}"] if table.notes else []
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{escape_latex(cell.text)}}}" if cell.bold else escape_latex(cell.text)
    return f"{text} {{\\scriptsize {escape_latex(' '.join(cell.details))}}}" if cell.details else text


def to_csv(tables: Sequence[Table]) -> str:
    """All values of some tables, one per line, neither scaled nor rounded; missing ones are left out."""
    rows = [
        (table.name, name, column.title, *value)
        for table in tables
        for name, values in table.rows
        for column, value in zip(table.columns, values, strict=True)
        if isinstance(value, Estimate)
    ]
    return csv_text(CSV_HEADER, rows)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as comma-separated values: `None` is an empty cell, floats read back exactly, no text is a formula."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([map(escape_csv, row) for row in (header, *rows)])
    return stream.getvalue()
