"""Figures of dense outputs: masks, and where they disagree with themselves after a shift."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.common import draw_image
from companion.figures.style import finished


def disagreements(
    image: Tensor,
    found: dict[str, dict[str, Tensor]],
    shift: tuple[int, int],
    palette: Tensor | None = None,
) -> Figure:
    """A column per method: its mask, the mask of the moved image, moved back, and how often pixels change their label.

    Args:
        image: (3, H, W) in [0, 1].
        found: by method, what `companion.measures.dense_outputs.disagreement` returns; the first of its shifts is `shift`.
        palette: colours of the labels (labels, 3) in [0, 1], where they have their own.
    """
    masks = {method: torch.stack([m["labels"], m["moved"][0]]) for method, m in found.items()}  # (2, H, W) each
    if palette is None:
        labels = 1 + max(int(pair.max()) for pair in masks.values())
        palette = torch.tensor(plt.get_cmap("viridis")(torch.linspace(0, 1, labels).numpy()))[:, :3]
    side = 13 / (len(found) + 1)
    fig, axes = plt.subplots(3, len(found) + 1, figsize=(13, 1.3 + 2.7 * side * image.shape[1] / image.shape[2]))
    draw_image(axes[0, 0], image, "the image")
    draw_image(axes[1, 0], image.roll((-shift[0], -shift[1]), (1, 2)), f"moved by {shift}")
    for row, words in zip(axes[:, 1], ("mask of the image", "of the moved image,\nmoved back", "how often the\nlabel changes"), strict=True):  # fmt: skip
        row.set_ylabel(words)
    shares = {method: 100 * m["differs"].mean().item() for method, m in found.items()}
    for column, (method, pair) in zip(axes.T[1:], masks.items(), strict=True):
        draw_image(column[0], palette[pair[0]].permute(2, 0, 1), method)
        draw_image(column[1], palette[pair[1]].permute(2, 0, 1))
        draw_image(column[2], found[method]["differs"], f"{shares[method]:.2f}% of pixels")
    axes[2, 0].axis("off")
    fig.suptitle(_told(shares))
    return finished(fig, despine=False)


def _told(shares: dict[str, float]) -> str:
    """What the shares (percent of pixels whose label a shift changes, by method) amount to."""
    changing = [share for share in shares.values() if share]
    still = [method for method, share in shares.items() if not share]
    if not changing:
        return "No shift that was tried changes a label"
    between = f"{min(changing):.1f}" if len(changing) == 1 else f"{min(changing):.1f} to {max(changing):.1f}"
    told = f"A shift changes the labels of {between}% of the pixels"
    return f"{told}; of none with {' and '.join(still)}" if still else told
