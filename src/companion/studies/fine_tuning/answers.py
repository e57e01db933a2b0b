"""What a network answers to held-out images: as they are, under two circular shifts, and under noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from companion.data.normalisation import normalize
from companion.measures.noise import add_noise
from mass.evaluate.consistency import PROTOCOLS
from mass.functional.shift import shift
from mass.nn.evaluating import evaluating

Answers = dict[str, Tensor]  # image by image, each (N,)


def answers(model: nn.Module, images: Tensor, labels: Tensor, batch: int, noise: float, seed: int = 0) -> Answers:
    """Labels of images (N, 3, H, W) in bytes; the same seed gives every network the same shifts and noise.

    Returns:
        true; clean, first, second (under two shifts of the protocol 'mass') and noisy labels, int64; and `identical`: whether
        the logits under both shifts are bit-identical.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    with evaluating(model):
        for pixels, true in zip(images.split(batch), labels.split(batch), strict=True):
            colours = pixels.float() / 255
            noisy = normalize(add_noise(colours, noise, 1, generator))
            x = normalize(colours)
            moved = [shift(x, PROTOCOLS["mass"].draw(len(x), generator)) for _ in range(2)]
            logits = [model(view) for view in (x, *moved, noisy)]
            same = (logits[1] == logits[2]).all(1)
            rows.append((true, *(found.argmax(1) for found in logits), same))
    names = "true", "clean", "first", "second", "noisy", "identical"
    return {name: torch.cat(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def outcomes(found: Answers) -> Answers:
    """Yes or no, image by image: what percentages and paired comparisons are made of."""
    return {
        "top1": found["clean"] == found["true"],
        "shifted_top1": found["first"] == found["true"],
        "consistency": found["first"] == found["second"],
        "changed_by_noise": found["noisy"] != found["clean"],
        "identical": found["identical"],
    }


def shares(found: Answers) -> dict[str, Any]:
    """The outcomes in percent, and n."""
    percent = {name: 100 * which.double().mean().item() for name, which in outcomes(found).items()}
    return {"n": len(found["true"])} | percent
