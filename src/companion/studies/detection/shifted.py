"""Trained detectors over shifts: AP where the camera stood, on average, at worst and at best, and what became of each detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from companion.core.records import Record
from companion.data.boxed import NOTHING, Boxed, BoxedSet, cut, shifted_boxes
from companion.measures.detection.average_precision import Matched, extreme_average_precision, mean_average_precision
from companion.measures.detection.detect import detect, matched
from companion.measures.detection.detection_sets import Change, changes, summary
from companion.measures.paired_images import corrected
from companion.measures.paired_t import known, paired_gains
from companion.models.detectors.detections import Found
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.tasks.detection import IOU
from mass.axes import Pair

RESIDUES = 16  # of the total stride of these detectors, along an axis
_SHOWN = 0.3  # the least score of a detection whose fate is followed


CONVERTED = "Baseline, converted"
VIEWS = {
    "deeppcb-boards": (70, 120, 75),
    "deeppcb-boards-640": (140, 240, 150),
}  # of the first board, what is drawn: top, left, side


def with_converted(networks: Mapping[Recipe, nn.Module]) -> dict[tuple[str, int], nn.Module]:
    """Networks by printed method and seed; and what was trained with circular padding on the fixed grid, now converted."""
    every = {(METHODS[recipe.method].printed, recipe.seed): network for recipe, network in networks.items()}
    for recipe, network in networks.items():
        if recipe.method == "baseline":
            every[CONVERTED, recipe.seed] = METHODS["mass"].build(recipe.net, 0, network.state_dict()).eval()
    return every


def residues(count: int, seed: int) -> list[Pair]:
    """Shifts: none, then so many others less one, drawn from all residues of the total stride without repetition."""
    order = 1 + torch.randperm(RESIDUES**2 - 1, generator=torch.Generator().manual_seed(seed))
    return [(0, 0), *((k // RESIDUES, k % RESIDUES) for k in order[: count - 1].tolist())]


def circular(test: Boxed, shifts: Sequence[Pair]) -> list[Boxed]:
    """All images shifted circularly, their boxes with them, once a shift."""
    return [
        Boxed(
            test.images.roll((-i, -j), (2, 3)), shifted_boxes(test.boxes, torch.tensor([[i, j]]).expand(len(test), 2))
        )
        for i, j in shifts
    ]


def window(test: Boxed, shifts: Sequence[Pair]) -> list[Boxed]:
    """What a window sees that is smaller than the images by a total stride, put elsewhere: something enters and something leaves."""
    side = test.images.shape[3] - RESIDUES
    return [Boxed(*cut(test.images, test.boxes, torch.tensor([shift] * len(test)), side)) for shift in shifts]


def ask(network: nn.Module, data: BoxedSet, moves: Sequence[Boxed]) -> list[list[Found]]:
    """What a network finds after every move."""
    return [detect(network, move.images, data.normalize) for move in moves]


def precision_over(found: Sequence[Sequence[Found]], moves: Sequence[Boxed], kinds: int) -> dict[str, Any]:
    """AP at the official IoU, in percent: unmoved, the mean over moves, and the worst and best that a choice for each image makes."""
    return extremes([matched(one, move, IOU, kinds) for one, move in zip(found, moves, strict=True)])


def extremes(rounds: Sequence[Sequence[Matched]]) -> dict[str, Any]:
    """AP of what was matched after every move, as `precision_over` gives it."""
    by_image = list(zip(*rounds, strict=True))
    each = [mean_average_precision(one) for one in rounds]
    worst, best = (extreme_average_precision(by_image, worst=which)[0] for which in (True, False))
    shares = {"ap": each[0], "mean_ap": sum(each) / len(each), "worst_ap": worst, "best_ap": best}
    return {"n": len(by_image), **{name: 100 * value for name, value in shares.items()}}


def followed(found: Sequence[Sequence[Found]], shifts: Sequence[Pair], size: Pair) -> list[list[Change]]:
    """By image, what became of its detections under circular shifts; the first is none."""
    shown = [[confident(one) for one in move] for move in found]
    every = [[shift] * len(shown[0]) for shift in shifts[1:]]
    return changes(shown[0], shown[1:], every, size)


def confident(found: Found) -> Found:
    """The detections that are shown, and whose fate is followed."""
    which = found["scores"] > _SHOWN
    return {name: value[which] for name, value in found.items()}


def seen(images: Tensor) -> Tensor:
    """What is drawn of images (N, C, H, W): grey, (N, 1, H, W) in [0, 1]; of a template and a board, the board."""
    return images[:, min(1, images.shape[1] - 1) :][:, :1].float() / 255


def true_boxes(test: Boxed, index: int) -> Tensor:
    """The boxes of one image, (M, 4)."""
    rows = test.boxes[index]
    return rows[rows[:, 4] != NOTHING, :4]


def examples(
    networks: Mapping[str, nn.Module], data: BoxedSet, moves: Sequence[Boxed], titles: Sequence[str]
) -> dict[str, list[tuple[str, Tensor, Found]]]:
    """The first image after every move: by network, a title, the image and what is found there with confidence."""
    rows = {}
    for name, network in networks.items():
        found = [confident(detect(network, move.images[:1], data.normalize)[0]) for move in moves]
        rows[name] = list(zip(titles, (seen(move.images)[0] for move in moves), found, strict=True))
    return rows


def paired(measured: Sequence[Record], tested: Sequence[Record]) -> list[dict[str, Any]]:
    """MASS against every other method, seed by seed, one family: AP of all test images, unmoved, and AP at worst; none of one seed, and no
    interval nor p where all seeds differ alike."""
    found, ours = [], METHODS["mass"].printed
    circular_rows = [row for row in measured if row["protocol"] == "circular"]
    for field, rows in (("ap33", tested), ("worst_ap", circular_rows)):
        for other in dict.fromkeys(row["method"] for row in rows if row["method"] != ours):
            row = paired_gains(list(rows), other, field).loc[ours]
            about = {"input": field, "method": ours, "against": other, "n": int(row["n"])}
            found.append(about | {"difference": row["gain"]} | {name: row[name] for name in ("low", "high", "p")})
    return [known(row) for row in corrected([row for row in found if row["n"] > 1])]


def measure(network: nn.Module, data: BoxedSet, test: Boxed, shifts: Sequence[Pair]) -> list[dict[str, Any]]:
    """A row for circular shifts, with what became of the detections, and one for a window that slides by as much."""
    kinds, size = len(data.kinds), (test.images.shape[2], test.images.shape[3])
    rows = []
    for name, moves in (("circular", circular(test, shifts)), ("window", window(test, shifts))):
        found = ask(network, data, moves)
        row = {"protocol": name} | precision_over(found, moves, kinds)
        rows.append(row | (summary(followed(found, shifts, size)) if name == "circular" else {}))
    return rows
