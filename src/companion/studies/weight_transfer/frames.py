"""Where an image was cut, found again by the rule `seam` wherever the image was moved to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

import mass
from companion.measures.accuracy import Batches, Prepare
from companion.models.canonical import in_frame


def frames_found(batches: Batches, prepare: Prepare, rules: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Per rule, the percentage of images whose own border it finds: as they are, and after a random circular shift."""
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
