"""The figures of notebook 11."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.core.intervals import of_seeds
from companion.core.markdown import difference, p_value
from companion.data.generated.defects import boxes
from companion.data.generated.periodic import draw
from companion.data.generated.structures import CELLS, KINDS, Structure
from companion.figures.common import draw_image
from companion.figures.style import COLOURS, finished, use_style
from companion.models.methods import METHODS, SAMPLINGS
from companion.studies.periodic.boards.pairs import WAYS
from companion.studies.periodic.whole import detections
from companion.studies.periodic.worst_case import STRIDE

__all__ = [
    "against_cells",
    "against_images",
    "against_length",
    "against_misregistration",
    "differences",
    "heat",
    "pairs",
    "structures",
    "use_style",
    "worst",
]
_DEFECT = "#d55e00"
_NEARLY_ALL = 99  # of a hundred images: whom this takes how many steps
_EVERYWHERE = 50  # percent of positions: with alarms at more than these, none says where
# Ways to look at pairs, in Okabe and Ito's colours, made for colour-blind readers; blue where they are registered.
_OF_PAIRS = dict(zip(WAYS, ("#e69f00", "#d55e00", "#cc79a7", "#999999", "#56b4e9", "#0072b2"), strict=True))
_FIXED = {m.printed for m in METHODS.values() if SAMPLINGS[m.sampling].description.startswith("fixed grid")}
_PITCHES = dict(zip(CELLS, (8.0, 8.0, 64 / 9, 8.0), strict=True))


def structures(seed: int = 3) -> Figure:
    """Every cell with every kind of defect, framed."""
    fig, axes = plt.subplots(len(CELLS), len(KINDS), figsize=(10, 8.8))
    shares = []
    for row, (cell, pitch) in zip(axes, _PITCHES.items(), strict=True):
        for ax, kind in zip(row, KINDS, strict=True):
            found = draw(Structure(cell, pitch, kinds=(kind,), defective=1.0), 1, seed)
            draw_image(ax, found.images[0, 0].float() / 255, kind if cell == CELLS[0] else "")
            shares.append(100 * (found.defects[0] > 0).double().mean().item())
            for box in boxes(found.defects[0]):
                _frame(ax, box)
        row[0].set_ylabel(cell)
    fig.suptitle(
        f"What is looked for is small: a defect (framed) changes {min(shares):.1f} to {max(shares):.1f}% of an image's pixels"
    )
    return finished(fig, despine=False)


def _frame(ax: Axes, box: tuple[int, int, int, int], pad: float = 2) -> None:
    x1, y1, x2, y2 = box
    ax.add_patch(
        plt.Rectangle(
            (x1 - 0.5 - pad, y1 - 0.5 - pad), x2 - x1 + 2 * pad, y2 - y1 + 2 * pad, fill=False, ec=_DEFECT, lw=1.2
        )
    )


def _named(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def worst(rows: pd.DataFrame, title: str) -> Figure:
    """Right unmoved, on average and always, a group of bars per method, means over seeds with 95% intervals (`of_seeds`)."""
    kinds = {
        "top1": "camera in its place",
        "shifted_top1": "mean of all residues",
        "worst_top1": "worst of all residues",
    }
    methods = list(dict.fromkeys(rows["method"]))
    fig, ax = plt.subplots(figsize=(9.5, 4))
    for k, (field, label) in enumerate(kinds.items()):
        shares = [list(rows.loc[rows["method"] == method, field]) for method in methods]
        places = [m + 0.27 * (k - 1) for m in range(len(methods))]
        ax.bar(
            places,
            [mean(of_method) for of_method in shares],
            0.25,
            color=[COLOURS[m] for m in methods],
            alpha=(0.35, 0.65, 1.0)[k],
        )
        for place, of_method in zip(places, shares, strict=True):
            ax.plot([place, place], of_seeds(of_method, int(rows["n"].max())), color="#222222", lw=1.2)
        ax.bar([0], [0], color="#555555", alpha=(0.35, 0.65, 1.0)[k], label=label)
    _majority(ax, rows)
    spread = (rows["shifted_top1"] - rows["worst_top1"]).abs().groupby(rows["method"], sort=False).max()
    title += f"\nWorst residue = mean for {_named(spread.index[spread == 0])}"
    ax.set_xticks(
        range(len(methods)), [m.replace(", ", ",\n").replace(" over ", "\nover ") for m in methods], fontsize=9.5
    )
    ax.set(title=title, ylabel="images right, %", ylim=(0, 104))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def against_misregistration(rows: pd.DataFrame, trained: str = "") -> Figure:
    """Accuracy against misregistration, a panel a view, a curve a method with 95% intervals; dotted, where it is known, `majority`.

    Args:
        trained: how, in words that begin the title.
    """
    views = {"wraps": "the image wraps", "window": "a window slides"}
    fig, axes = plt.subplots(1, 2, figsize=(11.5, 4.1), sharey=True)
    for ax, (view, title) in zip(axes, views.items(), strict=True):
        _curves(ax, rows[rows["view"] == view], "pixels", "top1")
        _majority(ax, rows)
        ax.set(title=title, xlabel="misregistration down and across, pixels")
    told = _misregistered(rows[rows["view"] == "wraps"])
    fig.suptitle(f"{trained}, {told}" if trained else told[:1].upper() + told[1:])
    axes[0].set_ylabel("images right, %")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def _misregistered(rows: pd.DataFrame) -> str:
    """Who is the same at all whole pixels; who in its place is not told from one answer to all; and how far the others get."""
    whole = rows[rows["pixels"] % 1 == 0].groupby("method", sort=False)["top1"]
    spread, means = whole.max() - whole.min(), whole.mean()
    reach = {method: _reach(part) for method, part in rows.groupby("method", sort=False)}
    lost = [str(method) for method, pixels in reach.items() if pixels is None]
    same = [f"{method} {means[method]:.0f}%" for method in spread.index[spread == 0] if method not in lost]
    told = [f"the same at all whole pixels, where the image wraps: {_named(same)}"] if same else []
    told += [f"{_named(lost)} {'does' if len(lost) == 1 else 'do'} not learn the task"] if lost else []
    if not same:
        told += [f"{method} does, within {pixels:g} px" for method, pixels in reach.items() if pixels is not None]
    return ("\n" if same else "; ").join(told)


def _reach(rows: pd.DataFrame) -> float | None:
    """How far from its place, without a gap, a method's 95% intervals lie above one answer to all; None: not even there."""
    reach = None
    for pixels, part in sorted(rows.groupby("pixels")):
        if of_seeds(list(part["top1"]), int(part["n"].max()))[0] <= part.get("majority", pd.Series([50.0])).iloc[0]:
            break
        reach = float(pixels)
    return reach


def against_length(rows: pd.DataFrame) -> Figure:
    """Worst case against training steps, a curve a method with 95% intervals."""
    fig, ax = plt.subplots(figsize=(7, 3.8))
    _in_doublings(ax, rows, "steps")
    means = rows.groupby(["method", "steps"], sort=False)["worst_top1"].mean().reset_index()
    first = means[means["worst_top1"] >= _NEARLY_ALL].groupby("method", sort=False)["steps"].min()
    told = _named([f"{method} {steps:,}" for method, steps in first.items()])
    ax.set(xlabel="training steps of 16 images", ylabel="right at every residue, %",
           title=f"Steps until {_NEARLY_ALL} in 100 images are right at every residue:\n{told}")  # fmt: skip
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def against_images(sets: Mapping[str, pd.DataFrame]) -> Figure:
    """Worst case against the number of training images, a panel a set that was run, a curve a method with 95% intervals."""
    fig, axes = plt.subplots(1, len(sets), figsize=(5.4 * len(sets) + 1.4, 3.8), sharey=True, squeeze=False)
    for ax, (title, rows) in zip(axes[0], sets.items(), strict=True):
        _in_doublings(ax, rows, "images")
        _majority(ax, rows)
        ax.set(title=_of_fewest(rows, title), xlabel="training images, in as many steps")
    axes[0, 0].set_ylabel("right at every residue, %")
    axes[0, -1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def _of_fewest(rows: pd.DataFrame, title: str) -> str:
    """Whose 95% interval lies above one answer to all, and whose below, with the fewest images."""
    fewest, n = rows[rows["images"] == rows["images"].min()], int(rows["n"].max())
    bounds = {
        str(method): of_seeds(list(part["worst_top1"]), n) for method, part in fewest.groupby("method", sort=False)
    }
    majority = fewest["majority"].dropna().iloc[0]
    above = [method for method, (low, _) in bounds.items() if low > majority]
    below = [method for method, (_, high) in bounds.items() if high < majority]
    told = f"Of {fewest['images'].iloc[0]:,} {title} {_named(above) if above else 'no network'} beats one answer to all"
    if not below:
        return told
    every = set(below) == _FIXED & set(bounds)
    return f"{told};\n{'on the fixed grid all fall' if every else f'{_named(below)} falls'} below it"


def tuned_on_few(rows: pd.DataFrame) -> Figure:
    """Accuracy of a fine-tuned network against the number of training images, in place and shifted, a curve a method with 95% intervals."""
    fig, axes = plt.subplots(1, 2, figsize=(12.2, 3.8), sharey=True)
    for ax, (field, title) in zip(axes, {"top1": "in place", "shifted_top1": "shifted at random"}.items(), strict=True):
        _in_doublings(ax, rows, "images", field)
        ax.set(title=title, xlabel="training images, in as many steps")
    means = rows.groupby(["method", "images"], sort=False)[["top1", "shifted_top1"]].mean()
    lost = (means["top1"] - means["shifted_top1"]).groupby("method", sort=False).max()
    told = ", ".join(f"{method} {points:.0f}" for method, points in lost[lost > 1].items()) or "none"
    fig.suptitle(f"Accuracy lost by a random shift, at most (methods that lose more than a point): {told}")
    axes[0].set(ylabel="images right, %", ylim=(30, 90))
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def _in_doublings(ax: Axes, rows: pd.DataFrame, x: str, y: str = "worst_top1") -> None:
    _curves(ax, rows, x, y)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(rows[x])), [f"{value:,}" for value in sorted(set(rows[x]))])
    ax.minorticks_off()


def against_cells(rows: pd.DataFrame) -> Figure:
    """Per pitch: the worst case, and origins that noise moves."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.8))
    _curves(axes[0], rows, "pitch", "worst_top1")
    _curves(axes[1], rows.dropna(subset=["moved_origins"]), "pitch", "moved_origins")
    lowest = rows.groupby(["method", "pitch"], sort=False)["worst_top1"].mean().groupby("method", sort=False).min()
    axes[0].set_title("at the worst pitch: " + _named([f"{method} {share:.0f}%" for method, share in lowest.items()]))
    moved = rows.dropna(subset=["moved_origins"]).groupby("pitch")["moved_origins"].mean()
    still = ", ".join(f"{pitch:g}" for pitch in moved.index[moved == 0])
    axes[1].set_title(f"at a pitch of {still} noise moves no origin" if still else "noise moves origins at every pitch")
    axes[0].set(xlabel="pitch, pixels (total stride 8)", ylabel="right at every residue, %")
    axes[1].set(xlabel="pitch, pixels (total stride 8)", ylabel="another origin under noise, %")
    axes[0].legend(frameon=False)
    return finished(fig)


def _curves(ax: Axes, rows: pd.DataFrame, x: str, y: str) -> None:
    """Means over seeds, with their 95% intervals."""
    for method, part in rows.groupby("method", sort=False):
        means = part.groupby(x)[y].mean()
        bounds = [of_seeds(list(shares), int(part["n"].max())) for _, shares in part.groupby(x)[y]]
        below, above = (
            [abs(middle - pair[side]) for middle, pair in zip(means, bounds, strict=True)] for side in (0, 1)
        )
        ax.errorbar(
            means.index,
            means,
            yerr=[below, above],
            fmt="o-",
            ms=4,
            lw=1.5,
            capsize=2,
            color=COLOURS.get(str(method)) or _OF_PAIRS[str(method)],
            label=method,
        )
    ax.set_ylim(-3, 103)


def heat(image: Tensor, defects: Tensor, places: Sequence[tuple[str, Tensor]]) -> Figure:
    """An image that wraps, shifted, its defects framed, and where networks give an alarm, (H, W) bool."""
    fig, axes = plt.subplots(1, len(places) + 1, figsize=(4.2 * (len(places) + 1), 4.7))
    titles = ["the whole, shifted, its defects framed", *(title for title, _ in places)]
    for ax, title in zip(axes, titles, strict=True):
        draw_image(ax, image.float() / 255, title)
    side = len(image)
    for x1, y1, x2, y2 in boxes(defects):
        for down, right in itertools.product((0, side), repeat=2):  # what crosses the border is framed on both sides
            _frame(axes[0], (x1 - right, y1 - down, x2 - right, y2 - down), max(4, side / 64))
    for ax, (_, found) in zip(axes[1:], places, strict=True):
        rows, columns = found.nonzero().unbind(1)
        ax.plot(columns, rows, "s", ms=4, mec=_DEFECT, mfc="none")
        ax.set(xlim=axes[0].get_xlim(), ylim=axes[0].get_ylim())
    fig.suptitle("Shifted: " + "; ".join(f"{title} {_alarms(found, defects)}" for title, found in places))
    return finished(fig, despine=False)


def _alarms(found: Tensor, defects: Tensor) -> str:
    """Where alarms are, in words."""
    share = 100 * found.sum().item() * STRIDE**2 / found.numel()  # of positions, one a stride along each axis
    if share > _EVERYWHERE:
        return f"gives alarms at {share:.0f}% of its positions"
    told = detections(found, defects)
    number = round(told["found"] * told["defects"] / 100)
    return f"at {number} of {told['defects']} defects, with {told['strays']:,} false alarms"


def pairs(rows: pd.DataFrame) -> Figure:
    """Circuit boards: accuracy against the misregistration of template and test."""
    fig, ax = plt.subplots(figsize=(8.5, 4.1))
    _curves(ax, rows, "pixels", "top1")
    ax.set_title(_farthest_apart(rows, "top1", "crops right"))
    ax.axhline(50, color="#444444", lw=1.2, ls=":", label="chance")
    ax.set(xlabel="misregistration of template and test, pixels", ylabel="crops right, %")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def boards_located(rows: pd.DataFrame) -> Figure:
    """Circuit boards: defects found, and false alarms a board, against the misregistration of template and test.

    Bars: 95% intervals of what is found; of false alarms, a logarithmic axis, from the lowest to the highest seed.
    """
    fig, axes = plt.subplots(1, 2, figsize=(13, 4.1))
    _curves(axes[0], rows, "pixels", "found")
    ways = list(dict.fromkeys(rows["method"]))
    for place, (method, part) in enumerate(rows.groupby("method", sort=False)):
        alarms = part.groupby("pixels")["false_alarms"].agg(["mean", "min", "max"])
        apart = alarms.index + 0.25 * (place - (len(ways) - 1) / 2)  # side by side, so that no bar hides another
        axes[1].plot(apart, alarms["mean"], "o-", ms=4, lw=1.5, color=_OF_PAIRS[str(method)], label=method)
        axes[1].vlines(apart, alarms["min"], alarms["max"], color=_OF_PAIRS[str(method)], lw=1.5)
    fig.suptitle(_farthest_apart(rows, "found", "defects found"))
    axes[0].set(ylabel="defects found, % (bars: 95%)")
    axes[1].set(ylabel="false alarms a board\n(bars: lowest to highest seed)", yscale="log")
    for ax in axes:
        ax.set_xlabel("misregistration of template and test, pixels")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(fig)


def _farthest_apart(rows: pd.DataFrame, field: str, what: str) -> str:
    """What the best way does that registers, and the most that one does that does not."""
    far = rows[rows["pixels"] == rows["pixels"].max()]
    means = far.groupby("method", sort=False)[[name for name in (field, "false_alarms") if name in far]].mean()
    registers = means.index.str.startswith("registered")
    (best, its), (_, most) = (
        next(part.nlargest(1, field).iterrows()) for part in (means[registers], means[~registers])
    )
    with_alarms, and_alarms = (
        f", {lead}{row['false_alarms']:.{digits}f} false alarms a board" if "false_alarms" in row else ""
        for lead, row, digits in (("", its, 1), ("and that with ", most, 0))
    )
    title = f"{rows['pixels'].max()} pixels apart, {best}: {its[field]:.0f}% of {what}{with_alarms}"
    return f"{title}\nNot registered: at most {most[field]:.0f}%{and_alarms}"


def differences(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame | str:
    """Paired comparisons as a table: differences in points with their 95% intervals, and p-values (Holm), over images and over seeds."""
    if not rows:
        return "not run, or of one seed"
    table = pd.DataFrame(rows).set_index(["input", "against"])
    shown = {}
    for over, start in {"images": "", "seeds": "seed_"}.items():
        if f"{start}difference" in table:
            columns = [table[start + name] for name in ("difference", "low", "high")]
            shown[f"over {over}, points"] = [difference(*bounds) for bounds in zip(*columns, strict=True)]
            shown[f"p (Holm), {over}"] = [p_value(p) for p in table[f"{start}p_holm"]]
    return pd.DataFrame(shown, index=table.index)


def _majority(ax: Axes, rows: pd.DataFrame) -> None:
    if "majority" in rows:
        ax.axhline(
            rows["majority"].dropna().iloc[0], color="#444444", lw=1.2, ls=":", label="one answer to all, at best"
        )
