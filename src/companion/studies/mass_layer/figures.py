"""The paper's Figures 1 and 2, drawn from computation: every number and pixel comes out of the code that runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

import mass
from companion.figures.common import draw_map, draw_table
from companion.figures.style import finished


def energy_table(x: Tensor, period: int = 2) -> Tensor:
    """Squared l2 norm of each polyphase component, (1, C, H, W) -> (P, P)."""
    return torch.stack(
        [torch.stack([x[..., i::period, j::period].square().sum() for j in range(period)]) for i in range(period)]
    )


def moved_alike(y: Tensor, z: Tensor) -> bool:
    """Whether one map is a circular shift of the other."""
    return any(torch.equal(y.roll((i, j), (2, 3)), z) for i in range(y.shape[2]) for j in range(y.shape[3]))


def figure_1(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """Figure 1: select an origin from the map, shift the map to it, apply the operation unchanged."""
    fig, axes = plt.subplots(2, 5, figsize=(12.5, 5.4))
    for row, (name, image) in enumerate((("x", x), (f"x moved by {t}", mass.shift(x, torch.tensor(t))))):
        origin = mass.select_origin(image, 2)
        i, j = origin[0].tolist()
        aligned = mass.shift(image, origin)
        draw_map(axes[row, 0], image[0, 0], f"{name}, on the fixed grid", 2)
        draw_map(axes[row, 1], F.max_pool2d(image, 2)[0, 0], "plain max pooling")
        draw_table(axes[row, 2], energy_table(image), f"energy of each phase:\norigin o = h(x) = ({i}, {j})", (i, j))
        draw_map(axes[row, 3], aligned[0, 0], "shift(x, o), the same grid", 2)
        draw_map(axes[row, 4], F.max_pool2d(aligned, 2)[0, 0], "MASS max pooling")
    return finished(fig, despine=False)


def figure_2(x: Tensor, t: tuple[int, int] = (1, 1)) -> Figure:
    """Figure 2: max pooling, polyphase sampling and MASS max pooling of a two-channel map and of the moved map."""
    methods = {
        "max pooling": torch.nn.MaxPool2d(2),
        "polyphase sampling (APS)": mass.APS(2),
        "MASS max pooling": mass.MassMaxPool2d(2),
    }
    moved = mass.shift(x, torch.tensor(t))
    fig, axes = plt.subplots(3, 6, figsize=(12.5, 6.6), width_ratios=[1.25, 1.25, 1, 1, 1, 1])
    for row, (name, method) in enumerate(methods.items()):
        y, z = method(x), method(moved)
        verdict = "same up to a shift" if moved_alike(y, z) else "not the same"
        for k in range(2):
            draw_map(axes[row, k], x[0, k], f"x, channel {k + 1}", 2)
            draw_map(axes[row, 2 + k], y[0, k], f"output, ch. {k + 1}")
            draw_map(axes[row, 4 + k], z[0, k], f"of moved x, ch. {k + 1}")
        axes[row, 0].set_ylabel(f"{name}\n{verdict}", fontsize=10)
    return finished(fig, despine=False)
