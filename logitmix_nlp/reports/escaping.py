# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made safe to write into a report: one function for each format."""

import re
import unicodedata

__all__ = ["escape_csv", "escape_latex", "escape_markdown", "fenced"]

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "−": r"$-$", "×": r"$\times$", "–": "--",
    "α": r"$\alpha$", "λ": r"$\lambda$",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")  # spreadsheets compute a cell that starts so
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def escape_latex(text: str) -> str:
    """The text on one line, in running text or in a comment: what LaTeX reads as markup is written as a command.

    A `[` or `*` at the start is kept from a command before it, which would take it for its own.
    """
    text = "".join(_LATEX.get(character, character) for character in _one_line(text))
    return "{}" + text if text.startswith(("[", "*")) else text


def escape_markdown(text: str) -> str:
    """The text on one line, with every character escaped that Markdown or HTML reads as markup."""
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_|>\[\]#~$])", r"\\\1", text)


def fenced(text: str, language: str = "") -> str:
    """A block of code in Markdown, behind more backticks than any run of them that it holds."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def escape_csv(value: object) -> object:
    """A value for a cell: a text that a spreadsheet would compute gets an apostrophe in front; numbers stay."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # a bare \r ends the row for some readers
    return f"'{value}" if value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA) else value


def _one_line(text: str) -> str:
    """Lines and blanks joined by single blanks; control characters, which no format can hold, are left out."""
    text = "".join(c for c in text if c.isspace() or unicodedata.category(c) != "Cc")
    return " ".join(text.split())
