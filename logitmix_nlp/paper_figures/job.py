# SPDX-License-Identifier: Apache-2.0
"""What a figure of the command is: its flags, what is computed, and how it is drawn."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from logitmix_nlp.reports.tables import Column, Estimate, Table

__all__ = ["Figure", "FigureJob", "number_table"]

Rows = Sequence[tuple[str, Sequence[float | str | Estimate]]]


class Figure(NamedTuple):
    """A figure, computed and ready to draw.

    Args:
        title (`str`): Heading.
        description (`str`): What it shows, in words, for those who do not see it.
        numbers (`dict`): Its figures, as JSON values.
        table (`Table`): Its figures as a table.
        draw (`Callable`): Draws it, given a path, and `style` by name.
    """

    title: str
    description: str
    numbers: dict[str, Any]
    table: Table
    draw: Callable[..., None]


class FigureJob(NamedTuple):
    """One name of the command.

    Args:
        line (`str`): Help in one line.
        add_flags (`Callable[[argparse.ArgumentParser], None]`): Adds its own flags.
        compute (`Callable[[argparse.Namespace], Figure]`): Computes it.
    """

    line: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    compute: Callable[[argparse.Namespace], Figure]


def number_table(name: str, title: str, head: str, columns: Sequence[str], rows: Rows, decimals: int = 4) -> Table:
    """A table whose columns are all printed with the same number of decimals."""
    cells = tuple(
        (row, tuple(Estimate(value) if isinstance(value, float) else value for value in values))
        for row, values in rows
    )
    return Table(name, title, head, tuple(Column(column, decimals=decimals) for column in columns), cells)
