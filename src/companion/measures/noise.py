"""How a network's answers, and the origins behind them, hold under noise: what consistency does not ask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from companion.data.labelled import Labelled, Split
from companion.measures.origins import output_and_origins
from mass.nn.evaluating import evaluating


def stability(
    model: nn.Module, data: Labelled, split: Split, noise: float, seed: int = 0, batch: int = 500
) -> dict[str, Any]:
    """Percentages over a split when Gaussian noise of `noise` grey levels is added.

    Returns:
        n; top1, of the noisy images; changed_by_noise, labels that are no longer those of the clean images;
        moved_origins, images of which some origin is another one (None for a network that chooses none).
    """
    generator = torch.Generator().manual_seed(seed)
    correct = changed = moved = total = 0
    chooses = False
    with evaluating(model):
        for images, labels in split.batches(batch):
            noisy = (images + noise * torch.randn(images.shape, generator=generator)).clamp(0, 255)
            clean_labels, clean_origins = _labels_and_origins(model, data.normalize(images))
            noisy_labels, noisy_origins = _labels_and_origins(model, data.normalize(noisy))
            correct += int((noisy_labels == labels).sum())
            changed += int((noisy_labels != clean_labels).sum())
            if clean_origins is not None and noisy_origins is not None:
                chooses = True
                moved += int((clean_origins != noisy_origins).any(1).sum())
            total += len(labels)
    shares = {"top1": correct, "changed_by_noise": changed} | ({"moved_origins": moved} if chooses else {})
    return {"n": total} | {name: 100 * count / total for name, count in shares.items()}


def _labels_and_origins(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Predicted labels (B,), and the origins of all groups side by side (B, 2 * groups)."""
    logits, origins = output_and_origins(model, x)
    return logits.argmax(1), torch.cat(origins, 1) if origins else None
