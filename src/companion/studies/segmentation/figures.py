"""Table 5's rows as figures and tables. Nothing here measures; records and masks come in, figures and frames go out."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from companion.core.records import mean_std
from companion.data.published.voc import IGNORED, palette
from companion.figures.common import draw_image
from companion.figures.style import COLOURS, finished


def examples(pairs: Sequence[tuple[Tensor, Tensor]], classes: Sequence[str]) -> Figure:
    """Images (3, H, W), bytes, above their labels (H, W), and a legend of the classes that occur."""
    colours = palette()
    colours[IGNORED] = 1.0
    fig, axes = plt.subplots(2, len(pairs), figsize=(2.9 * len(pairs), 6.2), squeeze=False)
    present = sorted({int(label) for _, labels in pairs for label in labels.unique()} - {IGNORED})
    for (above, below), (image, labels) in zip(axes.T, pairs, strict=True):
        draw_image(above, image / 255)
        draw_image(below, colours[labels.long()].permute(2, 0, 1))
    handles = [
        Patch(facecolor=tuple(colours[label].tolist()), edgecolor="#888888", label=classes[label]) for label in present
    ]
    fig.legend(handles=handles, loc="lower center", ncols=min(len(handles), 8), frameon=False)
    fig.suptitle("What is learned: a class for every pixel (white does not count)")
    return finished(fig, despine=False, rect=(0, 0.03 + 0.03 * (len(handles) > 8), 1, 1))


def learning_curves(curves: list[dict]) -> Figure:
    """Loss and mIoU of the test images over epochs, a line per method."""
    frame = pd.DataFrame(curves)
    names = list(dict.fromkeys(frame["method"]))
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
    for ax, field, label in zip(axes, ("loss", "test_miou"), ("training loss", "mIoU on test images, %"), strict=True):
        sns.lineplot(frame, x="epoch", y=field, hue="method", style="method", hue_order=names, style_order=names, ax=ax,
                     palette={name: COLOURS[name] for name in names}, markers=True, dashes=False, legend=field == "test_miou")  # fmt: skip
        ax.set(ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    sns.move_legend(axes[1], "upper left", bbox_to_anchor=(1.0, 1.0), title="", frameon=False)
    epochs, seeds = frame["epoch"].max(), frame["seed"].nunique()
    last = frame[frame["epoch"] == epochs].groupby("method")["test_miou"].mean()
    told = "one seed" if seeds == 1 else f"means of {seeds} seeds"
    fig.suptitle(f"After {epochs} epochs mIoU lies between {last.min():.1f} and {last.max():.1f}% ({told})")
    return finished(fig)


def table_of_runs(records: list[dict]) -> pd.DataFrame:
    """Mean ± standard deviation over n seeds, a row per method."""
    frame = pd.DataFrame(records)
    fields = {
        "mascc_paper": "mASCC (eq. 5)",
        "mascc_lps": "mASCC (shifts up to 32)",
        "identical": "bit-identical when moved",
    }
    rows = {}
    for method in dict.fromkeys(frame["method"]):
        runs = frame[frame["method"] == method]
        shown = {title: mean_std(list(runs[field]), 4 if "mascc" in field else 2) for field, title in fields.items()}
        rows[method] = {
            "iterations": runs["iterations"].iloc[0],
            "seeds": len(runs),
            "images": runs["n"].iloc[0],
            **shown,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
