# SPDX-License-Identifier: Apache-2.0
import base64
import re

from logitmix_nlp.reports.page import (
    Plot,
    Report,
    Section,
    report_to_markdown,
    to_html,
)
from logitmix_nlp.reports.tables import Column, Estimate, Table, to_text

TABLE = Table(
    "t",
    "Two <rows>",
    "method",
    (Column("ECE", decimals=3, interval=True), Column("note")),
    (("vanilla", (Estimate(0.1, low=0.05, high=0.2), "a")), ("mixup", (None, "b & c"))),
    ("Lower is better.",),
)
FACTS = (("Model", "m"),)


def page(**section) -> str:
    return to_html(Report("Title", FACTS, (Section("one", "One", tables=(TABLE,), **section),)))


def test_text_stands_in_columns():
    assert to_text(TABLE) == (
        "Two <rows>\n\n"
        "method                    ECE   note\n"
        "-------  --------------------  -----\n"
        "vanilla  0.100 [0.050, 0.200]      a\n"
        "mixup                       –  b & c\n"
        "\nLower is better.\n"
    )


def test_text_is_escaped_and_folded_only_if_asked():
    assert "Two &lt;rows&gt;" in page()
    assert "b &amp; c" in page()
    assert "<details>" not in page()
    assert "<details><summary>2 rows</summary>" in page(folded="2 rows")


def test_commands_are_listed_if_there_are_any():
    report = Report("Title", FACTS, (Section("one", "One", tables=(TABLE,)),), ("python x --a 'b c'",))
    assert "python x --a &#39;b c&#39;" in to_html(report)
    assert "```bash\npython x --a 'b c'\n```" in report_to_markdown(report)
    assert "bash" not in report_to_markdown(Report("Title", FACTS, ()))


def sources(text: str) -> list[tuple[str, str]]:
    """Condition and picture of each form, in the order in which a browser tries them."""
    found = re.findall(r'<(?:source(?: media="(.*?)")? srcset|img src)="data:image/svg\+xml;base64,(.*?)"', text)
    return [(condition, base64.b64decode(svg).decode()) for condition, svg in found]


def drawn(**options) -> Plot:
    def draw(stream, file_format, style, max_columns=None):
        assert file_format == "svg"
        stream.write(f"{style} {max_columns}".encode())

    return Plot("c", "words", draw, 300, **options)


def test_each_reader_gets_the_picture_for_the_screen():
    small, night = "(max-width: 40rem)", "(prefers-color-scheme: dark)"
    assert sources(page(plots=(drawn(narrow=False),))) == [("", "light None")]
    assert sources(page(plots=(drawn(dark=True, narrow=False),))) == [(night, "dark None"), ("", "light None")]
    text = page(plots=(drawn(dark=True),))
    assert sources(text) == [
        (f"{small} and {night}", "dark 1"), (small, "light 1"), (night, "dark None"), ("", "light None"),
    ]  # fmt: skip
    assert text.count('alt="words"') == 1
    assert text.index("<picture") < text.index("<source") < text.index("<img") < text.index("</picture>")


def test_nothing_is_wider_than_a_narrow_screen():
    """A picture shrinks with the screen; a table of many columns names its cells and stands upright there."""
    text = page(plots=(drawn(),))
    assert "min-width" not in re.search("<img.*?>", text).group()
    assert "<table>" in text
    columns = tuple(Column(name, decimals=1) for name in ('a"', "b", "c"))
    wide = Table("t", "Wide", "method", columns, (("vanilla", (Estimate(0.1), None, "x")),))
    text = to_html(Report("Title", FACTS, (Section("one", "One", tables=(wide,)),)))
    assert '<table class="wide">' in text
    assert re.findall(r'<td data-column="(.*?)">(.*?)</td>', text) == [("a&#34;", "0.1"), ("b", "–"), ("c", "x")]
