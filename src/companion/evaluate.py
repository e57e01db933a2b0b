"""Top-1 accuracy, consistency and stability of a classifier over labelled batches, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from mass.evaluation import evaluating
from mass.metrics import PROTOCOLS
from mass.shift import shift


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    protocol: str = "mass",
    noise: float = 0.0,
    seed: int = 0,
    device: str | torch.device = "cpu",
    description: str = "",
) -> dict[str, float]:
    """Percentages over all images.

    Args:
        model: normalised images (B, 3, H, W) -> logits (B, classes).
        batches: (images, labels), read once.
        prepare: what is done to a batch first, normalisation say.
        protocol: how the two shifts of the consistency are drawn (mass.PROTOCOLS).
        noise: standard deviation of the Gaussian noise of the stability, in the images' own units.
        seed: of shifts and noise.

    Returns:
        n; top1, on the images as they are; shifted_top1, on the first shifted ones; consistency, of two shifts;
        changed_by_noise, labels that change when noise is added to an unshifted image.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = dict.fromkeys(("top1", "shifted_top1", "consistency", "changed_by_noise"), 0)
    total = 0
    model = model.to(device)
    with evaluating(model):
        for images, labels in tqdm(batches, desc=description, leave=False, disable=None):
            images, labels = prepare(images.to(device)), labels.to(device)
            by = [PROTOCOLS[protocol].draw(len(images), generator).to(device) for _ in range(2)]
            noisy = images + noise * torch.randn(images.shape, generator=generator).to(device)
            plain, first, second, moved = (
                model(x).argmax(1) for x in (images, shift(images, by[0]), shift(images, by[1]), noisy)
            )
            counts["top1"] += int((plain == labels).sum())
            counts["shifted_top1"] += int((first == labels).sum())
            counts["consistency"] += int((first == second).sum())
            counts["changed_by_noise"] += int((plain != moved).sum())
            total += len(images)
    return {"n": total} | {name: 100.0 * count / total for name, count in counts.items()}
