"""The paper's Figures 1 to 4, drawn from computation: every number and pixel comes out of the code that runs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor

import mass
from companion.plots import draw_map, draw_table


def digit(index: int = 3, channels: int = 1) -> Tensor:
    """One of scikit-learn's 8 x 8 digits as a feature map (1, channels, 8, 8); channel 2 holds its vertical edges."""
    x = torch.tensor(load_digits().images[index], dtype=torch.float32)[None, None]
    edges = (x - x.roll(1, 3)).abs()
    return torch.cat((x, edges), 1)[:, :channels]


def phase_energies(x: Tensor, period: int = 2) -> Tensor:
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
        draw_map(axes[row, 0], image[0, 0], f"{name}, on the frame's grid", 2)
        draw_map(axes[row, 1], F.max_pool2d(image, 2)[0, 0], "plain max pooling")
        draw_table(axes[row, 2], phase_energies(image), f"energy of each phase:\norigin o = h(x) = ({i}, {j})", (i, j))
        draw_map(axes[row, 3], aligned[0, 0], "shift(x, o), the same grid", 2)
        draw_map(axes[row, 4], F.max_pool2d(aligned, 2)[0, 0], "MASS max pooling")
    fig.tight_layout()
    plt.close(fig)
    return fig


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
        kept = y.square().sum() / x.square().sum() * 100
        axes[row, 0].set_ylabel(f"{name}\n{verdict}\n{kept:.0f}% of the energy", fontsize=10)
    fig.tight_layout()
    plt.close(fig)
    return fig


def figure_3(plain: list[str], converted: list[str]) -> Figure:
    """Figure 3: one residual block before and after weight transfer, operation by operation, read off the graphs."""
    rows = max(len(plain), len(converted))
    fig, ax = plt.subplots(figsize=(10, 0.4 * rows + 0.8))
    columns = {"plain": plain, "MASS, same weights": converted}
    for column, (title, names) in enumerate(columns.items()):
        ax.text(column, 1, title, ha="center", weight="bold")
        for k, text in enumerate(names):
            new = text not in plain
            ax.text(column, -k, text, ha="center", va="center", fontsize=9.5, family="monospace",
                    bbox={"boxstyle": "round,pad=0.3", "fc": "#cfe3f5" if new else "#f0f0f0", "ec": "#999999"})  # fmt: skip
    ax.set(xlim=(-0.5, 1.5), ylim=(-rows, 1.6))
    ax.axis("off")
    fig.tight_layout()
    plt.close(fig)
    return fig


def _there_and_back(x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Pooled and unpooled map by method: on the frame's grid, at APS's phase of the dense maxima, at MASS's origin."""
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    ways = {"max unpooling": (pooled, F.max_unpool2d(pooled, indices, 2))}
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
    fig, axes = plt.subplots(3, 6, figsize=(12.5, 6.6), width_ratios=[1.25, 1, 1.25, 1.25, 1, 1.25])
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
    fig.tight_layout()
    plt.close(fig)
    return fig


def lattice_points(images: dict[str, Tensor], origins: dict[str, list[Tensor]], stages: tuple[int, ...]) -> Figure:
    """Where the samples of some stages lie in images: the points O + S n of each lattice, S = 2, 4, 8, … (one row an image)."""
    fig, axes = plt.subplots(len(images), len(stages), figsize=(3.5 * len(stages), 3.8 * len(images)), squeeze=False)
    for row, (name, image) in zip(axes, images.items(), strict=True):
        for ax, stage in zip(row, stages, strict=True):
            stride = 2**stage
            total = sum(origin * 2**k for k, origin in enumerate(origins[name][:stage]))
            rows, columns = (torch.arange(int(total[a]) % stride, image.shape[a + 1], stride) for a in (0, 1))
            points = torch.cartesian_prod(rows, columns)
            ax.imshow(image.permute(1, 2, 0))
            ax.scatter(points[:, 1], points[:, 0], s=stride * 1.3, color="#1f77b4", edgecolors="white", linewidths=0.6)
            ax.set(xticks=[], yticks=[], title=f"{name}: S = {stride}, O = ({total[0]}, {total[1]})")
    fig.tight_layout()
    plt.close(fig)
    return fig
