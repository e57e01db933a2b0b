"""The figures of notebook 06."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.intervals import wilson
from companion.figures.style import COLOURS, finished


def agreement_points(table: pd.DataFrame, title: str) -> Figure:
    """Labels that agree, in percent, a point per method for each kind of move (columns: input, method, agreement)."""
    fig, ax = plt.subplots(figsize=(9.5, 1.2 + 0.85 * table["input"].nunique()))
    methods, moves = (list(dict.fromkeys(table[name])) for name in ("method", "input"))
    for k, method in enumerate(methods):
        part = table[table["method"] == method]
        places = [moves.index(move) + 0.2 * (k - (len(methods) - 1) / 2) for move in part["input"]]
        for share, n, place in zip(part["agreement"], part["n"], places, strict=True):
            ax.hlines(place, *wilson(share, n), color=COLOURS[method], lw=1.4, alpha=0.6)
        ax.scatter(part["agreement"], places, s=40, color=COLOURS[method], label=method, zorder=3)
        for share, place in zip(part["agreement"], places, strict=True):
            ax.annotate(f"{share:.1f}", (share, place), (1, 5), textcoords="offset points", fontsize=7)
    for place in range(1, len(moves)):
        ax.axhline(place - 0.5, color="#dddddd", lw=1)
    ax.set_yticks(range(len(moves)), moves)
    ax.invert_yaxis()
    ax.set(
        title=f"Only circular shifts by whole pixels are exact\n{title}",
        xlabel="labels that agree, % (bars: 95% interval)",
    )
    ax.legend(title="", loc="upper left", bbox_to_anchor=(1.06, 1), frameon=False)
    return finished(fig)


def shares(outcomes: Mapping[str, Tensor], title: str) -> Figure:
    """Of how many images something is true, a point per method with its 95% interval (Wilson) and n."""
    fig, ax = plt.subplots(figsize=(7.4, 1.2 + 0.42 * len(outcomes)))
    for place, (method, which) in enumerate(outcomes.items()):
        share, n = 100 * which.double().mean().item(), len(which)
        low, high = wilson(share, n)
        colour = COLOURS[method.partition(",")[0]]
        ax.plot([low, high], [place, place], color=colour, lw=2)
        ax.plot(share, place, "o", color=colour, mfc="white" if "," in method else colour, ms=8)
        label = f"{share:.1f} ({low:.1f} to {high:.1f})"
        ax.annotate(label, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    ax.set_yticks(range(len(outcomes)), list(outcomes))
    ax.invert_yaxis()
    told = ", ".join(
        f"{method} {100 * which.double().mean().item():.1f}%" for method, which in outcomes.items() if "," not in method
    )
    ax.set(title=f"{title}:\n{told}", xlabel=f"% of {n:,} images, 95% interval")
    ax.set_xlim(left=0)
    return finished(fig)


def accuracy_against(table: pd.DataFrame, x: str, y: str, title: str) -> Figure:
    """A point per method with its 95% intervals (Wilson; column n): accuracy against consistency, both in percent."""
    fig, ax = plt.subplots(figsize=(7.6, 4.6))
    for k, row in enumerate(table.to_dict("records")):
        colour, n = COLOURS[row["method"]], row["n"]
        for field, line in ((x, ax.hlines), (y, ax.vlines)):
            line(row[y if field == x else x], *wilson(row[field], n), color=colour, lw=1.6, alpha=0.7)
        ax.plot(row[x], row[y], "oDs^"[k % 4], color=colour, ms=9, label=row["method"], zorder=3)
    ax.set(title=f"Origins make transferred weights consistent\n{title}", xlabel=f"{x}, %", ylabel=f"{y}, %")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, title="(bars: 95%)")
    return finished(fig)
