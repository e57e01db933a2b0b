"""The figures of notebook 00."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.common import draw_image
from companion.figures.style import COLOURS, finished


def lines_over_shifts(table: pd.DataFrame, y: str, title: str, ylabel: str) -> Figure:
    """One line per method (columns: shift, method, panel, and `y`), one panel per image."""
    panels = list(dict.fromkeys(table["panel"]))
    fig, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.4), sharey=True, squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        sns.lineplot(
            table[table["panel"] == panel],
            x="shift",
            y=y,
            hue="method",
            palette=COLOURS,
            marker="o",
            markersize=4,
            ax=ax,
        )
        ax.set(title=panel, xlabel="circular shift in pixels, rows and columns", ylabel=ylabel, ylim=(-0.03, 1.03))
        ax.get_legend().set_title("")
    fig.suptitle(title)
    return finished(fig)


def strip(image: Tensor, captions: dict[str, Sequence[str]], shifts: Sequence[tuple[int, int]]) -> Figure:
    """An image at several circular shifts, with a line of text per method below each."""
    fig, axes = plt.subplots(1, len(shifts), figsize=(2.35 * len(shifts), 3.3))
    for k, (ax, (i, j)) in enumerate(zip(axes, shifts, strict=True)):
        draw_image(ax, image.roll((-i, -j), (1, 2)), f"moved by {i}, {j}")
        for row, (method, texts) in enumerate(captions.items()):
            ax.text(0.5, -0.06 - 0.13 * row, f"{method}: {texts[k]}", transform=ax.transAxes, ha="center", va="top",
                    fontsize=9.5, color="#444444" if method == "plain" else COLOURS[method])  # fmt: skip
    return finished(fig, despine=False)
