"""Top-1 accuracy and consistency of a classifier over labelled batches, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mass.evaluate.consistency import PROTOCOLS
from mass.functional.shift import shift
from mass.nn.evaluating import evaluating

Batches = Iterable[tuple[Tensor, Tensor]]
Prepare = Callable[[Tensor], Tensor]


def accuracy(
    model: nn.Module,
    batches: Batches,
    prepare: Prepare = lambda images: images,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> float:
    """Top-1 accuracy alone, in percent, in whatever precision `autocast` sets."""
    correct = total = 0
    with evaluating(model), autocast():
        for images, labels in batches:
            correct += int((model(prepare(images)).argmax(1) == labels).sum())
            total += len(labels)
    return 100.0 * correct / total


def right_labels(model: nn.Module, batches: Batches, prepare: Prepare = lambda images: images) -> Tensor:
    """Which images are labelled right, (N,) bool, in order: what comparisons image by image start from."""
    with evaluating(model):
        return torch.cat([model(prepare(images)).argmax(1) == labels for images, labels in batches])


def top1_and_consistency(
    model: nn.Module,
    batches: Batches,
    *,
    prepare: Prepare = lambda images: images,
    protocol: str = "mass",
    seed: int = 0,
    device: str | torch.device = "cpu",
    description: str = "",
) -> dict[str, float]:
    """Percentages over all images.

    Args:
        model: normalised images (B, C, H, W) -> logits (B, classes).
        batches: (images, labels), read once.
        prepare: what is done to a batch first, normalisation say.
        protocol: how the two shifts of the consistency are drawn (mass.PROTOCOLS).
        seed: of the shifts.

    Returns:
        n; top1, on the images as they are; shifted_top1, on the first shifted ones; consistency, of two shifts.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = dict.fromkeys(("top1", "shifted_top1", "consistency"), 0)
    total = 0
    model = model.to(device)
    with evaluating(model):
        for images, labels in tqdm(batches, desc=description, leave=False, disable=None):
            images, labels = prepare(images.to(device)), labels.to(device)
            by = [PROTOCOLS[protocol].draw(len(images), generator).to(device) for _ in range(2)]
            plain, first, second = (model(x).argmax(1) for x in (images, shift(images, by[0]), shift(images, by[1])))
            counts["top1"] += int((plain == labels).sum())
            counts["shifted_top1"] += int((first == labels).sum())
            counts["consistency"] += int((first == second).sum())
            total += len(images)
    return {"n": total} | {name: 100.0 * count / total for name, count in counts.items()}
