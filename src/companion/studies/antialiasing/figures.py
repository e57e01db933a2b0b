"""The figures of notebook 09. Nothing here measures."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.common import draw_image
from companion.figures.style import COLOURS, finished
from companion.paper.antialiasing import FILTERS, IMAGENET
from companion.studies.antialiasing.layers import pooled, spectra


def pooled_twice(signal: Tensor) -> Figure:
    """A signal and the same moved by one: what max pooling gives, and what it gives behind a filter."""
    fig, axes = plt.subplots(2, 3, figsize=(12, 4.4), sharey=True)
    for row, (name, x) in zip(axes, (("x", signal), ("x moved by 1", signal.roll(-1))), strict=True):
        found = pooled(x)
        panels = {
            name: x,
            "max pooling": found["max pooling"][1],
            "dense maximum, blurred, sampled": found["blurred"][1],
        }
        for ax, (title, values), colour in zip(
            row, panels.items(), ("#9a9a9a", COLOURS["plain"], COLOURS["anti-aliased"]), strict=True
        ):
            ax.bar(range(len(values)), values, color=colour, width=0.7)
            for k, value in enumerate(values.tolist()):
                ax.text(k, value + 0.04, f"{value:g}", ha="center", fontsize=10)
            ax.set(title=title, xticks=[], yticks=[0, 1], ylim=(0, 1.25))
    return finished(fig)


def aliased_spectrum(row: Tensor) -> Figure:
    """Amplitudes of an image's row before and after sampling: what lies right of the middle folds back to the left."""
    fig, ax = plt.subplots(figsize=(9, 3.6))
    colours = {
        "dense maximum": "#9a9a9a",
        "sampled": COLOURS["plain"],
        "blurred, then sampled": COLOURS["anti-aliased"],
    }
    for name, amplitudes in spectra(row).items():
        ax.plot(amplitudes[1:], label=name, color=colours[name], lw=2 if name != "dense maximum" else 1.2)
    half = len(row) // 4
    ax.axvspan(half, len(row) // 2, color="#f2e3d5", zorder=0)
    ax.text(1.5 * half, ax.get_ylim()[1], "cannot be sampled", ha="center", va="top", fontsize=10)
    ax.set(xlabel="cycles in the row", ylabel="amplitude", yscale="log", xlim=(0, len(row) // 2))
    ax.legend(frameon=False, loc="lower left")
    return finished(fig)


def distance_heatmaps(grids: dict[tuple[str, str], Tensor], name: str, weights: str) -> Figure:
    """A panel per version and layer, a pixel per shift: blue where features moved along, red where they did not."""
    versions, layers = (list(dict.fromkeys(key[k] for key in grids)) for k in (0, 1))
    top = max(float(grid.max()) for grid in grids.values())
    fig, axes = plt.subplots(
        len(versions), len(layers), figsize=(1.7 * len(layers) + 2.6, 1.75 * len(versions) + 0.6), squeeze=False
    )
    image = None
    for number, (row, version) in enumerate(zip(axes, versions, strict=True)):
        for ax, layer in zip(row, layers, strict=True):
            grid = grids[version, layer]
            image = ax.imshow(grid, cmap="RdYlBu_r", vmin=0, vmax=top, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.set_xlabel(f"{float(grid.mean()):.2f}" if grid.any() else "0", fontsize=10, labelpad=2)
            if number == 0:
                ax.set_title(layer.replace("_", "."), fontsize=10)
        row[0].set_ylabel(version, fontsize=10)
    exact = [version for version in versions if not any(grids[version, layer].any() for layer in layers)]
    told = f"only {' and '.join(exact)} at 0 in every layer" if exact else "none at 0 in every layer"
    fig.suptitle(f"{name} ({weights}): {told}\ncosine distance by shift, its mean below each panel", fontsize=11)
    fig = finished(fig, despine=False, rect=(0, 0, 0.92, 1))
    assert image is not None
    fig.colorbar(image, cax=fig.add_axes((0.935, 0.15, 0.015, 0.65)))
    return fig


def two_outputs(shown: dict[str, tuple[Tensor, Tensor, Tensor]], spoiled: Tensor, gain: float) -> Figure:
    """Per version: the output, the output of the moved image moved back, and their difference, enlarged `gain` times."""
    fig, axes = plt.subplots(len(shown), 4, figsize=(9.2, 2.35 * len(shown)), squeeze=False)
    for number, (row, (version, (still, moved, difference))) in enumerate(zip(axes, shown.items(), strict=True)):
        titles = ("input", "output", "output, moved and back", f"difference x {gain:g}")
        parts = (spoiled.clamp(0, 1), still.clamp(0, 1), moved.clamp(0, 1), (gain * difference).clamp(0, 1))
        for ax, part, title in zip(row, parts, titles, strict=True):
            draw_image(ax, part, title if number == 0 else "")
        row[0].set_ylabel(version, fontsize=10)
    return finished(fig, despine=False)


def published() -> Figure:
    """The official repository's ImageNet table: a line per network, a point per filter size."""
    fig, ax = plt.subplots(figsize=(8.5, 4.6))
    for (name, points), colour in zip(IMAGENET.items(), plt.get_cmap("Dark2").colors, strict=False):  # type: ignore[attr-defined]
        ax.plot([p.consistency for p in points], [p.top1 for p in points], "-", color=colour, lw=1.2)
        for point, filtering in zip(points, FILTERS, strict=True):
            ax.plot(
                point.consistency,
                point.top1,
                marker={"none": "o", "Rect-2": "s", "Tri-3": "^", "Bin-5": "p"}[filtering],
                color=colour,
                ms=7,
            )
        ax.annotate(
            name,
            (points[-1].consistency, points[-1].top1),
            xytext=(8, -9 if name == "ResNet-18" else 0),  # beside it lies another network's first point
            textcoords="offset points",
            va="center",
            color=colour,
        )
    for filtering, marker in zip(FILTERS, "os^p", strict=True):
        ax.plot([], [], marker, color="#777777", label=filtering)
    ax.legend(frameon=False, title="filter", loc="lower right")
    ax.set(
        xlabel="consistency of two crops, %",
        ylabel="top-1, %",
        title="ImageNet, as BlurPool's authors print it: wider filters, higher consistency",
        xlim=(None, 92.5),
    )
    return finished(fig)


def accuracy_and_consistency(records: Sequence[dict], title: str) -> Figure:
    """A row per method, a point per seed, a line at the mean: accuracy on the left, circular consistency on the right."""
    frame = pd.DataFrame(records)
    methods = list(dict.fromkeys(frame["method"]))
    fig, axes = plt.subplots(1, 2, figsize=(12, 1.2 + 0.36 * len(methods)), sharey=True)
    for ax, (field, label) in zip(
        axes, (("top1", "top-1, %"), ("consistency", "circular consistency, %")), strict=True
    ):
        for y, method in enumerate(methods):
            values = frame[frame["method"] == method][field]
            ax.plot(values, [y] * len(values), "o", color=COLOURS[method], ms=6, alpha=0.7)
            ax.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color=COLOURS[method], lw=2.5)
        ax.set(xlabel=label)
        ax.grid(axis="x", color="#e5e5e5")
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].invert_yaxis()
    fig.suptitle(title, fontsize=11)
    return finished(fig)


SHOWN = (
    "Baseline, zero padding",
    "anti-aliased",
    "MASS",
    "MASS over anti-aliasing",
)  # by corruption: four can be told apart


def corruption_errors(rows: Sequence[dict], shares: Sequence[dict]) -> Figure:
    """Error by corruption and method, the mean over seeds, and the mean corruption error relative to the plain network, by seed."""
    relative = pd.DataFrame(shares).groupby("method", sort=False)["relative"]
    frame = pd.DataFrame(rows).assign(corruption=lambda f: f["input"].str.removeprefix("corrupted: "))
    table = frame.pivot_table(index="corruption", columns="method", values="error", sort=False)
    fig, axes = plt.subplots(1, 2, figsize=(12.5, 5), width_ratios=[2, 1])
    means = relative.mean()
    shown = [method for method in SHOWN if method in table.columns]
    for method, marker in zip(shown, "os^D", strict=False):
        axes[0].plot(table[method], range(len(table)), marker, color=COLOURS[method], ms=7, alpha=0.8, label=method)
    axes[0].legend(frameon=False)
    axes[0].set_yticks(range(len(table)), table.index)
    axes[0].invert_yaxis()
    axes[0].grid(axis="x", color="#e5e5e5")
    axes[0].set(xlabel="wrong labels, %, mean over severities", ylabel="")
    for y, (method, values) in enumerate(relative):
        axes[1].barh(y, values.mean(), color=COLOURS[method], alpha=0.85)
        axes[1].plot(values, [y] * len(values), "k|", ms=9)
        axes[1].text(values.max(), y, f"  {values.mean():.0f}", va="center")
    axes[1].set_yticks(range(len(relative)), [method for method, _ in relative])
    axes[1].axvline(100, color="#888888", lw=0.8)
    axes[1].invert_yaxis()
    axes[1].set(xlabel="mean corruption error, plain = 100", xlim=(0, 1.2 * relative.max().max()))
    best, worst = means.idxmin(), means.idxmax()
    fig.suptitle(
        f"Corrupted images: least wrong {best} ({means[best]:.0f}), most {worst} ({means[worst]:.0f}), plain = 100",
        fontsize=11,
    )
    return finished(fig)
