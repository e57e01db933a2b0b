"""The figures of notebook 02. The paper's Figures 1 and 2: every number and pixel comes out of the code that runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

import mass
from companion.figures.common import draw_map, draw_table, heatmaps
from companion.figures.style import finished


def energy_table(x: Tensor, period: int = 2) -> Tensor:
    """Squared l2 norm of each polyphase component, (1, C, H, W) -> (P, P)."""
    return torch.stack(
        [torch.stack([x[..., i::period, j::period].square().sum() for j in range(period)]) for i in range(period)]
    )


def moved_alike(y: Tensor, z: Tensor) -> bool:
    """Whether one map is a circular shift of the other."""
    return any(torch.equal(y.roll((i, j), (2, 3)), z) for i in range(y.shape[2]) for j in range(y.shape[3]))


def _told(alike: dict[str, bool]) -> str:
    """Which methods give one map of an image and of the moved image, up to a shift, and which two."""
    one, two = ([method for method, same in alike.items() if same is wanted] for wanted in (True, False))
    return "; ".join(
        f"{number} by {' and '.join(names)}"
        for number, names in (("two maps", two), ("one, up to a shift,", one))
        if names
    )


def figure_1(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """Figure 1: select an origin from the map, shift the map to it, apply the operation unchanged."""
    fig, axes = plt.subplots(2, 5, figsize=(12.5, 5.8))
    pooled: dict[str, list[Tensor]] = {"plain max pooling": [], "MASS max pooling": []}
    for row, (name, image) in enumerate((("x", x), (f"x moved by {t}", mass.shift(x, torch.tensor(t))))):
        origin = mass.select_origin(image, 2)
        i, j = origin[0].tolist()
        aligned = mass.shift(image, origin)
        draw_map(axes[row, 0], image[0, 0], f"{name}, on the fixed grid", 2)
        for column, method, grid in ((1, "plain max pooling", image), (4, "MASS max pooling", aligned)):
            pooled[method].append(F.max_pool2d(grid, 2))
            draw_map(axes[row, column], pooled[method][-1][0, 0], method)
        draw_table(axes[row, 2], energy_table(image), f"energy of each phase:\norigin o = h(x) = ({i}, {j})", (i, j))
        axes[row, 2].tick_params(labelbottom=row == 1)  # the upper ones would lie on the lower title
        draw_map(axes[row, 3], aligned[0, 0], "shift(x, o), the same grid", 2)
    fig.suptitle(
        f"Figure 1: an image and the moved image give {_told({method: moved_alike(*pair) for method, pair in pooled.items()})}",
        fontsize=12,
    )
    return finished(fig, despine=False)


def figure_2(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """Figure 2: max pooling, polyphase sampling and MASS max pooling of a two-channel map and of the moved map."""
    methods = {
        "max pooling": torch.nn.MaxPool2d(2),
        "polyphase sampling (APS)": mass.APS(2),
        "MASS max pooling": mass.MassMaxPool2d(2),
    }
    moved = mass.shift(x, torch.tensor(t))
    fig, axes = plt.subplots(3, 6, figsize=(12.5, 7), width_ratios=[1.25, 1.25, 1, 1, 1, 1])
    alike = {}
    for row, (name, method) in enumerate(methods.items()):
        y, z = method(x), method(moved)
        alike[name] = moved_alike(y, z)
        verdict = "same up to a shift" if alike[name] else "not the same"
        for k in range(2):
            draw_map(axes[row, k], x[0, k], f"x, channel {k + 1}", 2)
            draw_map(axes[row, 2 + k], y[0, k], f"output, ch. {k + 1}")
            draw_map(axes[row, 4 + k], z[0, k], f"of moved x, ch. {k + 1}")
        axes[row, 0].set_ylabel(f"{name}\n{verdict}", fontsize=10)
    fig.suptitle(f"Figure 2: an image and the moved image give {_told(alike)}", fontsize=12)
    return finished(fig, despine=False)


def changed_logits(found: pd.DataFrame) -> Figure:
    """The share of shifts that change logits by more than rounding, by image and method (`grids_by_method`), a panel per dtype."""
    tables = {
        dtype: part.pivot_table(index="image", columns="method", values="another grid", sort=False)
        for dtype, part in found.groupby("dtype", sort=False)
    }
    most = found.groupby("method", sort=False)["another grid"].max()
    none = " and ".join(most.index[most == 0])
    title = "Shifts that change logits by more than rounding" + (f": none under {none}" if none else "")
    return heatmaps(tables, "% of shifts", title, good="low")


def agreeing_rules(agreement: pd.DataFrame) -> Figure:
    """How often two rules select the same origin (`rule_agreement`), the pair that agrees most told apart from the others."""
    pairs = {(a, b): agreement.loc[a, b] for k, a in enumerate(agreement) for b in agreement.columns[:k]}
    (most, least), *others = sorted(pairs, key=lambda pair: -pairs[pair])
    told = f"Apart from {least} and {most}, two rules select the same origin in {pairs[others[-1]]:.0f} to {pairs[others[0]]:.0f}% of crops"
    return heatmaps({told: agreement}, "% of crops")
