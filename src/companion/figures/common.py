"""Figures that several studies draw. Every function returns a matplotlib figure and computes nothing of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.intervals import wilson
from companion.figures.style import finished


def draw_image(axes: Axes, image: Tensor, title: str = "") -> None:
    """One image (3, H, W) or (H, W), values in [0, 1] or stretched to them, without ticks."""
    image = image.detach().float()
    if image.min() < 0 or image.max() > 1:
        image = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-9)
    axes.imshow(
        (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)


def image_row(images: Sequence[Tensor], titles: Sequence[str], height: float = 2.6) -> Figure:
    """Images side by side, each with its title."""
    widths = [image.shape[-1] / image.shape[-2] for image in images]
    fig, axes = plt.subplots(
        1, len(images), figsize=(height * sum(widths) * 1.08, height + 0.5), width_ratios=widths, squeeze=False
    )
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        draw_image(ax, image, title)
    return finished(fig, despine=False)


def heatmaps(tables: dict[str, pd.DataFrame], label: str, title: str = "", good: str = "high") -> Figure:
    """Tables of percentages side by side as annotated heat maps on one scale: dark blue is good, or dark orange bad."""
    widths = [len(table.columns) for table in tables.values()]
    height = 1.5 + 0.36 * max(map(len, tables.values()))
    fig, axes = plt.subplots(
        1, len(tables), figsize=(2.4 + 1.15 * sum(widths), height), width_ratios=widths, sharey=True, squeeze=False
    )
    for k, (ax, (name, table)) in enumerate(zip(axes[0], tables.items(), strict=True)):
        last = k == len(tables) - 1
        sns.heatmap(table, annot=True, fmt=".0f", vmin=0, vmax=100, cmap="Blues" if good == "high" else "Oranges", linewidths=1,
                    ax=ax, cbar=last, cbar_kws={"label": label} if last else None)  # fmt: skip
        ax.set(title=name, xlabel="", ylabel="")
        ax.set_xticks(ax.get_xticks(), [t.get_text().replace(" ", "\n", 1) for t in ax.get_xticklabels()])
        ax.tick_params(axis="y", rotation=0)
    if title:
        fig.suptitle(title)
    return finished(fig, despine=False)


def changed_by(
    rows: pd.DataFrame, by: str, label: str, title: str, colour: Callable[[str], str], numbers: bool = False
) -> Figure:
    """What share changes, by what was done, a point per method with its 95% interval (columns: method, `by`, changed, n).

    Args:
        numbers: whether each row says its share.
    """
    kinds, methods = (list(dict.fromkeys(rows[name])) for name in (by, "method"))
    fig, ax = plt.subplots(figsize=(8, 1.4 + 0.75 * len(kinds)))
    for kind, method, share, n in rows[[by, "method", "changed", "n"]].itertuples(index=False):
        place = kinds.index(kind) + 0.18 * (methods.index(method) - (len(methods) - 1) / 2)
        low, high = wilson(share, n)
        ax.plot([low, high], [place, place], color=colour(method), lw=2)
        if numbers:
            ax.annotate(f"{share:.1f}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
        ax.plot(share, place, "o", ms=7, color=colour(method), label=method if kind == kinds[0] else None)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.invert_yaxis()
    ax.set(title=title, xlabel=f"{label}, % (95% interval)")
    ax.set_xlim(left=-1, right=1.06 * ax.get_xlim()[1] if numbers else None)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def draw_map(axes: Axes, values: Tensor, title: str, grid: int | None = None, start: tuple[int, int] = (0, 0)) -> None:
    """A feature map (H, W) with its values as grey levels and, if asked, the windows of a sampling grid."""
    axes.imshow(values, cmap="Greys", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=10)
    if grid:
        height, width = values.shape
        for i in range(start[0], height + 1, grid):
            axes.axhline(i - 0.5, color="#d95f02", lw=1.4)
        for j in range(start[1], width + 1, grid):
            axes.axvline(j - 0.5, color="#d95f02", lw=1.4)


def draw_table(axes: Axes, values: Tensor, title: str, best: tuple[int, int] | None = None) -> None:
    """A small matrix of numbers, the best one framed."""
    axes.imshow(values, cmap="Blues", interpolation="nearest", vmin=float(values.min()) * 0.7)
    for i, j in torch.cartesian_prod(*[torch.arange(n) for n in values.shape]).tolist():
        dark = values[i, j] > values.float().mean()
        axes.text(
            j, i, f"{values[i, j]:.0f}", ha="center", va="center", fontsize=10, color="white" if dark else "black"
        )
    if best is not None:
        axes.add_patch(plt.Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, ec="#d95f02", lw=2.5))
    axes.set_xticks(range(values.shape[1]))
    axes.set_yticks(range(values.shape[0]))
    axes.set_title(title, fontsize=10)
