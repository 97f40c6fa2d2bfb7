# SPDX-License-Identifier: Apache-2.0
"""Draw the two pictures of the site: where examples are mixed, and the way of a batch. Run by `make docs`."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

INK, CLEAN, MIXED = "#7a8088", "#4c9be8", "#e88c4c"  # readable on light and on dark pages
LAYERS = 4


def box(axes, x: float, y: float, width: float, text: str, color: str = INK) -> None:
    """A rounded box with a text in it."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, 0.62, boxstyle="round,pad=0.04", facecolor="none", edgecolor=color, linewidth=1.4
        )
    )
    axes.text(x + width / 2, y + 0.31, text, ha="center", va="center", color=color, fontsize=9)


def arrow(axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """An arrow between two points."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.4})


def sites() -> plt.Figure:
    """An encoder from left to right with the names of its sites below the gaps between its parts."""
    figure, axes = plt.subplots(figsize=(10.4, 1.9))
    parts = ["tokens\nor pixels", "embeddings", *(f"layer {k}" for k in range(LAYERS)), "pooler", "head"]
    names = ["input", "embeddings", *(f"layer:{k}" for k in range(LAYERS - 1)), "layer:-1", "pooler"]
    for position, part in enumerate(parts):
        box(axes, 1.6 * position, 0, 1.2, part)
        if position < len(parts) - 1:
            x = 1.6 * position
            arrow(axes, (x + 1.25, 0.31), (x + 1.57, 0.31), INK)
            axes.plot([x + 1.4] * 2, [0.2, -0.42], color=MIXED, linewidth=1.2, linestyle=":")
            axes.text(x + 1.4, -0.62, names[position], ha="center", va="center", color=MIXED, fontsize=10)
    axes.set(xlim=(-0.2, 1.6 * len(parts) - 0.2), ylim=(-0.85, 0.85))
    axes.axis("off")
    return figure


def batch() -> plt.Figure:
    """Clean rows up to the site, clean and mixed rows behind it, three terms, one loss."""
    figure, axes = plt.subplots(figsize=(9.6, 2.9))
    box(axes, 0, 1, 1.5, "batch of rows", CLEAN)
    box(axes, 2.2, 1, 2.0, "layers up to\nthe site", CLEAN)
    box(axes, 5.0, 1.6, 2.0, "layers behind it", CLEAN)
    box(axes, 5.0, 0.4, 2.0, "layers behind it", MIXED)
    box(axes, 7.9, 2.0, 2.1, "w_cls · L_cls", CLEAN)
    box(axes, 7.9, 1.0, 2.1, "w_sim · L_sim", INK)
    box(axes, 7.9, 0.0, 2.1, "w_mix · L_mix", MIXED)
    box(axes, 10.8, 1.0, 0.9, "loss", INK)
    arrow(axes, (1.6, 1.31), (2.12, 1.31), CLEAN)
    arrow(axes, (4.3, 1.4), (4.92, 1.85), CLEAN)
    arrow(axes, (4.3, 1.2), (4.92, 0.75), MIXED)
    axes.text(4.4, 0.62, "mix with λ", ha="right", va="center", color=MIXED, fontsize=10)
    for start, ends, color in ((1.91, (2.31, 1.41), CLEAN), (0.71, (1.21, 0.31), MIXED)):
        for end in ends:
            arrow(axes, (7.1, start), (7.82, end), color)
    for start in (2.31, 1.31, 0.31):
        arrow(axes, (10.08, start), (10.74, 1.31), INK)
    axes.set(xlim=(-0.2, 11.9), ylim=(-0.2, 2.9))
    axes.axis("off")
    return figure


def draw(folder: Path) -> None:
    """Write both pictures as SVG."""
    folder.mkdir(exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "logitmix"
    for name, figure in (("sites", sites()), ("batch", batch())):
        figure.savefig(folder / f"{name}.svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).parent / "_static")
