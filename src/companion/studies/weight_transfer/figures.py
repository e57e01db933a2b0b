"""The figures of notebook 06."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from companion.figures.style import COLOURS, finished


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
    return finished(fig)


def bars(table: pd.DataFrame, x: str, y: str, title: str, xlabel: str) -> Figure:
    """Horizontal bars, one per method, annotated with their values."""
    fig, ax = plt.subplots(figsize=(6.4, 0.9 + 0.45 * len(table)))
    sns.barplot(table, x=x, y=y, hue=y, palette={m: COLOURS.get(m, "#555555") for m in table[y]}, ax=ax, legend=False)
    for container in ax.containers:
        ax.bar_label(container, fmt="%.2f", padding=4)  # type: ignore[arg-type]
    ax.set(title=title, xlabel=xlabel, ylabel="")
    ax.margins(x=0.14)
    return finished(fig)


def accuracy_against(table: pd.DataFrame, x: str, y: str, title: str) -> Figure:
    """One labelled point per method: accuracy against consistency, both in percent."""
    fig, ax = plt.subplots(figsize=(6.4, 4))
    sns.scatterplot(table, x=x, y=y, hue="method", palette=COLOURS, s=110, ax=ax, legend=False)
    for row in table.itertuples():
        place = row.method
        ax.annotate(
            place, (table.loc[row.Index, x], table.loc[row.Index, y]), xytext=(8, -14), textcoords="offset points"
        )
    ax.set(title=title, xlabel=f"{x}, %", ylabel=f"{y}, %")
    ax.margins(x=0.25, y=0.15)
    return finished(fig)
