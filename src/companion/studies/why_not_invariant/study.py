"""What the pipeline and the README are told of notebook 01."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study


@dataclass(frozen=True)
class WhyNotInvariant(Settings):
    """Why networks are not invariant."""

    size: int  # side of the image that goes through MobileNetV2
    small: int  # side of the image that single layers see
    filters: tuple[int, ...]  # sizes of the blur
    seeds: int  # random networks per filter
    max_shift: int  # shifts from 0 to here


STUDY = Study(
    notebook="01_why_not_invariant",
    description="Why CNNs are not shift-invariant - from the sampling theorem to a pretrained network",
    settings=WhyNotInvariant,
    inputs=("data/mobilenet_v2/mobilenet_v2-b0353104.pth",),
)
