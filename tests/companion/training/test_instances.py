"""Instance segmentation: maps become targets, masks move with their images, and what is measured of masks is what it says."""

from pathlib import Path

import pytest
import torch

from companion.data.datasets import DATASETS
from companion.data.instances import REACH, Instances, InstanceSet, objects
from companion.measures.detection.masks import kept_pixels, matched_masks, object_ious, painted, segment
from companion.models.methods import METHODS
from companion.studies.detection import segmented
from companion.training.recipe import Recipe
from companion.training.tasks.instances import InstanceSegmentation
from companion.training.tasks.task import Network
from mass.detection import same_detections

ROOT = Path(__file__).parents[3]
KINDS = ("a", "b", "c", "d", "e")


def instances(count=8):
    """Dark images with two bright squares each, of kinds 1 and 3."""
    maps = torch.zeros(count, 2, 64, 64, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for one in maps:
        for number, kind in ((1, 1), (2, 3)):
            y = int(torch.randint(8, 50, (), generator=generator))
            x = int(torch.randint(8, 24, (), generator=generator)) + 24 * (number - 1)
            one[0, y : y + 8, x : x + 6], one[1, y : y + 8, x : x + 6] = number, kind
    return Instances(60 + 100 * (maps[:, :1] > 0).byte(), maps)


def as_found(maps, score=0.9):
    """The true objects of an image as a detector that is right would give them."""
    true = objects(maps)
    scores = torch.full((len(true["labels"]),), score)
    return {"boxes": true["boxes"], "labels": true["labels"] - 1, "scores": scores, "masks": true["masks"][:, None].float()}  # fmt: skip


def test_objects_are_what_the_maps_hold():
    for maps in instances().maps:
        found = objects(maps)
        assert sorted(found["labels"].tolist()) == [2, 4]
        for (x1, y1, x2, y2), mask in zip(found["boxes"].long().tolist(), found["masks"], strict=True):
            assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1) == 48
    nothing = objects(torch.zeros(2, 8, 8, dtype=torch.uint8))
    assert nothing["boxes"].shape == (0, 4) and nothing["masks"].shape == (0, 8, 8)


@pytest.mark.parametrize("by", [(0, 0), (3, 5), (7, 7), (1, 0)])
def test_what_is_right_stays_right_when_it_is_shifted(by):
    truth = instances()
    moved = segmented.shifted(truth, by)
    found = [as_found(maps) for maps in moved.maps]
    assert all(torch.equal(own, torch.ones(2)) for own in object_ious(found, moved))
    assert all(one.right.all() for one in matched_masks(found, moved, len(KINDS)))
    for maps, one in zip(truth.maps, found, strict=True):
        assert kept_pixels(as_found(maps), one, by) == (96, 96)


def test_masks_of_another_kind_or_place_do_not_count():
    truth = instances(1)
    other = as_found(truth.maps[0])
    other["labels"] = (other["labels"] + 1) % 5
    assert object_ious([other], truth)[0].tolist() == [0, 0]
    nothing = {name: value[:0] for name, value in other.items()}
    assert object_ious([nothing], truth)[0].tolist() == [0, 0]
    kept, counted = kept_pixels(as_found(truth.maps[0]), nothing, (0, 0))
    assert (kept, counted) == (0, 96)
    assert painted(nothing).sum() == 0


def test_parts_flip_and_shift_masks_with_their_images():
    split = instances()
    data = InstanceSet(split, split, (0.4,), (0.2,), KINDS)
    recipe = Recipe(net="mask-rcnn-vias", method="baseline-shifts", dataset="periodic-instances", batch=4)
    for images, maps in InstanceSegmentation(data, recipe).parts(0):
        assert images.dtype == maps.dtype == torch.uint8
        assert torch.equal(images[:, 0] == 160, maps[:, 0] > 0)


@pytest.mark.parametrize("method", ["baseline-zero", "mass"])
def test_a_step_learns_from_masks(method):
    split = instances(4)
    data = InstanceSet(split, split, (0.4,), (0.2,), KINDS)
    task = InstanceSegmentation(
        data, Recipe(net="mask-rcnn-vias", method=method, dataset="periodic-instances", batch=4)
    )
    model = METHODS[method].build("mask-rcnn-vias", 0).train()
    network = Network(lambda images, targets: model(data.normalize(images), targets), model)
    task.loss(network, split.images, split.maps).value.backward()
    for part in ("backbone.stem", "rpn.head", "roi_heads.mask_predictor"):
        assert any(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if n.startswith(part))


def test_a_converted_mask_rcnn_gives_one_set_wherever_the_image_lies():
    network = METHODS["mass"].build("mask-rcnn-vias", 0).eval()
    network.roi_heads.score_thresh = 0.05
    images = torch.randint(256, (2, 1, 64, 64), generator=torch.Generator().manual_seed(1)).byte()
    normalize = InstanceSet(instances(1), instances(1), (0.4,), (0.2,), KINDS).normalize
    still = segment(network, images, normalize)
    for by in [(1, 0), (3, 5), (37, 50)]:
        moved = segment(network, images.roll((-by[0], -by[1]), (2, 3)), normalize)
        for one, other in zip(still, moved, strict=True):
            assert len(one["scores"]) and same_detections(one, other, by, (64, 64))
            kept, counted = kept_pixels(one, other, by)
            assert kept == counted


def test_no_border_cuts_a_defect_of_the_generated_vias():
    data = DATASETS["periodic-instances"](ROOT)
    assert (len(data.train), len(data.test)) == (512, 64)
    for split in (data.train, data.test):
        inside = split.maps[:, 0] > 0
        assert not inside[:, :REACH].any() and not inside[:, :, :REACH].any()
        assert not inside[:, -1].any() and not inside[:, :, -1].any()
        assert inside.flatten(1).any(1).all()
    assert len(set(segmented.residues(20, 3))) == 20
