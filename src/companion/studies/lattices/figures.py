"""The figures of notebook 03: margins, the paper's Figure 3, where samples lie."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.style import finished


def margin_histograms(tables: dict[str, pd.DataFrame]) -> Figure:
    """Per network (columns of its table: origin, margin) the distribution of margins, an outline per origin, on a log axis.

    The lines mark by how much the sums of a precision may be off, relative to themselves, when one value is.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(6.4 * len(tables), 4.2), sharex=True, squeeze=False)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        colours = sns.color_palette("viridis", table["origin"].nunique())
        shown = table.assign(margin=table["margin"].clip(lower=1e-12))  # a tie has no logarithm
        look = {"element": "step", "fill": False, "log_scale": True, "binwidth": 0.25, "binrange": (-12, 0)}
        sns.histplot(shown, x="margin", hue="origin", palette=colours, ax=ax, **look)
        top = ax.get_ylim()[1] * 1.25
        for dtype in (torch.bfloat16, torch.float32):
            ax.axvline(torch.finfo(dtype).eps, color="#999999", lw=1, ls=":")
            ax.text(torch.finfo(dtype).eps * 0.7, top, str(dtype)[6:], ha="right", va="top", fontsize=9, rotation=90)
        ax.set(title=name, xlabel="margin: (best - second best) / best", ylabel="images", ylim=(0, top))
        sns.move_legend(ax, "upper left", title="origin", fontsize=9, title_fontsize=9, frameon=False)
    return finished(fig)


def figure_3(plain: list[str], converted: list[str]) -> Figure:
    """Figure 3: one residual block before and after weight transfer, operation by operation, read off the graphs."""
    rows = max(len(plain), len(converted))
    fig, ax = plt.subplots(figsize=(10, 0.4 * rows + 0.8))
    columns = {"plain": plain, "MASS, same weights": converted}
    for column, (title, names) in enumerate(columns.items()):
        ax.text(column, 1, title, ha="center", weight="bold")
        for k, text in enumerate(names):
            new = text not in plain
            ax.text(column, -k, text, ha="center", va="center", fontsize=9.5, family="monospace",
                    bbox={"boxstyle": "round,pad=0.3", "fc": "#cfe3f5" if new else "#f0f0f0", "ec": "#999999"})  # fmt: skip
    ax.set(xlim=(-0.5, 1.5), ylim=(-rows, 1.6))
    ax.axis("off")
    return finished(fig, despine=False)


def lattice_points(images: dict[str, Tensor], origins: dict[str, list[Tensor]], stages: tuple[int, ...]) -> Figure:
    """Where the samples of some stages lie in images: the points O + S n of each lattice, S = 2, 4, 8, … (one row an image)."""
    fig, axes = plt.subplots(len(images), len(stages), figsize=(3.5 * len(stages), 3.8 * len(images)), squeeze=False)
    for row, (name, image) in zip(axes, images.items(), strict=True):
        for ax, stage in zip(row, stages, strict=True):
            stride = 2**stage
            total = sum(origin * 2**k for k, origin in enumerate(origins[name][:stage]))
            rows, columns = (torch.arange(int(total[a]) % stride, image.shape[a + 1], stride) for a in (0, 1))
            points = torch.cartesian_prod(rows, columns)
            ax.imshow(image.permute(1, 2, 0))
            ax.scatter(points[:, 1], points[:, 0], s=stride * 1.3, color="#1f77b4", edgecolors="white", linewidths=0.6)
            ax.set(xticks=[], yticks=[], title=f"{name}: S = {stride}, O = ({total[0]}, {total[1]})")
    return finished(fig, despine=False)
