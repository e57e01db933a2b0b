"""The frame an image was taken in, found again by the rule `seam` wherever the image was moved to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import mass
from companion.measures.accuracy import Batches, Prepare


class InItsFrame(nn.Module):
    """A network, untouched, on images moved to one origin of their own: what canonicalisation is in its simplest form."""

    def __init__(self, model: nn.Module, rule: str = "seam") -> None:
        super().__init__()
        self.model, self.rule = model, rule

    def forward(self, x: Tensor) -> Tensor:
        return self.model(in_frame(x, self.rule))


def in_frame(x: Tensor, rule: str = "seam") -> Tensor:
    """Each image moved to the origin that a rule finds, the whole image being the period. Shape: (B, C, H, W) -> the same."""
    return mass.shift(x, mass.select_origin(x, (x.shape[2], x.shape[3]), rule))


def frames_found(batches: Batches, prepare: Prepare, rules: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Per rule, the percentage of images whose own frame it finds: as they are, and after a random circular shift."""
    generator = torch.Generator().manual_seed(seed)
    found = {rule: [0, 0] for rule in rules}
    total = 0
    for images, _ in batches:
        images = prepare(images)
        by = torch.stack([torch.randint(n, (len(images),), generator=generator) for n in images.shape[2:]], 1)
        for k, x in enumerate((images, mass.shift(images, by))):
            for rule in rules:
                found[rule][k] += _equal(in_frame(x, rule), images)
        total += len(images)
    return [
        {"rule": rule, "n": total, "found": 100 * here / total, "found_when_moved": 100 * moved / total}
        for rule, (here, moved) in found.items()
    ]


def _equal(images: Iterable[Tensor], others: Iterable[Tensor]) -> int:
    return sum(torch.equal(a, b) for a, b in zip(images, others, strict=True))
