"""The task of detection: targets on the torus, crops and flips with their boxes, and detectors whose boxes move along."""

from pathlib import Path

import pytest
import torch

import mass
from companion.data.boxed import NOTHING, Boxed, BoxedSet, cut, padded, shifted_boxes
from companion.data.datasets import DATASETS
from companion.models.detectors.detections import found_in, positions, read_dense
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.tasks.detection import Detection, targets
from mass.detection import same_detections

ROOT = Path(__file__).parents[3]


def boxes(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(64, (1, count, 2), generator=generator)
    extent = torch.randint(10, 26, (1, count, 2), generator=generator)
    return torch.cat((first, first + extent, torch.randint(5, (1, count, 1), generator=generator)), 2).float()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", [(8, 0), (16, 40), (3, 5)])
def test_targets_move_along(seed, by):
    """Boxes and positions moved together are the same targets, whether the grid was moved by its stride or by its origin."""
    origin, shift = torch.tensor([[1, 6]]), torch.tensor([by])
    still = targets(boxes(seed), positions(origin, 8, (8, 8)))
    moved = targets(shifted_boxes(boxes(seed), shift), positions(origin - shift, 8, (8, 8)))
    assert torch.equal(still[0], moved[0])
    positive = still[0] != NOTHING
    assert positive.any()
    assert torch.allclose(still[1][positive], moved[1][positive])


def test_targets_reach_to_the_sides_of_their_box():
    box = torch.tensor([[[58.0, 10, 74, 30, 2]]])  # crosses the right border
    at = positions(torch.zeros(1, 2, dtype=torch.int64), 8, (8, 8))
    kinds, sides = targets(box, at)
    row, column = 2, 0  # pixel (16, 0): 6 from the left side, 10 from the right, 6 from above
    assert kinds[0, row, column] == 2
    assert sides[0, row, column].tolist() == [6, 6, 10, 14]
    assert (kinds != NOTHING).sum() == 2  # the middle half of it holds (16, 0) and (24, 0)


def test_no_box_is_no_target():
    nothing = padded([torch.zeros(0, 5)] * 2)
    kinds, _ = targets(nothing, positions(torch.zeros(2, 2, dtype=torch.int64), 8, (4, 4)))
    assert (kinds == NOTHING).all()


def test_crops_keep_what_they_see_half_of():
    images = torch.arange(64).view(1, 1, 8, 8).byte()
    given = torch.tensor([[[0.0, 0, 4, 4, 1], [3.0, 0, 5, 2, 2], [0.0, 0, 1, 1, 3]]])
    crops, kept = cut(images, given, torch.tensor([[0, 2]]), 4)
    assert torch.equal(crops, images[:, :, :4, 2:6])
    assert kept[0, :, 4].tolist() == [1, 2, NOTHING]
    assert kept[0, 0, :4].tolist() == [0, 0, 2, 4]


def task(method="mass", **more):
    images = torch.randint(256, (8, 1, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    split = Boxed(images, torch.cat([boxes(k) for k in range(8)]))
    data = BoxedSet(split, split, (0.5,), (0.25,), ("a", "b", "c", "d", "e"))
    return Detection(
        data, Recipe(net="detector-vias", method=method, dataset="periodic-boxes", batch=4, size=32, **more)
    )


def test_parts_follow_from_the_seed_and_are_shared_evenly():
    one, other = (list(task().parts(3)) for _ in range(2))
    assert all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))
    assert [len(images) for images, _ in one] == [4, 4]
    shared = [list(task().parts(3, rank, 2)) for rank in (0, 1)]
    assert torch.equal(torch.cat((shared[0][0][0], shared[1][0][0])), one[0][0])


def test_shifts_in_training_move_boxes_with_their_pixels():
    """A bright square on black, wherever it was moved, is where its box says."""
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    image[..., 20:30, 40:52] = 255
    split = Boxed(image.repeat(8, 1, 1, 1), torch.tensor([40.0, 20, 52, 30, 0]).repeat(8, 1, 1))
    recipe = Recipe(net="detector-vias", method="baseline-shifts", dataset="periodic-boxes", batch=4, size=64)
    for images, rows in Detection(BoxedSet(split, split, (0.5,), (0.5,), ("a",)), recipe).parts(0):
        for one, (x1, y1, x2, y2, _) in zip(images, rows[:, 0].long().tolist(), strict=True):
            inside = one[0][torch.arange(y1, y2) % 64][:, torch.arange(x1, x2) % 64]
            assert (inside == 255).all()
            assert int((one == 255).sum()) == inside.numel()


@pytest.mark.parametrize("method", ["mass", "baseline"])
def test_a_converted_detector_gives_one_set_wherever_the_image_lies(method):
    """MASS under every shift; the frame's grid, with borders that wrap, under multiples of its total stride."""
    network = METHODS[method].build("detector-vias", 0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("kind_head.3.bias"):
                parameter.fill_(-0.5)  # so that something is found
    x = torch.rand(2, 1, 64, 96, generator=generator)
    for by in [(16, 32), (48, 0)] if method == "baseline" else [(1, 0), (3, 5), (37, 90), (16, 32)]:
        with torch.no_grad():
            still, moved = (found_in(network, y, read_dense, 0.3) for y in (x, mass.shift(x, torch.tensor(by))))
        for one, other in zip(still, moved, strict=True):
            assert len(one["scores"]) > 0
            assert same_detections(one, other, by, (64, 96))


def test_generated_vias_have_a_box_around_every_defect():
    data = DATASETS["periodic-boxes"](ROOT)
    rows = data.train.boxes
    kinds = rows[..., 4]
    assert ((kinds != NOTHING).sum(1) >= 1).all()
    assert (kinds != NOTHING).sum(1).max() == 2
    sides = (rows[..., 2:4] - rows[..., :2])[kinds != NOTHING]
    assert sides.min() >= 1
    assert sides.max() <= 20
