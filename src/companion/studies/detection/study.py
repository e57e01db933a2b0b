"""What the pipeline and the README are told of notebook 14."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.detection import tables


@dataclass(frozen=True)
class Detection(Settings):
    """Detectors: trained here, and one that others trained."""

    dataset: str
    net: str
    methods: tuple[str, ...]  # keys of companion.models.methods.METHODS
    seeds: int
    epochs: int
    batch: int
    lr: float
    precision: str
    size: int  # of crops, in pixels
    trials: int  # of every piece
    probed: int  # test images
    shifts: int  # of each
    mask_methods: tuple[str, ...]  # of the Mask R-CNN, keys of METHODS
    mask_epochs: int
    mask_images: int  # test images
    mask_shifts: int  # of each
    images: int  # that FastestDet looks at; 0: it is not run
    image_shifts: int  # of each


STUDY = Study(
    notebook="14_detection",
    description="Detection - boxes that move along with their image, bit-identical, and what breaks on the way",
    settings=Detection,
    remark="Not data/fastestdet, data/deeppcb and data/voc-subset, which quick does without.",
    keeps_checkpoints=True,
    benchmarks=("detectors",),
    tables={
        "detectors": tables.detectors,
        "detectors_paired": tables.detectors_paired,
        "masks": tables.masks,
        "fastestdet": tables.fastestdet,
        "fastestdet_paired": tables.fastestdet_paired,
        "architectures": tables.architectures,
    },
)
