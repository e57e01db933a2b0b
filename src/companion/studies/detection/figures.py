"""The figures of notebook 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.intervals import wilson
from companion.figures.common import changed_by, draw_image
from companion.figures.style import COLOURS, finished, use_style
from companion.measures.detection.masks import painted
from companion.models.detectors.detections import Found
from companion.studies.detection.shifted import CONVERTED
from mass.detection import split_at_seam

__all__ = ["confidences", "objects_changed", "pieces", "precision", "side_by_side", "use_style"]
_COLOURS = COLOURS | {CONVERTED: "#56b4e9"}
_LETTER, _LINE = 0.0205, 0.07  # of a panel's sides, what a name takes in side_by_side
_FOUND, _TRUE = "#d55e00", "#0072b2"  # of Okabe and Ito's colours, made for colour-blind readers


def _frame(ax: Axes, boxes: Tensor, colour: str, style: str = "-") -> None:
    for x1, y1, x2, y2 in boxes.tolist():
        ax.add_patch(plt.Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.6, ls=style))


def draw_found(
    ax: Axes,
    image: Tensor,
    found: Found,
    names: Sequence[str],
    truth: Tensor | None = None,
    view: tuple[int, int, int] | None = None,
) -> None:
    """An image (3 or 1, H, W) in [0, 1] with its boxes, cut where the image's sides meet, and its masks; each with its name and score.

    Of a view (top, left, side) only boxes whose middle lies inside are named; names stay inside, and off each other.
    """
    size = (image.shape[1], image.shape[2])
    top, left, height, width = (*view[:2], view[2], view[2]) if view else (0, 0, *size)
    draw_image(ax, image if image.shape[0] == 3 else image[0])
    if "masks" in found:
        kinds = painted(found).numpy()
        ax.imshow(numpy.ma.masked_equal(kinds, 0), cmap="Set1", vmin=1, vmax=9, alpha=0.6, interpolation="nearest")
    if truth is not None and len(truth):
        _frame(ax, split_at_seam(truth, size)[0], _TRUE, ":")
    if not len(found["boxes"]):
        return
    pieces, which = split_at_seam(found["boxes"], size)
    _frame(ax, pieces, _FOUND)
    taken: list[tuple[float, float, float]] = []  # left, right and bottom of the names so far
    for k, (label, score) in enumerate(zip(found["labels"].tolist(), found["scores"].tolist(), strict=True)):
        x1, y1, x2, y2 = pieces[which == k][0].tolist()
        if not (left <= (x1 + x2) / 2 <= left + width and top <= (y1 + y2) / 2 <= top + height):
            continue
        text = f"{names[label]} {score:.{2 if view else 3}f}"
        wide, line = _LETTER * width * len(text), _LINE * height
        x = min(max(x1, left + 0.01 * width), left + 0.99 * width - wide)

        def free(y: float, x: float = x, wide: float = wide, line: float = line) -> bool:
            return all(x + wide < a or x > b or abs(y - c) >= line for a, b, c in taken)

        above = [y1 - n * line for n in range(9) if y1 - (n + 1) * line > top]
        below = [y2 + (n + 1) * line for n in range(9) if y2 + (n + 1) * line < top + height]
        y = next(filter(free, above + below), y1)
        taken.append((x, x + wide, y))
        ax.text(
            x, y, text, color="white", fontsize=8, va="bottom", clip_on=True,
            bbox={"facecolor": _FOUND, "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def side_by_side(
    rows: Mapping[str, Sequence[tuple[str, Tensor, Found]]],
    names: Sequence[str],
    truths: Sequence[Tensor] | None = None,
    view: tuple[int, int, int] | None = None,
) -> Figure:
    """A row per network: (title, image, what it found) of every move; dotted, where they are known, the true boxes.

    Args:
        view: what is drawn of each image: top, left, side; None: all of it.
    """
    columns = len(next(iter(rows.values())))
    fig, axes = plt.subplots(len(rows), columns, figsize=(3.3 * columns, 3.45 * len(rows) + 0.15), squeeze=False)
    for line, (name, cells) in zip(axes, rows.items(), strict=True):
        for k, (ax, (title, image, found)) in enumerate(zip(line, cells, strict=True)):
            draw_found(ax, image, found, names, truths[k] if truths else None, view)
            if name == next(iter(rows)):
                ax.set_title(title)
            if view:
                top, left, side = view
                ax.set(xlim=(left, left + side), ylim=(top + side, top))
        line[0].set_ylabel(name, fontsize=12)
    others = {name: sum(_said(cell[2]) != _said(cells[0][2]) for cell in cells[1:]) for name, cells in rows.items()}
    told = [f"with {name} at {number or 'none'} of {columns - 1} moves" for name, number in others.items()]
    fig.suptitle(f"Names or scores change: {', '.join(told)}", fontsize=12)
    return finished(fig, despine=False)


def _said(found: Found) -> list[tuple[int, float]]:
    """Names and scores, in any order."""
    return sorted(zip(found["labels"].tolist(), found["scores"].tolist(), strict=True))


def confidences(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """The score of the best detection against how far the image moved, a panel per image, a curve per network."""
    fig, axes = plt.subplots(1, len(curves), figsize=(3.4 * len(curves), 3.2), sharey=True, squeeze=False)
    for ax, (name, by_network) in zip(axes[0], curves.items(), strict=True):
        for network, scores in by_network.items():
            ax.plot(range(len(scores)), scores, ".-", color=_COLOURS[network], label=network)
        ax.set(title=name, xlabel="moved by, pixels")
    axes[0, 0].set_ylabel("score of the best detection")
    axes[0, -1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    spread = {
        network: max(max(panel[network]) - min(panel[network]) for panel in curves.values())
        for network in next(iter(curves.values()))
    }
    told = ", ".join(
        f"{network} {'not at all' if not most else f'by up to {most:.2f}'}" for network, most in spread.items()
    )
    fig.suptitle(f"As the image moves, the score of the best detection changes: {told}")
    return finished(fig)


def objects_changed(rows: pd.DataFrame, title: str) -> Figure:
    """Images with other objects after some move, by how they moved, a point per network with its 95% interval."""
    first = rows[rows["protocol"] == rows["protocol"].iloc[0]]
    told = ", ".join(f"{row.method} {row.changed:.0f}%" for row in first.itertuples())
    title = f"{title}\n{first['protocol'].iloc[0]}: {told}"
    return changed_by(rows, "protocol", "images with other objects after some move", title, _COLOURS.__getitem__)


def precision(rows: pd.DataFrame, title: str) -> Figure:
    """AP unmoved, and from the worst to the best that a choice of shifts makes of it, a line per run (columns: method, protocol, …)."""
    protocols, methods = (list(dict.fromkeys(rows[name])) for name in ("protocol", "method"))
    fig, axes = plt.subplots(
        1, len(protocols), figsize=(4.2 * len(protocols) + 2, 1.3 + 0.55 * len(methods)), sharey=True, squeeze=False
    )
    for ax, protocol in zip(axes[0], protocols, strict=True):
        for method, part in rows[rows["protocol"] == protocol].groupby("method", sort=False):
            for k, row in enumerate(part.itertuples()):
                place = methods.index(method) + 0.16 * (k - (len(part) - 1) / 2)
                ax.plot([row.worst_ap, row.best_ap], [place, place], "|-", color=_COLOURS[str(method)], lw=2.5, ms=9)
                ax.plot(row.ap, place, "o", color=_COLOURS[str(method)], ms=7)
        ax.set(title=protocol, xlabel="AP at IoU 0.33, %")
    axes[0, 0].set_yticks(range(len(methods)), methods)
    axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    lost = rows[rows["protocol"] == protocols[0]].assign(between=rows["best_ap"] - rows["worst_ap"])
    most = lost.groupby("method", sort=False)["between"].max()
    told = ", ".join(f"{method} {points:.0f}" for method, points in most.items())
    fig.suptitle(f"{title}\nLargest gap between worst and best AP over shifts ({protocols[0]}):\n{told}", fontsize=10.5)
    return finished(fig)


def pieces(rows: pd.DataFrame) -> Figure:
    """Trials that moved along, by piece: as torchvision has it, and on the torus, with 95% intervals (columns: layer, n, plain, torus)."""
    fig, ax = plt.subplots(figsize=(7.5, 0.9 + 0.5 * len(rows)))
    places = torch.arange(len(rows)).numpy()
    for column, name, shift, colour in (
        ("plain", "torchvision's", -0.19, "#8a8a8a"),
        ("torus", "on the torus", 0.19, "#1f77b4"),
    ):
        ax.barh(places + shift, rows[column], height=0.36, color=colour, label=name)
        for place, share, n in zip(places + shift, rows[column], rows["n"], strict=True):
            low, high = wilson(share, n)
            ax.plot([low, high], [place, place], color="#222222", lw=1.2)
            ax.annotate(f"{share:.0f}", (high, place), (5, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_yticks(places, [f"{layer} (n = {n})" for layer, n in zip(rows["layer"], rows["n"], strict=True)])
    ax.invert_yaxis()
    usual, torus = rows.loc[rows["plain"].idxmax()], rows["torus"].min()
    ax.set_title(
        f"Moved along in {'all' if torus == 100 else f'{torus:.0f}% of'} trials on the torus; "
        f"torchvision's in at most {usual['plain']:.0f}% of {usual['n']:.0f} trials"
    )
    ax.set(xlabel="trials whose result moved along, bit-identical, % (bars: 95%)", xlim=(0, 112))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)
