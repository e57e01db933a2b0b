"""Parts that detectors of one stage and of two have in common."""

from __future__ import annotations

from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from mass.detection.parts import Part

TRANSFORM = Part("transform", (GeneralizedRCNNTransform,), called=("normalize",))


def anchors_of(name: str) -> Part:
    """An anchor generator: its anchors of one position are read."""
    called = "num_anchors_per_location", "generate_anchors", "_generate_wh_pairs"
    return Part(name, (AnchorGenerator, DefaultBoxGenerator), called)
