# SPDX-License-Identifier: Apache-2.0
"""What comes from outside stays text in every format."""

import csv
import html
import io
import re

import pytest

from logitmix_nlp.reports.escaping import escape_csv, escape_latex, escape_markdown, fenced
from logitmix_nlp.reports.tables import csv_text

SPECIAL = r"a_b & 50% $x$ #1 {y} ~z ^w \v <u> |t| [s] *r* `q` ± − × – ” &lt;"


def test_latex_characters():
    assert escape_latex("50% of a_b & {#1}") == r"50\% of a\_b \& \{\#1\}"
    assert escape_latex("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
    assert escape_latex("−1 ± 2") == r"$-$1 $\pm$ 2"
    bare = re.sub(r"\\[a-z]+\{\}|\\[{}$&#%_]|\$\\?[a-z-]+\$", "", escape_latex(SPECIAL))
    assert not set(bare) & set("\\{}$&#%_~^<>|±−×–")


@pytest.mark.parametrize("text", ["[2cm] x", "*x"])
def test_no_text_becomes_an_option_of_the_end_of_a_line(text):
    assert escape_latex(text) == "{}" + text


def test_markdown_reads_back_as_the_text():
    assert html.unescape(re.sub(r"\\([\\`*_|>\[\]#~$])", r"\1", escape_markdown(SPECIAL))) == SPECIAL
    assert not re.search(r"<|&(?!amp;|lt;)", escape_markdown(SPECIAL + "<script>"))


@pytest.mark.parametrize("escape", [escape_latex, escape_markdown])
@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_text_stays_on_its_line_and_holds_no_control_characters(escape, line_end):
    assert escape(f"a{line_end} b\x00\x08\x7f\x9fc") == "a bc"


@pytest.mark.parametrize("text", ["ls", "echo ```\n<script>", "````", "a ` b\n`````\n````"])
def test_a_fence_is_longer_than_what_it_holds(text):
    first, *inner, last = fenced(text, "bash").split("\n")
    assert first == last + "bash"
    assert "\n".join(inner) == text
    assert len(last) > max([2, *map(len, re.findall("`+", text))])


@pytest.mark.parametrize(
    "text", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "-1+1", "+inf", "＝1", "-"]
)
def test_no_cell_is_a_formula(text):
    (row,) = csv.reader(io.StringIO(csv_text([text], [])))
    assert row == ["'" + text.replace("\r", "\n")]


def test_no_text_leaves_its_cell():
    rows = [("a\r=1", 1), ("b\r\n=1,2", 2), ('c\n"=1', 3)]
    assert list(csv.reader(io.StringIO(csv_text(("x", "y"), rows)))) == [
        ["x", "y"], ["a\n=1", "1"], ["b\n=1,2", "2"], ['c\n"=1', "3"],
    ]  # fmt: skip


@pytest.mark.parametrize("value", [-0.5, -1, None, "-0.5", "+1e-05", "12", "a=b", "", "vanilla"])
def test_numbers_stay_numbers(value):
    assert escape_csv(value) is value
