"""Notebook 10's figures and tables. Nothing here measures; records come in, figures and frames go out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import matplotlib.pyplot as plt
import numpy
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.records import Record, mean_std
from companion.figures.common import draw_image
from companion.figures.style import finished
from companion.studies.implicit_equivariance.arms import ARMS

_FLOOR = 5e-3  # of relative errors: what lies below is drawn there
_LEARNING = tuple(ARMS[arm].printed for arm in ("plain", "ien", "steerable", "ien-mass"))
COLOURS = {arm.printed: arm.colour for arm in ARMS.values()}


def there_and_back(image: Tensor, rows: dict[str, tuple[Tensor, Tensor, Tensor | None]]) -> Figure:
    """An image (1, H, W), and by transformation: T x, T^-1 T x, and in red where that is not defined."""
    fig, axes = plt.subplots(2, len(rows) + 1, figsize=(1.75 * (len(rows) + 1), 3.9), squeeze=False)
    draw_image(axes[0, 0], image[0], "x")
    axes[1, 0].axis("off")
    for (above, below), (name, (there, back, defined)) in zip(axes.T[1:], rows.items(), strict=True):
        draw_image(above, there[0], name)
        draw_image(below, back[0], "and back")
        if defined is not None:
            outside = numpy.zeros((*defined[0].shape, 4))
            outside[~defined[0].numpy()] = (0.82, 0.29, 0.36, 0.75)
            below.imshow(outside, interpolation="nearest")
    return finished(fig, despine=False)


def construction_table(rows: Sequence[Record]) -> pd.DataFrame:
    """Relative errors of untrained networks, a row a network, a column a transformation."""
    names = {"r4": "quarter turns", "r8": "by 45 degrees", "shifts": "shifts"}
    frame = pd.DataFrame(rows).pivot_table(index="method", columns="rule", values="error", sort=False)
    return frame.rename(columns=names).map(lambda value: f"{value:.1e}")


def table_of_runs(records: Sequence[Record], dataset: str) -> pd.DataFrame:
    """Mean ± standard deviation over seeds of every network trained on one data set."""
    rows = {}
    chosen = [r for r in records if r["dataset"] == dataset]
    for method in dict.fromkeys(r["method"] for r in chosen):
        runs = [r for r in chosen if r["method"] == method]
        kind = next(k for k in ("quarter", "scale") if f"error_{k}_1" in runs[0])
        last = max(int(name.rpartition("_")[2]) for name in runs[0] if name.startswith(f"error_{kind}_"))
        rows[method] = {
            "parameters": f"{runs[0]['parameters']:,}",
            "seeds": len(runs),
            "top-1 %": mean_std([r["top1"] for r in runs]),
            "worst angle %" if kind == "quarter" else "worst scale %": mean_std([r["worst_step"] for r in runs], 1),
            "error, quarter turns" if kind == "quarter" else "error, scalings": mean_std(
                [r[f"error_{kind}_{last}"] for r in runs], 3
            ),
            "consistency (shifts) %": mean_std([r["consistency"] for r in runs]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def learning_curves(curves: Sequence[Record], dataset: str) -> Figure:
    """Test accuracy over epochs of four networks, a line each, its band from lowest to highest seed."""
    frame = pd.DataFrame([row for row in curves if row["dataset"] == dataset and row["method"] in _LEARNING])
    names = [method for method in _LEARNING if method in set(frame["method"])]
    fig, ax = plt.subplots(figsize=(8.5, 4))
    sns.lineplot(frame, x="epoch", y="test_top1", hue="method", hue_order=names, palette=COLOURS, errorbar=("pi", 100),
                 marker="o", ax=ax)  # fmt: skip
    ax.set(
        title="Under the loss a network learns more slowly than without, and than with a basis\n(means; bands: lowest to highest seed)",
        xlabel="epoch",
        ylabel="top-1 on test images, %",
    )
    ax.set_xticks(sorted(set(frame["epoch"])))
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1.0, 1.0), title="", frameon=False)
    return finished(fig)


def by_step(records: Sequence[Record], dataset: str, methods: Sequence[str]) -> Figure:
    """Accuracy on upright test images that are all turned (or scaled) alike; bands from lowest to highest seed."""
    rows = [
        {"method": r["method"], "step": float(name[3:]), "accuracy": value}
        for r in records
        if r["dataset"] == dataset and r["method"] in methods
        for name, value in r.items()
        if name.startswith("at_")
    ]
    frame = pd.DataFrame(rows)
    fig, ax = plt.subplots(figsize=(8.5, 4))
    sns.lineplot(
        frame,
        x="step",
        y="accuracy",
        hue="method",
        style="method",
        hue_order=list(methods),
        style_order=list(methods),
        palette=COLOURS,
        errorbar=("pi", 100),
        ax=ax,
    )
    angles = frame["step"].max() > 1
    ax.set(
        title="No network falls off at an angle: all were shown all\n(means; bands: lowest to highest seed)"
        if angles
        else "",
        xlabel="angle of all test images, degrees" if angles else "scale of all test images",
        ylabel="accuracy, %",
    )
    if angles:
        ax.set_xticks(range(0, 361, 45))
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1.0, 1.0), title="", frameon=False)
    return finished(fig)


def errors_by_layer(records: Sequence[Record], dataset: str, methods: Sequence[str], kinds: dict[str, str]) -> Figure:
    """Relative equivariance errors layer by layer, a panel a transformation; triangles for rounding alone.

    Means over seeds, bars from the lowest to the highest.
    """
    fig, axes = plt.subplots(1, len(kinds), figsize=(4.3 * len(kinds) + 1.5, 4.1), sharey=True, squeeze=False)
    for ax, (kind, title) in zip(axes[0], kinds.items(), strict=True):
        for method in methods:
            runs = [r for r in records if r["dataset"] == dataset and r["method"] == method]
            layers = sorted(int(name.rpartition("_")[2]) for name in runs[0] if name.startswith(f"error_{kind}_"))
            found = [[r[f"error_{kind}_{layer}"] for r in runs] for layer in layers]
            values = [mean(of_layer) for of_layer in found]
            below = max(values) < _FLOOR
            ax.plot(layers, [max(value, _FLOOR) for value in values], "v--" if below else "o-", color=COLOURS[method],
                    label=method, clip_on=False)  # fmt: skip
            ax.vlines(layers, list(map(min, found)), list(map(max, found)), color=COLOURS[method], lw=1)
        ax.set(title=title, xlabel="layer", yscale="log", ylim=(_FLOOR, 2))
        ax.set_xticks(layers)
    axes[0, 0].set_ylabel("relative error")
    fig.suptitle("Under quarter turns the loss makes layers move along several times better, and never exactly")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return finished(fig)


def two_errors(records: Sequence[Record], dataset: str, methods: Sequence[str]) -> Figure:
    """What was learned and what is exact: the error under quarter turns against consistency under shifts, a marker a run."""
    fig, ax = plt.subplots(figsize=(7.5, 4.2))
    for method in methods:
        runs = [r for r in records if r["dataset"] == dataset and r["method"] == method]
        last = max(int(name.rpartition("_")[2]) for name in runs[0] if name.startswith("error_quarter_"))
        ax.plot(
            [r["consistency"] for r in runs],
            [r[f"error_quarter_{last}"] for r in runs],
            "o",
            ms=9,
            color=COLOURS[method],
            label=method,
        )
    ax.set(
        title="Over MASS: exact for shifts, learned for turns (a marker a run)",
        xlabel="one label under two shifts, % of images",
        ylabel="error under quarter turns, last layer",
    )
    ax.set_ylim(bottom=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return finished(fig)


def speed_table(times: Sequence[Record]) -> pd.DataFrame:
    """Median milliseconds, quartiles and ratio to IEN, as measured in one run."""
    rows = {
        row["method"]: {
            "milliseconds": f"{row['milliseconds']:.2f} ({row['quartile_low']:.2f} to {row['quartile_high']:.2f})",
            "times IEN's": f"{row['ratio']:.2f}",
        }
        for row in times
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def sequence_strip(frames: Tensor, boxes: Tensor, centres: dict[str, Tensor], shown: int = 6) -> Figure:
    """Frames (T, 1, H, W) of a sequence with the object's box, and every tracker's centre."""
    fig, axes = plt.subplots(1, shown, figsize=(2.3 * shown, 2.9))
    for ax, number in zip(axes, [round(k * (len(frames) - 1) / (shown - 1)) for k in range(shown)], strict=True):
        draw_image(ax, frames[number, 0], f"frame {number + 1}")
        row, column, height, width = boxes[number].tolist()
        ax.add_patch(
            plt.Rectangle((column - width / 2, row - height / 2), width, height, fill=False, ec="white", lw=1.5)
        )
        for method, found in centres.items():
            ax.plot(found[number, 1], found[number, 0], "o", ms=6, color=COLOURS[method], mec="white", label=method)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    fig.suptitle("The object's box, and where each tracker looks for it", fontsize=10)
    return finished(fig, despine=False, rect=(0, 0.08, 1, 1))


def tracking_table(rows: Sequence[Record]) -> pd.DataFrame:
    """Mean ± standard deviation over seeds, a row an arm and kind of template."""
    table = {}
    for key in dict.fromkeys((row["method"], row["rule"]) for row in rows):
        runs = [row for row in rows if (row["method"], row["rule"]) == key]
        table[key] = {
            "seeds": len(runs),
            "sequences": runs[0]["sequences"],
            "boxes that overlap %": mean_std([row["success"] for row in runs], 1),
            "centre error, pixels": mean_std([row["centre_error"] for row in runs], 1),
        }
    return pd.DataFrame.from_dict(table, orient="index")
