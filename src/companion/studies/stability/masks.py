"""Dense outputs: which pixels change their label under noise, and under a shift that is undone, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from companion.data.published.voc import IGNORED
from companion.data.segmented import Segmented
from companion.measures.noise import add_noise
from companion.measures.paired_images import compare_shares
from companion.studies.stability.networks import BLENDED, CIRCULAR, MASS, PLAIN
from mass.functional.shift import restore, shift
from mass.nn.evaluating import evaluating

PAIRS = [(MASS, PLAIN), (MASS, CIRCULAR), (BLENDED, MASS), (BLENDED, CIRCULAR), (BLENDED, PLAIN)]


@dataclass(frozen=True)
class Masks:
    """Of each image, (N,), the percentage of its pixels, those that have no label left out.

    Attributes:
        right: labelled right; noisy: whose label changes with noise; moved: with a circular shift, undone.
        identical: whether the scores moved along with the shift, bit-identically.
    """

    right: Tensor
    noisy: Tensor
    moved: Tensor
    identical: Tensor


def masks(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    data: Segmented,
    noise: float,
    seed: int = 0,
    description: str = "",
) -> Masks:
    """What a segmenter says of images (bytes) with labels (B, H, W); the same noise and shifts for every network.

    Args:
        noise: its standard deviation, in grey levels.
    """
    generator = torch.Generator().manual_seed(seed)
    columns: dict[str, list[Tensor]] = {name: [] for name in ("right", "noisy", "moved", "identical")}
    with evaluating(network):
        for images, labels in tqdm(batches, desc=description, leave=False, disable=None):
            counted, size = labels != IGNORED, images.shape[2:]
            by = torch.stack([torch.randint(side, (len(images),), generator=generator) for side in size], 1)
            noisy = network(data.normalize(add_noise(images.float(), noise, 255, generator)))
            x = data.normalize(images)
            scores, back = network(x), restore(network(shift(x, by)), by)
            clean = scores.argmax(1)
            for name, which in (
                ("right", clean == labels), ("noisy", noisy.argmax(1) != clean), ("moved", back.argmax(1) != clean)
            ):  # fmt: skip
                columns[name].append(100 * (which & counted).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1))
            columns["identical"].append((back == scores).flatten(1).all(1))
    return Masks(**{name: torch.cat(parts) for name, parts in columns.items()})


def rows(said: Mapping[str, Masks]) -> list[dict[str, Any]]:
    """Per network: means over images, and the percentage of images whose scores moved along bit-identically."""
    return [
        {
            "method": name,
            "n": len(found.right),
            "pixels_right": found.right.double().mean().item(),
            "pixels_changed_by_noise": found.noisy.double().mean().item(),
            "pixels_changed_by_shift": found.moved.double().mean().item(),
            "identical": 100 * found.identical.double().mean().item(),
        }
        for name, found in said.items()
    ]


def paired(said: Mapping[str, Masks]) -> list[dict[str, Any]]:
    """Two families of comparisons, image by image: pixels whose label noise changes, and pixels labelled right."""
    noisy = {name: found.noisy for name, found in said.items()}
    right = {name: found.right for name, found in said.items()}
    return [
        {"stage": stage} | row
        for stage, shares in (("pixels changed by noise, paired", noisy), ("pixels right, paired", right))
        for row in compare_shares(shares, PAIRS)
    ]
