"""Faster, Mask and Keypoint R-CNN on the torus: proposals, windows around the border, boxes, masks and keypoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import FasterRCNN
from torchvision.models.detection.keypoint_rcnn import KeypointRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    keypointrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign, box_iou

from mass.axes import Pair
from mass.detection.anchors import Anchors, cells_of
from mass.detection.boxes import nearest, snap, wrapped
from mass.detection.dense import Seen
from mass.detection.detectors.detector import Losses, TorusDetector
from mass.detection.detectors.shared import TRANSFORM, anchors_of
from mass.detection.matching import match, target_of
from mass.detection.parts import Part, features
from mass.detection.pasting import paste_masks, place_keypoints
from mass.detection.pooling import pooled, unrolled
from mass.detection.selection import best_first, keep
from mass.detection.suppression import suppress

Targets = list[dict[str, Tensor]]
CODING = "encode", "encode_single", "decode_single"  # of a box coder, called here


class DenseRCNN(nn.Module):
    """Backbone and proposals' head: features, objectness and codes of all levels."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.rpn = model.backbone, model.rpn

    def forward(self, x: Tensor) -> dict[str, Any]:
        """(B, 3, H, W) -> by name, (B, A, h, w), (B, A 4, h, w) and (B, C, h, w) a level."""
        levels, head = features(self.backbone(x)), self.rpn.head
        seen = [head.conv(y) for y in levels.values()]
        return {
            "cls_logits": [head.cls_logits(y) for y in seen],
            "bbox_regression": [head.bbox_pred(y) for y in seen],
            "features": dict(levels),
        }


class TorusRCNN(TorusDetector):
    """What Faster, Mask and Keypoint R-CNN have in common."""

    dense_part = DenseRCNN
    mass_parts = (
        TRANSFORM,
        Part(
            "rpn",
            (RegionProposalNetwork,),
            called=("pre_nms_top_n", "post_nms_top_n", "compute_loss"),
            holds=(("box_similarity", box_iou),),
        ),
        Part("rpn.head", (RPNHead,)),
        anchors_of("rpn.anchor_generator"),
        Part("rpn.box_coder", (BoxCoder,), called=CODING),
        Part("roi_heads", (RoIHeads,), called=("has_mask", "has_keypoint", "subsample")),
        Part("roi_heads.box_coder", (BoxCoder,), called=CODING),
        *(Part(f"roi_heads.{name}_roi_pool", (MultiScaleRoIAlign,)) for name in ("box", "mask", "keypoint")),
    )
    rpn: Any
    roi_heads: Any

    def detect(self, seen: list[Seen]) -> list[dict[str, Tensor]]:
        heads = self.roi_heads
        proposals = [self._propose(one)[0] for one in seen]
        logits, codes = heads.box_predictor(heads.box_head(pooled(heads.box_roi_pool, seen, proposals)))
        counts = [len(own) for own in proposals]
        found = [
            self._boxes(*parts)
            for parts in zip(
                logits.split(counts), codes.split(counts), proposals, (one.size for one in seen), strict=True
            )
        ]
        boxes = [own["boxes"] for own in found]
        if heads.has_mask():
            windows = heads.mask_predictor(heads.mask_head(pooled(heads.mask_roi_pool, seen, boxes)))
            masks = maskrcnn_inference(windows, [own["labels"] for own in found])
            for own, mask, one in zip(found, masks, seen, strict=True):
                own["masks"] = paste_masks(mask, own["boxes"], one.size)
        if heads.has_keypoint():
            heat = heads.keypoint_predictor(heads.keypoint_head(pooled(heads.keypoint_roi_pool, seen, boxes)))
            for own, maps, one in zip(found, heat.split([len(own) for own in boxes]), seen, strict=True):
                own["keypoints"], own["keypoints_scores"] = place_keypoints(maps, own["boxes"], one.size)
        return found

    def _propose(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Proposals (R, 4), canonical; and of all anchors, themselves (N, 4), objectness (N, 1) and codes (N, 4)."""
        rpn = self.rpn
        anchors = Anchors(seen, cells_of(rpn.anchor_generator, seen))
        objectness, codes = torch.cat(seen.rows("cls_logits", 1)), torch.cat(seen.rows("bbox_regression", 4))
        best, start = [], 0
        for level in objectness.detach().flatten().split(anchors.counts):
            best.append(start + best_first(level, rpn.pre_nms_top_n()))
            start += len(level)
        which = torch.cat(best)
        levels = torch.repeat_interleave(torch.arange(len(best)), torch.tensor([len(b) for b in best])).to(which.device)
        boxes = wrapped(anchors.decode(rpn.box_coder, codes.detach()[which], which), seen.size)
        scores = torch.sigmoid(objectness.detach().flatten()[which])
        good = (boxes[:, 2:] - boxes[:, :2] >= rpn.min_size).all(1) & (scores >= rpn.score_thresh)
        boxes, scores, levels = boxes[good], scores[good], levels[good]
        order = best_first(scores)
        kept = order[suppress(boxes[order], rpn.nms_thresh, seen.size, levels[order])][: rpn.post_nms_top_n()]
        return boxes[kept], anchors.boxes, objectness, codes

    def _boxes(self, logits: Tensor, codes: Tensor, proposals: Tensor, size: Pair) -> dict[str, Tensor]:
        """What an image's proposals become: a box for each and each label, then what suppression leaves."""
        heads, scores = self.roi_heads, torch.softmax(logits, -1)
        base = proposals[:, :2].floor().repeat(1, 2)  # decoded relative to a pixel, then moved by it
        boxes = heads.box_coder.decode_single(codes.to(proposals), proposals - base).unflatten(1, (-1, 4))
        boxes = wrapped(snap(boxes, size) + base[:, None], size)
        labels = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        boxes, scores, labels = boxes[:, 1:].flatten(0, 1), scores[:, 1:].flatten(), labels[:, 1:].flatten()
        good = (scores > heads.score_thresh) & (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
        found = keep(boxes[good], scores[good], labels[good], heads.nms_thresh, heads.detections_per_img, size)
        return dict(zip(("boxes", "scores", "labels"), found, strict=True))

    def losses(self, seen: list[Seen], targets: Targets) -> Losses:
        proposals, *dense = zip(*(self._propose(one) for one in seen), strict=True)
        first = self._proposal_losses(seen, targets, *dense)
        return self._window_losses(seen, targets, list(proposals)) | first

    def _proposal_losses(self, seen: list[Seen], targets: Targets, anchors: Any, objectness: Any, codes: Any) -> Losses:
        rpn, labels, wanted = self.rpn, [], []
        for one, target, boxes in zip(seen, targets, anchors, strict=True):
            matched = match(rpn.proposal_matcher, target["boxes"], boxes, one.size)
            between = matched == rpn.proposal_matcher.BETWEEN_THRESHOLDS
            labels.append((matched >= 0).to(boxes.dtype).masked_fill(between, -1.0))
            wanted.append(target_of(target["boxes"], boxes, matched, one.size))
        changes = rpn.box_coder.encode(wanted, list(anchors))
        scoring, regressing = rpn.compute_loss(torch.cat(objectness), torch.cat(codes), labels, changes)
        return {"loss_objectness": scoring, "loss_rpn_box_reg": regressing}

    def _window_losses(self, seen: list[Seen], targets: Targets, proposals: list[Tensor]) -> Losses:
        heads, labels, wanted, matches = self.roi_heads, [], [], []
        proposals = [torch.cat([own, target["boxes"]]) for own, target in zip(proposals, targets, strict=True)]
        for one, target, boxes in zip(seen, targets, proposals, strict=True):
            matched = match(heads.proposal_matcher, target["boxes"], boxes, one.size)
            given = target["labels"] if len(target["labels"]) else target["labels"].new_zeros(1)
            own = given[matched.clamp(min=0)].masked_fill(matched == heads.proposal_matcher.BELOW_LOW_THRESHOLD, 0)
            labels.append(own.masked_fill(matched == heads.proposal_matcher.BETWEEN_THRESHOLDS, -1))
            matches.append(matched.clamp(min=0))
        for k, chosen in enumerate(heads.subsample(labels)):
            proposals[k], labels[k], matches[k] = proposals[k][chosen], labels[k][chosen], matches[k][chosen]
            wanted.append(target_of(targets[k]["boxes"], proposals[k], matches[k], seen[k].size))
        changes = heads.box_coder.encode(wanted, proposals)
        logits, codes = heads.box_predictor(heads.box_head(pooled(heads.box_roi_pool, seen, proposals)))
        scoring, regressing = fastrcnn_loss(logits, codes, labels, changes)
        found = {"loss_classifier": scoring, "loss_box_reg": regressing}
        positive = [(own > 0).nonzero().flatten() for own in labels]
        objects = [own[chosen] for own, chosen in zip(proposals, positive, strict=True)]
        matches = [own[chosen] for own, chosen in zip(matches, positive, strict=True)]
        if heads.has_mask():
            windows = heads.mask_predictor(heads.mask_head(pooled(heads.mask_roi_pool, seen, objects)))
            masks = [
                unrolled(t["masks"], 2 * one.size[0] + 1, 2 * one.size[1] + 1)
                for t, one in zip(targets, seen, strict=True)
            ]
            found["loss_mask"] = maskrcnn_loss(windows, objects, masks, [t["labels"] for t in targets], matches)
        if heads.has_keypoint():
            heat = heads.keypoint_predictor(heads.keypoint_head(pooled(heads.keypoint_roi_pool, seen, objects)))
            points = [_nearest_points(*parts) for parts in zip(targets, objects, matches, seen, strict=True)]
            every = [torch.arange(len(own), device=own.device) for own in objects]
            found["loss_keypoint"] = keypointrcnn_loss(heat, objects, points, every)
        return found


def _nearest_points(target: dict[str, Tensor], boxes: Tensor, matched: Tensor, seen: Seen) -> Tensor:
    """Of each window the keypoints of its target's nearest copy, (R, K, 3)."""
    own = target["boxes"][matched]
    by = nearest(own, boxes, seen.size)[:, None, :2] - own[:, None, :2]
    points = target["keypoints"][matched]
    return torch.cat([(points[..., :2] + by).to(points.dtype), points[..., 2:]], -1)


class TorusFasterRCNN(TorusRCNN, FasterRCNN):
    """Faster R-CNN on the torus."""


class TorusMaskRCNN(TorusRCNN, MaskRCNN):
    """Mask R-CNN on the torus."""

    needed = ("boxes", "labels", "masks")


class TorusKeypointRCNN(TorusRCNN, KeypointRCNN):
    """Keypoint R-CNN on the torus."""

    needed = ("boxes", "labels", "keypoints")
