"""The figures of notebook 12."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from companion.figures.style import COLOURS, finished


def predicted_and_measured(tables: dict[str, pd.DataFrame]) -> Figure:
    """Per network and part, two bars: the time that its bytes take at the speed of a copy, and the time measured, with quartiles."""
    columns = min(len(tables), 2)
    rows = -(-len(tables) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 0.7 + 2.3 * rows), squeeze=False, sharex=False)
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        long = table[["predicted ms", "measured ms"]].rename(columns=lambda c: c.split()[0])
        long = long.reset_index().melt("part", var_name="", value_name="ms")
        sns.barplot(long, x="ms", y="part", hue="", palette=[COLOURS["plain"], COLOURS["MASS"]], ax=ax)
        measured = [bar.get_y() + bar.get_height() / 2 for bar in ax.containers[1]]
        ax.hlines(measured, table["low ms"], table["high ms"], color="#222222", lw=1)
        ax.set(title=name, xlabel="ms in a forward pass (lines: quartiles)", ylabel="")
        handles, labels = ax.get_legend_handles_labels()
        ax.get_legend().remove()
    fig.legend(handles, labels, loc="upper right", ncols=2, frameon=False, fontsize=10)
    fig.suptitle("Borders and selections are what exactness costs", x=0.02, ha="left", fontsize=13)
    return finished(fig)


def after_each_change(rows: pd.DataFrame) -> Figure:
    """Forward time over the plain network's after each step, one group of bars per network, with quartiles (`measurements.changes`)."""
    nets, methods = (list(dict.fromkeys(rows[name])) for name in ("net", "method"))
    fig, ax = plt.subplots(figsize=(9, 3.4))
    colours = [COLOURS["circular padding"], *sns.color_palette("Blues", len(methods) - 1)]
    width = 0.8 / len(methods)
    for k, (method, part) in enumerate(rows.groupby("method", sort=False)):
        places = [nets.index(net) + width * (k - (len(methods) - 1) / 2) for net in part["net"]]
        ax.bar(places, part["ratio"], 0.94 * width, color=colours[k], label=method)
        ax.vlines(places, part["ratio_low"], part["ratio_high"], color="#222222", lw=1)
    ax.axhline(1, color=COLOURS["plain"], linewidth=1)
    ax.set_xticks(range(len(nets)), nets)
    ax.set_ylabel("times the plain network\n(bars: quartiles)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    first, last = (rows.loc[rows["method"] == name, "ratio"] for name in (methods[1], methods[-1]))
    ax.set_title(
        f"Compiled kernels: from {first.min():.2f}–{first.max():.2f} to {last.min():.2f}–{last.max():.2f} times the plain network"
    )
    return finished(fig)


def growing(table: pd.DataFrame) -> Figure:
    """Cost against image side, batch and stride, one panel each: a line predicted, points measured, with quartiles."""
    axes_names = list(dict.fromkeys(table["axis"]))
    fig, axes = plt.subplots(1, len(axes_names), figsize=(4 * len(axes_names), 3.2), sharey=True)
    for ax, name in zip(axes, axes_names, strict=True):
        part = table[table["axis"] == name]
        ax.plot(part["n"], part["predicted"], color=COLOURS["plain"], label="predicted")
        spread = [part["measured"] - part["low"], part["high"] - part["measured"]]
        style = {"fmt": "o", "ms": 3, "lw": 1.2, "capsize": 5, "color": COLOURS["MASS"]}  # caps: narrow quartiles show
        ax.errorbar(part["n"], part["measured"], spread, label="measured (bars: quartiles)", **style)
        ax.set_xscale("log", base=2)
        ax.set(yscale="log", xlabel=name, xticks=list(part["n"]), xticklabels=list(part["n"]))
    axes[0].set_ylabel("selection and shift, ms")
    axes[0].legend(frameon=False)
    most = table.groupby("axis", sort=False)["measured"].agg(lambda found: found.max() / found.min())
    told = ", ".join(f"{times:.{0 if times > 10 else 1}f}-fold with the {name}" for name, times in most.items())
    fig.suptitle(f"From the smallest to the largest, cost grows {told}", fontsize=12)
    return finished(fig)
