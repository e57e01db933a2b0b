"""What the pipeline and the README are told of notebook 08."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.segmentation.tables import segmentation


@dataclass(frozen=True)
class Segmentation(Settings):
    """DeepLabV3+ trained with several ways of downsampling."""

    dataset: str
    net: str
    encoder_weights: str  # a file
    methods: tuple[str, ...]  # keys of companion.models.methods.METHODS
    seeds: int
    iterations: int
    batch: int
    lr: float
    size: int  # side of crops and of framed test images, in pixels
    precision: str
    jobs: int  # runs at once
    shown: tuple[int, ...]  # test images to look at
    shifts: int  # of the first of them


STUDY = Study(
    notebook="08_segmentation",
    description="Segmentation - Table 5, DeepLabV3+ trained with five ways of downsampling",
    settings=Segmentation,
    inputs=("data/mobilenet_v2/mobilenet_v2-b0353104.pth",),
    remark="Not PASCAL VOC, which quick does without: all of its pieces are there or it is refused.",
    keeps_checkpoints=True,
    tables={"segmentation": segmentation},
)
