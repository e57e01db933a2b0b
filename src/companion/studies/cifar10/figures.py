"""Table 2's rows as pictures and tables. Nothing here measures; records come in, figures and frames go out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from companion.core.records import mean_std
from companion.models.methods import METHODS
from companion.paper.printed import TABLE_2

_BASE = {"Baseline": "#8a8a8a", "APS": "#7a5aa6", "MASS": "#1f77b4", "LPS": "#2e8b57"}
_FAMILY = ["MASS", "APS", "LPS", "Baseline"]  # whose colour a variant takes


def colour(method: str) -> str:
    """One colour per way of sampling, the same in every figure."""
    return _BASE[next((name for name in _FAMILY if method.startswith(name)), "Baseline")]


def table_2(records: list[dict], net: str) -> pd.DataFrame:
    """Mean ± standard deviation over n seeds for one network, and the paper's values where it prints them."""
    frame = pd.DataFrame(records)
    frame = frame[frame["net"] == net]
    paper = {row.method: row for row in TABLE_2 if row.network.replace("-", "").lower() == net}
    rows = {}
    for printed in dict.fromkeys(frame["method"]):
        runs = frame[frame["method"] == printed]
        stated = paper.get(printed)
        rows[printed] = {
            ("ours", "epochs"): runs["epochs"].iloc[0],
            ("ours", "n"): len(runs),
            ("ours", "top-1"): mean_std(list(runs["top1"])),
            ("ours", "shifted top-1"): mean_std(list(runs["shifted_top1"])),
            ("ours", "consistency"): mean_std(list(runs["consistency"])),
            ("paper, 250 epochs, n = 5", "top-1"): str(stated.accuracy) if stated else "",
            ("paper, 250 epochs, n = 5", "consistency"): str(stated.consistency) if stated else "",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def describe_methods(names: list[str]) -> pd.DataFrame:
    """What each method is, in words."""
    samples = {
        "zero": "the frame's, zero padding", "frame": "the frame's, circular padding", "aps": "APS: the output's largest phase",
        "lps": "LPS: a learned phase of the output", "mass": "MASS: an origin for the input",
    }  # fmt: skip
    filters = {None: "none", "lpf1": "none (sampled behind the ReLU)", "lpf3": "binomial 3 x 3", "ddac3": "DDAC 3 x 3"}
    rows = {}
    for name in names:
        method = METHODS[name]
        place = f", {'before' if method.place == 'before' else 'behind'} the convolution"
        blur = filters[method.filtering] + (place if method.filtering in ("lpf3", "ddac3") else "")
        rows[method.printed] = {"sampling grid": samples[method.sampling], "anti-aliasing filter": blur}
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_curves(curves: list[dict], net: str) -> Figure:
    """Test accuracy over epochs, a line per method, its band from lowest to highest seed."""
    frame = pd.DataFrame(curves)
    frame = frame[frame["net"] == net]
    families = {"no filter": ["Baseline", "APS", "MASS", "LPS"], "LPF-3": [], "DDAC-3": []}
    for name in dict.fromkeys(frame["method"]):
        for family in ("LPF-3", "DDAC-3"):
            if family in name and "first" not in name:
                families[family].append(name)
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), sharey=True)
    for ax, (family, names) in zip(axes, families.items(), strict=True):
        part = frame[frame["method"].isin(names)]
        palette = {name: colour(name) for name in names}
        sns.lineplot(part, x="epoch", y="test_top1", hue="method", hue_order=[n for n in names if n in set(part["method"])],
                     palette=palette, errorbar=("pi", 100), marker="o" if part["epoch"].max() <= 30 else None, ax=ax)  # fmt: skip
        ax.set(title=family, xlabel="epoch", ylabel="top-1 on the test set, %")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if ax.get_legend():
            ax.get_legend().set_title("")
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig


def accuracy_against_consistency(records: list[dict], net: str) -> Figure:
    """A point per method, means over seeds: right is consistent, up is accurate. All at 100% stand in a column."""
    frame = pd.DataFrame(records)
    means = frame[frame["net"] == net].groupby("method", sort=False)[["top1", "consistency"]].mean().sort_values("top1")
    fig, ax = plt.subplots(figsize=(9, 5))
    ax.scatter(means["consistency"], means["top1"], s=70, c=[colour(m) for m in means.index], zorder=3)
    low, span = means["consistency"].min(), max(means["top1"].max() - means["top1"].min(), 0.1)
    heights = {True: -1e9, False: -1e9}  # of the last label, in the column of the consistent and left of it
    for name, row in means.iterrows():
        right = row["consistency"] > 100 - (100 - low) / 15
        heights[right] = height = max(row["top1"], heights[right] + span / 18)  # labels of close points do not overlap
        leftwards = not right and row["consistency"] > (low + 100) / 2
        ax.annotate(name, (row["consistency"], row["top1"]), xytext=(100 if right else row["consistency"], height),
                    textcoords=offset_copy(ax.transData, fig, -10 if leftwards else 10, 0, "points"), va="center",
                    ha="right" if leftwards else "left", fontsize=9.5, color=colour(name),
                    arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.6})  # fmt: skip
    ax.set(xlabel="circular consistency, %", ylabel="top-1, %", xlim=(low - 1, 100 + 0.35 * (101 - low)))
    ax.set_xticks([tick for tick in ax.get_xticks() if low - 1 <= tick <= 100])
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig


def gain_bars(gains: pd.DataFrame, over: str) -> Figure:
    """Mean paired differences with their 95% intervals; where there is one seed, a hollow point without one."""
    fig, ax = plt.subplots(figsize=(8, 1 + 0.38 * len(gains)))
    for y, (name, row) in enumerate(gains.iterrows()):
        known = row["n"] > 1
        if known:
            ax.plot([row["low"], row["high"]], [y, y], color=colour(name), lw=2)
        ax.plot(row["gain"], y, "o", color=colour(name), mfc=colour(name) if known else "white", ms=7)
        ax.annotate(
            f"{row['gain']:+.2f}   n = {row['n']:.0f}", (1.02, y), xycoords=("axes fraction", "data"), va="center"
        )
    ax.axvline(0, color="#888888", lw=0.8)
    ax.set_yticks(range(len(gains)), gains.index)
    ax.invert_yaxis()
    ax.set(xlabel=f"top-1 minus that of {over}, percentage points; bars: 95% interval over seeds")
    sns.despine(fig, left=True)
    fig.tight_layout()
    plt.close(fig)
    return fig


def under_corruption(records: list[dict]) -> Figure:
    """Accuracy and consistency on corrupted pictures, a bar per method."""
    frame = pd.DataFrame(records)
    names = list(dict.fromkeys(frame["method"]))
    shades = dict(zip(names, ["#8a8a8a", "#c98b2f", "#7a5aa6", "#1f77b4", "#2e8b57"], strict=False))
    fig, axes = plt.subplots(1, 2, figsize=(12.5, 3.6))
    for ax, field, label in zip(axes, ("top1", "consistency"), ("top-1, %", "circular consistency, %"), strict=True):
        sns.barplot(frame, x="corruption", y=field, hue="method", palette=shades, ax=ax, legend=field == "top1")
        ax.set(xlabel="", ylabel=label)
        lowest = frame[field].min()
        ax.set_ylim(max(0, lowest - 5) if field == "consistency" else 0, 100)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].get_legend().remove()
    fig.legend(handles, labels, loc="upper center", ncols=len(names), frameon=False, bbox_to_anchor=(0.5, 1.08))
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig


def under_noise(records: list[dict]) -> Figure:
    """Labels that change, and origins that move, as noise grows."""
    frame = pd.DataFrame(records)
    names = list(dict.fromkeys(frame["method"]))
    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.5))
    fields = {
        "top1": "top-1 of noisy pictures, %",
        "changed_by_noise": "labels that change, %",
        "moved_origins": "pictures with another origin, %",
    }
    for ax, (field, label) in zip(axes, fields.items(), strict=True):
        part = frame.dropna(subset=[field]) if field in frame else frame.iloc[:0]
        sns.lineplot(part, x="noise", y=field, hue="method", palette={name: colour(name) for name in names}, style="method",
                     hue_order=names, style_order=names, markers=True, ax=ax, legend=field == "top1")  # fmt: skip
        ax.set(xlabel="noise, grey levels", ylabel=label)
        ax.set_ylim(bottom=0)
    axes[0].get_legend().set_title("")
    sns.despine(fig)
    fig.tight_layout()
    plt.close(fig)
    return fig
