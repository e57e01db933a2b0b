"""The picture of answers that hold, or not, when an image moves in several ways."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from companion.plots import COLOURS


def agreement_bars(table: pd.DataFrame, title: str) -> Figure:
    """Labels that agree, in percent, a group of bars per kind of move (columns: input, method, agreement)."""
    fig, ax = plt.subplots(figsize=(9.5, 1.2 + 0.85 * table["input"].nunique()))
    sns.barplot(table, x="agreement", y="input", hue="method", palette=COLOURS, ax=ax)
    for container in ax.containers:
        ax.bar_label(container, fmt="%.1f", padding=3, fontsize=8)  # type: ignore[arg-type]
    ax.set(title=title, xlabel="labels that agree, %", ylabel="", xlim=(min(50, table["agreement"].min() - 5), 104))
    ax.legend(title="", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig
