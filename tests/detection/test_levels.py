"""Levels of a backbone: where each lies, under which names, and what is refused; targets that go with them."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

import mass
from mass.detection.dense import convert_dense, see


def block(inside, outside, stride):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.ReLU())


class Branches(nn.Module):
    """Two levels: one behind the other, or each from the image, or from one stem by strides that do not nest."""

    out_channels = 8

    def __init__(self, kind, names=("0", "1")):
        super().__init__()
        self.kind, self.names = kind, names
        self.stem, self.fine = block(3, 8, 2), block(8, 8, 2)
        self.coarse = block(8, 8, {"chain": 2, "columns": 2, "stem 4": 4, "stem 3": 3}[kind])
        self.column = nn.Sequential(block(3, 8, 2), block(8, 8, 2))

    def forward(self, x):
        y = self.stem(x)
        fine = self.fine(y)
        before = {"chain": fine, "columns": self.column(x)}.get(self.kind, y)
        return OrderedDict(zip(self.names, (fine, self.coarse(before)), strict=True))


def anchors(ratios=(1.0,)):
    return AnchorGenerator(((8,), (16,)), (ratios,) * 2)


def retinanet(kind):
    torch.manual_seed(0)
    return RetinaNet(Branches(kind), 3, anchor_generator=anchors(), score_thresh=0.001, detections_per_img=20).eval()


@pytest.mark.parametrize("kind", ["columns", "stem 4", "stem 3"])
def test_levels_of_parallel_branches_are_refused(kind):
    """Their origins are chosen apart, and the place of a sample of one is no sample of the other."""
    x = torch.rand(1, 3, 48, 48)
    retinanet(kind)(x)
    with pytest.raises(mass.NotEquivariantError, match="come of branches that choose their origins apart"):
        mass.convert(retinanet(kind), x)


class Pixels(nn.Module):
    """Levels that hold the image's own pixels, of strides 2 and 6."""

    def __init__(self):
        super().__init__()
        self.two, self.three = nn.Conv2d(3, 3, 1, 2), nn.Conv2d(3, 3, 1, 3)
        for conv in (self.two, self.three):
            nn.init.dirac_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, x):
        fine = self.two(x)
        return {"features": {"fine": fine, "coarse": self.three(fine)}}


def test_every_level_lies_where_it_is_read():
    """Position n of a level of stride s holds the pixel s n, counted from the canonical position."""
    x = torch.rand(6, 3, 48, 36, generator=torch.Generator().manual_seed(0))
    for one, image in zip(see(convert_dense(Pixels().eval(), x, "l2", True), x, "l2"), x, strict=True):
        assert one.strides == [(2, 2), (6, 6)]
        there = image.roll((-one.canonical).tolist(), (1, 2))
        for (name, y), stride in zip(one.maps["features"].items(), (2, 6), strict=True):
            assert torch.equal(y, there[:, ::stride, ::stride]), name


def rcnn(names, pooled, **parts):
    torch.manual_seed(0)
    return FasterRCNN(
        Branches("chain", names), 3, rpn_anchor_generator=anchors(), box_roi_pool=MultiScaleRoIAlign(pooled, 3, 2),
        box_score_thresh=0.01, rpn_post_nms_top_n_test=20, **parts,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("names", [(0, 1), ("c.3", "p[4]"), ("p[4", "p[4]")])
def test_levels_keep_the_names_that_the_backbone_gives_them(names):
    x = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))]
    ours, plainly = (mass.convert(rcnn(n, list(n)), x)(x)[0] for n in (names, ("0", "1")))
    assert len(ours["boxes"]) and all(torch.equal(ours[key], plainly[key]) for key in ours)


def test_pooling_from_levels_that_are_not_there_is_refused():
    x = [torch.rand(3, 64, 64)]
    with pytest.raises(mass.NotEquivariantError, match=r"reads levels \['2'\], and the backbone gives \['0', '1'\]"):
        mass.convert(rcnn(("0", "1"), ["2"]), x)(x)


def test_anchors_that_do_not_fit_the_head_are_refused():
    x = [torch.rand(3, 64, 64)]
    model = mass.convert(rcnn(("0", "1"), ["0", "1"]), x)
    model.rpn.anchor_generator = anchors((0.5, 1.0))
    with pytest.raises(mass.NotEquivariantError, match=r"has \[2, 2\] anchors a position, .* codes for \[1, 1\]"):
        model(x)
    model.rpn.anchor_generator = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    with pytest.raises(mass.NotEquivariantError, match=r"has \[1, 1, 1\] anchors a position"):
        model(x)


BOX = torch.tensor([[50.0, 10.0, 80.0, 40.0]])


@pytest.mark.parametrize("shape", [(1, 50, 60), (1, 1, 64, 64), (1, 64, 60)])
def test_masks_of_another_size_than_the_image_are_refused(shape):
    torch.manual_seed(0)
    model = MaskRCNN(Branches("chain"), 3, rpn_anchor_generator=anchors(), box_roi_pool=MultiScaleRoIAlign(["0", "1"], 3, 2),
                     mask_roi_pool=MultiScaleRoIAlign(["0", "1"], 6, 2))  # fmt: skip
    x = [torch.rand(3, 64, 64)]
    target = {"boxes": BOX, "labels": torch.tensor([1]), "masks": torch.zeros(shape, dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"must be \(N, 64, 64\), of its image's size, got .* pad them as the image"):
        mass.convert(model, x).train()(x, [target])


def test_keypoints_count_beside_their_box():
    """Given as they are seen in the image, or beyond it as their box is: the same losses."""
    torch.manual_seed(0)
    model = KeypointRCNN(Branches("chain"), 2, num_keypoints=3, rpn_anchor_generator=anchors(),
                         box_roi_pool=MultiScaleRoIAlign(["0", "1"], 3, 2),
                         keypoint_roi_pool=MultiScaleRoIAlign(["0", "1"], 6, 2))  # fmt: skip
    x = [torch.rand(3, 64, 64)]
    converted = mass.convert(model, x).train()
    beyond = torch.tensor([[[66.0, 20, 1], [70.0, 30, 1], [55.0, 25, 1]]])
    inside = torch.tensor([[[2.0, 20, 1], [6.0, 30, 1], [55.0, 25, 1]]])
    losses = []
    for points in (beyond, inside):
        torch.manual_seed(0)
        losses.append(converted(x, [{"boxes": BOX, "labels": torch.tensor([1]), "keypoints": points}]))
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    wrong = {"boxes": BOX, "labels": torch.tensor([1]), "keypoints": beyond[..., :2]}
    with pytest.raises(ValueError, match=r"must be \(N, K, 3\), x, y and visibility, got \(1, 3, 2\)"):
        converted(x, [wrong])


@pytest.mark.parametrize("shift", [(0.5, 0), 3, torch.tensor([[0, 3]]), torch.tensor([0.5, 1.0]), ("1", "2")])
def test_shifts_of_boxes_are_whole_pixels(shift):
    found = {"boxes": BOX, "labels": torch.tensor([1])}
    for function in (lambda: mass.detection.shift_boxes(BOX, shift, (64, 64)),
                     lambda: mass.detection.shift_detections(found, shift, (64, 64))):  # fmt: skip
        with pytest.raises(TypeError, match="shift must be a pair of whole pixels"):
            function()
    by = torch.tensor([2, 3])
    assert torch.equal(mass.detection.shift_boxes(BOX, by, (64, 64)), mass.detection.shift_boxes(BOX, (2, 3), (64, 64)))


def test_a_batch_of_maps_is_no_map():
    with pytest.raises(ValueError, match=r"features must be one map \(C, h, w\), got \(1, 8, 4, 4\)"):
        mass.detection.roi_align(torch.rand(1, 8, 4, 4), BOX, (3, 3), (64, 64))
