"""Table 2's rows as figures and tables. Nothing here measures; records come in, figures and frames go out."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from companion.core.intervals import wilson
from companion.core.records import mean_std
from companion.figures.style import COLOURS, finished
from companion.models.methods import METHODS, Method


def table_of_runs(records: list[dict], net: str) -> pd.DataFrame:
    """Mean ± standard deviation over n seeds for one network."""
    frame = pd.DataFrame(records)
    frame = frame[frame["net"] == net]
    rows = {}
    for printed in dict.fromkeys(frame["method"]):
        runs = frame[frame["method"] == printed]
        rows[printed] = {
            "epochs": runs["epochs"].iloc[0],
            "n": len(runs),
            "top-1": mean_std(list(runs["top1"])),
            "shifted top-1": mean_std(list(runs["shifted_top1"])),
            "consistency": mean_std(list(runs["consistency"])),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def describe_methods(names: list[str]) -> pd.DataFrame:
    """What each method is, in words."""
    rows = {METHODS[name].printed: METHODS[name].description for name in names}
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_curves(curves: list[dict], net: str) -> Figure:
    """Test accuracy over epochs, a line per method, its band from lowest to highest seed."""
    frame = pd.DataFrame(curves)
    frame = frame[frame["net"] == net]
    filters = {"no filter": (None, "lpf1"), "LPF-3": ("lpf3",), "DDAC-3": ("ddac3",)}
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), sharey=True)
    for ax, (family, filtering) in zip(axes, filters.items(), strict=True):
        part = frame[frame["method"].isin([m.printed for m in METHODS.values() if _is_compared(m, filtering)])]
        names = list(dict.fromkeys(part["method"]))
        sns.lineplot(part, x="epoch", y="test_top1", hue="method", hue_order=names, palette=[COLOURS[n] for n in names],
                     errorbar=("pi", 100), marker="o" if part["epoch"].max() <= 30 else None, ax=ax)  # fmt: skip
        ax.set(title=family, xlabel="epoch", ylabel="top-1 on the test set, %")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.get_legend():
            ax.get_legend().set_title("")
    last = frame[frame["epoch"] == frame["epoch"].max()].groupby("method", sort=False)["test_top1"].mean()
    fig.suptitle(
        f"After {frame['epoch'].max()} epochs all methods lie between {last.min():.1f} and {last.max():.1f}% (means over seeds; bands: all seeds)"
    )
    return finished(fig)


def _is_compared(method: Method, filtering: tuple[str | None, ...]) -> bool:
    """Whether a method has one of these filters, and stands in the table's own nine or is LPS."""
    return method.filtering in filtering and method.place == "after" and not method.shifts and method.sampling != "zero"


def accuracy_against_consistency(records: list[dict], net: str) -> Figure:
    """A point per method, mean and standard deviation over seeds: right is consistent, up is accurate; at 100% a column."""
    frame = pd.DataFrame(records)
    means = frame[frame["net"] == net].groupby("method", sort=False)[["top1", "consistency"]].mean().sort_values("top1")
    fig, ax = plt.subplots(figsize=(9, 5))
    spread = frame[frame["net"] == net].groupby("method")[["top1", "consistency"]].std().reindex(means.index).fillna(0)
    for method, row in means.iterrows():
        ax.errorbar(row["consistency"], row["top1"], xerr=spread.loc[method, "consistency"], yerr=spread.loc[method, "top1"],
                    fmt="o", ms=8, lw=1, color=COLOURS[method], zorder=3)  # fmt: skip
    low, span = means["consistency"].min(), max(means["top1"].max() - means["top1"].min(), 0.1)
    heights = {True: -1e9, False: -1e9}  # of the last label, in the column of the consistent and left of it
    for name, row in means.iterrows():
        right = row["consistency"] > 100 - (100 - low) / 15
        heights[right] = height = max(row["top1"], heights[right] + span / 18)  # labels of close points do not overlap
        leftwards = not right and row["consistency"] > (low + 100) / 2
        ax.annotate(name, (row["consistency"], row["top1"]), xytext=(100 if right else row["consistency"], height),
                    textcoords=offset_copy(ax.transData, fig, -10 if leftwards else 20, 0, "points"), va="center",
                    ha="right" if leftwards else "left", fontsize=9.5, color=COLOURS[name],
                    arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.6})  # fmt: skip
    ax.set(xlabel="circular consistency, %", ylabel="top-1, %", xlim=(low - 1, 100 + 0.35 * (101 - low)))
    ax.set_xticks([tick for tick in ax.get_xticks() if low - 1 <= tick <= 100])
    counts = frame[frame["net"] == net].groupby("method")["seed"].nunique()
    seeds = " to ".join(str(count) for count in sorted({counts.min(), counts.max()}))
    ax.set_title(
        "Origins make consistency exact; filters raise it"
        + (f" (mean ± std, {seeds} seeds)" if counts.max() > 1 else "")
    )
    return finished(fig)


def gain_bars(gains: pd.DataFrame, over: str) -> Figure:
    """Mean paired differences, their 95% intervals, and p as corrected by Holm; where there are none, of one seed say, a hollow point."""
    fig, ax = plt.subplots(figsize=(8, 1 + 0.38 * len(gains)))
    for y, (name, row) in enumerate(gains.iterrows()):
        known = pd.notna(row["p"])
        if known:
            ax.plot([row["low"], row["high"]], [y, y], color=COLOURS[name], lw=2)
        ax.plot(row["gain"], y, "o", color=COLOURS[name], mfc=COLOURS[name] if known else "white", ms=7)
        ax.annotate(
            f"{row['gain']:+.2f}   n = {row['n']:.0f}" + (f"   p = {row['p_holm']:.2f}" if known else ""),
            (1.02, y), xycoords=("axes fraction", "data"), va="center",
        )  # fmt: skip
    ax.axvline(0, color="#888888", lw=0.8)
    ax.set_yticks(range(len(gains)), gains.index)
    ax.invert_yaxis()
    ax.set(xlabel=f"top-1 minus that of {over}, percentage points; bars: 95% interval over seeds; p: Holm")
    tested = gains["p_holm"].dropna()
    if len(tested):
        ax.set_title(
            f"Told from chance, corrected for their number: {(tested < 0.05).sum()} of {len(tested)} differences to {over}"
        )
    sns.despine(fig, left=True)
    return finished(fig, despine=False)


def _intervals(ax: Axes, places: Iterable[float], shares: Iterable[float], counts: Iterable[int], colour: str) -> None:
    for place, share, n in zip(places, shares, counts, strict=True):
        ax.plot([place, place], wilson(share, n), color=colour, lw=1.2)


def under_corruption(records: list[dict]) -> Figure:
    """Accuracy and consistency on corrupted images, a bar per method with its 95% interval (Wilson), and n."""
    frame = pd.DataFrame(records)
    names = list(dict.fromkeys(frame["method"]))
    fig, axes = plt.subplots(1, 2, figsize=(12.5, 3.6))
    for ax, field, label in zip(axes, ("top1", "consistency"), ("top-1, %", "circular consistency, %"), strict=True):
        sns.barplot(
            frame,
            x="corruption",
            y=field,
            hue="method",
            palette={name: COLOURS[name] for name in names},
            ax=ax,
            legend=field == "top1",
        )
        for bars, method in zip(ax.containers, names, strict=True):
            part = frame[frame["method"] == method]
            _intervals(ax, [b.get_x() + b.get_width() / 2 for b in bars], part[field], part["n"], "#333333")
        ax.set(xlabel=f"n = {frame['n'].max():,} images each, 95% intervals", ylabel=label)
        ax.set_ylim(0, 100)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].get_legend().remove()
    fig.legend(handles, labels, loc="upper center", ncols=len(names), frameon=False, bbox_to_anchor=(0.5, 1.0))
    lowest = frame.groupby("method", sort=False)["consistency"].min()
    fig.suptitle(
        "Lowest consistency: " + ", ".join(f"{name} {lowest[name]:.1f}%" for name in names), y=1.06, fontsize=12
    )
    return finished(fig, rect=(0, 0, 1, 0.95))


def under_noise(records: list[dict]) -> Figure:
    """Labels that change, and origins that move, as noise grows; bars: 95% intervals (Wilson)."""
    frame = pd.DataFrame(records)
    names = list(dict.fromkeys(frame["method"]))
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.5))
    fields = {
        "top1": "top-1 of noisy images, %",
        "changed_by_noise": "labels that change, %",
        "moved_origins": "images with another origin, %",
    }
    for ax, (field, label) in zip(axes, fields.items(), strict=True):
        part = frame.dropna(subset=[field]) if field in frame else frame.iloc[:0]
        sns.lineplot(part, x="noise", y=field, hue="method", palette={name: COLOURS[name] for name in names}, style="method",
                     hue_order=names, style_order=names, markers=True, ax=ax, legend=field == "top1")  # fmt: skip
        for name in part["method"].unique():
            rows = part[part["method"] == name]
            _intervals(ax, rows["noise"], rows[field], rows["n"], COLOURS[name])
        ax.set(xlabel=f"noise, grey levels (n = {frame['n'].max():,})", ylabel=label)
        ax.set_ylim(bottom=0)
    loudest = frame[frame["noise"] == frame["noise"].max()].groupby("method", sort=False)["changed_by_noise"].mean()
    told = ", ".join(f"{name} {share:.1f}%" for name, share in loudest.sort_values().items())
    fig.suptitle(f"Labels changed by noise of {frame['noise'].max():g} grey levels: {told}")
    axes[0].get_legend().set_title("")
    return finished(fig)
