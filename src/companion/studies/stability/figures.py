"""The figures of notebook 15."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.intervals import wilson
from companion.figures import common
from companion.figures.style import COLOURS, finished, use_style
from companion.studies.stability.networks import BLENDED, MASS

__all__ = ["changed_by", "jumps", "on_the_way", "stability_against", "use_style"]
COLOUR = {BLENDED: "#1b9e77"}


def _colour(method: str) -> str:
    return COLOUR.get(method) or COLOURS.get(method, "#777777")


def on_the_way(logits: Mapping[str, Tensor], title: str) -> Figure:
    """The logit of one class along a line, a curve for each network."""
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for method, curve in logits.items():
        ax.plot(range(len(curve)), curve, ".-" if method == MASS else "-", lw=1.6, color=_colour(method), label=method)
    ax.set(title=title, xlabel="step on the line", ylabel="a logit")
    ax.legend(frameon=False)
    return finished(fig)


def jumps(table: pd.DataFrame, title: str) -> Figure:
    """The largest jump for finer and finer steps, on two logarithmic axes (columns: method, steps, jump)."""
    fig, ax = plt.subplots(figsize=(6.4, 3.8))
    for method, part in table.groupby("method", sort=False):
        ax.loglog(part["steps"], part["jump"], "o-", color=_colour(str(method)), label=method)
    counts = sorted(set(table["steps"]))
    ax.set_xticks(counts, [str(count) for count in counts], minor=False)
    ax.minorticks_off()
    ax.set(title=title, xlabel="steps on the same line", ylabel="largest change of a logit")
    ax.legend(frameon=False)
    return finished(fig)


def changed_by(rows: pd.DataFrame, title: str) -> Figure:
    """Labels that change, by change, a point per method with its 95% interval (columns: method, input, changed, n)."""
    return common.changed_by(rows, "input", "labels that change", title, _colour)


def stability_against(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy against labels changed by noise, a numbered point for each way, with 95% intervals (Wilson).

    Columns: method, n, top1, changed_by_noise.
    """
    fig, ax = plt.subplots(figsize=(9.5, 4.8))
    for number, row in enumerate(table.itertuples(), 1):
        ax.hlines(row.top1, *wilson(row.changed_by_noise, row.n), color=_colour(row.method), lw=1, alpha=0.25)
        ax.vlines(row.changed_by_noise, *wilson(row.top1, row.n), color=_colour(row.method), lw=1, alpha=0.25)
        ax.plot(row.changed_by_noise, row.top1, "o", ms=9, color=_colour(row.method), label=f"{number}  {row.method}")
        ax.annotate(str(number), (row.changed_by_noise, row.top1), (6, 5), textcoords="offset points")
    ax.set(title=f"{title} (bars: 95% intervals)", ylabel="top-1, %")
    ax.set(xlabel="labels changed by noise of 2 grey levels, %")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9, markerscale=0.7)
    return finished(fig)
