"""A detector on the torus: what is common to those with one stage and with two.

A detector keeps torchvision's class, modules and `state_dict`, with `backbone` and heads replaced by their converted selves, which are
parts of one graph, `mass_dense`. Images are taken at the size they have; those of one size are a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.detection.anchors import check_levels
from mass.detection.boxes import snap, width_and_height, wrapped
from mass.detection.dense import Seen, convert_dense, see
from mass.detection.detectors.images import by_size, check_images, check_targets
from mass.detection.parts import Part, not_called, of_the_instance
from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted

Losses = dict[str, Tensor]


class TorusDetector(nn.Module):
    """A converted detector; `forward` is as the original's, without its resizing.

    Attributes:
        mass_dense: the converted graph of its dense part, over its own modules.
        mass_rule: by what origins are chosen, and canonical positions (mass.detection.dense).
        mass_parts: what it reads and does not call as a whole; mass_called: methods of the original that it calls.
        total_stride: what heights and widths must be multiples of.
    """

    mass_dense: Converted
    mass_rule: str
    transform: Any
    head: Any
    anchor_generator: Any
    proposal_matcher: Any
    box_coder: Any
    needed: tuple[str, ...] = ("boxes", "labels")  # of a target
    mass_parts: tuple[Part, ...] = ()
    mass_called: tuple[str, ...] = ()

    @staticmethod
    def dense_part(model: Any) -> nn.Module:
        """A module that computes all maps from normalised images: a dict of lists or dicts of levels."""
        raise NotImplementedError

    def detect(self, seen: list[Seen]) -> list[dict[str, Tensor]]:
        """What is found in each image, canonical."""
        raise NotImplementedError

    def losses(self, seen: list[Seen], targets: list[dict[str, Tensor]]) -> Losses:
        """The losses of the original, of canonical targets."""
        raise NotImplementedError

    @classmethod
    def of(cls, model: nn.Module, images: Tensor, origin: str, verify: bool) -> Self:
        """A copy of torchvision's detector, converted."""
        result: Any = copy.deepcopy(model)
        dense = cls.dense_part(result)
        dense.training = model.training
        normalised = result.transform.normalize(images)
        converted = convert_dense(dense, normalised, origin, verify)
        generator = result.rpn.anchor_generator if hasattr(result, "rpn") else result.anchor_generator
        check_levels(generator, sum(path.startswith("cls_logits") for path in converted.mass_outputs))
        for name, _ in dense.named_children():
            setattr(result, name, getattr(converted, name))
        result.__class__ = cls
        result.__dict__.update(mass_dense=converted, mass_rule=origin)
        return result

    @property
    def total_stride(self) -> Pair:
        """What heights and widths of images must be multiples of."""
        return self.mass_dense.total_stride

    def forward(self, images: Sequence[Tensor] | Tensor, targets: Sequence[Mapping[str, Tensor]] | None = None) -> Any:
        """Boxes, labels, scores (masks, keypoints) of each image; in training mode, losses.

        Args:
            images: a list of (C, H, W), of any sizes that the total stride divides, or a batch (B, C, H, W); in [0, 1], as the
                original takes them.
            targets: in training mode, a dict an image: `boxes` (N, 4), which may go on beyond the image's far sides, `labels` (N,),
                and what else the original learns from: `masks` (N, H, W) of the image's size, `keypoints` (N, K, 3), of which the copy
                nearest to the middle of their box counts.

        Returns:
            As the original. A box's first corner lies in the image, its second may lie beyond it
            (`mass.detection.split_at_seam`).

        Raises:
            NotEquivariantError: for what was changed since conversion and would not be called; TypeError, ValueError: for wrong images and
                targets.
        """
        self._check_parts()
        first = next(self.parameters())
        given = check_images(images, self.total_stride, first.device, first.dtype)
        wanted = check_targets(targets, given, self.needed) if self.training else []
        seen = self._see(given)
        if not self.training:
            return [self._in_image(found, one) for found, one in zip(self.detect(seen), seen, strict=True)]
        return self.losses(seen, [self._canonical(target, one) for target, one in zip(wanted, seen, strict=True)])

    def _check_parts(self) -> None:
        """Refuse what was changed since conversion and would not be called."""
        for part in self.mass_parts:
            part.check(self)
        kind: type = type(self)
        if own := of_the_instance(self, not_called(kind).difference(self.mass_called)):
            reason = f"the detector has a `{own[0]}` of its own, which a converted detector does not call"
            raise NotEquivariantError("", reason, "change what `forward` returns instead")

    def _see(self, images: list[Tensor]) -> list[Seen]:
        found: list[Seen | None] = [None] * len(images)
        for group in by_size(images):
            batch = self.transform.normalize(torch.stack([images[k] for k in group]))
            for k, one in zip(group, see(self.mass_dense, batch, self.mass_rule), strict=True):
                found[k] = one
        return [one for one in found if one is not None]

    def _in_image(self, found: dict[str, Tensor], seen: Seen) -> dict[str, Tensor]:
        """Canonical detections, moved back by whole pixels."""
        here = found["boxes"]
        boxes = wrapped(here + seen.offset, seen.size)
        moved = {**found, "boxes": boxes}
        if "keypoints" in found:  # with their box
            by = boxes[:, None, :2] - here[:, None, :2]
            moved["keypoints"] = torch.cat([found["keypoints"][..., :2] + by, found["keypoints"][..., 2:]], -1)
        if "masks" in found:
            moved["masks"] = found["masks"].roll(seen.canonical.tolist(), (-2, -1))
        return moved

    def _canonical(self, target: dict[str, Tensor], seen: Seen) -> dict[str, Tensor]:
        """Targets moved to the canonical position by whole pixels."""
        here = snap(target["boxes"].to(seen.boxes_like), seen.size)
        moved = {**target, "boxes": wrapped(here - seen.offset, seen.size)}
        if "keypoints" in target:
            by = moved["boxes"][:, None, :2] - here[:, None, :2]
            points = _beside(target["keypoints"], here, seen.size)
            moved["keypoints"] = torch.cat([(points[..., :2] + by).to(points.dtype), points[..., 2:]], -1)
        if "masks" in target:
            moved["masks"] = target["masks"].roll((-seen.canonical).tolist(), (-2, -1))
        return moved

    def train(self, mode: bool = True) -> Self:
        """As `torch.nn.Module.train`."""
        self.mass_dense.train(mode)  # first: it refuses where training is another computation
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        dense = self.mass_dense  # its modules are ours; what conversion added is its own
        for name, module in dense.named_children():
            if name.startswith("mass_"):
                module._apply(fn)
        dense._buffers.update({name: fn(value) for name, value in dense._buffers.items() if value is not None})
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        dense = self.__dict__.get("mass_dense")
        if isinstance(value, nn.Module) and dense is not None and name in dense._modules:
            reason = f"'{name}' cannot be replaced: the converted detector holds the inside of what was there"
            raise NotEquivariantError("", reason, "change the original, then convert it")
        super().__setattr__(name, value)


def _beside(points: Tensor, boxes: Tensor, size: Pair) -> Tensor:
    """Keypoints (N, K, 3), each moved around the image to the copy that lies nearest to the middle of its box (N, 4)."""
    whole = width_and_height(size, points)
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).to(points)[:, None]
    around = ((middle - points[..., :2]) / whole).round() * whole
    return torch.cat([points[..., :2] + around, points[..., 2:]], -1)
