"""The figures of notebook 01: sampling, pooling, blur, and where networks lose their equivariance."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import mass
from companion.figures.common import draw_map
from companion.figures.style import COLOURS, finished
from companion.measures.signals import interpolated, spectrum
from companion.studies.why_not_invariant.commute import distance
from companion.studies.why_not_invariant.sampling import max_pool_in_two_steps
from mass.functional.padding import circular_pad
from mass.nn.blurpool import binomial_filter

# The two halves of a signal's samples, and the four of an image's: the same colours throughout.
PHASES = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a")

ROUNDING = 1e-3  # percent: what lies below is told as none


def two_definitions(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """f(x), f(S x) and what no shift S' explains, for an edge filter in three versions. Shape: x (1, 1, H, W)."""
    kernel = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    around = circular_pad(x, (1, 1, 1, 1))
    moved = mass.shift(x, torch.tensor(t))
    moved_around = circular_pad(moved, (1, 1, 1, 1))
    versions = {
        "circular padding": (F.conv2d(around, kernel), F.conv2d(moved_around, kernel), [t]),
        "zero padding": (F.conv2d(x, kernel, padding=1), F.conv2d(moved, kernel, padding=1), [t]),
        "circular, stride 2": (
            F.conv2d(around, kernel, stride=2),
            F.conv2d(moved_around, kernel, stride=2),
            [(0, 0), (0, 1), (1, 0), (1, 1)],
        ),
    }
    fig, axes = plt.subplots(3, 4, figsize=(11, 8.8))
    left = {name: distance(z, y, shifts) for name, (y, z, shifts) in versions.items()}
    for row, (name, (y, z, shifts)) in enumerate(versions.items()):
        best = min(shifts, key=lambda s: distance(z, y, [s]))
        rest = (z - y.roll((-best[0], -best[1]), (2, 3))).abs()
        draw_map(axes[row, 0], x[0, 0], "x" if row == 0 else "")
        draw_map(axes[row, 1], y[0, 0], "f(x)" if row == 0 else "")
        draw_map(axes[row, 2], z[0, 0], f"f(S x), S by {t}" if row == 0 else "")
        axes[row, 3].imshow(rest[0, 0], cmap="Reds", vmin=0, vmax=float(y.abs().max()) / 2, interpolation="nearest")
        axes[row, 3].set(xticks=[], yticks=[])
        axes[row, 3].set_title(("| f(S x) – S' f(x) |\n" if row == 0 else "") + f"{left[name]:.0f}%", fontsize=10)
        axes[row, 0].set_ylabel(name, fontsize=11)
    told = ", ".join(f"{share:.0f}% with {name}" if share else f"nothing with {name}" for name, share in left.items())
    fig.suptitle(f"What no shift of the output explains: {told}", fontsize=12)
    return finished(fig, despine=False)


def _stems(ax: Axes, at: Tensor, values: Tensor, colour: str, label: str = "") -> None:
    ax.vlines(at, 0, values, color=colour, lw=1.4)
    ax.plot(at, values, "o", color=colour, ms=5, label=label)


def sampled_twice(signals: dict[str, Tensor]) -> Figure:
    """Every second sample of a signal, from the even and from the odd positions, and the three spectra."""
    fig, axes = plt.subplots(len(signals), 3, figsize=(13, 0.4 + 2.7 * len(signals)), width_ratios=[1.3, 1.3, 1])
    for row, (name, x) in zip(axes, signals.items(), strict=True):
        n, fine = torch.arange(len(x)), torch.arange(len(x) * 8) / 8
        nyquist = len(x) / 4
        row[2].bar(torch.arange(len(x) // 2 + 1), spectrum(x), width=1.2, color="#c8c8c8", label="the signal")
        for o, kind in ((0, "even"), (1, "odd")):
            row[o].plot(fine, interpolated(x, len(x) * 8), color="#b5b5b5", lw=1)
            _stems(row[o], n[o::2], x[o::2], PHASES[o])
            row[o].plot(fine + o, interpolated(x[o::2], len(x) * 8), color=PHASES[o], lw=2)
            row[o].set(title=f"{name}: {kind} samples", xlim=(0, len(x) - 1), ylim=(-1.9, 1.9), xlabel="position")
            row[2].plot(
                torch.arange(len(x) // 4 + 1), spectrum(x[o::2]), color=PHASES[o], marker="os"[o], ms=4, lw=1.2,
                label=f"{kind} samples",
            )  # fmt: skip
        row[2].axvline(nyquist, color="black", ls=":", lw=1.2)
        row[2].text(nyquist + 0.5, 1.0, "Nyquist", fontsize=9, va="top")
        row[2].set(title="amplitudes", xlabel="cycles in the signal", ylim=(0, 1.8), xlim=(-1, len(x) / 2 + 1))
    axes[0, 2].legend(fontsize=9, frameon=False, loc="upper right")
    seen = {name: [f"{spectrum(x[o::2]).max():.1f}" for o in (0, 1)] for name, x in signals.items()}
    told = [f"the same amplitude ({even}) of {name}" if even == odd else f"{even} and {odd} of {name}"
            for name, (even, odd) in seen.items()]  # fmt: skip
    fig.suptitle(f"Even and odd samples see {', but '.join(told)}", fontsize=12)
    return finished(fig)


def pooled_twice(x: Tensor) -> Figure:
    """Max pooling of a signal and of the signal moved by one, in its two steps: dense maximum, then sampling."""
    fig, axes = plt.subplots(2, 3, figsize=(12, 4.9), sharey=True)
    for row, (name, signal) in zip(axes, (("x", x), ("x moved by 1", x.roll(-1))), strict=True):
        dense, pooled = max_pool_in_two_steps(signal)
        n = torch.arange(len(x))
        row[0].bar(n, signal, color="#9a9a9a")
        for start in range(0, len(x) + 1, 2):
            row[0].axvline(start - 0.5, color="#555555", lw=1, ls=":")
        row[1].bar(n, dense, color=[PHASES[0] if k % 2 == 0 else "#dddddd" for k in n.tolist()])
        row[2].bar(torch.arange(len(pooled)), pooled, color=PHASES[0], width=0.6)
        for k, value in enumerate(pooled.tolist()):
            row[2].text(k, value + 0.04, f"{value:.0f}", ha="center", fontsize=10)
        for ax, title in zip(
            row, (f"{name}, and the windows", "dense maximum, stride 1", "max pooling: every second of it"), strict=True
        ):
            ax.set(title=title, xticks=[], yticks=[0, 1], ylim=(0, 1.25))
    still, moved = (
        " ".join(f"{value:.0f}" for value in max_pool_in_two_steps(signal)[1]) for signal in (x, x.roll(-1))
    )
    told = f"{moved} instead of {still}" if moved != still else f"{still} again"
    fig.suptitle(f"Moved by one, the same values are pooled to {told}", fontsize=12)
    return finished(fig)


def blur_curves(residual: pd.DataFrame, kept: pd.DataFrame, mass_residual: float) -> Figure:
    """Binomial filters: their frequency responses, the residual they leave, and the detail they take away."""
    fig, axes = plt.subplots(1, 3, figsize=(13.5, 4.3))
    sizes = [s for s in (1, 2, 3, 5, 9) if s in set(kept["size"])]
    for size, colour in zip(sizes, sns.color_palette("crest", len(sizes)), strict=True):
        response = torch.fft.rfft(binomial_filter(size), 256).abs()
        axes[0].plot(torch.linspace(0, 1, len(response)), response, color=colour, lw=2, label=f"size {size}")
    axes[0].axvspan(0.5, 1, color="#f2e3d5", zorder=0)
    axes[0].text(0.75, 1.09, "aliases", ha="center", va="center", fontsize=10)
    axes[0].set(
        title="what a filter lets through",
        xlabel="frequency, as a share of the largest",
        ylabel="gain",
        xlim=(0, 1),
        ylim=(0, 1.15),
    )
    axes[0].legend(fontsize=9, frameon=False, loc="lower left")
    sns.lineplot(residual, x="size", y="residual", color=PHASES[1], marker="o", errorbar="sd", ax=axes[1])
    axes[1].axhline(mass_residual, color=COLOURS["MASS"], lw=2)
    axes[1].text(residual["size"].max(), mass_residual * 1.6, f"MASS, no blur: {mass_residual:.0e}%", ha="right",
                 fontsize=10, color=COLOURS["MASS"])  # fmt: skip
    axes[1].set(
        yscale="log", title="how far outputs move under shifts", xlabel="size of the filter", ylabel="residual, %"
    )
    sns.lineplot(kept, x="size", y="kept", color="#555555", marker="o", ax=axes[2])
    axes[2].set(title="what it costs: contrast kept, one blur", xlabel="size of the filter", ylabel="%", ylim=(0, 105))
    for ax in axes[1:]:
        ax.set_xticks(sorted(set(kept["size"])))
    left, contrast = residual.groupby("size")["residual"].mean(), kept.set_index("size")["kept"]
    largest = left.index.max()
    fig.suptitle(
        f"A blur of size {largest} leaves {left[largest]:.2g}% of movement ({left[1]:.2g}% without) and "
        f"{contrast[largest]:.0f}% of the contrast; MASS, without one, {mass_residual:.0e}% of movement",
        fontsize=12,
    )
    return finished(fig)


def polyphase_components(x: Tensor, t: tuple[int, int] = (0, 1)) -> Figure:
    """The four components of a map and of the moved map, equal ones framed in one colour. Shape: x (1, 1, H, W)."""
    fig, axes = plt.subplots(2, 5, figsize=(12, 5.6), width_ratios=[1.25, 1, 1, 1, 1])
    components = []
    for row, (name, image, by) in zip(
        axes, (("x", x, (0, 0)), (f"x moved by {t}", mass.shift(x, torch.tensor(t)), t)), strict=True
    ):
        draw_map(row[0], image[0, 0], name)
        for k, ax in enumerate(row[1:]):
            i, j = divmod(k, 2)
            component = image[0, 0, i::2, j::2]
            components.append(component)
            draw_map(ax, component, f"start ({i}, {j})\n‖·‖ = {component.norm():.4f}")
            same = (i + by[0]) % 2 * 2 + (j + by[1]) % 2
            for spine in ax.spines.values():
                spine.set(color=PHASES[same], linewidth=4, visible=True)
    before, after = components[:4], components[4:]
    kept = sum(any(_shifted_alike(y, z) for z in after) for y in before)
    fig.suptitle(f"{kept} of {len(before)} components of x are those of the moved x, in other places", fontsize=12)
    return finished(fig, despine=False)


def _shifted_alike(y: Tensor, z: Tensor) -> bool:
    """Whether one component (H, W) is a circular shift of the other."""
    return any(torch.equal(y.roll((i, j), (0, 1)), z) for i in range(y.shape[0]) for j in range(y.shape[1]))


def error_table(errors: pd.DataFrame) -> Figure:
    """Percentages by layer and kind of shift, annotated; exact zeros stand out."""
    fig, ax = plt.subplots(figsize=(9.5, 1.4 + 0.4 * len(errors)))
    shown = errors.map(lambda e: "0" if e < ROUNDING else f"{e:.0f}%")
    sns.heatmap(errors, annot=shown, fmt="", cmap="Reds", vmin=0, vmax=80, linewidths=1.5, cbar=False, ax=ax)
    ax.xaxis.tick_top()
    ax.tick_params(axis="both", length=0)
    ax.tick_params(axis="y", rotation=0)
    broken = {" ".join(column.split()): int((errors[column] >= ROUNDING).sum()) for column in errors}
    told = "; ".join(f"{count} under {column}" for column, count in broken.items())
    fig.suptitle(f"Layers, of {len(errors)}, that do not commute: {told}", fontsize=12)
    return finished(fig, despine=False)


def distances_by_depth(table: pd.DataFrame) -> Figure:
    """Feature distance after each block, under a shift by one pixel and by the block's own stride."""
    panels = {
        "image moved by one pixel": table[table["shift"] == 1],
        "image moved by the stride of the layer": table[table["shift"] == table["stride"]],
    }
    strides = table.groupby("depth")["stride"].first()
    fig, axes = plt.subplots(1, 2, figsize=(13, 4.5), sharey=True)
    for ax, (title, part) in zip(axes, panels.items(), strict=True):
        most = part.groupby("method", sort=False)["distance"].max()
        sns.lineplot(part, x="depth", y="distance", hue="method", palette=COLOURS, marker="o", ax=ax)
        top = table["distance"].max() * 1.15
        for stride, first in strides.drop_duplicates().items():
            ax.axvline(stride - 0.5, color="#bbbbbb", lw=1, ls=":")
            ax.text(stride - 0.35, top, f"stride {first}", fontsize=9, va="top", color="#555555", rotation=90)
        told = ", ".join(
            f"{method} {share:.0f}%" if share >= ROUNDING else f"{method} 0" for method, share in most.items()
        )
        ax.set(
            title=f"{title}:\nfeatures change by at most: {told}",
            xlabel="block of MobileNetV2",
            ylabel="relative feature distance, %",
            ylim=(-0.03 * top, top),
        )
        ax.set_xticks(range(0, len(strides), 3))
        ax.get_legend().remove()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
    return finished(fig, rect=(0, 0.07, 1, 1))


def distances_by_shift(table: pd.DataFrame) -> Figure:
    """Feature distance against the shift, one panel per stride: a comb whose teeth are the stride."""
    strides = sorted(set(table["stride"]))
    fig, axes = plt.subplots(1, len(strides), figsize=(2.8 * len(strides), 4.1), sharey=True)
    for ax, stride in zip(axes, strides, strict=True):
        part = table[table["stride"] == stride]
        sns.lineplot(part, x="shift", y="distance", hue="method", palette=COLOURS, ax=ax)
        ax.set(title=f"stride {stride}", xlabel="shift in pixels", ylabel="relative feature distance, %")
        ax.set_xticks(range(0, int(part["shift"].max()) + 1, 8))
        ax.get_legend().remove()
    axes[0].set_ylim(-0.03 * table["distance"].max(), None)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
    told = [f"{method} {_exact_at(part)}" for method, part in table.groupby("method", sort=False)]
    fig.suptitle(f"Features move along exactly: {'; '.join(told)}", fontsize=12)
    return finished(fig, rect=(0, 0.08, 1, 1))


def _exact_at(part: pd.DataFrame) -> str:
    """The shifts, other than none, under which one method's features move along, in words."""
    part = part[part["shift"] > 0]
    exact, whole = part["distance"] < ROUNDING, part["shift"] % part["stride"] == 0
    if exact.all():
        return "under every shift"
    if (exact == whole).all():
        return "at multiples of the stride alone"
    return f"under {exact.mean():.0%} of shifts" if exact.any() else "under none"
