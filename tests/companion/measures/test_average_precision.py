"""AP on the torus: COCO's definition, and what a choice of shifts can make of it."""

import itertools
import math

import numpy
import pytest
import torch

from companion.measures.detection.average_precision import (
    average_precisions,
    extreme_average_precision,
    match,
    mean_average_precision,
)
from mass.detection import shift_boxes

SIZE = (64, 64)


def drawn(seed, images=6, kinds=3):
    """Detections and boxes of some images: true ones moved a little, and some that are nowhere."""
    generator = torch.Generator().manual_seed(seed)
    found, truth = [], []
    for _ in range(images):
        count = int(torch.randint(0, 4, (), generator=generator))
        first = 4 + 30 * torch.rand(count, 2, generator=generator)
        boxes = torch.cat((first, first + 6 + 10 * torch.rand(count, 2, generator=generator)), 1)
        labels = torch.randint(kinds, (count,), generator=generator)
        off = 3 * torch.rand(2 * count, 4, generator=generator)
        other = torch.randint(kinds, (2 * count,), generator=generator)
        named = torch.where(torch.rand(2 * count, generator=generator) < 0.7, labels.repeat(2), other)
        found.append(
            {"boxes": boxes.repeat(2, 1) + off, "scores": torch.rand(2 * count, generator=generator), "labels": named}
        )
        truth.append((boxes, labels))
    return found, truth


def matched(found, truth, kinds=3, iou=0.5):
    return [match(one, *true, kinds, iou, SIZE) for one, true in zip(found, truth, strict=True)]


def by_definition(found, truth, kind, iou=0.5):
    """AP of one kind, in plain loops over plain boxes."""
    ranked = sorted(
        (
            (-float(s), k, i)
            for k, one in enumerate(found)
            for i, s in enumerate(one["scores"])
            if one["labels"][i] == kind
        )
    )
    count = sum(int((labels == kind).sum()) for _, labels in truth)
    if not count:
        return math.nan
    taken, hits, points = set(), 0, []
    for rank, (_, k, i) in enumerate(ranked, 1):
        box, best = found[k]["boxes"][i].tolist(), (0.0, None)
        for j, true in enumerate(truth[k][0].tolist()):
            across, down = (min(box[a + 2], true[a + 2]) - max(box[a], true[a]) for a in (0, 1))
            common = max(across, 0) * max(down, 0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, true)]
            overlap = common / (sum(areas) - common)
            if truth[k][1][j] == kind and (k, j) not in taken and overlap > best[0]:
                best = (overlap, j)
        if best[0] >= iou:
            taken.add((k, best[1]))
            hits += 1
        points.append((hits / count, hits / rank))
    return sum(max((p for r, p in points if r >= recall), default=0.0) for recall in numpy.linspace(0, 1, 101)) / 101


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_definition(seed):
    found, truth = drawn(seed)
    expected = [by_definition(found, truth, kind) for kind in range(3)]
    assert average_precisions(matched(found, truth)).tolist() == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_it_is_torchmetrics():
    pytest.importorskip("pycocotools")
    from torchmetrics.detection import MeanAveragePrecision

    for seed in range(4):
        found, truth = drawn(seed, images=10)
        metric = MeanAveragePrecision(iou_thresholds=[0.5], rec_thresholds=numpy.linspace(0, 1, 101).tolist())
        metric.update(found, [{"boxes": boxes, "labels": labels} for boxes, labels in truth])
        assert mean_average_precision(matched(found, truth)) == pytest.approx(metric.compute()["map"].item(), abs=1e-6)


@pytest.mark.parametrize("by", [(0, 40), (33, 7), (63, 63)])
def test_a_frame_that_moves_changes_nothing(by):
    found, truth = drawn(1)
    moved = [one | {"boxes": shift_boxes(one["boxes"], by, SIZE)} for one in found]
    there = [(shift_boxes(boxes, by, SIZE), labels) for boxes, labels in truth]
    assert mean_average_precision(matched(moved, there)) == mean_average_precision(matched(found, truth))


def test_nothing_found_and_nothing_there():
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    one = (torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([0]))
    none = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert mean_average_precision([match(nothing, *one, 2, 0.5, SIZE)]) == 0
    assert average_precisions([match(nothing, *none, 2, 0.5, SIZE)]).isnan().all()


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_a_choice_that_there_is(seed):
    """Its AP is that of its choice, between the true extremes, and no worse for its purpose than no shift at all."""
    choices = list(
        zip(*[matched(drawn(10 * seed + k, images=4)[0], drawn(10 * seed, images=4)[1]) for k in range(3)], strict=True)
    )
    every = [mean_average_precision(chosen) for chosen in itertools.product(*choices)]
    unmoved = mean_average_precision([image[0] for image in choices])
    for worst in (True, False):
        reached, chosen = extreme_average_precision(choices, worst)
        assert reached == mean_average_precision([image[k] for image, k in zip(choices, chosen, strict=True)])
        assert min(every) <= reached <= max(every)
        assert reached <= unmoved if worst else reached >= unmoved
