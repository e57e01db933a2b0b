"""The figures of notebook 04: the paper's Figure 4, drawn from computation, and every way up."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

import mass
from companion.figures.common import draw_map, heatmaps
from companion.figures.style import finished


def _there_and_back(x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Pooled and unpooled map by method: on the fixed grid, at APS's phase of the dense maxima, at MASS's origin."""
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    ways = {"max unpooling": (pooled, F.max_unpool2d(pooled, indices, [2, 2]))}
    dense = F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="circular"), 2, 1)
    aps = mass.APS(2)
    sampled, index = aps(dense, return_index=True)
    grid = torch.zeros_like(x)
    grid[..., ::2, ::2] = sampled
    ways["polyphase upsampling (APS)"] = (sampled, mass.restore(grid, index))
    y, places, origin = mass.MassMaxPool2d(2).with_indices(x)
    ways["MASS max unpooling"] = (y, mass.MassMaxUnpool2d(2)(y, places, origin))
    return ways


def figure_4(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """Figure 4: down and up again, of a map and of the moved map; an equivariant pair moves along, values and places."""
    still, moved = _there_and_back(x), _there_and_back(mass.shift(x, torch.tensor(t)))
    fig, axes = plt.subplots(3, 6, figsize=(12.5, 7), width_ratios=[1.25, 1, 1.25, 1.25, 1, 1.25])
    told = []
    for row, name in enumerate(still):
        back = mass.restore(moved[name][1], torch.tensor(t))
        kept = torch.equal(still[name][1], back)
        at_places = bool(((still[name][1] == 0) | (still[name][1] == x)).all())
        columns = {
            "x": x, "down": still[name][0], "and up": still[name][1],
            "moved x": mass.shift(x, torch.tensor(t)), "down ": moved[name][0], "and up, moved back": back,
        }  # fmt: skip
        for ax, (title, values) in zip(axes[row], columns.items(), strict=True):
            draw_map(ax, values[0, 0], title)
        verdict = "moves along" if kept else "does not move along"
        where = "maxima where they were" if at_places else "maxima on the grid"
        axes[row, 0].set_ylabel(f"{name}\n{verdict}\n{where}", fontsize=10)
        moves = "values and places" if at_places else "only values"
        told.append(f"{name} {f'moves {moves} along' if kept else verdict}")
    fig.suptitle(f"Figure 4: {'; '.join(told)}", fontsize=12)
    return finished(fig, despine=False)


def every_way_up(rows: list[dict[str, Any]]) -> Figure:
    """What `by_decoder` found: per way of going up and method, the shifts that are exact, and the pixels that keep their label."""
    table = pd.DataFrame(rows).pivot_table(
        index="layer", columns="method", values=["identical", "same labels"], sort=False
    )
    told = [f"{method} {_spanned(shares)}" for method, shares in table["identical"].items()]
    panels = {"bit-identical, % of shifts": table["identical"], "same label, % of pixels": table["same labels"]}
    return heatmaps(panels, "%", f"Bit-identical outputs, with every way up: {', '.join(told)}")


def _spanned(shares: pd.Series) -> str:
    """A percentage, or the lowest and the highest."""
    low, high = f"{shares.min():.0f}", f"{shares.max():.0f}"
    return f"{low}%" if low == high else f"{low} to {high}%"
