"""What became of the detections of an image that moved: the same set, or which were lost and how far the others are off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from companion.models.detectors.detections import Found
from mass.axes import Pair
from mass.detection import box_iou, nearest, same_detections, shift_boxes

_OVERLAP = 0.5  # of two boxes that are one object


@dataclass(frozen=True)
class Change:
    """Of one image and one move.

    Attributes:
        identical: whether all boxes, labels and scores moved along, bit-identical.
        lost: detections without a partner of their label that overlaps them by half, on either side.
        errors: of those with one, (K,): pixels between the centres, the move taken back.
        scores: of those, (K,): by how much the score changed, without sign.
    """

    identical: bool
    lost: int
    errors: Tensor
    scores: Tensor

    @property
    def empty(self) -> bool:
        """Whether nothing was found, neither before nor after."""
        return not self.lost and not len(self.errors)

    @property
    def differs(self) -> bool:
        """Whether there are other objects than before: one appeared, vanished, or was given another name."""
        return self.lost > 0


def change(still: Found, moved: Found, by: Pair, size: Pair) -> Change:
    """Detections of an image, and of the image shifted by t, both on the torus."""
    back = moved | {"boxes": shift_boxes(moved["boxes"], (-by[0], -by[1]), size)}
    overlaps = box_iou(still["boxes"], back["boxes"], size)
    overlaps[still["labels"][:, None] != back["labels"][None]] = 0
    pairs = []
    for k in still["scores"].argsort(descending=True, stable=True).tolist() if len(back["scores"]) else ():
        most, partner = overlaps[k].max(0)
        if most >= _OVERLAP:
            overlaps[:, partner] = 0
            pairs.append((k, int(partner)))
    ours, theirs = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
    lost = len(still["scores"]) + len(back["scores"]) - 2 * len(pairs)
    a, b = still["boxes"][ours], back["boxes"][theirs]
    away = (nearest(b, a, size) - a).unflatten(1, (2, 2)).mean(1)
    scores = (still["scores"][ours] - back["scores"][theirs]).abs()
    return Change(same_detections(still, moved, by, size), lost, away.norm(dim=1), scores)


def changes(
    still: Sequence[Found], moved: Iterable[Sequence[Found]], by: Iterable[Sequence[Pair]], size: Pair
) -> list[list[Change]]:
    """By image, its changes under every move: `moved` and `by` are moves of all images."""
    rounds = [
        [change(before, after, shift, size) for before, after, shift in zip(still, found, shifts, strict=True)]
        for found, shifts in zip(moved, by, strict=True)
    ]
    return [list(image) for image in zip(*rounds, strict=True)]


def of_something(by_network: Mapping[str, Sequence[Sequence[Change]]]) -> dict[str, list[Sequence[Change]]]:
    """Without the images in which no network found anything, ever: the same images for all."""
    rows = list(zip(*by_network.values(), strict=True))
    kept = [row for row in rows if not all(move.empty for image in row for move in image)]
    return dict(zip(by_network, map(list, zip(*kept, strict=True)), strict=True))


def summary(images: Sequence[Sequence[Change]]) -> dict[str, Any]:
    """Over images, and over all their moves: what a record says.

    Returns:
        n; `identical`, images whose set was bit-identical after every move, and `changed`, images with other objects after some move, in
        percent; lost, detections a move without a partner; mean_error and worst_error, pixels between centres; mean_score and
        worst_score, changes of a score.
    """
    every = [move for image in images for move in image]
    errors, scores = (torch.cat([getattr(move, name) for move in every]) for name in ("errors", "scores"))
    found: Mapping[str, Tensor] = {"error": errors, "score": scores}
    return {
        "n": len(images),
        "identical": 100 * sum(all(move.identical for move in image) for image in images) / len(images),
        "changed": 100 * sum(any(move.differs for move in image) for image in images) / len(images),
        "lost": sum(move.lost for move in every) / len(every),
        **{f"mean_{name}": values.mean().item() if len(values) else 0.0 for name, values in found.items()},
        **{f"worst_{name}": values.max().item() if len(values) else 0.0 for name, values in found.items()},
    }
