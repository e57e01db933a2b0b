"""Sets of detections: moved along with an image, and compared as sets.

Detections are what torchvision's detectors return for an image: a dict of `boxes` (N, 4), `labels` (N,), `scores` (N,), and
of some also `masks` (N, 1, H, W), `keypoints` (N, K, 3) and `keypoints_scores` (N, K).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import shift_boxes, snap, whole_pixels
from mass.detection.suppression import lexicographic

Detections = Mapping[str, Tensor]


def shift_detections(detections: Detections, shift: Pair, size: Pair) -> dict[str, Tensor]:
    """What detections of an image x become for `mass.shift(x, shift)`: boxes and keypoints move along, masks too.

    Args: shift: rows and columns; size: height and width of the image.

    Raises:
        KeyError: where there are no boxes.

    >>> found = {"boxes": torch.tensor([[1.0, 2, 5, 9]]), "labels": torch.tensor([3])}
    >>> shift_detections(found, (0, 3), (64, 64))["boxes"]
    tensor([[62.,  2., 66.,  9.]])
    """
    if "boxes" not in detections:
        raise KeyError(
            f"'boxes' are not among the detections of this image, which hold {', '.join(detections) or 'nothing'}."
        )
    shift = whole_pixels(shift)
    boxes = shift_boxes(detections["boxes"], shift, size)
    moved = {**detections, "boxes": boxes}
    if "masks" in detections:
        moved["masks"] = detections["masks"].roll((-shift[0], -shift[1]), (-2, -1))
    if "keypoints" in detections:
        here = snap(detections["keypoints"][..., :2], size)
        by = boxes[:, None, :2] - snap(detections["boxes"], size)[:, None, :2]  # with their box, however it was wrapped
        moved["keypoints"] = torch.cat([here + by, detections["keypoints"][..., 2:].to(here.dtype)], -1)
    return moved


def same_detections(a: Detections, b: Detections, shift: Pair, size: Pair) -> bool:
    """Whether b, found in `mass.shift(x, shift)`, is the set a, found in x, moved along: bit-identical, in any order.

    Boxes are compared on the grid of `snap`, on which a converted detector's lie; boxes between its places, which a certificate
    names, are taken for the nearest.

    >>> a = {"boxes": torch.tensor([[1.0, 2, 5, 9], [0.0, 0, 8, 8]]), "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([1, 2])}
    >>> b = {"boxes": torch.tensor([[60.0, 62, 68, 70], [61.0, 0, 65, 7]]), "scores": torch.tensor([0.8, 0.9]), "labels": torch.tensor([2, 1])}
    >>> same_detections(a, b, (2, 4), (64, 64))
    True
    """
    return not first_difference(a, b, shift, size)


def first_difference(a: Detections, b: Detections, shift: Pair, size: Pair) -> str:
    """The first detection, in the order of scores, in which b is not the set a moved along; '' where it is.

    >>> a = {"boxes": torch.tensor([[1.0, 2, 5, 9]]), "scores": torch.tensor([0.75]), "labels": torch.tensor([1])}
    >>> b = {"boxes": torch.tensor([[1.0, 2, 5, 9]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([1])}
    >>> first_difference(a, b, (0, 0), (64, 64))
    'box 0 (1, 2, 5, 9) of label 1: scores 0.75 became 0.5'
    """
    if a.keys() != b.keys():
        return f"{', '.join(a)} became {', '.join(b)}"
    moved = shift_detections(a, shift, size)
    expected, found = _sorted(moved), _sorted(shift_detections(b, (0, 0), size))
    origin = _sorted(moved, of=a)
    for k in range(min(len(expected["boxes"]), len(found["boxes"]))):
        for name in ("scores", "labels", *(n for n in expected if n not in ("scores", "labels"))):
            was, now = expected[name][k], found[name][k]
            if was.shape != now.shape or not bool(((was == now) | (was.isnan() & now.isnan())).all()):
                return f"{_named(origin, k)}: {_change(name, was, now)}"
    if len(expected["boxes"]) > len(found["boxes"]):
        return f"{_named(origin, len(found['boxes']))}: not found any more"
    if len(expected["boxes"]) < len(found["boxes"]):
        return f"{_named(found, len(expected['boxes']))}: was not there before"
    return ""


def _sorted(detections: Detections, of: Detections | None = None) -> dict[str, Tensor]:
    boxes, scores = detections["boxes"], detections["scores"]
    order = lexicographic([-scores, detections["labels"], *(boxes[:, k] for k in (1, 0, 3, 2))])
    return {name: value[order] for name, value in (of or detections).items()}


def _named(detections: Detections, k: int) -> str:
    box = ", ".join(f"{v:g}" for v in detections["boxes"][k].tolist())
    return f"box {k} ({box}) of label {int(detections['labels'][k])}"


def _change(name: str, was: Tensor, now: Tensor) -> str:
    if was.numel() > 8:
        return f"{int((was != now).sum())} values of {name} differ"
    text = [", ".join(f"{v:g}" for v in value.flatten().tolist()) for value in (was, now)]
    return f"{name} {text[0]} became {text[1]}"
