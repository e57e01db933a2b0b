"""How a network's answers, and the origins behind them, hold under noise: what consistency does not ask.

Noise is Gaussian, of so many grey levels, added to the pixels and clipped to the range of the image, in every notebook. One
seed gives all networks the same noise, so that they can be compared image by image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion.measures.accuracy import Prepare
from companion.measures.origins import frozen, output_and_origins
from mass.nn.evaluating import evaluating


@dataclass(frozen=True)
class Noisy:
    """Labels, image by image, each (N,).

    Attributes:
        true, clean, noisy: the images' own, and the predicted ones without and with noise.
        frozen: predicted of the noisy image at the origins that were chosen for the clean one; None where nothing is chosen.
        moved: whether some origin is another one under noise; likewise.
    """

    true: Tensor
    clean: Tensor
    noisy: Tensor
    frozen: Tensor | None
    moved: Tensor | None

    @property
    def right(self) -> Tensor:
        return self.clean == self.true

    @property
    def changed(self) -> Tensor:
        return self.noisy != self.clean

    @property
    def changed_when_frozen(self) -> Tensor:
        """The same, by the same grid: what is left is not the origins' doing."""
        return (self.noisy if self.frozen is None else self.frozen) != self.clean

    def shares(self) -> dict[str, Any]:
        """Percentages: top1, of the noisy images; changed_by_noise; and where origins are chosen moved_origins."""
        shares = {"top1": self.noisy == self.true, "changed_by_noise": self.changed}
        if self.moved is not None:
            shares["moved_origins"] = self.moved
        return {"n": len(self.true)} | {name: 100 * which.double().mean().item() for name, which in shares.items()}


def add_noise(images: Tensor, noise: float, white: float, generator: torch.Generator) -> Tensor:
    """Images with Gaussian noise of `noise` grey levels, clipped to [0, white]."""
    return (images + noise * white / 255 * torch.randn(images.shape, generator=generator)).clamp(0, white)


def labels_under_noise(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    prepare: Prepare,
    noise: float,
    white: float = 255,
    seed: int = 0,
    freeze: bool = False,
) -> Noisy:
    """Labels of clean and of noisy images.

    Args:
        batches: images and labels; white is the images' largest value.
        freeze: ask the noisy images once more, with the origins of the clean ones.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: list[tuple[Tensor, ...]] = []
    with evaluating(model):
        for images, labels in batches:
            noisy = add_noise(images, noise, white, generator)
            clean_logits, clean_origins = output_and_origins(model, prepare(images))
            logits, origins = output_and_origins(model, prepare(noisy))
            row = [labels, clean_logits.argmax(1), logits.argmax(1)]
            if origins:
                row.append((torch.cat(origins, 1) != torch.cat(clean_origins, 1)).any(1))
            if origins and freeze:
                with frozen(model, clean_origins):
                    row.append(model(prepare(noisy)).argmax(1))
            rows.append(tuple(row))
    columns = [torch.cat(column) for column in zip(*rows, strict=True)]
    true, clean, changed, *more = columns
    return Noisy(true, clean, changed, more[1] if len(more) > 1 else None, more[0] if more else None)
