"""The figures of notebook 00."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.common import draw_image
from companion.figures.style import COLOURS, finished


def strip(image: Tensor, captions: dict[str, Sequence[str]], shifts: Sequence[tuple[int, int]]) -> Figure:
    """An image at several circular shifts, with a line of text per method below each."""
    fig, axes = plt.subplots(1, len(shifts), figsize=(2.35 * len(shifts), 3.4))
    for k, (ax, (i, j)) in enumerate(zip(axes, shifts, strict=True)):
        draw_image(ax, image.roll((-i, -j), (1, 2)), f"moved by {i}, {j}")
        for row, (method, texts) in enumerate(captions.items()):
            ax.text(0.5, -0.06 - 0.13 * row, f"{method}: {texts[k]}", transform=ax.transAxes, ha="center", va="top",
                    fontsize=9.5, color="#444444" if method == "plain" else COLOURS[method])  # fmt: skip
    told = ", ".join(f"{method} {len(set(texts))}" for method, texts in captions.items())
    fig.suptitle(f"Different answers to {len(shifts)} shifts of one image: {told}", fontsize=12)
    return finished(fig, despine=False)
