"""`mass.certify` of detectors: bit-identical sets of detections, wherever the image lies?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.detection.boxes import snap
from mass.detection.detections import first_difference, shift_detections
from mass.evaluate.certificate import Certificate, ComparedOutput, Outcome
from mass.evaluate.inputs import ModelInputs
from mass.evaluate.progress import Progress
from mass.evaluate.shifts import Shifts, are_all, given_shifts, shifts_to_try
from mass.functional.shift import shift
from mass.motion import Motion
from mass.nn.evaluating import evaluating

_GROSS = 1e-3  # of an image: above it a different phase was sampled, below it the same numbers were rounded differently
_SYMMETRIES = 64  # of an image, tried at most


@dataclass(frozen=True)
class ComparedDetections(ComparedOutput):
    """The detections of an image; `path` names what they are made of, `shape` is how many there are in each image."""

    def __str__(self) -> str:
        return f"{self.path}: {', '.join(map(str, self.shape))} detections, move along"


@dataclass
class DetectionCertificate(Certificate):
    """What `mass.certify` found of a detector.

    Attributes:
        difference: the first detection, of the first image, that is not what it was moved along, in words; '' if all are.
    """

    difference: str = ""

    @property
    def verdict(self) -> str:
        """The same in one sentence."""
        if not self.difference and not any(any(output.shape) for output in self.outputs):
            return f"{super().verdict} Nothing was detected in any of them: nothing was compared but that."
        if not self.difference or self.outcome in (Outcome.NOT_FINITE, Outcome.UP_TO_SYMMETRY):
            return super().verdict
        if self.outcome == Outcome.NONDETERMINISTIC:
            return f"NOT CERTIFIED: the detector is not deterministic: called again, {self.difference}."
        kind = "a matter of rounding" if self.outcome == Outcome.ROUNDING else "the detector finds something else"
        changed = int((~self.identical).sum())
        return f"NOT CERTIFIED: {changed} of {len(self.identical)} images change, {kind}: {self.difference}."


def certify(
    model: nn.Module,
    images: Sequence[Tensor] | Tensor,
    shifts: str | int | Iterable[Pair] | None = None,
    *,
    stop: bool = False,
    progress: bool | None = None,
) -> DetectionCertificate:
    """Compare what a detector finds in images and in their circular shifts, as sets, bit by bit. `mass.certify` calls this.

    Args:
        model: a converted detector, or torchvision's own.
        images: a list of (C, H, W), of one or of several sizes, or a batch (B, C, H, W).
        shifts, stop, progress: as of `mass.certify`. A detector tells all shifts of the largest image apart, for the canonical position is
            chosen among all positions.

    Raises:
        TypeError, ValueError: for anything but images; what the detector itself refuses.

    Boxes of converted detectors lie on fractions of a pixel that add exactly (`mass.detection.boxes.snap`); those of others are moved on
    that grid, and are not certified where they lie between.
    """
    given = list(images) if isinstance(images, Sequence | Tensor) else []
    if not given or not all(isinstance(image, Tensor) and image.ndim == 3 for image in given):
        raise TypeError("expected the images of a detector, a list of tensors (C, H, W) or a batch (B, C, H, W).")
    size = max(image.shape[1] for image in given), max(image.shape[2] for image in given)
    planned = shifts_to_try(given_shifts(shifts), size, size)
    line, seen, tried = Progress(progress), _Comparison(model, given), Shifts()
    with evaluating(model):
        try:
            line.begin("")
            repeats = seen.holds((0, 0))
            for t in planned if repeats else ():
                tried.append(t)
                holds = seen.holds(t)
                line.step(len(tried), len(planned))
                if stop and not holds:
                    break
        finally:
            line.end()
    return seen.certificate(tried, size, repeats, stop and len(tried) < len(planned))


class _Comparison:
    """What a detector finds in images, beside what it found at first."""

    def __init__(self, model: nn.Module, images: list[Tensor]) -> None:
        self.model, self.images, count = model, images, len(images)
        self.found: list[dict[str, Tensor]] = []
        self.identical = torch.ones(count, dtype=torch.bool)
        self.gap = torch.zeros(count, dtype=torch.float64)
        self.symmetry: list[Pair | None] = [None] * count
        self.unexplained: set[int] = set()
        self.difference, self.worst, self.gross = "", cast(Pair | None, None), False
        self.not_finite = [k for k, image in enumerate(images) if not bool(image.isfinite().all())]

    def _run(self, t: Pair) -> list[dict[str, Tensor]]:
        by = torch.tensor([t], device=self.images[0].device)
        return self.model([shift(image[None], by)[0] if any(t) else image.clone() for image in self.images])

    def holds(self, t: Pair) -> bool:
        """Whether all detections under a shift are those without it, moved along."""
        if not self.found:
            self.found = self._run((0, 0))
        holds = True
        for k, (was, now, image) in enumerate(zip(self.found, self._run(t), self.images, strict=True)):
            size = image.shape[1], image.shape[2]
            said = first_difference(was, now, t, size)
            if not said and any(t) and not (_on_grid(was, size) and _on_grid(now, size)):
                said = "boxes are the same when they are rounded to fractions of a pixel that add exactly, and not on these"
            if not said:
                continue
            self.identical[k] = holds = False
            moved, found = shift_detections(was, t, size), shift_detections(now, (0, 0), size)
            gap = _gap(moved, found, size)
            self.gross |= gap > _GROSS * max(size) or _gap_of_masks(moved, found) > _GROSS
            self.worst = t if self.worst is None or gap > self.gap.max() else self.worst
            self.gap[k] = max(float(self.gap[k]), gap)
            self.difference = self.difference or f"shift {t}, image {k}, {said}"
            if k not in self.unexplained:
                self._explain(k, was, now, t)
        return holds

    def _explain(self, k: int, was: Any, now: Any, t: Pair) -> None:
        """Note the symmetry of an image that explains what it became, or that none does."""
        size = self.images[k].shape[1], self.images[k].shape[2]
        for g in ModelInputs.of(self.images[k][None]).symmetries(0)[:_SYMMETRIES]:
            if not first_difference(was, now, (t[0] + g[0], t[1] + g[1]), size):
                self.symmetry[k] = self.symmetry[k] or g
                return
        self.unexplained.add(k)
        self.symmetry[k] = None

    def certificate(self, tried: Shifts, size: Pair, repeats: bool, stopped: bool) -> DetectionCertificate:
        """All of it together."""
        if self.not_finite:
            outcome = Outcome.NOT_FINITE
            self.identical[self.not_finite] = False
        elif not repeats:
            outcome = Outcome.NONDETERMINISTIC
        elif bool(self.identical.all()):
            outcome = Outcome.CERTIFIED if are_all(tried, size) else Outcome.IDENTICAL
        elif not self.unexplained:
            outcome = Outcome.UP_TO_SYMMETRY
        else:
            outcome = Outcome.OTHER_PHASE if self.gross else Outcome.ROUNDING
        made_of = ", ".join(self.found[0])
        return DetectionCertificate(
            outcome=outcome,
            identical=self.identical,
            max_difference=self.gap,
            margin=torch.full((len(self.images),), torch.nan).double(),
            symmetry=self.symmetry,
            shifts=tried,
            residues=size,
            outputs=[ComparedDetections(made_of, tuple(len(own["boxes"]) for own in self.found), Motion(), None)],
            not_compared=[],
            not_finite=self.not_finite,
            worst=self.worst,
            stopped=stopped,
            difference=self.difference,
        )


def _on_grid(found: dict[str, Tensor], size: Pair) -> bool:
    snapped = snap(found["boxes"], size)
    return torch.equal(snapped, found["boxes"].to(snapped.dtype))


def _gap_of_masks(was: dict[str, Tensor], now: dict[str, Tensor]) -> float:
    """The largest difference of a value of a mask, in the order of scores; 0 where there are none, or not the same number."""
    masks = [found.get("masks") for found in (was, now)]
    if masks[0] is None or masks[1] is None or masks[0].shape != masks[1].shape or not masks[0].numel():
        return 0.0
    return float((masks[0].float() - masks[1].float()).abs().max())


def _gap(was: dict[str, Tensor], now: dict[str, Tensor], size: Pair) -> float:
    """The largest difference of a box or score between two sets, in the order of scores; infinite where labels or numbers differ."""
    if was["labels"].shape != now["labels"].shape or not torch.equal(was["labels"], now["labels"]):
        return math.inf
    if not len(was["labels"]):
        return 0.0
    whole = was["boxes"].new_tensor([size[1], size[0]] * 2)
    apart = (was["boxes"] - now["boxes"]).abs() % whole
    boxes = torch.minimum(apart, whole - apart).max()
    return max(float(boxes), float((was["scores"] - now["scores"]).abs().max()))
