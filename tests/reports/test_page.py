# SPDX-License-Identifier: Apache-2.0
from logitmix_nlp.reports.page import Picture, Report, Section, report_to_markdown, svg_bytes, to_html
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


def test_a_dark_picture_is_shown_to_readers_who_want_it():
    light = Picture("c", "words", b"<svg/>", 300)
    assert "<picture>" not in page(pictures=(light,))
    both = page(pictures=(Picture("c", "words", b"<svg/>", 300, b"<svg>dark</svg>"),))
    assert (
        '<source media="(prefers-color-scheme: dark)" srcset="data:image/svg+xml;base64,PHN2Zz5kYXJrPC9zdmc+">' in both
    )
    assert both.count('alt="words"') == 1
    assert both.index("<source") < both.index("<img") < both.index("</picture>")


def test_bytes_of_a_drawing():
    assert svg_bytes(lambda stream: stream.write(b"abc")) == b"abc"
