"""The figures of notebook 03: margins, the paper's Figure 3, where samples lie."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.style import finished
from companion.studies.lattices.architectures import SELECT, SHIFT, Operation


def margin_histograms(tables: dict[str, pd.DataFrame]) -> Figure:
    """Per network (columns of its table: origin, margin) the distribution of margins, an outline per origin, on a log axis.

    The lines mark by how much the sums of a precision may be off, relative to themselves, when one value is.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(7.2 * len(tables), 4.2), sharex=True, squeeze=False)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        colours = sns.color_palette("viridis", table["origin"].nunique())
        shown = table.assign(margin=table["margin"].clip(lower=1e-12))  # a tie has no logarithm
        look = {"element": "step", "fill": False, "log_scale": True, "binwidth": 0.25, "binrange": (-12, 0)}
        sns.histplot(shown, x="margin", hue="origin", palette=colours, ax=ax, **look)
        top = ax.get_ylim()[1] * 1.25
        within = {}
        for dtype in (torch.float32, torch.bfloat16):
            within[str(dtype)[6:]] = 100 * (table["margin"] < torch.finfo(dtype).eps).mean()
            ax.axvline(torch.finfo(dtype).eps, color="#999999", lw=1, ls=":")
            ax.text(torch.finfo(dtype).eps * 0.7, top, str(dtype)[6:], ha="right", va="top", fontsize=9, rotation=90)
        told = ", ".join(f"{share:.0f}% within one step of {dtype}" for dtype, share in within.items())
        ax.set(title=f"{name}: of all margins\n{told}", xlabel="margin: (best - second best) / best", ylabel="images")
        ax.set_ylim(0, top)
        sns.move_legend(
            ax, "upper left", bbox_to_anchor=(1, 1), title="origin", fontsize=9, title_fontsize=9, frameon=False
        )
    return finished(fig)


def figure_3(plain: Sequence[Operation], converted: Sequence[Operation]) -> Figure:
    """Figure 3: one residual block before and after weight transfer, as graphs: two branches, and the origin that they share."""
    fig, axes = plt.subplots(1, 2, figsize=(11.5, 7), sharey=True)
    known = {operation.does for operation in plain}
    for ax, title, block in zip(axes, ("plain", "MASS, same weights"), (plain, converted), strict=True):
        places = _places(block)
        _box(ax, places[""], "the map that enters", "#ffffff")
        for operation in block:
            new = operation.does not in known
            _box(ax, places[operation.name], operation.does, "#bcd9f0" if new else "#f0f0f0")
            for source in operation.reads:
                _arrow(ax, places[source], places[operation.name], color="#777777")
            if operation.origin:
                _arrow(ax, places[operation.origin], places[operation.name], color="#d95f02", lw=2, ls="--")
        ax.set(title=title, xlim=(-0.45, 1.45), ylim=(min(y for _, y in places.values()) - 0.6, 0.6))
        ax.axis("off")
    fig.suptitle("Both branches of ResNet-50's block start at one origin")
    return finished(fig, despine=False)


def _places(block: Sequence[Operation]) -> dict[str, tuple[float, float]]:
    """The first branch on the left, on the right the shortcut, of which the sum's second input is made; the origin between."""
    by_name = {operation.name: operation for operation in block}

    def made_of(name: str) -> set[str]:
        return {name}.union(*(made_of(source) for source in by_name[name].reads)) if name else set()

    (addition,) = (operation for operation in block if operation.does == "add")
    first, second = (made_of(name) for name in addition.reads)
    right = [operation.name for operation in block if operation.name in second - first]
    left = [operation.name for operation in block if operation.name not in right]
    places = {"": (0.5, 0.0)} | {name: (0.0, -1.0 - row) for row, name in enumerate(left)}
    for operation in block:
        if operation.does == SELECT:
            places[operation.name] = (0.5, places[operation.name][1])
    start = next(places[name][1] for name in left if by_name[name].does == SHIFT or "stride" in by_name[name].does)
    return places | {name: (1.0, start - row) for row, name in enumerate(right)}


def _box(ax: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    ax.text(*place, text, ha="center", va="center", fontsize=10.5, zorder=3,
            bbox={"boxstyle": "round,pad=0.35", "fc": colour, "ec": "#888888"})  # fmt: skip


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], **look: object) -> None:
    arrow = {"arrowstyle": "-|>", "shrinkA": 9, "shrinkB": 11} | look
    ax.annotate("", end, start, arrowprops=arrow, zorder=2)


def lattice_points(images: dict[str, Tensor], origins: dict[str, list[Tensor]], stages: tuple[int, ...]) -> Figure:
    """Where the samples of some stages lie in images: the points O + S n of each lattice, S = 2, 4, 8, … (one row an image)."""
    fig, axes = plt.subplots(
        len(images), len(stages), figsize=(3.5 * len(stages), 0.4 + 3.8 * len(images)), squeeze=False
    )
    sampled: dict[int, list[Tensor]] = {stage: [] for stage in stages}
    for row, (name, image) in zip(axes, images.items(), strict=True):
        for ax, stage in zip(row, stages, strict=True):
            stride = 2**stage
            total = sum(origin * 2**k for k, origin in enumerate(origins[name][:stage]))
            rows, columns = (torch.arange(int(total[a]) % stride, image.shape[a + 1], stride) for a in (0, 1))
            points = torch.cartesian_prod(rows, columns)
            sampled[stage].append(image[:, rows][:, :, columns])
            ax.imshow(image.permute(1, 2, 0))
            ax.scatter(points[:, 1], points[:, 0], s=stride * 1.3, color="#1f77b4", edgecolors="white", linewidths=0.6)
            ax.set(xticks=[], yticks=[], title=f"{name}: S = {stride}, O = ({total[0]}, {total[1]})")
    same = [stage for stage, (first, *others) in sampled.items() if all(_shifted_alike(first, y) for y in others)]
    fig.suptitle(
        f"The same pixels are sampled, wherever the image is: in {len(same)} of {len(stages)} stages", fontsize=12
    )
    return finished(fig, despine=False)


def _shifted_alike(y: Tensor, z: Tensor) -> bool:
    """Whether one map (C, H, W) is a circular shift of the other."""
    return any(torch.equal(y.roll((i, j), (1, 2)), z) for i in range(y.shape[1]) for j in range(y.shape[2]))
