# SPDX-License-Identifier: Apache-2.0
import csv
import io
import re

import pytest

from logitmix_nlp.reports.tables import (
    Cell,
    Column,
    Estimate,
    Table,
    csv_text,
    to_csv,
    to_latex,
    to_markdown,
)

SPECIAL = r"a_b & 50% $x$ #1 {y} ~z ^w \v <u> |t| [s] *r* `q` ± − × – ”"


RTE = Column("RTE", best="max", scale=100.0)


def table(*rows, columns=(RTE,), **values):
    return Table("scores", "Scores", "method", columns, rows, **values)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (Column("x"), 1.005, "1.00"),
        (Column("x", scale=100.0), 0.84735, "84.73"),
        (Column("x", decimals=3), -0.0123, "−0.012"),
        (Column("x", signed=True), 0.5, "+0.50"),
        (Column("x", signed=True), -0.001, "0.00"),
        (Column("x", signed=True), 0.0, "0.00"),
        (Column("x", decimals=0), 101.4, "101"),
    ],
)
def test_numbers(column, value, text):
    assert column.number(value) == text


def cells(*figures, **style):
    rows = [(str(place), (figure,)) for place, figure in enumerate(figures)]
    return [row[1][0] for row in table(*rows, columns=(Column("x", **style),)).cells()]


def test_the_best_figure_is_bold_and_so_is_one_that_prints_alike():
    found = cells(Estimate(0.904), Estimate(0.9), Estimate(0.896), Estimate(0.8), None, best="max")
    assert [cell.bold for cell in found] == [True, True, True, False, False]
    assert [cell.bold for cell in cells(Estimate(0.3), Estimate(0.2), best="min")] == [False, True]


def test_one_row_has_no_best_figure():
    assert [cell.bold for cell in cells(Estimate(0.3), None, best="max")] == [False, False]


def test_deviations_and_missing_figures():
    found = cells(Estimate(0.5, 0.125, 2), Estimate(0.25, None, 2), None, "text", decimals=3)
    assert found == [Cell("0.500", ("± 0.125",)), Cell("0.250"), Cell("–"), Cell("text")]


def test_the_number_of_seeds_stands_where_it_differs():
    found = cells(Estimate(1, 0.5, 5), Estimate(1, 0.5, 5), Estimate(1, 0.5, 3), Estimate(1, n=None))
    assert [cell.details for cell in found] == [("± 0.50",), ("± 0.50",), ("± 0.50", "(n=3)"), ()]


def test_intervals_are_bold_where_they_exclude_zero_as_printed():
    ends = [(0.1, 0.3), (-0.3, -0.1), (-0.1, 0.3), (0.001, 0.3), (0.0, 0.0), (None, None)]
    found = cells(*(Estimate(pair[0] or 0.1, 0.2, 2, *pair) for pair in ends), signed=True, interval=True)
    assert [cell.bold for cell in found] == [True, True, False, False, False, False]
    assert found[1].details == ("[−0.30, −0.10]",)
    assert found[-1].details == ("no interval",)


def test_an_interval_that_excludes_its_figure_says_so_in_the_cell():
    """As printed: 0.1004 lies outside of [0.1001, 0.1003], but to three digits all are 0.100."""
    ends = [(0.0, 0.05), (0.15, 0.2), (0.0, 0.2), (0.1, 0.2), (0.0, 0.1)]
    found = cells(*(Estimate(0.1, low=low, high=high) for low, high in ends), interval=True)
    assert [cell.details[1:] for cell in found] == [("(excludes the value)",)] * 2 + [()] * 3
    close = Estimate(0.1004, low=0.1001, high=0.1003)
    (four,), (three,) = (cells(close, interval=True, decimals=decimals) for decimals in (4, 3))
    assert four.details == ("[0.1001, 0.1003]", "(excludes the value)")
    assert three.details == ("[0.100, 0.100]",)


def test_markdown():
    found = to_markdown(table(("vanilla", (Estimate(0.5, 0.1, 3),)), ("mixup", (None,)), notes=("n_1",)))
    assert found == (
        "**Scores**\n\n| method | RTE |\n| --- | ---: |\n| vanilla | 50.00 ± 10.00 |\n| mixup | – |\n\n- n\\_1\n"
    )


def test_latex():
    lines = to_latex(table(("vanilla", (Estimate(0.5, 0.1, 3),)), ("mixup", (Estimate(0.75, n=3),)))).splitlines()
    assert r"vanilla & 50.00 {\scriptsize $\pm$ 10.00} \\" in lines
    assert r"mixup & \textbf{75.00} \\" in lines
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    text = "\n".join(lines)
    assert text.count("{") == text.count("}")


def test_special_characters_keep_the_columns_apart():
    found = table((SPECIAL, (SPECIAL,)), columns=(Column(SPECIAL),))
    rows = [line for line in to_markdown(found).splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3]
    rows = [line for line in to_latex(found).splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1]


def test_csv_reads_back_exactly():
    figures = {"a,b": Estimate(1 / 3, 0.1, 3), 'c"d': Estimate(0.1 + 0.2, None, 1, -1e-17, 2 / 3)}
    rows = [(name, (figure,)) for name, figure in figures.items()] + [("e", (None,)), ("f", ("text",))]
    found = list(csv.DictReader(io.StringIO(to_csv([table(*rows)]))))
    assert [(row["table"], row["column"]) for row in found] == [("scores", "RTE")] * 2
    read = {row["row"]: [float(row[name]) if row[name] else None for name in Estimate._fields] for row in found}
    assert read == {name: list(figure) for name, figure in figures.items()}
    assert csv_text(["a", "b"], [(None, "ä")]) == "a,b\n,ä\n"
