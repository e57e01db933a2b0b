"""Parts of two-stage detectors, against torchvision's own where nothing meets a side, and against brute force where it does."""

import pytest
import torch

pytest.importorskip("torchvision")
from small_detectors import build
from torchvision.models.detection import roi_heads
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign

import mass
from mass.detection import nearest, roi_align, shift_boxes, snap, wrap
from mass.detection.anchors import Anchors, cells_of
from mass.detection.dense import Seen
from mass.detection.pasting import paste_masks, place_keypoints
from mass.detection.pooling import pooled

SIZE = (64, 64)


def boxes_inside(count, seed=0, least=2.0, most=24.0):
    generator = torch.Generator().manual_seed(seed)
    extent = torch.rand(count, 2, generator=generator) * (most - least) + least
    first = torch.rand(count, 2, generator=generator) * (60 - extent - 4) + 2
    return snap(torch.cat([first, first + extent], 1), SIZE)


def seen_maps(channels=5, **others):
    torch.manual_seed(1)
    levels = {str(k): torch.randn(channels, 64 // s, 64 // s) for k, s in enumerate((8, 16, 32))}
    return Seen({"features": levels, **others}, [(8, 8), (16, 16), (32, 32)], torch.zeros(2).long(), SIZE)


def test_windows_inside_are_torchvisions():
    seen, boxes = seen_maps(), boxes_inside(40)
    boxes = boxes[(boxes[:, 2:] < 32).all(1)]  # the coarsest map's last sample is at 32; beyond it theirs stands still
    pool = MultiScaleRoIAlign(["0", "1", "2"], 5, 2, canonical_scale=16)
    expected = pool({name: y[None] for name, y in seen.maps["features"].items()}, [boxes], [SIZE])
    assert torch.allclose(pooled(pool, [seen], [boxes]), expected, atol=1e-5)


@pytest.mark.parametrize("t", [(0, 0), (8, 16), (56, 40)])
def test_windows_read_on_around_the_border(t):
    """A window on a map moved by whole steps is the window, wherever it begins."""
    y, boxes = torch.randn(3, 8, 8), wrap(boxes_inside(20) - 30, SIZE)
    moved = mass.shift(y[None], torch.tensor([[t[0] // 8, t[1] // 8]]))[0]
    assert torch.allclose(
        roi_align(moved, shift_boxes(boxes, t, SIZE), (4, 3), SIZE), roi_align(y, boxes, (4, 3), SIZE), atol=1e-5
    )


def bilinear(y, row, column):
    """A map's value between four samples, the first of which follows the last."""
    _, height, width = y.shape
    i, j = int(row // 1), int(column // 1)
    a, b = row - i, column - j
    at = lambda di, dj: y[:, (i + di) % height, (j + dj) % width]
    return (1 - a) * ((1 - b) * at(0, 0) + b * at(0, 1)) + a * ((1 - b) * at(1, 0) + b * at(1, 1))


def test_windows_sample_by_sample():
    y = torch.randn(2, 8, 8)
    boxes = torch.tensor([[50.0, 40.0, 90.0, 76.0], [0.0, 63.0, 64.0, 127.0]])
    found = roi_align(y, boxes, (3, 2), SIZE, sampling_ratio=2)
    for k, (x1, y1, x2, y2) in enumerate((boxes / 8).tolist()):
        for i in range(3):
            for j in range(2):
                rows = [y1 + (i + (a + 0.5) / 2) * (y2 - y1) / 3 for a in (0, 1)]
                columns = [x1 + (j + (a + 0.5) / 2) * (x2 - x1) / 2 for a in (0, 1)]
                mean = sum(bilinear(y, r, c) for r in rows for c in columns) / 4
                assert torch.allclose(found[k, :, i, j], mean, atol=1e-5)


def test_anchors_are_torchvisions():
    model = build("retinanet")
    maps = {str(k): torch.zeros(12, 64 // s, 128 // s) for k, s in enumerate((8, 16, 32))}
    seen = Seen(
        {"cls_logits": maps, "bbox_regression": maps}, [(8, 8), (16, 16), (32, 32)], torch.zeros(2).long(), (64, 128)
    )
    images = ImageList(torch.zeros(1, 3, 64, 128), [(64, 128)])
    (expected,) = model.anchor_generator(images, [y[None] for y in maps.values()])
    anchors = Anchors(seen, cells_of(model.anchor_generator, seen))
    assert torch.equal(anchors.boxes, expected) and sum(anchors.counts) == len(expected)


def test_default_boxes_are_torchvisions():
    model = build("ssdlite")
    maps = {str(k): torch.zeros(12, 64 // s, 64 // s) for k, s in enumerate((8, 16, 32, 64))}
    codes = {
        at: torch.zeros(4 * n, *y.shape[1:])
        for (at, y), n in zip(maps.items(), model.anchor_generator.num_anchors_per_location(), strict=True)
    }
    seen = Seen(
        {"cls_logits": maps, "bbox_regression": codes}, [(s, s) for s in (8, 16, 32, 64)], torch.zeros(2).long(), SIZE
    )
    images = ImageList(torch.zeros(1, 3, 64, 64), [SIZE])
    (expected,) = model.anchor_generator(images, [y[None] for y in maps.values()])
    assert torch.allclose(Anchors(seen, cells_of(model.anchor_generator, seen, SIZE)).boxes, expected, atol=1e-5)


def test_masks_inside_are_pasted_as_by_torchvision():
    boxes, masks = boxes_inside(15, least=5.0), torch.rand(15, 1, 6, 6)
    away = boxes + 2  # enlarged, they stay inside
    assert torch.allclose(paste_masks(masks, away, SIZE), roi_heads.paste_masks_in_image(masks, away, SIZE), atol=1e-6)


@pytest.mark.parametrize("t", [(1, 0), (40, 50), (63, 63)])
def test_masks_and_keypoints_move_by_whole_pixels(t):
    boxes, masks = boxes_inside(15, most=50.0), torch.rand(15, 1, 6, 6)
    moved = shift_boxes(boxes, t, SIZE)
    assert torch.equal(paste_masks(masks, moved, SIZE), paste_masks(masks, boxes, SIZE).roll((-t[0], -t[1]), (2, 3)))
    heat = torch.rand(15, 4, 6, 6)
    (here, score), (there, again) = place_keypoints(heat, boxes, SIZE), place_keypoints(heat, moved, SIZE)
    assert torch.equal(score, again)
    assert torch.equal(there[..., :2] - moved[:, None, :2], here[..., :2] - boxes[:, None, :2])


def test_keypoints_are_torchvisions():
    boxes, heat = boxes_inside(15), torch.rand(15, 4, 6, 6)
    points, scores = place_keypoints(heat, boxes, SIZE)
    expected, their_scores = roi_heads.heatmaps_to_keypoints(heat, boxes)
    assert torch.allclose(points, expected, atol=2e-3) and torch.equal(scores, their_scores)


def test_proposals_and_boxes_are_torchvisions_where_nothing_meets_a_side():
    model = build("faster")
    model.rpn._pre_nms_top_n["testing"] = model.rpn._post_nms_top_n["testing"] = 10**6
    converted = mass.convert(model, torch.rand(1, 3, 64, 64), verify=False)
    torch.manual_seed(3)
    shapes = [(64 // s, 64 // s) for s in (8, 16, 32)]
    logits = {str(k): torch.randn(3, *shape) for k, shape in enumerate(shapes)}
    codes = {str(k): torch.randn(12, *shape) * 0.1 for k, shape in enumerate(shapes)}
    seen = seen_maps(cls_logits=logits, bbox_regression=codes)
    model.rpn.nms_thresh = converted.rpn.nms_thresh = 1.0
    ours = converted._propose(seen)[0]
    scores, deltas = ([y[None] for y in maps.values()] for maps in (logits, codes))
    objectness, changes = concat_box_prediction_layers(scores, deltas)
    anchors = model.rpn.anchor_generator(ImageList(torch.zeros(1, 3, 64, 64), [SIZE]), scores)
    decoded = model.rpn.box_coder.decode(changes, anchors).view(1, -1, 4)
    (theirs,), _ = model.rpn.filter_proposals(decoded, objectness, [SIZE], [3 * h * w for h, w in shapes])
    theirs = theirs[(theirs[:, :2] > 0).all(1) & (theirs[:, 2:] < 64).all(1)]
    assert len(theirs) > 20
    assert all(((ours - box).abs().amax(1) < 2e-3).any() for box in theirs)
    proposals, scored, regressed = boxes_inside(30), torch.randn(30, 4), torch.randn(30, 16) * 0.1
    found = converted._boxes(scored, regressed, proposals, SIZE)
    heads = model.roi_heads
    expected = heads.postprocess_detections(scored, regressed, [proposals], [SIZE])
    for name, (value,) in zip(("boxes", "scores", "labels"), expected, strict=True):
        assert torch.allclose(found[name].double(), value.double(), atol=2e-3)


def test_the_nearest_copy_of_a_box_beyond_the_side():
    target, window = torch.tensor([[60.0, 10.0, 70.0, 20.0]]), torch.tensor([[1.0, 11.0, 7.0, 19.0]])
    assert nearest(target, window, SIZE).tolist() == [[-4.0, 10.0, 6.0, 20.0]]
