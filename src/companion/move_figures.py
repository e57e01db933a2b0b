"""The picture of answers that hold, or not, when an image moves in several ways."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from companion.plots import COLOURS


def agreement_points(table: pd.DataFrame, title: str) -> Figure:
    """Labels that agree, in percent, a point per method for each kind of move (columns: input, method, agreement)."""
    fig, ax = plt.subplots(figsize=(9.5, 1.2 + 0.85 * table["input"].nunique()))
    methods, moves = (list(dict.fromkeys(table[name])) for name in ("method", "input"))
    for k, method in enumerate(methods):
        part = table[table["method"] == method]
        places = [moves.index(move) + 0.2 * (k - (len(methods) - 1) / 2) for move in part["input"]]
        ax.scatter(part["agreement"], places, s=55, color=COLOURS[method], label=method)
        for share, place in zip(part["agreement"], places, strict=True):
            ax.annotate(f"{share:.1f}", (share, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
    for place in range(1, len(moves)):
        ax.axhline(place - 0.5, color="#dddddd", lw=1)
    ax.set_yticks(range(len(moves)), moves)
    ax.invert_yaxis()
    ax.set(title=title, xlabel="labels that agree, %")
    ax.legend(title="", loc="upper left", bbox_to_anchor=(1.06, 1), frameon=False)
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig
