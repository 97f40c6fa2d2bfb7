# SPDX-License-Identifier: Apache-2.0
"""The one look of all plots, light and dark. Needs matplotlib (`pip install logitmix-nlp[plots]`)."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["DASHES", "LINES", "STYLES", "Theme", "bottom_legend", "get_theme", "plot_file", "wrapped"]

# Okabe and Ito's palette: told apart by readers of any colour vision, and in print.
LINES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DARK_LINES = ("#FFFFFF", "#56B4E9", "#E69F00", "#2BC08F", "#E39CC6", "#F0E442", "#FF8A4C")
DASHES = ("-", "--", ":")  # the n-th round through the colours


@dataclass(frozen=True)
class Theme:
    """Colours of one look.

    Args:
        name (`str`): `light` or `dark`.
        paper (`str`): Background.
        ink (`str`): Text, axes and reference lines.
        grid (`str`): Lines of the grid.
        accuracy (`str`): Accuracy, and the first class.
        gap (`str`): Gaps and mean confidence, and the second class.
        rows (`str`): Counts.
        lines (`tuple[str, ...]`): Lines in turn.
    """

    name: str
    paper: str
    ink: str
    grid: str
    accuracy: str
    gap: str
    rows: str
    lines: tuple[str, ...]

    def settings(self) -> dict[str, Any]:
        """Settings of matplotlib for this look."""
        inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
        return {
            **dict.fromkeys(inked, self.ink),
            **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), self.paper),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "svg.fonttype": "path",
            "svg.hashsalt": "logitmix-nlp",
            "text.parse_math": False,  # names hold what they hold, dollar signs too
        }

    def line(self, place: int) -> dict[str, str]:
        """Colour and dashes of the line at a place, the first being 0."""
        return {
            "color": self.lines[place % len(self.lines)],
            "linestyle": DASHES[place // len(self.lines) % len(DASHES)],
        }

    def sequential(self) -> Any:
        """Colour map from nothing, the background, to much."""
        from matplotlib.colors import LinearSegmentedColormap

        middle, end = (self.accuracy, "#001B33") if self.name == "light" else (self.accuracy, "#FFFFFF")
        return LinearSegmentedColormap.from_list("sequential", [self.paper, middle, end])

    def diverging(self) -> Any:
        """Colour map from the first class over the background, undecided, to the second class."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list("diverging", [self.accuracy, self.paper, self.gap])


STYLES = {
    "light": Theme("light", "#FFFFFF", "#000000", "#DDDDDD", "#0072B2", "#D55E00", "#999999", LINES),
    "dark": Theme("dark", "#17191C", "#EDEDED", "#3A3D42", "#56B4E9", "#FF8A4C", "#8C9096", DARK_LINES),
}


def get_theme(style: str) -> Theme:
    """Look a style up by name.

    Raises:
        ValueError: If there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}.")
    return STYLES[style]


@contextlib.contextmanager
def plot_file(
    target: str | Path | IO, file_format: str | None, size: tuple[float, float], title: str, style: str = "light"
) -> Iterator[tuple[Any, Theme]]:
    """A figure in the library's style, written to its target at the end; equal content gives equal bytes.

    The caller's settings of matplotlib and its choice of a window system neither matter nor change.

    Args:
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.
        size (`tuple[float, float]`): Width and height in inches.
        title (`str`): Heading of the whole plot, also noted in the file.
        style (`str`): `"light"` or `"dark"`.

    Yields:
        `tuple`: The figure, and its [`Theme`].

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no such style.
    """
    theme = get_theme(style)
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install logitmix-nlp[plots]") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(theme.settings())
        figure = Figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(h_pad=0.08)
        FigureCanvasAgg(figure)
        yield figure, theme
        if title:
            figure.suptitle(title, fontsize=11)
        kind = file_format or Path(target).suffix.removeprefix(".").lower()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        if title and kind in ("svg", "png", "pdf"):
            metadata = {**metadata, "Title": title}
        figure.savefig(target, dpi=150, format=file_format, metadata=metadata or None)


def bottom_legend(figure: Any, handles: list, labels: list[str]) -> None:
    """Place one legend below the plot, in as many columns as fit."""
    room = figure.get_figwidth() * 13  # characters in a line
    columns = max(1, min(len(labels), int(room / (max(map(len, labels)) + 7))))
    columns = -(-len(labels) // -(-len(labels) // columns))  # rows of equal length
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def wrapped(name: str, width: int = 36) -> str:
    """A long name in several lines, broken behind `/` and blanks."""
    lines = [""]
    for part in re.findall(r"[^/ ]*[/ ]?", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
