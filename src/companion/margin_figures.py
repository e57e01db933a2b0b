"""The picture of margins: how near to a tie images bring the origins of a network."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure


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
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig
