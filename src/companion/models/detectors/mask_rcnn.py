"""A small Mask R-CNN (He et al., 2017), torchvision's, for defects of a few pixels: two levels, narrow heads."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from companion.models.cifar_resnets import BasicBlock
from companion.models.loading import load_into

SIDE = 64  # of the images, which are taken as they are
_WIDTH = 32
_SCORE = 0.3  # the least of a detection


class Body(nn.Module):
    """A ResNet of two basic blocks: (B, 1, H, W) -> maps of strides 4 and 8."""

    out_channels = _WIDTH

    def __init__(self, filtering: str | None, place: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.fine = BasicBlock(16, _WIDTH, 2, filtering, place, "B")
        self.coarse = BasicBlock(_WIDTH, _WIDTH, 2, filtering, place, "B")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.fine(self.stem(x))
        return {"0": fine, "1": self.coarse(fine)}


def mask_rcnn(
    filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None
) -> nn.Module:
    """For grey images, normalised before, and five kinds of defects."""
    classes = 6  # with the background

    def windows(side: int) -> nn.Module:
        return MultiScaleRoIAlign(["0", "1"], side, 2, canonical_scale=16, canonical_level=2)

    model = MaskRCNN(
        Body(filtering, place), min_size=SIDE, max_size=SIDE, image_mean=[0.0], image_std=[1.0],
        rpn_anchor_generator=AnchorGenerator(((8,), (16,)), ((1.0,),) * 2),
        rpn_pre_nms_top_n_train=100, rpn_post_nms_top_n_train=50, rpn_pre_nms_top_n_test=100, rpn_post_nms_top_n_test=30,
        rpn_batch_size_per_image=64, box_batch_size_per_image=32, box_detections_per_img=10, box_score_thresh=_SCORE, box_nms_thresh=0.3,
        box_roi_pool=windows(5), box_head=TwoMLPHead(_WIDTH * 25, 64), box_predictor=FastRCNNPredictor(64, classes),
        mask_roi_pool=windows(10), mask_head=MaskRCNNHeads(_WIDTH, (_WIDTH, _WIDTH), 1),
        mask_predictor=MaskRCNNPredictor(_WIDTH, _WIDTH, classes),
    )  # fmt: skip
    if weights is not None:
        load_into(model, weights, "a small Mask R-CNN")
    return model
