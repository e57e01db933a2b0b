"""torchvision's detectors, converted: the same sets of boxes, labels, scores, masks and keypoints, bit for bit, wherever the image lies."""

import copy
import io
import itertools
import random

import pytest
import torch

pytest.importorskip("torchvision")
from small import CLASSES, KINDS, build, circular

import mass
from mass.detection import box_iou, first_difference, is_detector, same_detections
from mass.detection.dense import see


@pytest.fixture(scope="module")
def converted():
    """Plain and converted detectors, by kind, made once."""
    made = {}

    def of(kind):
        if kind not in made:
            plain = build(kind)
            made[kind] = plain, mass.convert(plain, torch.rand(2, 3, 64, 64))
        return made[kind]

    return of


def moved(images, t):
    return [mass.shift(image[None], torch.tensor([t]))[0] for image in images]


def shifts(count, size=(64, 64), seed=0):
    """Every residue of rows and of columns is met once before any is met twice."""
    generator = random.Random(seed)
    rows, columns = ([*range(n)] for n in size)
    generator.shuffle(rows)
    generator.shuffle(columns)
    return list(itertools.islice(zip(itertools.cycle(rows), itertools.cycle(columns), strict=False), count))


@pytest.mark.parametrize("kind", KINDS)
def test_detections_move_along_to_the_bit(converted, kind):
    plain, model = converted(kind)
    images = [torch.rand(3, 64, 64), torch.randn(3, 64, 64)]
    with torch.no_grad():
        found = model(images)
        assert all(len(own["boxes"]) > 3 for own in found), [len(own["boxes"]) for own in found]
        assert any((own["boxes"][:, 2:] > 64).any() for own in found)  # some go on at the other side
        for t in shifts(12):
            for was, now in zip(found, model(moved(images, t)), strict=True):
                assert first_difference(was, now, t, (64, 64)) == ""
                assert all(torch.equal(was[name], now[name]) for name in ("scores", "labels"))  # in the same order
        if kind != "ssd":  # whose plain self needs images of 300 pixels
            was, now = plain(images), plain(moved(images, (5, 9)))
            assert not any(same_detections(a, b, (5, 9), (64, 64)) for a, b in zip(was, now, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_detector_keeps_its_class_and_weights(converted, kind):
    plain, model = converted(kind)
    assert isinstance(model, type(plain)) and is_detector(model) and is_detector(plain)
    ours, theirs = model.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert not any(a is b for a, b in zip(model.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["retinanet", "mask"])
def test_copies_and_pickles_find_the_same(converted, kind):
    _, model = converted(kind)
    x = torch.rand(1, 3, 64, 64)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    with torch.no_grad():
        found = model(x)[0]
        for other in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
            assert same_detections(found, other(x)[0], (0, 0), (64, 64))
            other.load_state_dict({name: value * 0 for name, value in other.state_dict().items()})
            assert not same_detections(found, other(x)[0], (0, 0), (64, 64))  # its graph computes with its own weights
        assert same_detections(found, model(x)[0], (0, 0), (64, 64))


@pytest.mark.parametrize("kind", ["fcos", "keypoint"])
def test_in_float64(converted, kind):
    _, model = converted(kind)
    model, x = copy.deepcopy(model).double(), torch.rand(1, 3, 64, 64).double()
    with torch.no_grad():
        found = model(x)[0]
        assert found["boxes"].dtype == torch.float64 and len(found["boxes"])
        for t in shifts(4):
            assert first_difference(found, model(moved(x, t))[0], t, (64, 64)) == ""


@pytest.mark.parametrize("kind", ["retinanet", "ssdlite", "mask"])
def test_images_of_several_sizes(converted, kind):
    _, model = converted(kind)
    images = [torch.rand(3, 64, 64), torch.rand(3, 128, 64), torch.rand(3, 64, 64)]
    with torch.no_grad():
        found = model(images)
        for t in shifts(3, (128, 64)):
            for image, was, now in zip(images, found, model(moved(images, t)), strict=True):
                assert first_difference(was, now, t, tuple(image.shape[1:])) == ""
        batch = model(torch.stack([images[0], images[2]]))
    assert same_detections(batch[0], found[0], (0, 0), (64, 64)) or kind == "mask"  # windows of other images beside them
    for one in found:
        if "masks" in one:
            assert one["masks"].shape[0] == len(one["boxes"])


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssdlite", "faster"])
def test_without_seams_it_is_the_original_with_circular_borders(kind):
    """With the frame's grid, and nothing suppressed, boxes that meet no side are those of torchvision's own code."""
    plain = build(kind)
    for part in (plain, getattr(plain, "roi_heads", plain)):
        part.nms_thresh, part.detections_per_img, part.score_thresh, part.topk_candidates = 1.0, 10**6, 0.2, 10**6
    if kind == "faster":
        plain.rpn.nms_thresh = 1.0
        plain.rpn._pre_nms_top_n["testing"] = plain.rpn._post_nms_top_n["testing"] = 10**6
    model = mass.convert(plain, torch.rand(1, 3, 64, 64), origin="zero")
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = model(x), circular(plain)(list(x))
    for a, b in zip(ours, theirs, strict=True):
        a, b = (_inside(found) for found in (a, b))
        if kind == "faster":  # proposals that meet a side are pooled otherwise: all of theirs that meet none are ours
            a, b = b, a
        assert len(a["boxes"]) > 5
        for box, score, label in zip(a["boxes"], a["scores"], a["labels"], strict=True):
            near = (b["boxes"] - box).abs().amax(1) < 2e-3
            assert (near & (b["labels"] == label) & ((b["scores"] - score).abs() < 1e-4)).any()


def _inside(found, size=64):
    """Detections that lie in the frame, away from its sides, and are large enough to be told."""
    boxes = found["boxes"]
    keep = (boxes[:, :2] > 1).all(1) & (boxes[:, 2:] < size - 1).all(1)
    return {name: value[keep] for name, value in found.items()}


@pytest.mark.parametrize("kind", ["retinanet", "faster"])
def test_another_frame_finds_the_same_set(converted, kind, monkeypatch):
    """Which of the positions of the coarsest map the frame begins at is a matter of order alone."""
    _, model = converted(kind)
    x = torch.rand(1, 3, 64, 64)

    def elsewhere(dense, images):
        return [_in_another_frame(one, (1, 1)) for one in see(dense, images)]

    with torch.no_grad():
        found = model(x)[0]
        monkeypatch.setattr("mass.detection.detector.see", elsewhere)
        again = model(x)[0]
    assert len(found["boxes"]) == len(again["boxes"])
    overlaps = box_iou(found["boxes"], again["boxes"], (64, 64)) * (found["labels"][:, None] == again["labels"])
    assert (overlaps.amax(1) > 0.999).all() or kind == "faster"
    if kind == "retinanet":
        assert same_detections(found, again, (0, 0), (64, 64))


def _in_another_frame(seen, steps):
    from dataclasses import replace

    coarsest = max(seen.strides)
    maps = {
        name: {
            at: y.roll([-k * c // s for k, c, s in zip(steps, coarsest, stride, strict=True)], (1, 2))
            for (at, y), stride in zip(levels.items(), seen.strides, strict=True)
        }
        for name, levels in seen.maps.items()
    }
    frame = seen.frame + torch.tensor([k * c for k, c in zip(steps, coarsest, strict=True)])
    return replace(seen, maps=maps, frame=frame)


def test_ties_of_a_sparse_image(converted):
    """Two equal objects and nothing else: half of all scores are equal to another one."""
    _, model = converted("retinanet")
    x = torch.zeros(1, 3, 64, 64)
    patch = torch.rand(3, 9, 9)
    x[0, :, 3:12, 5:14] = x[0, :, 30:39, 40:49] = patch
    with torch.no_grad():
        found = model(x)[0]
        for t in shifts(8):
            assert first_difference(found, model(moved(x, t))[0], t, (64, 64)) == ""


def test_classes_are_those_of_the_original(converted):
    for kind in KINDS:
        _, model = converted(kind)
        with torch.no_grad():
            labels = model(torch.rand(1, 3, 64, 64))[0]["labels"]
        assert (labels < CLASSES).all() and (labels >= (0 if kind in ("retinanet", "fcos") else 1)).all()
