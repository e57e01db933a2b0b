"""RetinaNet, FCOS, SSD and SSDLite on the torus."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import (
    RetinaNet,
    RetinaNetClassificationHead,
    RetinaNetHead,
    RetinaNetRegressionHead,
)
from torchvision.models.detection.ssd import SSD, SSDHead, SSDScoringHead
from torchvision.models.detection.ssdlite import SSDLiteHead

from mass.detection.anchors import Anchors, cells_of
from mass.detection.boxes import nearest, wrapped
from mass.detection.dense import Seen
from mass.detection.detectors.detector import Losses, TorusDetector
from mass.detection.detectors.shared import TRANSFORM, anchors_of
from mass.detection.matching import match, one_a_box
from mass.detection.parts import Part, features
from mass.detection.selection import best_first, keep, of_levels
from mass.errors import NotEquivariantError

COMMON = (TRANSFORM, anchors_of("anchor_generator"))


class DenseRetinaNet(nn.Module):
    """Backbone and head of RetinaNet: logits and codes of all levels."""

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        """(B, 3, H, W) -> by name, (B, A K, h, w) and (B, A 4, h, w) a level."""
        levels = features(self.backbone(x)).values()
        scoring, regressing = self.head.classification_head, self.head.regression_head
        return {
            "cls_logits": [scoring.cls_logits(scoring.conv(y)) for y in levels],
            "bbox_regression": [regressing.bbox_reg(regressing.conv(y)) for y in levels],
        }


class TorusRetinaNet(TorusDetector, RetinaNet):
    """RetinaNet on the torus."""

    dense_part = DenseRetinaNet
    mass_parts = (
        *COMMON,
        Part("head", (RetinaNetHead,), called=("compute_loss",)),
        Part("head.classification_head", (RetinaNetClassificationHead,), called=("compute_loss",)),
        Part("head.regression_head", (RetinaNetRegressionHead,), called=("compute_loss",)),
    )

    def detect(self, seen: list[Seen]) -> list[dict[str, Tensor]]:
        found = []
        for one in seen:
            anchors = Anchors(one, cells_of(self.anchor_generator, one))
            logits = torch.cat(one.rows("cls_logits", self.head.classification_head.num_classes))
            codes = torch.cat(one.rows("bbox_regression", 4))
            found.append(of_levels(self, torch.sigmoid(logits), codes, anchors))
        return found

    def losses(self, seen: list[Seen], targets: list[dict[str, Tensor]]) -> Losses:
        boxes, given, matched, logits, codes = [], [], [], [], []
        for one, target in zip(seen, targets, strict=True):
            anchors = Anchors(one, cells_of(self.anchor_generator, one)).boxes
            own, index = one_a_box(
                target, anchors, match(self.proposal_matcher, target["boxes"], anchors, one.size), one.size
            )
            boxes.append(anchors)
            given.append(own)
            matched.append(index)
            logits.append(torch.cat(one.rows("cls_logits", self.head.classification_head.num_classes)))
            codes.append(torch.cat(one.rows("bbox_regression", 4)))
        return self.head.compute_loss(given, {"cls_logits": logits, "bbox_regression": codes}, boxes, matched)


class DenseFCOS(nn.Module):
    """Backbone and head of FCOS: logits, codes and centredness of all levels."""

    def __init__(self, model: FCOS) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        """(B, 3, H, W) -> by name, (B, K, h, w), (B, 4, h, w) and (B, 1, h, w) a level."""
        levels = features(self.backbone(x)).values()
        scoring, regressing = self.head.classification_head, self.head.regression_head
        seen = [regressing.conv(y) for y in levels]
        return {
            "cls_logits": [scoring.cls_logits(scoring.conv(y)) for y in levels],
            "bbox_regression": [nn.functional.relu(regressing.bbox_reg(y)) for y in seen],
            "bbox_ctrness": [regressing.bbox_ctrness(y) for y in seen],
        }


class TorusFCOS(TorusDetector, FCOS):
    """FCOS on the torus."""

    dense_part = DenseFCOS
    mass_parts = (
        *COMMON,
        Part("head", (FCOSHead,), called=("compute_loss",)),
        Part("head.classification_head", (FCOSClassificationHead,)),
        Part("head.regression_head", (FCOSRegressionHead,)),
    )
    center_sampling_radius: float

    def _outputs(self, seen: Seen) -> dict[str, Tensor]:
        channels = {"cls_logits": self.head.classification_head.num_classes, "bbox_regression": 4, "bbox_ctrness": 1}
        return {name: torch.cat(seen.rows(name, count)) for name, count in channels.items()}

    def detect(self, seen: list[Seen]) -> list[dict[str, Tensor]]:
        found = []
        for one in seen:
            outputs = self._outputs(one)
            scores = torch.sqrt(torch.sigmoid(outputs["cls_logits"]) * torch.sigmoid(outputs["bbox_ctrness"]))
            anchors = Anchors(one, cells_of(self.anchor_generator, one))
            found.append(of_levels(self, scores, outputs["bbox_regression"], anchors))
        return found

    def losses(self, seen: list[Seen], targets: list[dict[str, Tensor]]) -> Losses:
        every, given, matched = [], [], list[Tensor]()
        for one, target in zip(seen, targets, strict=True):
            anchors = Anchors(one, cells_of(self.anchor_generator, one))
            own, index = one_a_box(target, anchors.boxes, self._match(anchors, target["boxes"]), one.size)
            every.append(anchors.boxes)
            given.append(own)
            matched.append(torch.where(index >= 0, index + sum(len(m) for m in matched), index))
        # Its losses are sums over anchors, over the number of matches: all images are one.
        outputs = [self._outputs(one) for one in seen]
        joined = {name: torch.cat([of[name] for of in outputs])[None] for name in outputs[0]}
        target = {name: torch.cat([own[name] for own in given]) for name in given[0]}
        return self.head.compute_loss([target], joined, [torch.cat(every)], [torch.cat(matched)])

    def _match(self, anchors: Anchors, targets: Tensor) -> Tensor:
        """The target of each anchor: one at whose centre it lies, inside, of its level's scale; the smallest (FCOS, section 3)."""
        boxes, first, last = anchors.boxes, anchors.counts[0], anchors.counts[-1]
        if not len(targets):
            return torch.full((len(boxes),), -1, dtype=torch.int64, device=boxes.device)
        extent = boxes[:, 2] - boxes[:, 0]
        centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2  # (N, 1, 2)
        copies = nearest(targets[None], boxes[:, None], anchors.size)  # (N, M, 4)
        apart = (centre - (copies[..., :2] + copies[..., 2:]) / 2).abs().amax(-1)
        sides = torch.cat([centre - copies[..., :2], copies[..., 2:] - centre], -1)
        lower, upper = extent * 4, extent * 8
        lower[:first], upper[-last:] = 0, float("inf")
        reach = sides.amax(-1)
        fits = (apart < self.center_sampling_radius * extent[:, None]) & (sides.amin(-1) > 0)
        fits &= (reach > lower[:, None]) & (reach < upper[:, None])
        area = (targets[:, 2:] - targets[:, :2]).prod(1)
        worth, index = (fits.to(area) * (1e8 - area)).max(1)
        return torch.where(worth < 1e-5, -1, index)


class DenseSSD(nn.Module):
    """Backbone and head of SSD and SSDLite: logits and codes of all levels.

    Windows without padding, as in the last levels of SSD300, are centred on their positions: on a circle they see the same.
    """

    def __init__(self, model: SSD) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        for name, module in self.backbone.named_modules():
            if isinstance(module, nn.Conv2d) and module.stride == (1, 1) and module.padding == (0, 0):
                if any(k % 2 == 0 for k in module.kernel_size):
                    reason = f"a window of {module.kernel_size} without padding is centred on no position"
                    raise NotEquivariantError(f"backbone.{name}", reason, "take a backbone with windows of odd size")
                module.padding = tuple(d * (k // 2) for d, k in zip(module.dilation, module.kernel_size, strict=True))
                module._reversed_padding_repeated_twice = [p for p in reversed(module.padding) for _ in (0, 1)]

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        """(B, 3, H, W) -> by name, (B, A K, h, w) and (B, A 4, h, w) a level."""
        levels = list(features(self.backbone(x)).values())
        scoring, regressing = self.head.classification_head.module_list, self.head.regression_head.module_list
        return {
            "cls_logits": [layer(y) for layer, y in zip(scoring, levels, strict=True)],
            "bbox_regression": [layer(y) for layer, y in zip(regressing, levels, strict=True)],
        }


class TorusSSD(TorusDetector, SSD):
    """SSD and SSDLite on the torus. Default boxes are as large, in pixels, as in images of the model's own size."""

    dense_part = DenseSSD
    mass_parts = (
        *COMMON,
        Part("head", (SSDHead, SSDLiteHead)),
        Part("head.classification_head", (SSDScoringHead,)),
        Part("head.regression_head", (SSDScoringHead,)),
    )
    mass_called = ("compute_loss",)
    score_thresh: float
    nms_thresh: float
    detections_per_img: int
    topk_candidates: int
    compute_loss: Any

    def _anchors(self, seen: Seen) -> Anchors:
        width, height = self.transform.fixed_size
        return Anchors(seen, cells_of(self.anchor_generator, seen, (height, width)))

    def _outputs(self, seen: Seen) -> dict[str, Tensor]:
        channels = {"cls_logits": self.head.classification_head.num_columns, "bbox_regression": 4}
        return {name: torch.cat(seen.rows(name, count)) for name, count in channels.items()}

    def detect(self, seen: list[Seen]) -> list[dict[str, Tensor]]:
        found = []
        for one in seen:
            anchors, outputs = self._anchors(one), self._outputs(one)
            scores = torch.softmax(outputs["cls_logits"], -1)
            which, labels = [], []
            for label in range(1, scores.shape[1]):
                candidates = (scores[:, label] > self.score_thresh).nonzero().flatten()
                which.append(candidates[best_first(scores[candidates, label], self.topk_candidates)])
                labels.append(torch.full_like(which[-1], label))
            anchor, label_of = torch.cat(which), torch.cat(labels)
            boxes = wrapped(anchors.decode(self.box_coder, outputs["bbox_regression"][anchor], anchor), one.size)
            kept = keep(boxes, scores[anchor, label_of], label_of, self.nms_thresh, self.detections_per_img, one.size)
            found.append(dict(zip(("boxes", "scores", "labels"), kept, strict=True)))
        return found

    def losses(self, seen: list[Seen], targets: list[dict[str, Tensor]]) -> Losses:
        """Hard negatives are mined image by image, and losses are sums over the number of matches of all images."""
        sums: dict[str, list[Tensor]] = {}
        matches = 0
        for one, target in zip(seen, targets, strict=True):
            anchors, outputs = self._anchors(one).boxes, self._outputs(one)
            matched = match(self.proposal_matcher, target["boxes"], anchors, one.size)
            own, index = one_a_box(target, anchors, matched, one.size)
            count = int((matched >= 0).sum())
            losses = self.compute_loss([own], {n: y[None] for n, y in outputs.items()}, [anchors], [index])
            for name, value in losses.items():
                sums.setdefault(name, []).append(value * max(1, count))
            matches += count
        return {name: torch.stack(values).sum() / max(1, matches) for name, values in sums.items()}
