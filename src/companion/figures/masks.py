"""Figures of dense outputs: masks, and where they disagree with themselves after a shift."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from companion.figures.common import draw_image
from companion.figures.style import finished


def disagreements(
    image: Tensor, found: dict[str, dict[str, Tensor]], shift: tuple[int, int], palette: Tensor | None = None
) -> Figure:
    """A row per method: its mask, the mask of one moved image, moved back, and how often pixels change their label.

    Args:
        image: (3, H, W) in [0, 1].
        found: by method, what `companion.measures.dense_outputs.disagreement` returns; the first of its shifts is `shift`.
        palette: colours of the labels (labels, 3) in [0, 1], where they have their own.
    """
    height, width = image.shape[1:]
    fig, axes = plt.subplots(len(found), 4, figsize=(13, 0.8 + 3.1 * len(found) * height / width), squeeze=False)
    classes = max(int(masks["labels"].max()) for masks in found.values())
    for row, (method, masks) in zip(axes, found.items(), strict=True):
        draw_image(row[0], image, "the image")
        row[0].set_ylabel(method, fontsize=12)
        titles = ("its mask", f"moved by {shift}, and back")
        for ax, title, mask in zip(row[1:3], titles, (masks["labels"], masks["moved"][0]), strict=True):
            if palette is None:
                ax.imshow(mask.numpy(), cmap="viridis", vmin=0, vmax=max(classes, 1), interpolation="nearest")
                ax.set(xticks=[], yticks=[], title=title)
            else:
                draw_image(ax, palette[mask].permute(2, 0, 1), title)
        share = 100 * masks["differs"].mean().item()
        row[3].imshow(masks["differs"].numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        row[3].set(xticks=[], yticks=[], title=f"other labels: {share:.2f}% of pixels")
    return finished(fig, despine=False)
