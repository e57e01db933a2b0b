"""Instance segmentation over shifts: how well masks overlap, and how many of their pixels stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from companion.data.instances import REACH, Instances, InstanceSet
from companion.measures.detection.masks import kept_pixels, matched_masks, object_ious, segment
from companion.models.detectors.detections import Found
from companion.models.methods import METHODS
from companion.studies.detection.shifted import extremes
from companion.training.recipe import Recipe
from mass.axes import Pair
from mass.detection import same_detections

CONVERTED = "Baseline, zero padding, converted"


def with_converted(networks: Mapping[Recipe, nn.Module]) -> dict[str, nn.Module]:
    """Networks by printed method; and what was trained as torchvision has it, now converted."""
    every = {METHODS[recipe.method].printed: network for recipe, network in networks.items()}
    for recipe, network in networks.items():
        if recipe.method == "baseline-zero":
            every[CONVERTED] = METHODS["mass"].build(recipe.net, 0, network.state_dict()).eval()
    return every


def residues(count: int, seed: int) -> list[Pair]:
    """Shifts: none, then so many others less one of the 64 under which no border cuts an object."""
    order = 1 + torch.randperm(REACH**2 - 1, generator=torch.Generator().manual_seed(seed))
    return [(0, 0), *((k // REACH, k % REACH) for k in order[: count - 1].tolist())]


def shifted(test: Instances, by: Pair) -> Instances:
    """All images shifted circularly, their masks with them."""
    return Instances(*(x.roll((-by[0], -by[1]), (2, 3)) for x in (test.images, test.maps)))


def measure(network: nn.Module, data: InstanceSet, test: Instances, shifts: Sequence[Pair]) -> dict[str, Any]:
    """A row, in percent, n images.

    Returns:
        iou, mean_iou, worst_iou: of objects with the best mask of their kind, unmoved, over all shifts, and at each image's worst;
        ap, mean_ap, worst_ap, best_ap: of masks, at an IoU of 0.5; identical: images whose set of detections, masks included, was
        bit-identical under all shifts, moved back; pixels: of those in a mask before or after a shift, the share whose kind stayed.
    """
    moves = [shifted(test, by) for by in shifts]
    found = [segment(network, move.images, data.normalize) for move in moves]
    ious = torch.tensor([[float(own.mean()) for own in object_ious(f, m)] for f, m in zip(found, moves, strict=True)])
    rounds = [matched_masks(f, m, len(data.kinds)) for f, m in zip(found, moves, strict=True)]
    size: Pair = (test.images.shape[2], test.images.shape[3])
    pairs = [(still, other, by) for by, one in zip(shifts, found, strict=True) for still, other in zip(found[0], one, strict=True)]  # fmt: skip
    same = torch.tensor([same_detections(*pair, size) for pair in pairs]).view(len(shifts), -1).all(0)
    kept, counted = torch.tensor([kept_pixels(*pair) for pair in pairs[len(test) :]]).sum(0).tolist()
    return {
        **extremes(rounds),
        "iou": 100 * float(ious[0].mean()),
        "mean_iou": 100 * float(ious.mean()),
        "worst_iou": 100 * float(ious.min(0).values.mean()),
        "identical": 100 * float(same.double().mean()),
        "pixels": 100 * kept / max(counted, 1),
    }


def examples(
    networks: Mapping[str, nn.Module], data: InstanceSet, image: Instances, shifts: Sequence[Pair]
) -> dict[str, list[tuple[str, Tensor, Found]]]:
    """One image at several places: by network, a title, the image and what it finds there."""
    moves = [shifted(image, by) for by in shifts]
    titles = [f"shifted by {by}" if any(by) else "unmoved" for by in shifts]
    rows = {}
    for name, network in networks.items():
        found = [segment(network, move.images, data.normalize)[0] for move in moves]
        rows[name] = list(zip(titles, (move.images[0].float() / 255 for move in moves), found, strict=True))
    return rows
