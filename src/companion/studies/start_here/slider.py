"""An image under a slider, with the answers of several networks below it."""

from __future__ import annotations

import os

import ipywidgets
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import Tensor, nn

from companion.core.paths import FOLDER_VARIABLE
from companion.data.normalisation import normalize
from companion.figures.common import draw_image
from companion.figures.style import COLOURS


def predictions(model: nn.Module, image: Tensor) -> Tensor:
    """Class probabilities of one image (3, H, W) in [0, 1] -> (classes,)."""
    with torch.no_grad():
        return model(normalize(image)[None]).softmax(1)[0]


def draw_predictions(models: dict[str, nn.Module], image: Tensor, classes: list[str], shift: int, top: int = 4) -> None:
    """The image moved diagonally by `shift`, and each model's most likely classes there, as bars of their logits."""
    moved = image.roll((-shift, -shift), (1, 2))
    fig, axes = plt.subplots(
        1, 1 + len(models), figsize=(3.4 + 4.2 * len(models), 3.5), width_ratios=[1, *[1.15] * len(models)]
    )
    draw_image(axes[0], moved)
    seen = {}
    for ax, (name, model) in zip(axes[1:], models.items(), strict=True):
        with torch.no_grad():
            logits = model(normalize(moved)[None])[0]
        best = logits.topk(top)
        ax.barh(range(top), best.values, color=COLOURS[name])
        ax.set_yticks(range(top), [classes[i] for i in best.indices], fontsize=9)
        ax.invert_yaxis()
        ax.set(title=f"{name}: largest logit {best.values[0]:.6f}", xlabel="logit", xlim=(0, 20))
        seen[name] = classes[int(best.indices[0])]
    fig.suptitle(f"Moved by {shift} pixels: {', '.join(f'{name} sees {label!r}' for name, label in seen.items())}")
    fig.tight_layout()
    display(fig)
    plt.close(fig)


def slider(
    models: dict[str, nn.Module], image: Tensor, classes: list[str], largest: int = 32
) -> ipywidgets.Widget | None:
    """A slider from 0 to `largest` pixels above `draw_predictions`; needs somebody to move it.

    Executed by the runner there is nobody, and a live widget's messages can stall the client: None then.
    """
    if FOLDER_VARIABLE in os.environ:
        return None
    control = ipywidgets.IntSlider(0, 0, largest, description="shift", continuous_update=False)
    drawn = ipywidgets.interactive_output(
        lambda shift: draw_predictions(models, image, classes, shift), {"shift": control}
    )
    return ipywidgets.VBox([control, drawn])
